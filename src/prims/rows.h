// The families of rows; each is defined in the file of its name.
#pragma once

#include <span>

#include "prims/op_def.h"

namespace mc {
using Rows = std::span<const OpDef>;
Rows unary_rows();
Rows binary_rows();
Rows cast_rows();
Rows creation_rows();
Rows shape_rows();
Rows slice_rows();
Rows reduce_rows();
Rows index_rows();
Rows sort_rows();
Rows random_rows();
Rows matmul_rows();
Rows quant_rows();
Rows norm_rows();       // softmax, log_softmax, rms_norm, layer_norm, cross_entropy, swiglu
Rows attention_rows();  // rope, scaled_dot_product_attention
Rows linalg_rows();
Rows fft_rows();
Rows control_rows();  // stop_gradient, barrier, checkpoint
}  // namespace mc
