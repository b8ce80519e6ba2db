#define MC_SIMD_TARGET 1
#include "backends/numpy/kernels/tile_float_impl.h"

namespace mc::kernels {
const TileRow kTileF64Avx2 = simd::avx2::make_row<simd::avx2::F64>();
}  // namespace mc::kernels
