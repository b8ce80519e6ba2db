#define MC_SIMD_TARGET 2
#include "backends/numpy/kernels/tile_f32_impl.h"

namespace mc::kernels {
const TileRow kTileF32Avx512 = simd::avx512::make_f32_row();
}  // namespace mc::kernels
