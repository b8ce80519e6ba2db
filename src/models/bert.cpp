// BERT (Devlin et al. 2019) and sentence encoders made of it, MiniLM among them: every token sees every
// other, and norms stand behind the sums. The type of all tokens is 0.
#include "decoder.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/ops.h"

namespace mc::models {
namespace {

class Bert final : public Decoder {
 public:
  explicit Bert(const Loader& l) {
    config_ = l.config();
    ModelConfig& c = config_;
    c.encoder = true;
    if (l.b("attention.causal", false))
      throw Error(ErrorCode::BadModel, "the metadata key bert.attention.causal is true; expected false",
                  l.file().path());
    embedding_.table = l.linear("token_embd.weight", c.vocab, c.hidden);
    const Shape& of_types = l.file().require_tensor("token_types.weight").shape;
    const int64_t types = of_types.ndim() > 0 ? of_types[0] : 0;
    position_table_ = l.settled(l.table("position_embd.weight", c.context, c.hidden) +
                                slice_axis(l.table("token_types.weight", types, c.hidden), 0, 0, 1));
    embedding_norm_ = l.layer_norm("token_embd_norm", c.hidden, c.norm_eps);
    for (int64_t i = 0; i < c.layers; ++i) {
      DecoderBlock b;
      b.attention.rotary = b.attention.causal = false;
      l.attention(b.attention, i, c);
      b.attn_sum_norm = l.layer_norm(block(i, "attn_output_norm"), c.hidden, c.norm_eps);
      b.mlp = l.plain_mlp(i, c, nn::Activation::Gelu);
      b.mlp_sum_norm = l.layer_norm(block(i, "layer_output_norm"), c.hidden, c.norm_eps);
      blocks_.push_back(std::move(b));
    }
    l.require_all_used();
  }
  Array logits(const Array&) const override {
    throw Error(ErrorCode::InvalidArgument, "bert is an encoder: it predicts no next token", "logits",
                "`mc embed` gives vectors of texts, `mc probe capture` its states");
  }
};

}  // namespace

const ModelDef kBert = {"bert",
                        [](const Loader& l) -> std::shared_ptr<Model> { return std::make_shared<Bert>(l); }};

}  // namespace mc::models
