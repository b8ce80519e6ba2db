// complex64 and complex128 tiles: both are computed in float64, complex64 rounded once.
#pragma once

#include "backends/numpy/kernels/complex_special.h"
#include "backends/numpy/kernels/tile_table.h"
#include "backends/numpy/simd/math_f64.h"

namespace mc::simd::MC_SIMD_NS {

struct C64 {
  F64 re, im;
};
MC_INL C64 operator+(C64 a, C64 b) { return {a.re + b.re, a.im + b.im}; }
MC_INL C64 operator-(C64 a, C64 b) { return {a.re - b.re, a.im - b.im}; }
MC_INL C64 operator*(C64 a, C64 b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
// A power of two near the larger part, to divide by without overflow; 1 where that part is 0, infinite or
// NaN.
MC_INL F64 size_of(C64 a) {
  const F64 m = max(abs(a.re), abs(a.im));
  const F64 p = as_f64(as_i64(m) & I64::set(0x7ff0000000000000));
  return select(gt(p, F64::zero()) & lt(p, set64(kInfD)), p, set64(1));
}
// Its reciprocal, exact save at the ends of the range.
MC_INL C64 operator/(C64 a, C64 b) {
  const F64 s = size_of(b);
  const C64 d = {b.re / s, b.im / s};
  const F64 q = d.re * d.re + d.im * d.im;
  return {((a.re * d.re + a.im * d.im) / q) / s, ((a.im * d.re - a.re * d.im) / q) / s};
}
MC_INL F64 magnitude_of(F64 re, F64 im) {
  const F64 s = size_of(C64{re, im}), x = re / s, y = im / s;
  return sqrt(x * x + y * y) * s;
}
MC_INL F64 magnitude(C64 a) {
  const F64 s = size_of(a), x = a.re / s, y = a.im / s;
  const M64 inf = eq(abs(a.re), set64(kInfD)) | eq(abs(a.im), set64(kInfD));
  return select(inf, set64(kInfD), sqrt(x * x + y * y) * s);
}
MC_INL C64 exp(C64 a) {
  const SinCos64 t = sincos(a.im);
  // In two factors: the magnitude may overflow where the parts do not.
  const F64 h = exp(a.re * set64(0.5));
  const M64 real = eq(a.im, F64::zero());
  return {select(real, h * h, h * t.c * h), select(real, a.im, h * t.s * h)};
}
MC_INL C64 log(C64 a) {
  const F64 s = size_of(a), x = a.re / s, y = a.im / s, m = x * x + y * y;
  // Near the unit circle log|a| needs |a|² - 1 without cancellation.
  const F64 big = max(abs(a.re), abs(a.im)), small = min(abs(a.re), abs(a.im));
  const F64 close = log1p(fma(big - set64(1), big + set64(1), small * small)) * set64(0.5);
  const M64 near = gt(big, set64(0.5)) & lt(big, set64(1.5));
  const F64 re = select(near, close, log(m) * set64(0.5) + log(s));
  return {re, arctan2(a.im, a.re)};
}
MC_INL C64 sqrt(C64 a) {
  const F64 s = size_of(a), x = a.re / s, y = a.im / s, m = sqrt(x * x + y * y);
  const F64 t = sqrt((abs(x) + m) * set64(0.5)), u = abs(y) / (t + t);
  // sqrt(s·z) = sqrt(s)·sqrt(z); sqrt of the power of two is correctly rounded.
  const F64 r = sqrt(s);
  const M64 zero = eq(m, F64::zero());
  const F64 p = select(zero, F64::zero(), t * r), q = select(zero, F64::zero(), u * r);
  const M64 left = lt(a.re, F64::zero());
  return {select(left, q, p), copysign(select(left, p, q), a.im)};
}
// t·cosh(y) and t·sinh(y), in two factors where the second would overflow and the product may not.
MC_INL F64 times_cosh(F64 t, F64 y) {
  const F64 h = exp(abs(y) * set64(0.5));
  const F64 far = t * (h * set64(0.5)) * h;
  return select(eq(t, F64::zero()), t, select(gt(abs(y), set64(700)), far, t * cosh(y)));
}
MC_INL F64 times_sinh(F64 t, F64 y) {
  const F64 h = exp(abs(y) * set64(0.5));
  const F64 far = flip_sign(t, y) * (h * set64(0.5)) * h;
  const M64 zero = eq(t, F64::zero()) | eq(y, F64::zero());
  return select(zero, copysign(F64::zero(), flip_sign(t, y)),
                select(gt(abs(y), set64(700)), far, t * sinh(y)));
}
MC_INL C64 sinh(C64 a) {
  const SinCos64 t = sincos(a.im);
  const F64 s = select(eq(a.im, F64::zero()), a.im, t.s);
  return {times_sinh(t.c, a.re), times_cosh(s, a.re)};
}
MC_INL C64 cosh(C64 a) {
  const SinCos64 t = sincos(a.im);
  const F64 s = select(eq(a.im, F64::zero()), a.im, t.s);
  return {times_cosh(t.c, a.re), times_sinh(s, a.re)};
}
// tanh(x+iy) = (sinh 2x + i sin 2y)/(cosh 2x + cos 2y), in a form that neither overflows nor cancels.
MC_INL C64 tanh(C64 a) {
  const SinCos64 t = sincos(a.im);
  const F64 y = select(eq(a.im, F64::zero()), a.im, t.s);
  const F64 x = copysign(min(abs(a.re), set64(300)), a.re), sh = sinh(x), ch = cosh(x);
  const F64 d = sh * sh + t.c * t.c;
  const M64 far = gt(abs(a.re), set64(22));
  return {select(far, copysign(set64(1), a.re), sh * ch / d),
          select(far, y * t.c * set64(4) * exp(set64(-2) * abs(a.re)), y * t.c / d)};
}
// f(z) = -i·g(iz) for sin and sinh, tan and tanh, arcsin and arcsinh, arctan and arctanh.
MC_INL C64 turned(C64 a) { return {neg(a.im), a.re}; }
MC_INL C64 turned_back(C64 r) { return {r.im, neg(r.re)}; }
MC_INL C64 sin(C64 a) { return turned_back(sinh(turned(a))); }
MC_INL C64 cos(C64 a) { return cosh(turned(a)); }
MC_INL C64 tan(C64 a) { return turned_back(tanh(turned(a))); }

// Hull, Fairgrieve and Tang, "Implementing the complex arcsine and arccosine functions using exception
// handling" (1997): a = (|z+1| + |z-1|)/2, and b = Re z/a is the sine.
struct ArcParts {
  F64 sine, cosine;  // their quotient is the tangent of the angle in the first quadrant
  F64 b, high;       // the imaginary part's magnitude
  M64 flat;          // whether b is exact enough
};
MC_INL ArcParts arc_parts(C64 z) {
  const F64 one = set64(1), half = set64(0.5);
  const F64 x = abs(z.re), y = abs(z.im);
  const F64 r = magnitude_of(x + one, y), s = magnitude_of(x - one, y), a = (r + s) * half;
  const M64 inside = le(x, one), real = eq(y, F64::zero());
  // a - 1 = (r - (x+1) + s - |x-1|)/2 and what lies beyond 1, without cancellation
  const F64 rest = y * (y / (r + (x + one)));
  const F64 near = select(real, F64::zero(), y * (y / (s + (one - x))));
  const F64 am1 = half * (rest + select(inside, near, s + (x - one)));
  // Inside the circle y² may vanish beside what it is divided by.
  const M64 thin = lt(y, set64(1e-150)) & lt(x, one);
  const M64 huge = gt(max(x, y), set64(1e150));
  F64 high = select(lt(a, set64(1.5)), log1p(am1 + sqrt(am1 * (a + one))), log(a + sqrt(a * a - one)));
  high = select(thin, y / sqrt((one - x) * (one + x)), high);
  const F64 big = max(x, y), u = x / big, v = y / big;
  high = select(huge, log(big) + log(u * u + v * v) * half + set64(0x1.62e42fefa39efp-1), high);
  const F64 sum = a + x;
  const F64 cosine = select(inside, sqrt(half * sum * (rest + (s + (one - x)))),
                            y * sqrt(half * (sum / (r + (x + one)) + sum / (s + (x - one)))));
  const F64 b = x / a;
  return {select(huge, u, x), select(huge, v, cosine), b, high, le(b, set64(0.6417)) & ~huge};
}
MC_INL C64 arcsin(C64 z) {
  const ArcParts p = arc_parts(z);
  const F64 re = select(p.flat, arcsin(min(p.b, set64(1))), arctan2(p.sine, p.cosine));
  return {copysign(re, z.re), copysign(p.high, z.im)};
}
MC_INL C64 arccos(C64 z) {
  const ArcParts p = arc_parts(z);
  const F64 b = copysign(min(p.b, set64(1)), z.re);
  const F64 re = select(p.flat, arccos(b), arctan2(p.cosine, copysign(p.sine, z.re)));
  return {re, copysign(p.high, neg(z.im))};
}
MC_INL C64 arctanh(C64 z) {
  const F64 one = set64(1), half = set64(0.5), x = abs(z.re), y = abs(z.im);
  const F64 gap = one - x, d = fma(gap, gap, y * y);
  const M64 huge = gt(max(x, y), set64(1e150));
  // Beside the pole y² vanishes: log(2/y)/2.
  const M64 pole = eq(gap, F64::zero()) & lt(y, set64(1e-150));
  const F64 big = max(x, y), u = x / big, v = y / big;
  F64 re = log1p(x * set64(4) / d) * set64(0.25);
  re = select(pole, (set64(0x1.62e42fefa39efp-1) - log(y)) * half, re);
  re = select(huge, u / (u * u + v * v) / big, re);
  const F64 im = select(huge, set64(kHalfPiD), arctan2(y + y, fma(gap, one + x, neg(y * y))) * half);
  return {copysign(re, z.re), copysign(im, z.im)};
}
MC_INL C64 arctan(C64 z) { return turned_back(arctanh(turned(z))); }
MC_INL C64 recip(C64 a) { return C64{set64(1), F64::zero()} / a; }
MC_INL C64 pow(C64 a, C64 b) {
  const M64 zero_base = eq(a.re, F64::zero()) & eq(a.im, F64::zero());
  const M64 zero_exp = eq(b.re, F64::zero()) & eq(b.im, F64::zero());
  const C64 r = exp(b * log(a));
  const M64 up = gt(b.re, F64::zero());
  const F64 re0 = select(up, F64::zero(), nan64());
  return {select(zero_exp, set64(1), select(zero_base, re0, r.re)),
          select(zero_exp, F64::zero(), select(zero_base, re0, r.im))};
}
MC_INL C64 expm1(C64 a) {
  // e^x cos y - 1 = expm1(x) cos y - 2 sin²(y/2)
  const SinCos64 t = sincos(a.im);
  const F64 h = sin(a.im * set64(0.5)), e = expm1(a.re);
  const M64 far = gt(a.re, set64(40)), real = eq(a.im, F64::zero());
  const C64 whole = exp(a);
  return {select(far, whole.re, e * t.c - set64(2) * h * h),
          select(real, a.im, select(far, whole.im, (e + set64(1)) * t.s))};
}
MC_INL C64 log1p(C64 a) {
  const F64 r = fma(a.re, a.re + set64(2), a.im * a.im);
  const C64 far = log(C64{a.re + set64(1), a.im});
  const M64 close = lt(abs(r), set64(0.5));
  return {select(close, log1p(r) * set64(0.5), far.re), far.im};
}

// Eight numbers, re and im alternating in memory.
template <class T>
MC_INL C64 cload(const T* p, int n) {
  double re[8] = {}, im[8] = {};
  for (int i = 0; i < n; ++i)
    re[i] = static_cast<double>(p[2 * i]), im[i] = static_cast<double>(p[2 * i + 1]);
  return {F64::load(re), F64::load(im)};
}
template <class T>
MC_INL void cstore(T* p, C64 a, int n) {
  double re[8], im[8];
  F64::store(re, a.re), F64::store(im, a.im);
  for (int i = 0; i < n; ++i) p[2 * i] = static_cast<T>(re[i]), p[2 * i + 1] = static_cast<T>(im[i]);
}
template <class T>
MC_INL void rstore(T* p, F64 a, int n) {
  double v[8];
  F64::store(v, a);
  for (int i = 0; i < n; ++i) p[i] = static_cast<T>(v[i]);
}
MC_INL void mstore(uint8_t* p, M64 m, int n) {
  const uint32_t bits = mask_bits(m);
  for (int i = 0; i < n; ++i) p[i] = bits >> i & 1;
}
MC_INL M64 nonzero(C64 a) { return ne(a.re, F64::zero()) | ne(a.im, F64::zero()); }

#define MC_C1(Name, expr)                                                              \
  template <class T>                                                                   \
  static void c##Name(const void* a, const void*, const void*, void* out, int64_t n) { \
    for (int64_t i = 0; i < n; i += 8) {                                               \
      const int k = n - i < 8 ? static_cast<int>(n - i) : 8;                           \
      const C64 x = cload(static_cast<const T*>(a) + 2 * i, k);                        \
      cstore(static_cast<T*>(out) + 2 * i, expr, k);                                   \
    }                                                                                  \
  }
// The same, with the function for parts that are not finite.
#define MC_CS(Name, expr)                                                              \
  template <class T>                                                                   \
  static void c##Name(const void* a, const void*, const void*, void* out, int64_t n) { \
    for (int64_t i = 0; i < n; i += 8) {                                               \
      const int k = n - i < 8 ? static_cast<int>(n - i) : 8;                           \
      const T* const from = static_cast<const T*>(a) + 2 * i;                          \
      T* const to = static_cast<T*>(out) + 2 * i;                                      \
      const C64 x = cload(from, k);                                                    \
      const M64 plain = lt(abs(x.re), set64(kInfD)) & lt(abs(x.im), set64(kInfD));     \
      const uint32_t odd = ~mask_bits(plain) & 0xffu;                                  \
      cstore(to, expr, k);                                                             \
      if (!odd) continue;                                                              \
      double re[8], im[8];                                                             \
      F64::store(re, x.re), F64::store(im, x.im);                                      \
      for (int j = 0; j < k; ++j) {                                                    \
        if (!(odd >> j & 1)) continue;                                                 \
        const kernels::Z z = kernels::kSpecial##Name(re[j], im[j]);                    \
        to[2 * j] = static_cast<T>(z.re), to[2 * j + 1] = static_cast<T>(z.im);        \
      }                                                                                \
    }                                                                                  \
  }
