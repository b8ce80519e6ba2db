// GPT-NeoX and Pythia (Black et al. 2022, Biderman et al. 2023): attention and MLP side by side, layer norms,
// part of each head rotated. Queries, keys and values are one matrix, in this order as GGUF has it; GELU is
// the exact one, unless the configuration asks for the tanh form.
#include "decoder.h"

namespace mc::models {
namespace {

class GptNeoX final : public Decoder {
 public:
  explicit GptNeoX(const Loader& l) {
    config_ = l.config();
    ModelConfig& c = config_;
    nn::Attention a;
    l.rotary(a, c);
    const nn::Activation gelu = l.b("gelu_tanh", false) ? nn::Activation::GeluTanh : nn::Activation::Gelu;
    const bool parallel = l.b("use_parallel_residual", true);
    embedding_.table = l.linear("token_embd.weight", c.vocab, c.hidden);
    for (int64_t i = 0; i < c.layers; ++i) {
      DecoderBlock b;
      b.parallel = parallel;
      b.attn_norm = l.layer_norm(block(i, "attn_norm"), c.hidden, c.norm_eps);
      b.mlp_norm = l.layer_norm(block(i, "ffn_norm"), c.hidden, c.norm_eps);
      b.attention = a;
      l.fused_attention(b.attention, i, c);
      b.mlp = l.plain_mlp(i, c, gelu);
      blocks_.push_back(std::move(b));
    }
    norm_ = l.layer_norm("output_norm", c.hidden, c.norm_eps);
    head_ = l.head(embedding_, c);
    l.require_all_used();
  }
};

}  // namespace

const ModelDef kGptNeoX = {
    "gptneox", [](const Loader& l) -> std::shared_ptr<Model> { return std::make_shared<GptNeoX>(l); }};

}  // namespace mc::models
