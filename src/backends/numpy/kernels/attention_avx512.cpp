#define MC_SIMD_TARGET 2
#include "backends/numpy/kernels/attention_impl.h"

namespace mc::kernels {
const AttentionTable kAttentionAvx512 = {simd::avx512::attention_block};
}  // namespace mc::kernels
