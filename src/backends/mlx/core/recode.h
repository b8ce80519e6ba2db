// GGUF blocks as affine groups of 32 with float32 scales and biases: the same weights, bit for bit, in the
// form that libmlx multiplies with.
#pragma once

#include <cstdint>

#include "mc/quantize.h"

namespace mc::mlx_engine {

// Bits of a code; 0 for formats that have no such form (Q6_K's groups are 16 long; plain floats have no
// codes).
int affine_bits_of(BlockFormat format);
// One row of `cols` elements: cols·bits/8 bytes of codes, cols/32 scales and biases.
void recode_row(BlockFormat format, const void* src, int64_t cols, uint32_t* packed, float* scales,
                float* biases);

}  // namespace mc::mlx_engine
