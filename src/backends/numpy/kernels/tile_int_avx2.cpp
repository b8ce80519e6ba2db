#include "backends/numpy/kernels/tile_int_impl.h"

namespace mc::kernels {
const IntTiles kTileIntAvx2 = simd::avx2::make_int_tiles();
}  // namespace mc::kernels
