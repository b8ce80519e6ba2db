#define MC_SIMD_TARGET 0
#include "backends/numpy/kernels/tile_f32_impl.h"

namespace mc::kernels {
const TileRow kTileF32Scalar = simd::scalar::make_f32_row();
}  // namespace mc::kernels
