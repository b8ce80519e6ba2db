#define MC_SIMD_TARGET 0
#include "backends/numpy/kernels/tile_complex_impl.h"

namespace mc::kernels {
const ComplexTiles kTileComplexScalar = {simd::scalar::complex_row<float>(),
                                         simd::scalar::complex_row<double>()};
}  // namespace mc::kernels
