// float64 functions on vectors of 8. Accuracy bounds are measured by vmath_test.
#pragma once

#include "backends/numpy/simd/math_coef.h"
#include "backends/numpy/simd/lanes.h"

namespace mc::simd::MC_SIMD_NS {

inline constexpr double kLog2eD = 0x1.71547652b82fep+0;
inline constexpr double kLn2HiD = 0x1.62e42fee00000p-1;  // 32 bits: n·kLn2HiD is exact
inline constexpr double kLn2LoD = 0x1.a39ef35793c76p-33;
inline constexpr double kInfD = __builtin_inf();

// Whole numbers of small size, as doubles, from the integer's bits.
MC_INL F64 small_int(I64 n) { return as_f64(n | I64::set(0x4330000000000000)) - F64::set(0x1p52); }

// exp(x + c) = p·2^n for |x| < 1e6 and small c.
struct ExpParts64 {
  F64 p, n;
};
MC_INL ExpParts64 exp_parts64(F64 x, F64 c) {
  const F64 n = round(x * F64::set(kLog2eD));
  const F64 r = fnma(n, F64::set(kLn2LoD), fnma(n, F64::set(kLn2HiD), x)) + c;
  return {fma(r * r, horner(r, coef::kExpD), r) + F64::set(1), n};
}

// Below 1 ulp.
MC_INL F64 exp(F64 x) {
  const F64 c = min(F64::set(1500), max(F64::set(-1500), x));
  const ExpParts64 e = exp_parts64(c, F64::zero());
  return ldexp(e.p, e.n);
}

// Below 1 ulp; log(negative) is NaN.
MC_INL F64 log(F64 x) {
  const M64 tiny = lt(x, F64::set(0x1p-1022));
  const F64 y = select(tiny, x * F64::set(0x1p54), x);
  const int64_t half = 0x3fe6a09e667f3bcd;  // sqrt(1/2)
  const I64 bits = as_i64(y) + I64::set(0x3ff0000000000000 - half);
  const F64 e = small_int(shr<52>(bits)) - select(tiny, F64::set(1023 + 54), F64::set(1023));
  const F64 f = as_f64((bits & I64::set(0x000fffffffffffff)) + I64::set(half)) - F64::set(1);
  const F64 s = f / (F64::set(2) + f), z = s * s, h = F64::set(0.5) * f * f;
  const F64 t = fma(s, fma(z, horner(z, coef::kLogD), h), e * F64::set(kLn2LoD));
  F64 r = fma(e, F64::set(kLn2HiD), f - (h - t));
  r = select(eq(x, F64::set(kInfD)), x, r);
  r = select(eq(x, F64::zero()), F64::set(-kInfD), r);
  return select(ge(x, F64::zero()), r, nan64());
}

}  // namespace mc::simd::MC_SIMD_NS
