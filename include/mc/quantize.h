// Quantized weights: affine groups (MLX's packing) and the GGUF block formats.
#pragma once

#include <string_view>
#include <vector>

#include "mc/array.h"

namespace mc {

// GGUF's formats that are computed on. F32, F16 and BF16 have blocks of one element: a weight in them is
// computed on as it stands in the file, too.
enum class BlockFormat : uint8_t { Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K, F32, F16, BF16 };
inline constexpr int kBlockFormatCount = 11;
MC_API std::string_view block_format_name(BlockFormat format);
// Elements and bytes of one block.
MC_API int block_elements(BlockFormat format);
MC_API int block_bytes(BlockFormat format);

// A weight W (rows, cols), packed.
struct QTensor {
  enum class Kind : uint8_t { Affine, Block } kind = Kind::Affine;
  Shape shape;  // (rows, cols)
  // Affine: packed uint32 (rows, cols·bits/32), scales and biases (rows, cols/group); w = scale·q + bias.
  // Block: parts[0] is uint8 (rows, cols/block·block_bytes) as it stands in the file.
  Arrays parts;
  int bits = 0, group = 0;                 // Affine
  BlockFormat format = BlockFormat::Q8_0;  // Block
};

// bits 2, 3, 4, 5, 6, 8; group 32, 64, 128 along the last axis, which must be a multiple of it. W (rows,
// cols) f32, f16, bf16.
MC_API QTensor quantize_affine(const Array& w, int group = 64, int bits = 4);
MC_API QTensor block_tensor(const Array& bytes, BlockFormat format, const Shape& shape);
// (rows, cols) in float32, or in the dtype of the scales for affine.
MC_API Array dequantize(const QTensor& w);
// x (…, cols) · dequantize(W)ᵀ -> (…, rows), W in float32 whatever the dtype of its scales. `fast`: int8
// activations as defined in docs/contract.md.
MC_API Array quantized_matmul(const Array& x, const QTensor& w, bool fast = false);
// The same in the rows that are true in `rows` (…,), bool; zeros in the others, whatever x and W hold. An
// engine need not compute the others (the host engine does not): experts that a token did not choose.
MC_API Array quantized_matmul_where(const Array& rows, const Array& x, const QTensor& w, bool fast = false);
// dequantize(W)[ids]: integer ids (…) -> (…, cols).
MC_API Array quantized_take(const QTensor& w, const Array& ids);

}  // namespace mc
