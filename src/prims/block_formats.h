// Layouts of quantized weights: GGUF's blocks and MLX's affine groups, in plain scalar code. This is the
// definition that every engine's kernels are measured against; nothing here is fast.
#pragma once

#include <bit>
#include <cstdint>
#include <optional>
#include <string_view>

#include "mc/quantize.h"

namespace mc::blocks {

// IEEE half to float: exact, NaN made quiet.
inline float half_to_float(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16;
  const uint32_t rest = h & 0x7fff;
  if (rest >= 0x7c00)
    return std::bit_cast<float>(sign | 0x7f800000u | (rest & 0x3ff) << 13 | (rest > 0x7c00 ? 0x400000u : 0u));
  if (rest >= 0x400) return std::bit_cast<float>(sign | ((rest << 13) + (112u << 23)));
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(static_cast<float>(rest) * 0x1p-24f));
}
// Float to half: nearest, ties to even, overflow to infinity.
MC_ENGINE_API uint16_t float_to_half(float x);

// "Q4_K" or "q4_k" to the format; empty when there is none of that name.
MC_ENGINE_API std::optional<BlockFormat> parse_block_format(std::string_view name);

// One row of k elements (a multiple of block_elements(format)) to float32: the bits that GGUF's own Python
// package gives.
MC_ENGINE_API void dequantize_row(BlockFormat format, const void* src, float* dst, int64_t k);

// float32 to blocks, for Q4_0 Q4_1 Q5_0 Q5_1 Q8_0: the bytes that GGUF's own Python package gives. A block
// with a NaN or an infinity gets a NaN scale and so dequantizes to NaN. Other formats are refused with
// InvalidArgument.
MC_ENGINE_API bool can_quantize(BlockFormat format);
MC_ENGINE_API void quantize_row(BlockFormat format, const float* src, void* dst, int64_t k);

// Affine groups. A row is a little-endian stream of bits, element i at bit i * bits: this is MLX's packing
// for all of 2, 3, 4, 5, 6 and 8 bits, and 32 elements always take 4 * bits whole bytes.
inline int64_t affine_row_bytes(int bits, int64_t k) { return k / 8 * bits; }
// The 32 codes of elements [32 * block, 32 * block + 32) of a row.
MC_ENGINE_API void affine_codes(int bits, const void* row, int64_t block, uint8_t codes[32]);
// MLX's choice of scale and bias for each group of `group` elements along k. scales and biases: (rows, k /
// group). A group with a NaN or an infinity gets NaN for both and codes 0.
MC_ENGINE_API void affine_quantize(int bits, int group, const float* src, int64_t rows, int64_t k,
                                   void* packed, float* scales, float* biases);
// dst[i] = fma(scale, code, bias) in float32.
MC_ENGINE_API void affine_dequantize_row(int bits, int group, const void* packed, const float* scales,
                                         const float* biases, float* dst, int64_t k);

}  // namespace mc::blocks
