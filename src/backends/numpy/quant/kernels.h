// The kernels of one instruction set, a row of functions per form.
#pragma once

#include <cstdint>

#include "backends/numpy/quant/layout.h"

namespace mc::numpy::quant {

// y[i] = x · row i for the 16 * panels rows of `count` panels, one token: float32 chains. y holds 16 * count
// floats.
using GemvFn = void (*)(const Layout& l, const uint8_t* panels, int64_t count, const float* x, float* y);
// dst[(k - k0) * ld + r] = W[r][k] for the 16 rows of a panel and k0 <= k < k0 + kc; k0 and kc multiples of
// 32 (of 1 for dense forms).
using ExpandFn = void (*)(const Layout& l, const uint8_t* panel, int64_t k0, int64_t kc, float* dst,
                          int64_t ld);
// C(m, 32) = p, or C + p with `add`, for m <= kSmallM rows of x: w is [kc][32].
using SmallFn = void (*)(int m, int64_t kc, const float* x, int64_t x_stride, const float* w, float* c,
                         int64_t ldc, bool add);
inline constexpr int kSmallM = 8;

// One token in blocks of 32: int8 codes, their scales, their sums over 16, scale * sum over 32, and the start
// values of integer dots against codes with a bias: -bias * sum, over 16 for Q6_K, else over 32.
struct QuantizedRow {
  int8_t* codes;
  float* scales;
  int32_t* sums16;
  float* scaled_sums;
  const int32_t* starts;
};
using QuantizeFn = void (*)(int64_t k, const float* x, const QuantizedRow& out);
using FastGemvFn = void (*)(const Layout& l, const uint8_t* panels, int64_t count, const QuantizedRow& x,
                            float* y);
// A panel as bytes [block][group][16 rows][4], float scales [block][1, Q6_K: 2][16] and minima [block][16].
using FastExpandFn = void (*)(const Layout& l, const uint8_t* panel, uint8_t* bytes, float* scales,
                              float* minima);
// Two expanded panels, one after the other in each array.
struct FastStrip {
  int64_t blocks;
  const uint8_t* bytes;
  const float *scales, *minima;
};
// Several tokens; strides from token to token.
struct FastTokens {
  const int8_t* codes;
  const float *scales, *scaled_sums;
  const int32_t* starts;
  int64_t code_stride, scale_stride, start_stride;
  FastTokens from(int64_t i) const {
    return {codes + i * code_stride,
            scales + i * scale_stride,
            scaled_sums + i * scale_stride,
            starts + i * start_stride,
            code_stride,
            scale_stride,
            start_stride};
  }
};
inline constexpr int kFastTokens = 48;
using FastStripFn = void (*)(int m, const FastStrip& w, const FastTokens& x, float* c, int64_t ldc);

struct FastRow {
  FastGemvFn gemv;
  FastExpandFn expand;
  FastStripFn strip;
};

struct Kernels {
  const GemvFn* gemv;      // [kForms]
  const ExpandFn* expand;  // [kForms]
  const GemvFn* lifted;    // [kForms]: gemv for weights of which Weight::lifts is true, null for some forms
  SmallFn small;
  const FastRow* fast;  // [kForms], empty for dense forms
  QuantizeFn quantize;
};

// Of the set in use.
const Kernels& kernels();

}  // namespace mc::numpy::quant
