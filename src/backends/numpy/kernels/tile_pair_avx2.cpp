#define MC_SIMD_TARGET 1
#include "backends/numpy/kernels/tile_pair_impl.h"

namespace mc::kernels {
const PairTiles kPairTilesAvx2 = simd::avx2::make_pairs();
}  // namespace mc::kernels
