#define MC_SIMD_TARGET 1
#include "backends/numpy/kernels/attention_impl.h"

namespace mc::kernels {
const AttentionTable kAttentionAvx2 = {simd::avx2::attention_block};
}  // namespace mc::kernels
