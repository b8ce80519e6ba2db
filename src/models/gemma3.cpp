// Gemma 3, text only (Gemma Team 2025): norms before and after each part, norms of queries and keys, five
// sliding-window layers to each global one, and two rotary bases. GGUF stores norm weights with the 1 already
// added.
#include <cmath>

#include "loader.h"
#include "mc/ops.h"

namespace mc::models {
namespace {

struct Block {
  nn::RmsNorm attn_norm, post_attn_norm, ffn_norm, post_ffn_norm;
  nn::Attention attention;
  nn::GatedMlp mlp;
};

class Gemma3 final : public Model {
 public:
  explicit Gemma3(const Loader& l) {
    config_ = l.config();
    ModelConfig& c = config_;
    c.window = l.u("attention.sliding_window", 512, 1, int64_t{1} << 40);
    c.rope_base = l.f("rope.freq_base", 1e6);
    c.rope_local_base = l.f("rope.freq_base_swa", 1e4);
    const int64_t pattern = l.u("attention.sliding_window_pattern", 6, 1, 4096);
    const double global_scale = l.rope_scale();  // of the positions in global layers only
    embedding_.table = l.linear("token_embd.weight", c.vocab, c.hidden);
    for (int64_t i = 0; i < c.layers; ++i) {
      const bool global = (i + 1) % pattern == 0;
      Block b;
      b.attn_norm = l.norm(block(i, "attn_norm.weight"), c.hidden, c.norm_eps);
      b.post_attn_norm = l.norm(block(i, "post_attention_norm.weight"), c.hidden, c.norm_eps);
      b.ffn_norm = l.norm(block(i, "ffn_norm.weight"), c.hidden, c.norm_eps);
      b.post_ffn_norm = l.norm(block(i, "post_ffw_norm.weight"), c.hidden, c.norm_eps);
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

  ForwardOutput forward(const ForwardInput& in) const override {
    ForwardOutput out;
    out.cache = in.cache;
    const nn::Positions at = nn::positions_from(in.start, in.ids.shape(1));
    Array x =
        astype(astype(embedding_(in.ids), wide()) * std::sqrt(static_cast<float>(config_.hidden)), dtype_);
    Arrays after;
    for (size_t i = 0; i < blocks_.size(); ++i) {
      const Block& b = blocks_[i];
      x = x + b.post_attn_norm(b.attention(b.attn_norm(x), at, out.cache[i]));
      x = x + b.post_ffn_norm(b.mlp(b.ffn_norm(x)));
      after.push_back(x);
    }
    for (int t : in.taps) out.taps.push_back(after[static_cast<size_t>(t)]);
    out.hidden = norm_(x);
    return out;
  }

  Array logits(const Array& hidden) const override { return head_(astype(hidden, wide())); }

 private:
  nn::Embedding embedding_;
  std::vector<Block> blocks_;
  nn::RmsNorm norm_;
  nn::Linear head_;
};

}  // namespace

const ModelDef kGemma3 = {
    "gemma3", [](const Loader& l) -> std::shared_ptr<Model> { return std::make_shared<Gemma3>(l); }};

}  // namespace mc::models
