// Phi-3 and Phi-4-mini (Abdin et al. 2024): Llama's block with queries, keys and values in one matrix, gate
// and up in another, and longrope's scaling of the rotation.
#include "decoder.h"

namespace mc::models {
namespace {

class Phi3 final : public Decoder {
 public:
  explicit Phi3(const Loader& l) {
    config_ = l.config();
    ModelConfig& c = config_;
    nn::Attention a;
    l.rotary(a, c);
    const std::vector<int64_t> windows = l.windows(c);
    embedding_.table = l.linear("token_embd.weight", c.vocab, c.hidden);
    for (int64_t i = 0; i < c.layers; ++i) {
      DecoderBlock b;
      b.attn_norm = l.norm(block(i, "attn_norm.weight"), c.hidden, c.norm_eps);
      b.mlp_norm = l.norm(block(i, "ffn_norm.weight"), c.hidden, c.norm_eps);
      b.attention = a;
      b.attention.window = windows[static_cast<size_t>(i)];
      l.fused_attention(b.attention, i, c);
      b.mlp.gate = l.linear_rows(block(i, "ffn_up.weight"), 2 * c.ffn, c.hidden, 0, c.ffn);
      b.mlp.up = l.linear_rows(block(i, "ffn_up.weight"), 2 * c.ffn, c.hidden, c.ffn, c.ffn);
      b.mlp.down = l.linear(block(i, "ffn_down.weight"), c.hidden, c.ffn);
      blocks_.push_back(std::move(b));
    }
    norm_ = l.norm("output_norm.weight", c.hidden, c.norm_eps);
    head_ = l.head(embedding_, c);
    l.require_all_used();
  }
};

}  // namespace

const ModelDef kPhi3 = {"phi3",
                        [](const Loader& l) -> std::shared_ptr<Model> { return std::make_shared<Phi3>(l); }};

}  // namespace mc::models
