// The float kernels of each instruction set are compiled in three files a set; this names their tables once.
#pragma once

#include "backends/numpy/quant/kernels.h"

namespace mc::numpy::quant {

struct FloatPair {
  GemvFn gemv;
  ExpandFn expand;
};
#define MC_QUANT_DECLARE(SET)            \
  extern const FloatPair kBlocks##SET[]; \
  extern const FloatPair kKBlocks##SET[]; \
  extern const FloatPair kAffine##SET[]; \
  extern const SmallFn kSmall##SET;
MC_QUANT_DECLARE(Scalar)
MC_QUANT_DECLARE(Avx2)
MC_QUANT_DECLARE(Avx512)

#define MC_QUANT_PAIR(V, FORM) {gemv<V, FORM>, expand<V, FORM>}
// kQ4_0 .. kQ8_0
#define MC_QUANT_FLOAT_BLOCKS(SET, V)                                                                           \
  const FloatPair kBlocks##SET[] = {MC_QUANT_PAIR(V, kQ4_0), MC_QUANT_PAIR(V, kQ4_1), MC_QUANT_PAIR(V, kQ5_0), \
                                    MC_QUANT_PAIR(V, kQ5_1), MC_QUANT_PAIR(V, kQ8_0)};
// kQ4_K .. kBF16
#define MC_QUANT_FLOAT_KBLOCKS(SET, V)                                                                           \
  const FloatPair kKBlocks##SET[] = {MC_QUANT_PAIR(V, kQ4_K), MC_QUANT_PAIR(V, kQ5_K), MC_QUANT_PAIR(V, kQ6_K), \
                                     MC_QUANT_PAIR(V, kF32),  MC_QUANT_PAIR(V, kF16),  MC_QUANT_PAIR(V, kBF16)}; \
  const SmallFn kSmall##SET = small<V>;
// kA2 .. kA8
#define MC_QUANT_FLOAT_AFFINE(SET, V)                                                                     \
  const FloatPair kAffine##SET[] = {MC_QUANT_PAIR(V, kA2), MC_QUANT_PAIR(V, kA3), MC_QUANT_PAIR(V, kA4), \
                                    MC_QUANT_PAIR(V, kA5), MC_QUANT_PAIR(V, kA6), MC_QUANT_PAIR(V, kA8)};

}  // namespace mc::numpy::quant
