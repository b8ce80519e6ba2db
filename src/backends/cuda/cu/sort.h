#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace mc::cuda {

// Lines along an axis: outer × n × inner, row-major. order (outer, n, inner): for each line its positions,
// ascending, stable, NaN last.
struct SortLaunch {
  const void* x;
  int dtype;
  int64_t outer, n, inner;
  int32_t* order;
};
size_t sort_scratch(const SortLaunch& a);
void launch_argsort(const SortLaunch& a, void* scratch, cudaStream_t stream);

}  // namespace mc::cuda
