#define MC_SIMD_TARGET 0
#include "backends/numpy/kernels/reduce_impl.h"

namespace mc::kernels {
const ReduceTable kReduceScalar = simd::scalar::kReduceRow;
}  // namespace mc::kernels
