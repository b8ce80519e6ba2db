// Llama 2 and 3 (Touvron et al. 2023, Dubey et al. 2024) as GGUF stores them: query and key rows are permuted
// so that rotary pairs are neighbours.
#include <cmath>

#include "decoder.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/ops.h"

namespace mc::models {
namespace {

class Llama final : public Decoder {
 public:
  explicit Llama(const Loader& l) {
    config_ = l.config();
    const ModelConfig& c = config_;
    nn::Attention proto;
    proto.rope.dims = static_cast<int>(l.u("rope.dimension_count", c.head_dim, 2, c.head_dim));
    if (proto.rope.dims % 2)
      throw Error(ErrorCode::BadModel,
                  cat("the metadata key llama.rope.dimension_count is ", proto.rope.dims,
                      "; expected an even number"),
                  l.file().path());
    proto.rope.traditional = l.rope_neighbours();
    // Mistral's, in every layer; 0 is none.
    proto.window = config_.window = l.u("attention.sliding_window", 0, 0, int64_t{1} << 40);
    proto.rope.base = c.rope_base;
    proto.rope.scale = l.rope_scale();
    if (l.has("rope_freqs.weight")) {  // Llama 3's scaling: divisors of the frequencies
      const int64_t half = proto.rope.dims / 2;
      const Array i = astype(arange(static_cast<int>(half)), Dtype::F32) * (-2.0 / proto.rope.dims);
      proto.inv_freq = (exp(i * std::log(c.rope_base)) / l.vector("rope_freqs.weight", half)).eval();
    }
    embedding_.table = l.linear("token_embd.weight", c.vocab, c.hidden);
    for (int64_t i = 0; i < c.layers; ++i) {
      DecoderBlock b;
      b.attn_norm = l.norm(block(i, "attn_norm.weight"), c.hidden, c.norm_eps);
      b.mlp_norm = l.norm(block(i, "ffn_norm.weight"), c.hidden, c.norm_eps);
      b.attention = proto;
      l.attention(b.attention, i, c);
      b.mlp = l.gated_mlp(i, c, nn::Activation::Silu);
      blocks_.push_back(std::move(b));
    }
    norm_ = l.norm("output_norm.weight", c.hidden, c.norm_eps);
    head_ = l.head(embedding_, c);
    l.require_all_used();
  }
};

}  // namespace

const ModelDef kLlama = {
    "llama", [](const Loader& l) -> std::shared_ptr<Model> { return std::make_shared<Llama>(l); }};

}  // namespace mc::models
