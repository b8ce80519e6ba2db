// The shape that decoders share: a stack of blocks over a residual stream, with every site in its place. An
// architecture's file fills it in.
#pragma once

#include <optional>
#include <vector>

#include "loader.h"

namespace mc::models {

struct DecoderBlock {
  std::optional<nn::Norm> attn_norm, post_attn_norm, mlp_norm, post_mlp_norm;
  nn::Attention attention;
  nn::Mlp mlp;
  std::optional<nn::Moe> moe;  // in place of mlp
  bool parallel = false;       // attention and MLP both read the block's input
};

class Decoder : public Model {
 public:
  ForwardOutput forward(const ForwardInput& in) const override;
  Array logits(const Array& hidden) const override;

 protected:
  nn::Embedding embedding_;
  double embedding_scale_ = 1;
  Array position_table_;  // (context, d) float32 or undefined
  std::vector<DecoderBlock> blocks_;
  nn::Norm norm_;
  nn::Linear head_;
  double logit_cap_ = 0;  // cap·tanh(logits/cap); 0: none
};

}  // namespace mc::models
