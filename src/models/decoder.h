// The shape that models share: a stack of blocks over a residual stream, with every site in its place. An
// architecture's file fills it in.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "loader.h"

namespace mc::models {

struct DecoderBlock {
  std::optional<nn::Norm> attn_norm, post_attn_norm, mlp_norm, post_mlp_norm;
  std::optional<nn::Norm> attn_sum_norm, mlp_sum_norm;  // of the stream after each part was added
  nn::Attention attention;
  nn::Mlp mlp;
  std::optional<nn::Moe> moe;  // in place of mlp
  bool parallel = false;       // attention and MLP both read the block's input
};

class Decoder : public Model {
 public:
  ForwardOutput forward(const ForwardInput& in) const override;
  Array logits(const Array& hidden) const override;
  Array unembed(const Array& residual) const override;

 protected:
  // Embedding, norm and head under GGUF's names around blocks of attention and a gated MLP or experts, each
  // behind a root mean square norm; `attention` is what all layers' have in common, `finish` sets the rest.
  void read_gated(const Loader& l, const nn::Attention& attention,
                  const std::function<void(int64_t layer, DecoderBlock& block)>& finish = {},
                  nn::Activation activation = nn::Activation::Silu);

  nn::Embedding embedding_;
  double embedding_scale_ = 1;
  Array position_table_;  // (context, d) or undefined: added to the embedding
  std::optional<nn::Norm> embedding_norm_;
  std::vector<DecoderBlock> blocks_;
  std::optional<nn::Norm> norm_;
  nn::Linear head_;
  double logit_cap_ = 0;  // cap·tanh(logits/cap); 0: none
};

}  // namespace mc::models
