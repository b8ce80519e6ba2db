// Gemma 3, text only (Gemma Team 2025): norms before and after each part, norms of queries and keys, five
// sliding-window layers to each global one, and two rotary bases. GGUF stores norm weights with the 1 already
// added.
#include <cmath>

#include "decoder.h"
#include "mc/ops.h"

namespace mc::models {
namespace {

class Gemma3 final : public Decoder {
 public:
  explicit Gemma3(const Loader& l) {
    config_ = l.config();
    ModelConfig& c = config_;
    c.window = l.u("attention.sliding_window", 512, 1, int64_t{1} << 40);
    c.rope_base = l.f("rope.freq_base", 1e6);
    c.rope_local_base = l.f("rope.freq_base_swa", 1e4);
    const int64_t pattern = l.u("attention.sliding_window_pattern", 6, 1, 4096);
    const double global_scale = l.rope_scale();  // of the positions in global layers only
    embedding_scale_ = std::sqrt(static_cast<float>(c.hidden));
    embedding_.table = l.linear("token_embd.weight", c.vocab, c.hidden);
    for (int64_t i = 0; i < c.layers; ++i) {
      const bool global = (i + 1) % pattern == 0;
      DecoderBlock b;
      b.attn_norm = l.norm(block(i, "attn_norm.weight"), c.hidden, c.norm_eps);
      b.post_attn_norm = l.norm(block(i, "post_attention_norm.weight"), c.hidden, c.norm_eps);
      b.mlp_norm = l.norm(block(i, "ffn_norm.weight"), c.hidden, c.norm_eps);
      b.post_mlp_norm = l.norm(block(i, "post_ffw_norm.weight"), c.hidden, c.norm_eps);
      nn::Attention& a = b.attention;
      l.attention(a, i, c);
      a.window = global ? 0 : c.window;
      a.rope.base = global ? c.rope_base : c.rope_local_base;
      a.rope.scale = global ? global_scale : 1;
      // The 27B model, known by its 62 layers, scales by the hidden size of a head instead of its key's.
      if (c.layers == 62)
        a.scale = 1 / std::sqrt(static_cast<double>(c.hidden) / static_cast<double>(c.heads));
      a.q_norm = l.norm(block(i, "attn_q_norm.weight"), c.head_dim, c.norm_eps);
      a.k_norm = l.norm(block(i, "attn_k_norm.weight"), c.head_dim, c.norm_eps);
      b.mlp = l.gated_mlp(i, c, nn::Activation::GeluTanh);
      blocks_.push_back(std::move(b));
    }
    norm_ = l.norm("output_norm.weight", c.hidden, c.norm_eps);
    head_ = l.head(embedding_, c);
    l.require_all_used();
  }
};

}  // namespace

const ModelDef kGemma3 = {
    "gemma3", [](const Loader& l) -> std::shared_ptr<Model> { return std::make_shared<Gemma3>(l); }};

}  // namespace mc::models
