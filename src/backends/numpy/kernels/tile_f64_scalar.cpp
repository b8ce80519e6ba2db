#define MC_SIMD_TARGET 0
#include "backends/numpy/kernels/tile_float_impl.h"

namespace mc::kernels {
const TileRow kTileF64Scalar = simd::scalar::make_row<simd::scalar::F64>();
}  // namespace mc::kernels
