#define MC_SIMD_TARGET 2
#include "backends/numpy/kernels/tile_pair_impl.h"

namespace mc::kernels {
const PairTiles kPairTilesAvx512 = simd::avx512::make_pairs();
}  // namespace mc::kernels
