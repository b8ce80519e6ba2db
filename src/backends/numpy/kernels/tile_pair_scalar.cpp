#define MC_SIMD_TARGET 0
#include "backends/numpy/kernels/tile_pair_impl.h"

namespace mc::kernels {
const PairTiles kPairTilesScalar = simd::scalar::make_pairs();
}  // namespace mc::kernels
