// GPT-2 (Radford et al. 2019): learned positions, layer norms and biases everywhere.
#include "decoder.h"

namespace mc::models {
namespace {

class Gpt2 final : public Decoder {
 public:
  explicit Gpt2(const Loader& l) {
    config_ = l.config();
    const ModelConfig& c = config_;
    embedding_.table = l.linear("token_embd.weight", c.vocab, c.hidden);
    position_table_ = l.table("position_embd.weight", c.context, c.hidden);
    for (int64_t i = 0; i < c.layers; ++i) {
      DecoderBlock b;
      b.attn_norm = l.layer_norm(block(i, "attn_norm"), c.hidden, c.norm_eps);
      b.mlp_norm = l.layer_norm(block(i, "ffn_norm"), c.hidden, c.norm_eps);
      b.attention.rotary = false;
      l.fused_attention(b.attention, i, c);
      b.mlp = l.plain_mlp(i, c, nn::Activation::GeluTanh);
      blocks_.push_back(std::move(b));
    }
    norm_ = l.layer_norm("output_norm", c.hidden, c.norm_eps);
    head_ = l.head(embedding_, c);
    l.require_all_used();
  }
};

}  // namespace

const ModelDef kGpt2 = {"gpt2",
                        [](const Loader& l) -> std::shared_ptr<Model> { return std::make_shared<Gpt2>(l); }};

}  // namespace mc::models
