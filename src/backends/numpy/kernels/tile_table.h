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
extern const TileRow kTileF64Scalar, kTileF64Avx2, kTileF64Avx512;

// bool and the eight integer dtypes in Dtype's order; where and copy by log2 of the item size.
struct IntTiles {
  TileRow row[9];
  TileFn where[5] = {}, copy[5] = {};
};
extern const IntTiles kTileIntScalar, kTileIntAvx2;

// complex64 and complex128
struct ComplexTiles {
  TileRow c64, c128;
};
extern const ComplexTiles kTileComplexScalar, kTileComplexAvx2, kTileComplexAvx512;

// float16 and bfloat16 by way of the float32 row; floor_divide and remainder of float32 and float64.
// Independent of the instruction set.
extern const TileRow kTileF16, kTileBf16, kTileF32Any, kTileF64Any;

// Two float32 operations at once; the operations in the order of pair_index.
inline constexpr int kPairOps = 5;
struct PairTiles {
  PairFn fn[kPairOps][kPairOps + 1][2] = {};         // [first][second, or kPairOps: none][swapped]
  PairFn streaming[kPairOps][kPairOps + 1][2] = {};  // the same, written past the caches
  StreamFn stream = nullptr;
};
extern const PairTiles kPairTilesScalar, kPairTilesAvx2, kPairTilesAvx512;

}  // namespace mc::kernels
