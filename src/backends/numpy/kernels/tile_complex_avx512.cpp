#define MC_SIMD_TARGET 2
#include "backends/numpy/kernels/tile_complex_impl.h"

namespace mc::kernels {
const ComplexTiles kTileComplexAvx512 = {simd::avx512::complex_row<float>(),
                                         simd::avx512::complex_row<double>()};
}  // namespace mc::kernels
