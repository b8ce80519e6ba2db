#define MC_SIMD_TARGET 1
#include "backends/numpy/kernels/tile_complex_impl.h"

namespace mc::kernels {
const ComplexTiles kTileComplexAvx2 = {simd::avx2::complex_row<float>(), simd::avx2::complex_row<double>()};
}  // namespace mc::kernels
