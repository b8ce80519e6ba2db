// Matrix products with quantized weights, straight from packed blocks: y = x · dequantize(W)ᵀ.
//
// Weights are packed once into the engine's own order (panels of 16 rows, codes and scales as narrow as in
// the file). Precision::Highest gives the bits of dequantizing W to float32 and taking the float32 dot of the
// contract: a chain of fma over ascending k, restarted every 256, partial sums added in ascending order.
// Precision::Fast rounds x to int8 per block of 32 (docs/contract-fast.md). Neither depends on instruction
// set, threads, batch or chunking.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "mc/dtype.h"
#include "mc/quantize.h"

namespace mc::numpy::quant {

// How a weight is coded. scale_dtype (F32, F16, BF16) only matters for affine groups.
struct Format {
  QTensor::Kind kind = QTensor::Kind::Block;
  BlockFormat block = BlockFormat::F32;
  int bits = 0, group = 0;
  Dtype scale_dtype = Dtype::F32;

  static Format of(BlockFormat f) { return {QTensor::Kind::Block, f}; }
  static Format affine(int bits, int group, Dtype scale_dtype) {
    return {QTensor::Kind::Affine, BlockFormat::F32, bits, group, scale_dtype};
  }
};

// The bytes as they stand in a file or array, row after row. scales and biases (rows, k / group) for affine
// groups only.
struct Source {
  const void* codes = nullptr;
  const void* scales = nullptr;
  const void* biases = nullptr;
  bool mapped = false;  // codes lie in a mapped file
};

// Throws InvalidArgument or ShapeMismatch when there is no such format or rows of k elements do not hold
// whole blocks.
void check_format(const Format& format, int64_t k);
// Bytes of a packed (n, k) weight: the source's size with n rounded up to 16, plus 2.8 % for Q4_K and 2.3 %
// for Q5_K.
int64_t packed_bytes(const Format& format, int64_t n, int64_t k);
// Packs on all threads. dst: packed_bytes, aligned to 64 bytes. Returns Weight::lifts. Mapped pages of codes
// are given back as packing goes: they come again from the file if they are needed.
bool pack(const Format& format, const Source& src, int64_t n, int64_t k, void* dst);

// A packed weight (n, k).
struct Weight {
  Format format;
  int64_t n = 0, k = 0;
  const void* packed = nullptr;
  bool lifts = false;  // as pack said; false only costs time
};

enum class Precision { Highest, Fast };

// One product of a group that shares x: y (m, n) float32, y_stride elements from row to row.
struct Product {
  Weight weight;
  float* y = nullptr;
  int64_t y_stride = 0;
};

// y = x · Wᵀ for every product; x (m, k) float32, x_stride elements from row to row. x is packed or quantized
// once for all of them, so projections of one input belong into one call. All weights have the same k. Runs
// on all threads.
void qmatmul(int64_t m, const float* x, int64_t x_stride, std::span<const Product> products,
             Precision precision);

// dst (count, k) = dequantize(W)[ids], float32, from the weight as it stands in the file. ids must lie in [0,
// n): a row out of range is filled with NaN.
void dequantize_rows(const Format& format, const Source& src, int64_t n, int64_t k, const int64_t* ids,
                     int64_t count, float* dst);
// All rows in order.
void dequantize(const Format& format, const Source& src, int64_t n, int64_t k, float* dst);

}  // namespace mc::numpy::quant
