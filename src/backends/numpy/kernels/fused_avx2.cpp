#define MC_SIMD_TARGET 1
#include "backends/numpy/kernels/fused_impl.h"

namespace mc::kernels {
const FusedTable kFusedAvx2 = simd::avx2::kFusedRow;
}  // namespace mc::kernels
