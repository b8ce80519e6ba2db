// Rows of tile functions, one row per instruction set and dtype; indexed by PwOp, null where there is none.
#pragma once

#include "backends/numpy/kernels/pointwise.h"

namespace mc::kernels {

struct TileRow {
  TileFn fn[kPwOpCount] = {};
  constexpr TileFn& operator[](PwOp op) { return fn[static_cast<int>(op)]; }
  constexpr TileFn operator[](PwOp op) const { return fn[static_cast<int>(op)]; }
};
extern const TileRow kTileF32Scalar, kTileF32Avx2, kTileF32Avx512;

}  // namespace mc::kernels