#define MC_C2(Name, expr)                                                                \
  template <class T>                                                                     \
  static void c##Name(const void* a, const void* b, const void*, void* out, int64_t n) { \
    for (int64_t i = 0; i < n; i += 8) {                                                 \
      const int k = n - i < 8 ? static_cast<int>(n - i) : 8;                             \
      const C64 x = cload(static_cast<const T*>(a) + 2 * i, k);                          \
      const C64 y = cload(static_cast<const T*>(b) + 2 * i, k);                          \
      cstore(static_cast<T*>(out) + 2 * i, expr, k);                                     \
    }                                                                                    \
  }
#define MC_CR(Name, expr)                                                              \
  template <class T>                                                                   \
  static void c##Name(const void* a, const void*, const void*, void* out, int64_t n) { \
    for (int64_t i = 0; i < n; i += 8) {                                               \
      const int k = n - i < 8 ? static_cast<int>(n - i) : 8;                           \
      const C64 x = cload(static_cast<const T*>(a) + 2 * i, k);                        \
      rstore(static_cast<T*>(out) + i, expr, k);                                       \
    }                                                                                  \
  }
#define MC_CB(Name, expr)                                                                \
  template <class T>                                                                     \
  static void c##Name(const void* a, const void* b, const void*, void* out, int64_t n) { \
    for (int64_t i = 0; i < n; i += 8) {                                                 \
      const int k = n - i < 8 ? static_cast<int>(n - i) : 8;                             \
      const C64 x = cload(static_cast<const T*>(a) + 2 * i, k);                          \
      const C64 y = b ? cload(static_cast<const T*>(b) + 2 * i, k) : x;                  \
      (void)y;                                                                           \
      mstore(static_cast<uint8_t*>(out) + i, expr, k);                                   \
    }                                                                                    \
  }
