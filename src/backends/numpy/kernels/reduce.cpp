#include "backends/numpy/kernels/reduce.h"

#include "backends/numpy/simd/dispatch.h"

namespace mc::kernels {

const ReduceFns* reduce_fns(Join join, Dtype dtype) {
  int column;
  switch (dtype) {
    case Dtype::F32: column = 0; break;
    case Dtype::F64: column = 1; break;
    case Dtype::F16: column = 2; break;
    case Dtype::BF16: column = 3; break;
    default: return nullptr;
  }
  const ReduceTable* table = &kReduceScalar;
#if defined(__x86_64__)
  const simd::Isa isa = simd::active_isa();
  table = isa == simd::Isa::Avx512 ? &kReduceAvx512 : isa == simd::Isa::Avx2 ? &kReduceAvx2 : table;
#endif
  return &table->fn[static_cast<int>(join)][column];
}

}  // namespace mc::kernels
