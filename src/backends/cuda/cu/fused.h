// Rows: softmax, norms, cross entropy, gates; rotary positions. Row-major operands.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace mc::cuda {

struct RowsLaunch {
  const void* x;
  void* out;
  int64_t rows, n;
  int dtype;  // float32, float16 or bfloat16
};
void launch_softmax(const RowsLaunch& a, bool log, cudaStream_t stream);
void launch_rms_norm(const RowsLaunch& a, const float* weight, float eps, cudaStream_t stream);
void launch_layer_norm(const RowsLaunch& a, const float* weight, const float* bias, float eps,
                       cudaStream_t stream);
// out: float32, one a row.
void launch_cross_entropy(const RowsLaunch& a, const void* labels, int label_dtype, cudaStream_t stream);
void launch_swiglu(const RowsLaunch& a, const void* up, cudaStream_t stream);

struct RopeLaunch {
  const void* x;
  void* out;
  int dtype;
  int64_t batch, heads, time, dim;
  int64_t x_stride[3], out_stride[3];  // batch, head, time
  const int32_t* positions;
  int64_t position_stride[2];  // batch, time
  const float* inv_freq;       // or null: from base
  int64_t freq_stride;
  int dims;
  bool traditional;
  double log2_base, scale;
};
void launch_rope(const RopeLaunch& a, cudaStream_t stream);

}  // namespace mc::cuda
