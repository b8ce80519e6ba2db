// One fma from code to weight. A code's bits become the low part of a mantissa whose exponent makes them the
// number F = 2^(23 - P) + q, P the bit that the code stands at; then w = fma(d, F, m - d * (2^(23 - P) +
// bias)) is d * (q - bias) + m rounded once, as dequantizing rounds it, provided that the addend is exact. It
// always is for formats without a minimum and finite scales (their scales have few bits: see the places
// below); with a minimum, packing looks at each block's d and m, and one that fails keeps the weight on the
// plain kernels.
#pragma once

#include <cmath>

#include "backends/numpy/quant/layout.h"

namespace mc::numpy::quant {

// The bits at which codes are read, fewest addends and shifts; d * (2^(23 - P) + bias) fits in 24 bits: a
// float16 d has 11, Q6_K's d * scale 18. With a minimum places are high, so that any block whose minimum is
// zero or at least a quarter of a step passes.
struct Places {
  int count;
  int at[3];
};
constexpr Places places_of(const FormRow& f) {
  const bool min = f.scheme == Scheme::DM;
  if (f.bits == 4) return min ? Places{2, {12, 16, 0}} : Places{3, {8, 12, 16}};
  if (f.bits == 5) return min ? Places{1, {16, 0, 0}} : Places{2, {8, 16, 0}};
  if (f.bits == 6) return {1, {16, 0, 0}};
  return {2, {4, 12, 0}};
}
constexpr bool can_lift(int form) {
  return form == kQ4_0 || form == kQ4_1 || form == kQ5_0 || form == kQ5_1 || form == kQ8_0 || form == kQ6_K;
}
constexpr int lift_base(int place, int bias) { return (1 << (23 - place)) + bias; }

// Where the code that stands at bit b of its word is read: the word's shift (left when positive) and the
// place.
struct Spot {
  int shift, place;
};
constexpr Spot spot_of(const FormRow& f, int b) {
  if (f.bits == 4 && f.scheme == Scheme::DM) {
    if (b < 12) return {b < 8 ? 12 : 4, b == 4 ? 1 : 0};
    if (b < 20) return {0, b / 4 - 3};
    return {b < 28 ? -8 : -12, b == 20 ? 0 : 1};
  }
  if (f.bits == 4) {
    if (b < 8) return {12, b == 0 ? 1 : 2};
    if (b < 20) return {0, b / 4 - 2};
    return {-12, (b - 20) / 4};
  }
  if (places_of(f).count == 1) return {16 - b, 0};
  if (f.bits == 5) return b == 0 ? Spot{8, 0} : b == 24 ? Spot{-8, 1} : Spot{0, b / 8 - 1};
  return b < 16 ? Spot{4, b / 8} : Spot{-12, b / 8 - 2};
}

// Whether w = d * (q - bias) + m may be had as above.
inline bool lifts(const FormRow& f, float d, float m) {
  if (!std::isfinite(d) || !std::isfinite(m)) return false;
  if (f.scheme != Scheme::DM) return true;
  const Places p = places_of(f);
  for (int i = 0; i < p.count; ++i) {
    const double a = m, b = -static_cast<double>(d) * lift_base(p.at[i], f.bias), sum = a + b;
    const double back = sum - a, lost = (a - (sum - back)) + (b - back);  // a + b = sum + lost
    if (lost != 0 || static_cast<double>(static_cast<float>(sum)) != sum) return false;
  }
  return true;
}

}  // namespace mc::numpy::quant
