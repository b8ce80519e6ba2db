// The kernels of one instruction set, a row of functions per form.
#pragma once

#include <cstdint>

#include "backends/numpy/quant/layout.h"

namespace mc::numpy::quant {

// y[i] = x · row i for the 16 * panels rows of `count` panels, one token: float32 chains. y holds 16 * count floats.
using GemvFn = void (*)(const Layout& l, const uint8_t* panels, int64_t count, const float* x, float* y);
// dst[(k - k0) * ld + r] = W[r][k] for the 16 rows of a panel and k0 <= k < k0 + kc; k0 and kc multiples of 32 (of 1 for
// dense forms).
using ExpandFn = void (*)(const Layout& l, const uint8_t* panel, int64_t k0, int64_t kc, float* dst, int64_t ld);
// C(m, 32) = p, or C + p with `add`, for m <= kSmallM rows of x: w is [kc][32].
using SmallFn = void (*)(int m, int64_t kc, const float* x, int64_t x_stride, const float* w, float* c, int64_t ldc, bool add);
inline constexpr int kSmallM = 8;

struct Kernels {
  const GemvFn* gemv;      // [kForms]
  const ExpandFn* expand;  // [kForms]
  SmallFn small;
};

// Of the set in use.
const Kernels& kernels();

}  // namespace mc::numpy::quant
