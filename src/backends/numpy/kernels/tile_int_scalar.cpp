#include "backends/numpy/kernels/tile_int_impl.h"

namespace mc::kernels {
const IntTiles kTileIntScalar = simd::scalar::make_int_tiles();
}  // namespace mc::kernels
