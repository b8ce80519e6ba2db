// float64 functions on vectors of 8. Accuracy bounds are measured by vmath_test against the C library's long
// double. They also carry the rarer float32 functions, whose results are then within 0.51 ulp.
#pragma once

#include "backends/numpy/simd/lanes.h"
#include "backends/numpy/simd/math_angle.h"
#include "backends/numpy/simd/math_coef.h"

namespace mc::simd::MC_SIMD_NS {

inline constexpr double kLog2eD = 0x1.71547652b82fep+0, kLog2eLoD = 0x1.777d0ffda0d24p-56;
inline constexpr double kLn2HiD = 0x1.62e42fee00000p-1;  // 32 bits: n·kLn2HiD is exact
inline constexpr double kLn2LoD = 0x1.a39ef35793c76p-33;
inline constexpr double kHalfPiD = 0x1.921fb54442d18p+0, kHalfPiLoD = 0x1.1a62633145c07p-54;
inline constexpr double kInfD = __builtin_inf();

MC_INL F64 set64(double x) { return F64::set(x); }
// Whole numbers of small size, as doubles, from the integer's bits.
MC_INL F64 small_int(I64 n) { return as_f64(n | I64::set(0x4330000000000000)) - set64(0x1p52); }

// A number and what it lacks.
struct Two {
  F64 hi, lo;
};
MC_INL Two quick_two_sum(F64 a, F64 b) {  // |a| >= |b|
  const F64 s = a + b;
  return {s, b - (s - a)};
}
MC_INL Two two_product(F64 a, F64 b) {
  const F64 p = a * b;
  return {p, fma(a, b, neg(p))};
}

// exp(x + c) = p·2^n for |x| < 1e6 and small c; e = p - 1 before the power of two.
struct ExpParts64 {
  F64 p, n, e;
};
MC_INL ExpParts64 exp_parts64(F64 x, F64 c) {
  const F64 n = round(x * set64(kLog2eD));
  const F64 r = fnma(n, set64(kLn2HiD), x), d = fnma(n, set64(kLn2LoD), c), t = r + d;
  const F64 e = r + fma(t * t, horner(t, coef::kExpD), d);
  return {e + set64(1), n, e};
}

// Below 1.1 ulp.
MC_INL F64 exp(F64 x) {
  const ExpParts64 e = exp_parts64(min(set64(1500), max(set64(-1500), x)), F64::zero());
  return ldexp(e.p, e.n);
}
MC_INL F64 exp2(F64 x) {
  const F64 c = min(set64(2100), max(set64(-2100), x)), n = round(c), r = c - n;
  const F64 hi = r * set64(0x1.62e42fefa39efp-1), lo = fma(r, set64(0x1.62e42fefa39efp-1), neg(hi));
  const F64 e = hi + fma(hi * hi, horner(hi, coef::kExpD), fma(r, set64(0x1.abc9e3b39803fp-56), lo));
  return ldexp(e + set64(1), n);
}
// Below 2 ulp.
MC_INL F64 expm1(F64 x) {
  const ExpParts64 e = exp_parts64(min(set64(709.79), max(set64(-50), x)), F64::zero());
  // In halves, so that the power of two itself doesn't overflow before the result does.
  const F64 t = ldexp(set64(0.5), e.n);
  const F64 r = fma(t, e.e, t - set64(0.5));
  return select(eq(x, F64::zero()), x, r + r);
}

struct LogParts {
  F64 e, f;  // x = 2^e·(1 + f), 1 + f in [sqrt(1/2), sqrt(2))
};
MC_INL LogParts log_parts(F64 x) {
  const M64 tiny = lt(x, set64(0x1p-1022));
  const F64 y = select(tiny, x * set64(0x1p54), x);
  const int64_t half = 0x3fe6a09e667f3bcd;  // sqrt(1/2)
  const I64 bits = as_i64(y) + I64::set(0x3ff0000000000000 - half);
  const F64 e = small_int(shr<52>(bits)) - select(tiny, set64(1023 + 54), set64(1023));
  return {e, as_f64((bits & I64::set(0x000fffffffffffff)) + I64::set(half)) - set64(1)};
}
MC_INL F64 log_special(F64 x, F64 r) {
  r = select(eq(x, set64(kInfD)), x, r);
  r = select(eq(x, F64::zero()), set64(-kInfD), r);
  return select(ge(x, F64::zero()), r, nan64());
}
// log(1 + f) = f - (h - t)
struct Log1pParts {
  F64 h, t;
};
MC_INL Log1pParts log1p_parts(F64 f) {
  const F64 s = f / (set64(2) + f), z = s * s, h = set64(0.5) * f * f;
  return {h, s * fma(z, horner(z, coef::kLogD), h)};
}
// Below 1 ulp; log of a negative number is NaN.
MC_INL F64 log(F64 x) {
  const LogParts p = log_parts(x);
  const Log1pParts l = log1p_parts(p.f);
  return log_special(x, fma(p.e, set64(kLn2HiD), p.f - (l.h - fma(p.e, set64(kLn2LoD), l.t))));
}
// Below 1.5 ulp; exact for powers of two.
MC_INL F64 log2(F64 x) {
  const LogParts p = log_parts(x);
  const Log1pParts l = log1p_parts(p.f);
  const Two m = quick_two_sum(p.f, neg(l.h - l.t));
  const Two r = two_product(m.hi, set64(kLog2eD));
  const F64 lo = r.lo + fma(m.hi, set64(kLog2eLoD), m.lo * set64(kLog2eD));
  // e is 0 or larger than the rest.
  const Two s = quick_two_sum(p.e, r.hi);
  const M64 zero = eq(p.e, F64::zero());
  return log_special(x, select(zero, r.hi + lo, s.hi + (s.lo + lo)));
}
// Below 1.5 ulp.
MC_INL F64 log1p(F64 x) {
  const F64 u = set64(1) + x;
  // What the addition lost.
  const F64 c = select(lt(abs(x), set64(1)), x - (u - set64(1)), set64(1) - (u - x));
  const F64 r = log(u) + select(lt(u, set64(kInfD)), c / u, F64::zero());
  return select(eq(x, F64::zero()), x, select(eq(u, F64::zero()), set64(-kInfD), r));
}
// The logarithm to about 2^-65 of its size, for positive finite x.
MC_INL Two log_two(F64 x) {
  const LogParts p = log_parts(x);
  const F64 d = set64(2) + p.f, dl = p.f - (d - set64(2));
  const F64 s = p.f / d;
  const F64 sl = fnma(s, dl, fnma(s, d, p.f)) / d;
  const Two z = two_product(s, s);
  const F64 zl = fma(s + s, sl, z.lo);
  // s·z·2/3 in two parts, the rest of the series in one
  const Two w = two_product(s, z.hi);
  const F64 wl = fma(s, zl, fma(sl, z.hi, w.lo));
  const Two c = two_product(w.hi, set64(0x1.5555555555555p-1));
  const F64 cl = fma(w.hi, set64(0x1.5555555555555p-55), fma(wl, set64(0x1.5555555555555p-1), c.lo));
  const F64 tail = w.hi * z.hi * horner(z.hi, coef::kLogTailD);
  const Two a = quick_two_sum(s + s, c.hi);
  const Two m = quick_two_sum(a.hi, a.lo + (sl + sl + cl + tail));
  const F64 e = p.e * set64(kLn2HiD);  // exact
  const M64 zero = eq(p.e, F64::zero());
  const Two r = quick_two_sum(e, m.hi);
  const F64 lo = r.lo + fma(p.e, set64(kLn2LoD), m.lo);
  return {select(zero, m.hi, r.hi), select(zero, m.lo, lo)};
}
MC_INL M64 is_whole(F64 x) { return eq(floor(x), x); }
MC_INL M64 is_odd(F64 x) {
  const F64 h = x * set64(0.5);
  return is_whole(x) & ~eq(floor(h), h) & lt(abs(x), set64(0x1p53));
}
// x^y, below 1.5 ulp, with the special cases of IEEE 754.
MC_INL F64 pow(F64 x, F64 y) {
  const F64 ax = abs(x);
  const M64 plain = gt(ax, F64::zero()) & lt(ax, set64(kInfD));
  const Two l = log_two(select(plain, ax, set64(1)));
  // Beyond 1e19 every base but 1 is far over or under; clamping keeps the products finite.
  const F64 yc = max(set64(-1e19), min(set64(1e19), y));
  const F64 h = yc * l.hi, c = fma(yc, l.lo, fma(yc, l.hi, neg(h)));
  const M64 far = gt(abs(h), set64(1400));
  const ExpParts64 e = exp_parts64(select(far, copysign(set64(1400), h), h), select(far, F64::zero(), c));
  F64 r = ldexp(e.p, e.n);
  const M64 down = lt(y, F64::zero());
  r = select(eq(ax, F64::zero()), select(down, set64(kInfD), F64::zero()), r);
  r = select(eq(ax, set64(kInfD)), select(down, F64::zero(), set64(kInfD)), r);
  const M64 negative = lt(x, F64::zero()) | (eq(x, F64::zero()) & lt(copysign(set64(1), x), F64::zero()));
  r = select(negative & is_odd(y), neg(r), r);
  const M64 finite_negative = lt(x, F64::zero()) & lt(ax, set64(kInfD));
  r = select(finite_negative & ~is_whole(y), nan64(), r);  // an infinite y is whole
  r = select(is_nan(x) | is_nan(y), nan64(), r);
  r = select(eq(ax, set64(1)) & eq(abs(y), set64(kInfD)), set64(1), r);
  return select(eq(x, set64(1)) | eq(y, F64::zero()), set64(1), r);
}

struct Quadrant64 {
  F64 hi, lo, q;  // angle = q·pi/2 + hi + lo, q modulo 4
};
MC_INL Quadrant64 reduce_angle64(F64 x) {
  const F64 p1 = set64(0x1.921fb54400000p+0), p2 = set64(0x1.0b4611a600000p-34),
            p3 = set64(0x1.3198a2e037073p-69);
  const F64 q = round(x * set64(0x1.45f306dc9c883p-1));
  const F64 r = fnma(q, p1, x), s = fnma(q, p2, r);
  const F64 lost = fnma(q, p2, r - s);
  const F64 t = fnma(q, p3, lost), hi = s + t, lo = t - (hi - s);
  Quadrant64 a = {hi, lo, fnma(floor(q * set64(0.25)), set64(4), q)};
  const uint32_t huge = ~mask_bits(lt(abs(x), set64(0x1p20))) & 0xff;
  if (huge) {
    double v[8], h[8], l[8], k[8];
    F64::store(v, x), F64::store(h, a.hi), F64::store(l, a.lo), F64::store(k, a.q);
    for (int i = 0; i < 8; ++i)
      if (huge >> i & 1) {
        const ReducedAngle g = reduce_huge(v[i]);
        h[i] = g.hi, l[i] = g.lo, k[i] = g.quadrant;
      }
    a = {F64::load(h), F64::load(l), F64::load(k)};
  }
  return a;
}
struct SinCos64 {
  F64 s, c;
};
MC_INL SinCos64 sincos_plain(F64 r, F64 lo) {
  const F64 z = r * r, h = set64(0.5) * z, w = set64(1) - h;
  const F64 s = r + fma(r * z, horner(z, coef::kSinD), lo * w);
  const F64 c = w + (((set64(1) - w) - h) + fma(z * z, horner(z, coef::kCosD), neg(r * lo)));
  return {s, c};
}
MC_INL SinCos64 sincos(F64 x) {
  const Quadrant64 a = reduce_angle64(x);
  const SinCos64 p = sincos_plain(a.hi, a.lo);
  const M64 swap = eq(a.q, set64(1)) | eq(a.q, set64(3));
  const F64 s = select(swap, p.c, p.s), c = select(swap, p.s, p.c);
  return {select(ge(a.q, set64(2)), neg(s), s), select(eq(a.q, set64(1)) | eq(a.q, set64(2)), neg(c), c)};
}
// Below 1 ulp over the whole range.
MC_INL F64 sin(F64 x) { return select(eq(x, F64::zero()), x, sincos(x).s); }
MC_INL F64 cos(F64 x) { return sincos(x).c; }
// Below 2.5 ulp.
MC_INL F64 tan(F64 x) {
  const SinCos64 r = sincos(x);
  return select(eq(x, F64::zero()), x, r.s / r.c);
}

// atan of a/b for a, b >= 0, not both zero or infinite; in [0, pi/2].
MC_INL Two atan_ratio(F64 a, F64 b) {
  const M64 first = le(a, b * set64(0.41421356237309503)), last = gt(a, b * set64(2.414213562373095));
  const F64 num = select(first, a, select(last, neg(b), a - b)),
            den = select(first, b, select(last, a, a + b));
  const F64 base = select(first, F64::zero(), select(last, set64(kHalfPiD), set64(kHalfPiD / 2)));
  const F64 base_lo = select(first, F64::zero(), select(last, set64(kHalfPiLoD), set64(kHalfPiLoD / 2)));
  const F64 t = num / den, z = t * t;
  return {base, t + fma(t * z, horner(z, coef::kAtanD), base_lo)};
}
// Below 2 ulp.
MC_INL F64 arctan(F64 x) {
  const M64 inf = eq(abs(x), set64(kInfD));
  const Two r = atan_ratio(select(inf, set64(1), abs(x)), select(inf, F64::zero(), set64(1)));
  return copysign(r.hi + r.lo, x);
}
// Below 2 ulp.
MC_INL F64 arctan2(F64 y, F64 x) {
  F64 a = abs(y), b = abs(x);
  const M64 nan = is_nan(x) | is_nan(y);
  const F64 one = set64(1), inf = set64(kInfD);
  const M64 ai = eq(a, inf), bi = eq(b, inf);
  a = select(ai, one, select(bi, F64::zero(), a)), b = select(bi, one, select(ai, F64::zero(), b));
  const M64 zero = eq(a, F64::zero()) & eq(b, F64::zero());
  b = select(zero, one, b);
  const F64 top = max(a, b);
  const F64 scale = select(gt(top, set64(0x1p1000)), set64(0x1p-100),
                           select(lt(top, set64(0x1p-900)), set64(0x1p100), one));
  const Two r = atan_ratio(a * scale, b * scale);
  const M64 left = lt(copysign(one, x), F64::zero());
  const F64 turned = (set64(2 * kHalfPiD) - r.hi) + (set64(2 * kHalfPiLoD) - r.lo);
  return select(nan, nan64(), copysign(select(left, turned, r.hi + r.lo), y));
}
struct AsinParts {
  F64 a, s, p, fix;
  M64 small;
};
// |x| <= 1/2: asin = s + p with s = |x|; else asin = pi/2 - 2(s + p + fix), s = sqrt((1-|x|)/2).
MC_INL AsinParts asin_parts(F64 x) {
  const F64 a = abs(x);
  const M64 small = le(a, set64(0.5));
  const F64 z = select(small, a * a, (set64(1) - a) * set64(0.5)), s = select(small, a, sqrt(z));
  const F64 lost = fnma(s, s, z) / (s + s);  // of the square root
  return {a, s, s * z * horner(z, coef::kAsinD), select(small | eq(s, F64::zero()), F64::zero(), lost),
          small};
}
// Below 1.5 ulp.
MC_INL F64 arcsin(F64 x) {
  const AsinParts p = asin_parts(x);
  const F64 t = p.p + p.fix;
  const F64 big = set64(kHalfPiD) - (p.s + p.s - (set64(kHalfPiLoD) - (t + t)));
  return copysign(select(p.small, p.s + p.p, big), x);
}
MC_INL F64 arccos(F64 x) {
  const AsinParts p = asin_parts(x);
  const F64 t = p.p + p.fix;
  const M64 left = lt(x, F64::zero());
  const F64 near = set64(kHalfPiD) - (x - (set64(kHalfPiLoD) - select(left, neg(p.p), p.p)));
  const F64 right = p.s + p.s + (t + t);
  const F64 turned = set64(2 * kHalfPiD) - (p.s + p.s - (set64(2 * kHalfPiLoD) - (t + t)));
  return select(p.small, near, select(left, turned, right));
}

// Below 3 ulp.
MC_INL F64 sinh(F64 x) {
  const F64 a = abs(x), t = expm1(min(set64(30), a));
  const F64 small = set64(0.5) * (t + t / (t + set64(1)));
  const ExpParts64 e = exp_parts64(min(set64(1500), a), F64::zero());
  return copysign(select(gt(a, set64(22)), ldexp(e.p, e.n - set64(1)), small), x);
}
MC_INL F64 cosh(F64 x) {
  const F64 a = abs(x);
  const ExpParts64 e = exp_parts64(min(set64(1500), a), F64::zero());
  const F64 half = ldexp(e.p, e.n - set64(1));
  return select(gt(a, set64(22)), half, half + set64(0.25) / half);
}
MC_INL F64 tanh(F64 x) {
  const F64 a = abs(x), t = expm1(min(set64(60), a + a));
  return copysign(select(lt(a, set64(1)), t / (t + set64(2)), set64(1) - set64(2) / (t + set64(2))), x);
}

// erfc(x)·exp(x²) for x in [0.65, 28]
MC_INL F64 erfcx(F64 x) {
  const F64 k = set64(4), d = set64(1) / (x + k);
  return horner((x - k) * d, coef::kErfcxD) * d;
}
// Below 1.5 ulp.
MC_INL F64 erf(F64 x) {
  const F64 a = abs(x), b = min(set64(6.2), a), z = x * x;
  const Two s = two_product(b, b);
  const ExpParts64 e = exp_parts64(neg(s.hi), neg(s.lo));
  const F64 big = set64(1) - ldexp(e.p * erfcx(max(b, set64(0.65))), e.n);
  return select(le(a, set64(1)), fma(x, horner(z, coef::kErfD), x), copysign(big, x));
}
// Below 4 ulp.
MC_INL F64 erfinv(F64 x) {
  const F64 a = abs(x), one = set64(1);
  const F64 w = neg(select(lt(a, set64(0.5)), log1p(neg(a * a)), log((one - a) * (one + a))));
  const F64 s = sqrt(w);
  const F64 p = select(le(w, set64(6)), horner(w - set64(3), coef::kErfinvLowD),
                       select(le(s, set64(4)), horner(s - set64(3.2), coef::kErfinvMidD),
                              horner(s - set64(5), coef::kErfinvHighD)));
  F64 r = select(eq(a, one), set64(kInfD), a * p);
  r = copysign(r, x);
  return select(le(a, one), r, nan64());
}

// Below 2.5 ulp over the whole range.
MC_INL F64 sigmoid(F64 x) {
  const F64 t = exp(neg(abs(x)));
  return select(lt(x, F64::zero()), t, set64(1)) / (t + set64(1));
}
MC_INL F64 silu(F64 x) {
  const ExpParts64 e = exp_parts64(neg(min(set64(1500), abs(x))), F64::zero());
  const F64 d = ldexp(e.p, e.n) + set64(1), xm = max(set64(-1500), x);
  return select(lt(x, F64::zero()), ldexp(xm * e.p / d, e.n), x / d);
}
// x·Phi(x), below 6 ulp relative in both tails.
MC_INL F64 gelu(F64 x) {
  const F64 t = min(set64(39), abs(x)), r = t * set64(0.70710678118654752440);
  const Two s = two_product(t, t);
  const ExpParts64 e = exp_parts64(set64(-0.5) * s.hi, set64(-0.5) * s.lo);
  const F64 g = set64(0.5) * e.p * erfcx(max(r, set64(0.65)));
  const F64 left = ldexp(max(set64(-39), x) * g, e.n), right = x * (set64(1) - ldexp(g, e.n));
  const F64 y = x * set64(0.70710678118654752440);
  const F64 centre = x * fma(set64(0.5), fma(y, horner(y * y, coef::kErfD), y), set64(0.5));
  return select(le(t, set64(1)), centre, select(lt(x, F64::zero()), left, right));
}
// x·sigmoid(2u), u = sqrt(2/pi)·(x + 0.044715·x³). The exponent is rounded once: 2^-53 of it is the relative
// error.
MC_INL F64 gelu_tanh(F64 x) {
  const F64 t = min(set64(30), abs(x));
  const ExpParts64 e = exp_parts64(
      t * fma(t * t, set64(-1.5957691216057307 * 0.044715), set64(-1.5957691216057307)), F64::zero());
  const F64 d = ldexp(e.p, e.n) + set64(1);
  return select(lt(x, F64::zero()), ldexp(max(set64(-30), x) * e.p / d, e.n), x / d);
}

}  // namespace mc::simd::MC_SIMD_NS
