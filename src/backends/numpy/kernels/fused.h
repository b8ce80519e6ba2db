// Fused kernels of the host engine on plain pointers. Rows are float32, float16 or bfloat16 in memory and
// float32 in arithmetic. Results do not depend on instruction set, threads or how rows are split into calls.
// All run on the thread pool; none allocates per row. Inputs and outputs may be the same memory where the row
// layout is equal.
#pragma once

#include <cstdint>

#include "mc/dtype.h"

namespace mc::kernels {

// Rows of n elements; strides count elements.
struct RowsArgs {
  const void* x = nullptr;
  int64_t x_stride = 0;
  void* out = nullptr;
  int64_t out_stride = 0;
  int64_t rows = 0, n = 0;
  Dtype dtype = Dtype::F32;  // of x and out
};

// exp(x - max)/sum, or its logarithm. -inf gives 0 (-inf); a row of only -inf gives zeros (log: -inf); a row
// with NaN or +inf gives NaN.
void softmax(const RowsArgs& a, bool log);
// x·(1/sqrt(sum(x²)/n + eps))·weight; weight: n float32 or null.
void rms_norm(const RowsArgs& a, const float* weight, float eps);
// (x - mean)·(1/sqrt(var + eps))·weight + bias; weight, bias: n float32 or null.
void layer_norm(const RowsArgs& a, const float* weight, const float* bias, float eps);
// -log_softmax(x)[label] per row into float32 `out`; labels int32 or int64. A negative label counts from the
// end; one out of range gives NaN. a.out and a.out_stride are not used.
void cross_entropy(const RowsArgs& a, const void* labels, Dtype label_dtype, float* out);
// Logsumexp per row into float32 `out`; a row of only -inf gives -inf.
void logsumexp(const RowsArgs& a, float* out);

enum class Gate : uint8_t { Silu, Gelu, GeluTanh };
// act(gate)·up row by row; all three of a.dtype. The activation is not rounded to a 16-bit dtype before the
// product.
void gated(const RowsArgs& gate, const void* up, int64_t up_stride, Gate act);

struct RopeArgs {
  const void* x = nullptr;
  void* out = nullptr;
  Dtype dtype = Dtype::F32;
  // x and out are (B, H, T, D) with D contiguous; strides in elements of B, H and T.
  int64_t batch = 1, heads = 1, time = 0, dim = 0;
  int64_t x_stride[3] = {}, out_stride[3] = {};
  // Position of row (b, t): positions[b·position_stride[0] + t·position_stride[1]].
  const int32_t* positions = nullptr;
  int64_t position_stride[2] = {0, 1};
  int dims = 0;  // leading dimensions that are rotated; even, <= dim. The rest is copied.
  bool traditional = false;
  double scale = 1.0;
  // dims/2 inverse frequencies: the angle is position·scale·inv_freq[i], in float64 as is its range
  // reduction.
  const double* inv_freq = nullptr;
};
void rope(const RopeArgs& a);
// inv_freq[i] = base^(-2i/dims), i < dims/2, without libm.
void rope_frequencies(double base, int dims, double* inv_freq);

}  // namespace mc::kernels
