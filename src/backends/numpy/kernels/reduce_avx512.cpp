#define MC_SIMD_TARGET 2
#include "backends/numpy/kernels/reduce_impl.h"

namespace mc::kernels {
const ReduceTable kReduceAvx512 = simd::avx512::kReduceRow;
}  // namespace mc::kernels
