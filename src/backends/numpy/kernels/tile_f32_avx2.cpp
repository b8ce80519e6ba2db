#define MC_SIMD_TARGET 1
#include "backends/numpy/kernels/tile_float_impl.h"

namespace mc::kernels {
const TileRow kTileF32Avx2 = simd::avx2::make_row<simd::avx2::F32>();
}  // namespace mc::kernels
