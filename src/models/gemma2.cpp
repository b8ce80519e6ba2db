// Gemma 2 (Gemma Team 2024): norms before and after each part, capped scores and logits, and a window in
// every second layer, the first among them. GGUF stores norm weights with the 1 already added.
#include <cmath>

#include "decoder.h"

namespace mc::models {
namespace {

class Gemma2 final : public Decoder {
 public:
  explicit Gemma2(const Loader& l) {
    config_ = l.config();
    const ModelConfig& c = config_;
    nn::Attention a;
    l.rotary(a, config_);
    const bool listed = l.file().find("gemma2.attention.sliding_window_pattern") != nullptr;
    a.softcap = l.cap("attn_logit_softcapping", 50);
    logit_cap_ = l.cap("final_logit_softcapping", 30);
    // The 27B model, known by its 46 layers, scales by the hidden size of a head instead of its key's.
    const double hidden = static_cast<double>(c.hidden) / static_cast<double>(c.heads);
    a.scale = 1 / std::sqrt(l.f("attention.query_pre_attn_scalar",
                                c.layers == 46 ? hidden : static_cast<double>(c.head_dim)));
    embedding_scale_ = std::sqrt(static_cast<float>(c.hidden));
    read_gated(
        l, a,
        [&](int64_t i, DecoderBlock& b) {
          b.post_attn_norm = l.norm(block(i, "post_attention_norm.weight"), c.hidden, c.norm_eps);
          b.post_mlp_norm = l.norm(block(i, "post_ffw_norm.weight"), c.hidden, c.norm_eps);
          if (!listed && i % 2) b.attention.window = 0;
        },
        nn::Activation::GeluTanh);
  }
};

}  // namespace

const ModelDef kGemma2 = {
    "gemma2", [](const Loader& l) -> std::shared_ptr<Model> { return std::make_shared<Gemma2>(l); }};

}  // namespace mc::models
