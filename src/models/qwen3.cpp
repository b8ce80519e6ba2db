// Qwen 3, dense and with experts (Yang et al. 2025): Llama's block with norms over each head's queries and
// keys.
#include "decoder.h"

namespace mc::models {
namespace {

class Qwen3 final : public Decoder {
 public:
  explicit Qwen3(const Loader& l) {
    config_ = l.config();
    const ModelConfig& c = config_;
    nn::Attention a;
    l.rotary(a, config_);
    read_gated(l, a, [&](int64_t i, DecoderBlock& b) {
      b.attention.q_norm = l.norm(block(i, "attn_q_norm.weight"), c.head_dim, c.norm_eps);
      b.attention.k_norm = l.norm(block(i, "attn_k_norm.weight"), c.head_dim, c.norm_eps);
    });
  }
};

std::shared_ptr<Model> load(const Loader& l) { return std::make_shared<Qwen3>(l); }

}  // namespace

const ModelDef kQwen3 = {"qwen3", load}, kQwen3Moe = {"qwen3moe", load};

}  // namespace mc::models
