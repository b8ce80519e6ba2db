// Range reduction of huge angles: x·2/pi modulo 4 from the product of x's integer mantissa and the right 192
// bits of 2/pi (Payne and Hanek's method), in integer arithmetic.
#pragma once

#include "backends/numpy/simd/lanes.h"
#include "backends/numpy/simd/math_coef.h"

namespace mc::simd::MC_SIMD_NS {

struct ReducedAngle {
  double hi, lo;  // in [-pi/4, pi/4], hi + lo good to about 2^-75 of its size
  int quadrant;   // 0..3
};

[[maybe_unused]] static __attribute__((noinline)) ReducedAngle reduce_huge(double x) {
  __extension__ using Wide = unsigned __int128;
  uint64_t u;
  std::memcpy(&u, &x, 8);
  const int exponent = static_cast<int>((u >> 52) & 0x7ff);
  if (exponent == 0x7ff) return {__builtin_nan(""), 0, 0};
  const uint64_t m = (u & 0xfffffffffffff) | 0x10000000000000;
  // x = m·2^e. Bits of 2/pi of weight 2^(e-i) >= 4 contribute whole turns; the window starts at i = e - 1,
  // weight 2.
  const int e = exponent - 1075, at = 64 + e - 2;
  uint64_t w[3];
  for (int k = 0; k < 3; ++k) {
    const int word = (at + 64 * k) / 64, shift = (at + 64 * k) % 64;
    w[k] = shift ? coef::kTwoOverPi[word] << shift | coef::kTwoOverPi[word + 1] >> (64 - shift)
                 : coef::kTwoOverPi[word];
  }
  const Wide p0 = static_cast<Wide>(m) * w[2],
             p1 = static_cast<Wide>(m) * w[1] + static_cast<uint64_t>(p0 >> 64);
  uint64_t lo = static_cast<uint64_t>(p0), mid = static_cast<uint64_t>(p1),
           hi = m * w[0] + static_cast<uint64_t>(p1 >> 64);
  int q = static_cast<int>(hi >> 62);
  hi = hi << 2 | mid >> 62, mid = mid << 2 | lo >> 62, lo <<= 2;
  const bool up = hi >> 63;
  if (up) {  // above a half: the next quadrant, from below
    q = (q + 1) & 3;
    hi = ~hi, mid = ~mid;
  }
  int zeros = hi ? __builtin_clzll(hi) : mid ? 64 + __builtin_clzll(mid) : 127;
  Wide f = (static_cast<Wide>(hi) << 64 | mid) << zeros;
  const double dh = static_cast<double>(static_cast<uint64_t>(f >> 75)) * 0x1p-53;  // 53 bits
  const double dl = static_cast<double>(static_cast<uint64_t>(f >> 22) & 0x1fffffffffffff) * 0x1p-106;
  double scale = 1;
  for (; zeros >= 32; zeros -= 32) scale *= 0x1p-32;
  scale /= static_cast<double>(uint64_t{1} << zeros);
  const double half_pi = 0x1.921fb54442d18p+0, half_pi_lo = 0x1.1a62633145c07p-54;
  const double a = dh * half_pi;
  const double b = __builtin_fma(dh, half_pi, -a) + __builtin_fma(dh, half_pi_lo, dl * half_pi);
  const double r = a + b, t = (a - r) + b;
  const bool negative = up != ((u >> 63) != 0);
  const double s = negative ? -scale : scale;
  return {r * s, t * s, (u >> 63) ? (4 - q) & 3 : q};
}

}  // namespace mc::simd::MC_SIMD_NS
