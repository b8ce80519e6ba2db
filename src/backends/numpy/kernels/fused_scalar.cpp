#define MC_SIMD_TARGET 0
#include "backends/numpy/kernels/fused_impl.h"
#include "backends/numpy/simd/math_f64.h"

namespace mc::kernels {
const FusedTable kFusedScalar = simd::scalar::kFusedRow;

void rope_frequencies(double base, int dims, double* inv_freq) {
  using namespace simd::scalar;
  const F64 log_base = log(F64::set(base));
  for (int i = 0; i < dims / 2; ++i) F64::store(inv_freq + i, exp(log_base * F64::set(-2.0 * i / dims)), 1);
}
}  // namespace mc::kernels
