// Products with quantized weights straight from their bytes: GGUF's blocks and affine groups.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace mc::cuda {

// The number of a format: mc::BlockFormat's for blocks, kAffine + bits for affine groups.
inline constexpr int kAffine = 100;
struct QuantWeight {
  int format;
  const void* codes;
  int64_t rows, cols;
  int64_t row_bytes;
  // affine groups: (rows, cols / group)
  const void* scales = nullptr;
  const void* biases = nullptr;
  int scale_dtype = 0, group = 32;
};

// rows × cols float32, or of `dtype`, of the weight's rows [first, first + count).
void launch_dequantize(const QuantWeight& w, int64_t first, int64_t count, void* out, int dtype,
                       cudaStream_t stream);
// Rows by number; one out of range is NaN. Negative numbers count from the end.
void launch_quant_take(const QuantWeight& w, const void* ids, int id_dtype, int64_t count, void* out,
                       int dtype, cudaStream_t stream);
// out (m, rows) = x (m, cols) · wᵀ in float32, for few rows of x; x and out of `dtype`.
inline constexpr int kFewRows = 8;
void launch_quant_gemv(const QuantWeight& w, const void* x, int64_t m, void* out, int dtype,
                       cudaStream_t stream);

// Precision fast: x (m, cols) to int8 codes, scales and sums of blocks of 32, then exact integer products.
struct FastX {
  int8_t* codes;  // (m, cols)
  float* scales;  // (m, cols / 32)
  int32_t* sums;  // (m, cols / 32)
};
void launch_fast_quantize(const void* x, int dtype, int64_t m, int64_t cols, const FastX& q,
                          cudaStream_t stream);
// Few rows of x; with a mask (one element a row of x) the others are zeros and read no weight.
void launch_fast_rows(const QuantWeight& w, const FastX& q, int64_t m, const bool* rows, void* out, int dtype,
                      cudaStream_t stream);
// Any number of rows; with a list only those are written that it names.
void launch_fast_tiles(const QuantWeight& w, const FastX& q, int64_t m, const int32_t* list, void* out,
                       int dtype, cudaStream_t stream);
// Of a mask of m rows: list[0] is how many it names, these follow in ascending order.
void launch_list_rows(const bool* mask, int64_t m, int32_t* list, cudaStream_t stream);
bool fast_format(int format);

// float32 to and from 16-bit floats.
void launch_convert(const void* src, int from, void* dst, int to, int64_t n, cudaStream_t stream);

struct AffineQuantizeLaunch {
  const void* x;
  int dtype;  // of x, scales and biases
  int bits, group;
  int64_t groups;
  uint8_t* packed;
  void* scales;
  void* biases;
};
void launch_affine_quantize(const AffineQuantizeLaunch& a, cudaStream_t stream);

}  // namespace mc::cuda
