#define MC_SIMD_TARGET 2
#include "backends/numpy/kernels/tile_float_impl.h"

namespace mc::kernels {
const TileRow kTileF64Avx512 = simd::avx512::make_row<simd::avx512::F64>();
}  // namespace mc::kernels