#define MC_COMPLEX_1(X)                    \
  X(Negative, (C64{neg(x.re), neg(x.im)})) \
  X(Conj, (C64{x.re, neg(x.im)}))          \
  X(Square, x* x)                          \
  X(Reciprocal, recip(x))                  \
  X(Rsqrt, recip(sqrt(x)))                 \
  X(Round, (C64{round(x.re), round(x.im)}))
#define MC_COMPLEX_S(X)                                                  \
  X(Exp, exp(x))                                                         \
  X(Expm1, expm1(x))                                                     \
  X(Log, log(x))                                                         \
  X(Log2, (C64{log(x).re * set64(kLog2eD), log(x).im * set64(kLog2eD)})) \
  X(Sqrt, sqrt(x))                                                       \
  X(Sin, sin(x))                                                         \
  X(Cos, cos(x))                                                         \
  X(Tan, tan(x))                                                         \
  X(Sinh, sinh(x))                                                       \
  X(Cosh, cosh(x))                                                       \
  X(Tanh, tanh(x))                                                       \
  X(Arcsin, arcsin(x))                                                   \
  X(Arccos, arccos(x))                                                   \
  X(Arctan, arctan(x))                                                   \
  X(Log1p, log1p(x))
#define MC_COMPLEX_2(X) \
  X(Add, x + y) X(Subtract, x - y) X(Multiply, x* y) X(Divide, x / y) X(Power, pow(x, y))
