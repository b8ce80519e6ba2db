// Host side of the precompiled kernels: plain structs in, work on a stream out. Errors are
// cudaGetLastError's.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace mc::cuda {

inline constexpr int kDims = 10;  // mc::kMaxRank

// dst[Σ i·ds] = src[Σ i·ss] for all i < dim; strides in elements. With `starts` the window's place is read on
// the device.
struct WindowArgs {
  const void* src;
  void* dst;
  int64_t n;  // elements
  int nd;
  int64_t dim[kDims], ss[kDims], ds[kDims];
  enum Mode : int { Fixed, ClampSource, ClampTarget, Rows } mode;
  const void* starts;
  int start_dtype;
  int64_t start_stride;
  int starts_n;                  // Clamp…: dimensions
  int64_t room[kDims];           // largest start
  int64_t stride[kDims];         // of the moved operand
  int64_t row_room, row_stride;  // Rows: along the axis; the row is the first index
};
void launch_window(const WindowArgs& a, int item, cudaStream_t stream);

struct ArangeLaunch {
  void* out;
  int64_t n;
  int dtype;
  double start, step;
  int64_t istart, istep;
};
void launch_arange(const ArangeLaunch& a, cudaStream_t stream);

// keys × n words of Philox.
void launch_random_bits(const uint32_t* keys, int64_t count, int64_t n, uint32_t* out, cudaStream_t stream);

struct GatherArgs {
  const void* src;
  void* dst;
  int64_t count, size;  // windows, elements of each
  int nd;
  int64_t dim[kDims], stride[kDims], sizes[kDims];
  int n_index;
  const void* index[kDims];
  int index_dtype[kDims];
  int axis[kDims];
  unsigned char fill[16];
};
void launch_gather(const GatherArgs& a, int item, cudaStream_t stream);

struct TakeAlongArgs {
  const void* src;
  const void* index;
  void* dst;
  int index_dtype;
  int64_t outer, from_dim, to_dim, inner;
  unsigned char fill[16];
};
void launch_take_along(const TakeAlongArgs& a, int item, cudaStream_t stream);

}  // namespace mc::cuda
