#if defined(__x86_64__)
#include "backends/numpy/simd/tile_impl.h"
#include "backends/numpy/simd/vec_avx512.h"

namespace mc::simd {
const FloatKernels<float> kF32Avx512 = Kernels<F32x16>::table();
}  // namespace mc::simd
#endif
