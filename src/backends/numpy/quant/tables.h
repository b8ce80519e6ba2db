// The float kernels of each instruction set are compiled in three files a set; this names their tables once.
#pragma once

#include "backends/numpy/quant/kernels.h"

namespace mc::numpy::quant {

struct FloatPair {
  GemvFn gemv;
  ExpandFn expand;
  GemvFn lifted;  // null where lift.h does not apply
};
// [kForms]
extern const FastRow kFastScalar[], kFastAvx2[], kFastAvx512[];
extern const QuantizeFn kQuantizeScalar, kQuantizeAvx2, kQuantizeAvx512;
#define MC_QUANT_FAST(SET, V)                                                            \
  template <int FORM>                                                                    \
  constexpr FastRow fast_row() {                                                         \
    constexpr int kBits = kFormRows[FORM].bits;                                          \
    constexpr int kClass = V::kExactDot ? 8 : kBits <= 4 ? 4 : kBits;                    \
    return {fast_gemv<V, FORM>, fast_expand<V, FORM>,                                    \
            fast_strip<V, kClass, kHasMin<FORM>, kFormRows[FORM].scheme == Scheme::K6>}; \
  }                                                                                      \
  const FastRow kFast##SET[] = {fast_row<kQ4_0>(),                                       \
                                fast_row<kQ4_1>(),                                       \
                                fast_row<kQ5_0>(),                                       \
                                fast_row<kQ5_1>(),                                       \
                                fast_row<kQ8_0>(),                                       \
                                fast_row<kQ4_K>(),                                       \
                                fast_row<kQ5_K>(),                                       \
                                fast_row<kQ6_K>(),                                       \
                                {},                                                      \
                                {},                                                      \
                                {},                                                      \
                                fast_row<kA2>(),                                         \
                                fast_row<kA3>(),                                         \
                                fast_row<kA4>(),                                         \
                                fast_row<kA5>(),                                         \
                                fast_row<kA6>(),                                         \
                                fast_row<kA8>()};                                        \
  const QuantizeFn kQuantize##SET = quantize_tokens<V>;

#define MC_QUANT_DECLARE(SET)             \
  extern const FloatPair kBlocks##SET[];  \
  extern const FloatPair kKBlocks##SET[]; \
  extern const FloatPair kAffine##SET[];  \
  extern const SmallFn kSmall##SET;
MC_QUANT_DECLARE(Scalar)
MC_QUANT_DECLARE(Avx2)
MC_QUANT_DECLARE(Avx512)

#define MC_QUANT_PAIR(V, FORM) \
  { gemv<V, FORM>, expand<V, FORM>, lifted_or_null<V, FORM>() }
// kQ4_0 .. kQ8_0
#define MC_QUANT_FLOAT_BLOCKS(SET, V)                                                 \
  const FloatPair kBlocks##SET[] = {MC_QUANT_PAIR(V, kQ4_0), MC_QUANT_PAIR(V, kQ4_1), \
                                    MC_QUANT_PAIR(V, kQ5_0), MC_QUANT_PAIR(V, kQ5_1), \
                                    MC_QUANT_PAIR(V, kQ8_0)};
// kQ4_K .. kBF16
#define MC_QUANT_FLOAT_KBLOCKS(SET, V)                                                  \
  const FloatPair kKBlocks##SET[] = {MC_QUANT_PAIR(V, kQ4_K), MC_QUANT_PAIR(V, kQ5_K),  \
                                     MC_QUANT_PAIR(V, kQ6_K), MC_QUANT_PAIR(V, kF32),   \
                                     MC_QUANT_PAIR(V, kF16),  MC_QUANT_PAIR(V, kBF16)}; \
  const SmallFn kSmall##SET = small<V>;
// kA2 .. kA8
#define MC_QUANT_FLOAT_AFFINE(SET, V)                                                                    \
  const FloatPair kAffine##SET[] = {MC_QUANT_PAIR(V, kA2), MC_QUANT_PAIR(V, kA3), MC_QUANT_PAIR(V, kA4), \
                                    MC_QUANT_PAIR(V, kA5), MC_QUANT_PAIR(V, kA6), MC_QUANT_PAIR(V, kA8)};

}  // namespace mc::numpy::quant
