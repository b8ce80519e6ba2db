// The float32 functions that models use most, on vectors of 16. Accuracy bounds are measured by vmath_test
// against float64. Include through lanes.h's scheme: one source for all instruction sets, same bits.
#pragma once

#include "backends/numpy/simd/lanes.h"
#include "backends/numpy/simd/math_angle.h"
#include "backends/numpy/simd/math_coef.h"

namespace mc::simd::MC_SIMD_NS {

inline constexpr float kLog2e = 0x1.715476p+0f;
inline constexpr float kLn2Hi = 0x1.62e4p-1f;  // 15 bits: n·kLn2Hi is exact
inline constexpr float kLn2Lo = 0x1.7f7d1cp-20f;

// exp(x) = poly·2^n, for -1e4 < x < 1e4.
struct ExpParts {
  F32 p, n;
};
MC_INL F32 exp_poly(F32 r) { return fma(r * r, horner(r, coef::kExpF), r) + F32::set(1); }
MC_INL ExpParts exp_parts(F32 x) {
  const F32 n = round(x * F32::set(kLog2e));
  const F32 r = fnma(n, F32::set(kLn2Lo), fnma(n, F32::set(kLn2Hi), x));
  return {exp_poly(r), n};
}
// The same with the argument known to twice float32's precision: lo and hi hold lanes 0-7 and 8-15.
MC_INL ExpParts exp_parts(F64 lo, F64 hi) {
  const F64 l2e = F64::set(0x1.71547652b82fep+0), ln2 = F64::set(0x1.62e42fefa39efp-1);
  const F64 nl = round(lo * l2e), nh = round(hi * l2e);
  return {exp_poly(narrow(fnma(nl, ln2, lo), fnma(nh, ln2, hi))), narrow(nl, nh)};
}

// Below 1.01 ulp.
MC_INL F32 exp(F32 x) {
  // Outside, the answer is 0 or infinity already; NaN is kept by the order of the operands.
  const F32 c = min(F32::set(200.0f), max(F32::set(-200.0f), x));
  const ExpParts e = exp_parts(c);
  return ldexp(e.p, e.n);
}

// Below 1 ulp; log(negative) is NaN.
MC_INL F32 log(F32 x) {
  // Subnormals are scaled up first.
  const M32 tiny = lt(x, F32::set(0x1p-126f));
  const F32 y = select(tiny, x * F32::set(0x1p32f), x);
  const I32 bits = as_i32(y) - I32::set(0x3f3504f3);  // 1/sqrt(2)
  const F32 e = to_f32(sar<23>(bits)) - select(tiny, F32::set(32), F32::zero());
  const F32 f = as_f32((bits & I32::set(0x007fffff)) + I32::set(0x3f3504f3)) - F32::set(1);
  const F32 f2 = f * f;
  F32 r = fma(f2, F32::set(-0.5f), f2 * f * horner(f, coef::kLogF));
  r = fma(e, F32::set(kLn2Lo), r);
  r = fma(e, F32::set(kLn2Hi), f + r);
  r = select(eq(x, F32::set(__builtin_inff())), x, r);
  r = select(eq(x, F32::zero()), F32::set(-__builtin_inff()), r);
  return select(ge(x, F32::zero()), r, nan32());
}

MC_INL F32 log_of(float x) { return log(F32::set(x)); }

// Below 1.5 ulp.
MC_INL F32 tanh(F32 x) {
  const F32 a = abs(x), z = x * x;
  const F32 small = fma(x * z, horner(z, coef::kTanhF), x);
  const F32 e = exp(a + a);
  const F32 big = F32::set(1) - F32::set(2) / (e + F32::set(1));
  return copysign(select(lt(a, F32::set(0.625f)), small, big), x);
}

// 1/(1+exp(-x)), below 2.3 ulp over the whole range, subnormal results included.
MC_INL F32 sigmoid(F32 x) {
  const F32 t = exp(neg(abs(x)));
  return select(lt(x, F32::zero()), t, F32::set(1)) / (t + F32::set(1));
}

// x·sigmoid(x), below 3 ulp. The power of two is applied last so that results that underflow are rounded
// once.
MC_INL F32 silu(F32 x) {
  const F32 a = min(F32::set(200.0f), abs(x));
  const ExpParts e = exp_parts(neg(a));
  const F32 t = ldexp(e.p, e.n), d = t + F32::set(1);
  const F32 xm = max(F32::set(-200.0f), x);
  const F32 negative = ldexp(xm * e.p / d, e.n);
  return select(lt(x, F32::zero()), negative, x / d);
}

// Below 1.5 ulp.
MC_INL F32 erf(F32 x) {
  const F32 a = abs(x), z = x * x;
  const F32 small = fma(x, horner(z, coef::kErfF), x);
  const F32 b = min(F32::set(4.1f), a);  // erf(4.1) rounds to 1; NaN passes
  const F32 big = F32::set(1) - exp(horner(b, coef::kLogErfcF));
  return select(le(a, F32::set(1)), small, flip_sign(big, x));
}

// x·Phi(x), Phi the normal distribution's cumulative function; below 5 ulp, relative, in both tails.
MC_INL F32 gelu(F32 x) {
  const F32 t = min(F32::set(14.6f), abs(x));  // beyond, the left tail is 0 in float32
  const F32 k = F32::set(2.5f), d = F32::set(1) / (t + k);
  const F64 tl = widen_lo(t), th = widen_hi(t), mh = F64::set(-0.5);
  const ExpParts e = exp_parts(tl * tl * mh, th * th * mh);
  const F32 g = e.p * (horner((t - k) * d, coef::kPhiTailF) * d);  // Phi(-t) = g·2^n
  const F32 xm = max(F32::set(-14.6f), x);
  const F32 left = ldexp(xm * g, e.n);
  const F32 right = x * (F32::set(1) - ldexp(g, e.n));
  const F32 centre = x * fma(x, horner(x * x, coef::kPhiF), F32::set(0.5f));
  return select(le(t, F32::set(1)), centre, select(lt(x, F32::zero()), left, right));
}

// x·(1 + tanh(u))/2 = x·sigmoid(2u), u = sqrt(2/pi)·(x + 0.044715·x³); below 3 ulp, relative, in both tails.
MC_INL F32 gelu_tanh(F32 x) {
  const F32 t = min(F32::set(12.0f), abs(x));  // beyond, the left tail is 0 in float32
  const F64 tl = widen_lo(t), th = widen_hi(t);
  const F64 c1 = F64::set(-1.5957691216057307), c3 = F64::set(-1.5957691216057307 * 0.044715);
  const ExpParts e = exp_parts(tl * fma(tl * tl, c3, c1), th * fma(th * th, c3, c1));
  const F32 d = ldexp(e.p, e.n) + F32::set(1);
  const F32 xm = max(F32::set(-12.0f), x);
  return select(lt(x, F32::zero()), ldexp(xm * e.p / d, e.n), x / d);
}

// Reduction of an angle to r in [-pi/4, pi/4] and its quadrant.
struct Quadrant {
  F32 r;
  I32 q;
};
// Angles up to 2^27 or so in float64: error of r below 2^-52 of its size plus 2^-80 of the angle.
MC_INL Quadrant reduce_angle(F64 lo, F64 hi) {
  const F64 two_over_pi = F64::set(0x1.45f306dc9c883p-1), p1 = F64::set(0x1.921fb54400000p+0),
            p2 = F64::set(0x1.0b4611a626331p-34);
  const F64 ql = round(lo * two_over_pi), qh = round(hi * two_over_pi);
  const F64 rl = fnma(ql, p2, fnma(ql, p1, lo)), rh = fnma(qh, p2, fnma(qh, p1, hi));
  // Only the quadrant modulo 4 is used, and it must survive the conversion to int32.
  const F64 quarter = F64::set(0.25), four = F64::set(4);
  const F64 ml = fnma(floor(ql * quarter), four, ql), mh = fnma(floor(qh * quarter), four, qh);
  return {narrow(rl, rh), to_i32(narrow(ml, mh))};
}
MC_INL Quadrant reduce_angle(F32 x) {
  Quadrant a = reduce_angle(widen_lo(x), widen_hi(x));
  const uint32_t huge = ~mask_bits(lt(abs(x), F32::set(0x1p27f))) & 0xffff;
  if (huge) {
    float v[16], r[16];
    int32_t q[16];
    F32::store(v, x), F32::store(r, a.r), I32::store(q, a.q);
    for (int i = 0; i < 16; ++i)
      if (huge >> i & 1) {
        const ReducedAngle h = reduce_huge(static_cast<double>(v[i]));
        r[i] = static_cast<float>(h.hi), q[i] = h.quadrant;
      }
    a = {F32::load(r), I32::load(q)};
  }
  return a;
}
struct SinCos {
  F32 s, c;
};
MC_INL SinCos sincos_reduced(Quadrant a) {
  const F32 z = a.r * a.r;
  const F32 s = fma(a.r * z, horner(z, coef::kSinF), a.r);
  const F32 c = fma(z * z, horner(z, coef::kCosF), fma(z, F32::set(-0.5f), F32::set(1)));
  const M32 swap = eq(a.q & I32::set(1), I32::set(1));
  return {as_f32(as_i32(select(swap, c, s)) ^ shl<30>(a.q & I32::set(2))),
          as_f32(as_i32(select(swap, s, c)) ^ shl<30>((a.q + I32::set(1)) & I32::set(2)))};
}

// Below 1.6 ulp over the whole range; NaN for infinities.
MC_INL F32 sin(F32 x) { return select(eq(x, F32::zero()), x, sincos_reduced(reduce_angle(x)).s); }
MC_INL F32 cos(F32 x) { return sincos_reduced(reduce_angle(x)).c; }

}  // namespace mc::simd::MC_SIMD_NS
