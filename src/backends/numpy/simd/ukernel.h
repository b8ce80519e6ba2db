// Micro-kernels of the float matrix products: one table per instruction set.
//
// Contract of every product on this engine (docs/contract.md): an output is the sum, in ascending order by
// plain adds, of partial results over consecutive blocks of kBlockK values of k; a partial result is one
// chain of fused multiply-adds over ascending k that starts from fma(a, b, 0). Nothing else (instruction set,
// tile shape, thread count, batch) may change a bit of it.
#pragma once

#include <cstdint>

#include "backends/numpy/simd/dispatch.h"
#include "mc/dtype.h"

namespace mc::simd {

inline constexpr int64_t kBlockK = 256;

// C(m,n) = p, or C(m,n) + p with `add`; p is the chain over kc <= kBlockK values of k. m <= mr, n <= nr.
// a_panel is [kc][mr] and b_panel [kc][nr], both readable in full (columns past n are read and ignored).
// c is row-major with rows ldc apart; only its m x n elements are touched.
template <class T>
struct Ukernel {
  int mr, nr;
  void (*run)(int m, int n, int64_t kc, const T* a_panel, const T* b_panel, T* c, int64_t ldc, bool add);
};
using F32Ukernel = Ukernel<float>;
using F64Ukernel = Ukernel<double>;

// Of the set in use.
const F32Ukernel& f32_ukernel();
const F64Ukernel& f64_ukernel();

}  // namespace mc::simd
