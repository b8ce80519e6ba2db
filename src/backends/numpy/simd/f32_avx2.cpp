#if defined(__x86_64__)
#include "backends/numpy/simd/tile_impl.h"
#include "backends/numpy/simd/vec_avx2.h"

namespace mc::simd {
const FloatKernels<float> kF32Avx2 = Kernels<F32x8>::table();
}  // namespace mc::simd
#endif
