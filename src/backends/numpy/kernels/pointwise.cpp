#include "backends/numpy/kernels/pointwise.h"

#include "backends/numpy/kernels/tile_table.h"
#include "backends/numpy/simd/dispatch.h"

namespace mc::kernels {

TileFn tile_fn(PwOp op, Dtype dtype) {
  const simd::Isa isa = simd::active_isa();
  if (dtype != Dtype::F32) return nullptr;
  return (isa == simd::Isa::Avx512 ? kTileF32Avx512 : isa == simd::Isa::Avx2 ? kTileF32Avx2 : kTileF32Scalar)[op];
}

}  // namespace mc::kernels
