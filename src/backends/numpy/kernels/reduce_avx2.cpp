#define MC_SIMD_TARGET 1
#include "backends/numpy/kernels/reduce_impl.h"

namespace mc::kernels {
const ReduceTable kReduceAvx2 = simd::avx2::kReduceRow;
}  // namespace mc::kernels