#define MC_COMPLEX_R(X) X(Abs, magnitude(x)) X(Real, x.re) X(Imag, x.im)
#define MC_COMPLEX_B(X)                                                  \
  X(Equal, eq(x.re, y.re) & eq(x.im, y.im))                              \
  X(NotEqual, ne(x.re, y.re) | ne(x.im, y.im))                           \
  X(LogicalAnd, nonzero(x) & nonzero(y))                                 \
  X(LogicalOr, nonzero(x) | nonzero(y))                                  \
  X(LogicalNot, ~nonzero(x))                                             \
  X(LogicalXor, (nonzero(x) & ~nonzero(y)) | (~nonzero(x) & nonzero(y))) \
  X(IsNan, is_nan(x.re) | is_nan(x.im))                                  \
  X(IsInf, eq(abs(x.re), set64(kInfD)) | eq(abs(x.im), set64(kInfD)))    \
  X(IsFinite, lt(abs(x.re), set64(kInfD)) & lt(abs(x.im), set64(kInfD)))
MC_COMPLEX_1(MC_C1)
MC_COMPLEX_S(MC_CS)
MC_COMPLEX_2(MC_C2)
MC_COMPLEX_R(MC_CR)
MC_COMPLEX_B(MC_CB)

template <class T>
constexpr kernels::TileRow complex_row() {
  kernels::TileRow r;
  using P = kernels::PwOp;
#define MC_SET(Name, expr) r[P::Name] = c##Name<T>;
  MC_COMPLEX_1(MC_SET)
  MC_COMPLEX_S(MC_SET)
  MC_COMPLEX_2(MC_SET)
  MC_COMPLEX_R(MC_SET)
  MC_COMPLEX_B(MC_SET)
#undef MC_SET
  return r;
}

}  // namespace mc::simd::MC_SIMD_NS
