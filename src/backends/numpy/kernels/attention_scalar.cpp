#define MC_SIMD_TARGET 0
#include "backends/numpy/kernels/attention_impl.h"

namespace mc::kernels {
const AttentionTable kAttentionScalar = {simd::scalar::attention_block};
}  // namespace mc::kernels
