#define MC_SIMD_TARGET 2
#include "backends/numpy/kernels/fused_impl.h"

namespace mc::kernels {
const FusedTable kFusedAvx512 = simd::avx512::kFusedRow;
}  // namespace mc::kernels
