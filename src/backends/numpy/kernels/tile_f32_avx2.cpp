#define MC_SIMD_TARGET 1
#include "backends/numpy/kernels/tile_f32_impl.h"

namespace mc::kernels {
const TileRow kTileF32Avx2 = simd::avx2::make_f32_row();
}  // namespace mc::kernels
