// The beginning of every generated kernel. Stored types (f16, bf16, bl, c64, c128) and the types they are
// computed in (float, float, bool, cd, cd). Semantics are those of the contract and of the host engine's
// kernels.
#include "backends/cuda/jit.h"

namespace mc::cuda {
namespace {

constexpr const char* kTypes = R"MC(
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32; typedef unsigned long long u64;
typedef signed char i8; typedef short i16; typedef int i32; typedef long long i64; typedef float f32; typedef double f64;
struct bl { u8 v; };
struct f16 { u16 v; };
struct bf16 { u16 v; };
struct __align__(8) c64 { float re, im; };
struct __align__(16) c128 { double re, im; };
struct cd { double re, im; };

__device__ __forceinline__ float bits_f(u32 u) { return __int_as_float((int)u); }
__device__ __forceinline__ float widen(f16 h) { float f; asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h.v)); return f; }
__device__ __forceinline__ float widen(bf16 h) { return bits_f((u32)h.v << 16); }
__device__ __forceinline__ f16 to_f16(float x) { f16 h; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h.v) : "f"(x)); return h; }
__device__ __forceinline__ bf16 to_bf16(float x) { bf16 h; asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(h.v) : "f"(x)); return h; }
// Rounded to odd, so that the rounding to 16 bits that follows is the only one.
__device__ __forceinline__ float odd(double x) {
  float f = __double2float_rz(x);
  if ((double)f != x && x == x) f = bits_f((u32)__float_as_int(f) | 1u);
  return f;
}
__device__ __forceinline__ float r_f16(float x) { return widen(to_f16(x)); }
__device__ __forceinline__ float r_bf16(float x) { return widen(to_bf16(x)); }
__device__ __forceinline__ cd r_c64(cd x) { return {(double)(float)x.re, (double)(float)x.im}; }

__device__ __forceinline__ bool ld(bl x) { return x.v != 0; }
__device__ __forceinline__ float ld(f16 x) { return widen(x); }
__device__ __forceinline__ float ld(bf16 x) { return widen(x); }
__device__ __forceinline__ cd ld(c64 x) { return {(double)x.re, (double)x.im}; }
__device__ __forceinline__ cd ld(c128 x) { return {x.re, x.im}; }
template <class T> __device__ __forceinline__ T ld(T x) { return x; }

template <class S> struct St { template <class C> __device__ static S of(C x) { return (S)x; } };
template <> struct St<bl> { template <class C> __device__ static bl of(C x) { return {(u8)(x ? 1 : 0)}; } };
template <> struct St<f16> { __device__ static f16 of(float x) { return to_f16(x); } };
template <> struct St<bf16> { __device__ static bf16 of(float x) { return to_bf16(x); } };
template <> struct St<c64> { __device__ static c64 of(cd x) { return {(float)x.re, (float)x.im}; } };
template <> struct St<c128> { __device__ static c128 of(cd x) { return {x.re, x.im}; } };
template <class S, class C> __device__ __forceinline__ S st(C x) { return St<S>::of(x); }

template <class T> struct Is { static const bool flt = false, cplx = false; };
template <> struct Is<float> { static const bool flt = true, cplx = false; };
template <> struct Is<double> { static const bool flt = true, cplx = false; };
template <> struct Is<cd> { static const bool flt = false, cplx = true; };
template <class T> __device__ __forceinline__ bool neg_(T x) { return (T)-1 < (T)0 && x < (T)0; }
)MC";

// Conversions: floats to integers truncate and saturate, NaN gives 0; integers wrap; one rounding.
constexpr const char* kCasts = R"MC(
template <class C> __device__ __forceinline__ bool to_bool(C x) { return x != (C)0; }
__device__ __forceinline__ bool to_bool(cd x) { return x.re != 0 || x.im != 0; }
template <class C> __device__ __forceinline__ C plain(C x) { return x; }
__device__ __forceinline__ u8 plain(bool x) { return x; }
__device__ __forceinline__ double plain(cd x) { return x.re; }
template <class T> struct Lim {
  static const int bits = 8 * sizeof(T);
  static const bool sgn = (T)-1 < (T)0;
  __device__ static T min() { return sgn ? (T)((u64)1 << (bits - 1)) : (T)0; }
  __device__ static T max() { return (T)~(sgn ? (u64)1 << (bits - 1) : (u64)0); }
};
template <class T, class F> __device__ __forceinline__ T saturate(F x) {
  const F high = (F)((u64)1 << (Lim<T>::bits - 1 - Lim<T>::sgn)) * 2;
  if (x >= high) return Lim<T>::max();
  if (x > (F)Lim<T>::min()) return (T)x;
  return x == x ? Lim<T>::min() : (T)0;
}
template <class T> __device__ __forceinline__ T int_of(float x) { return saturate<T>(x); }
template <class T> __device__ __forceinline__ T int_of(double x) { return saturate<T>(x); }
template <class T, class C> __device__ __forceinline__ T int_of(C x) { return (T)x; }
template <class T, class C> __device__ __forceinline__ T to_int(C x) { return int_of<T>(plain(x)); }
__device__ __forceinline__ float half_of(float x) { return r_f16(x); }
__device__ __forceinline__ float half_of(double x) { return r_f16(odd(x)); }
template <class C> __device__ __forceinline__ float half_of(C x) { return half_of((double)x); }
__device__ __forceinline__ float brain_of(float x) { return r_bf16(x); }
__device__ __forceinline__ float brain_of(double x) { return r_bf16(odd(x)); }
template <class C> __device__ __forceinline__ float brain_of(C x) { return brain_of((double)x); }
template <class C> __device__ __forceinline__ float to_half(C x) { return half_of(plain(x)); }
template <class C> __device__ __forceinline__ float to_brain(C x) { return brain_of(plain(x)); }
template <class C> __device__ __forceinline__ float to_float(C x) { return (float)plain(x); }
template <class C> __device__ __forceinline__ double to_double(C x) { return (double)plain(x); }
template <class C> __device__ __forceinline__ cd to_c64(C x) { return {(double)(float)plain(x), 0.0}; }
__device__ __forceinline__ cd to_c64(cd x) { return r_c64(x); }
template <class C> __device__ __forceinline__ cd to_c128(C x) { return {(double)plain(x), 0.0}; }
__device__ __forceinline__ cd to_c128(cd x) { return x; }
)MC";

constexpr const char* kReal = R"MC(
#define INL __device__ __forceinline__
// integers: arithmetic wraps in an unsigned type at least as wide as int
template <int n> struct Uns { typedef u32 t; };
template <> struct Uns<8> { typedef u64 t; };
#define WIDE(T) typename Uns<sizeof(T)>::t
template <class T> INL T op_add(T a, T b) { return (T)((WIDE(T))a + (WIDE(T))b); }
template <class T> INL T op_sub(T a, T b) { return (T)((WIDE(T))a - (WIDE(T))b); }
template <class T> INL T op_mul(T a, T b) { return (T)((WIDE(T))a * (WIDE(T))b); }
template <class T> INL T op_neg(T a) { return (T)((WIDE(T))0 - (WIDE(T))a); }
template <class T> INL T op_abs(T a) { return neg_(a) ? op_neg(a) : a; }
template <class T> INL T op_sign(T a) { return (T)((a > (T)0) - (neg_(a) ? 1 : 0)); }
template <class T> INL T op_floordiv(T a, T b) {
  if (b == (T)0) return (T)0;
  if ((T)-1 < (T)0) {
    if (b == (T)-1) return op_neg(a);
    T q = (T)(a / b);
    return (T)(q - ((a % b != 0) && ((a < (T)0) != (b < (T)0))));
  }
  return (T)(a / b);
}
template <class T> INL T op_rem(T a, T b) {
  if (b == (T)0) return (T)0;
  if ((T)-1 < (T)0) {
    if (b == (T)-1) return (T)0;
    T r = (T)(a % b);
    return (T)(r != 0 && ((r < (T)0) != (b < (T)0)) ? r + b : r);
  }
  return (T)(a % b);
}
template <class T> INL T op_pow(T base, T e) {
  if (neg_(e)) return base == (T)1 ? (T)1 : base == (T)-1 ? (T)(e % 2 ? -1 : 1) : (T)0;
  WIDE(T) b = (WIDE(T))base, r = 1;
  for (u64 k = (u64)e; k; k >>= 1) {
    if (k & 1) r *= b;
    b *= b;
  }
  return (T)r;
}
template <class T> INL T op_shl(T a, T n) {
  return neg_(n) || (u64)n >= 8 * sizeof(T) ? (T)0 : (T)((WIDE(T))a << (int)n);
}
template <class T> INL T op_shr(T a, T n) {
  if (neg_(n) || (u64)n >= 8 * sizeof(T)) return neg_(a) ? (T)-1 : (T)0;
  return (T)(a >> (int)n);
}
template <class T> INL T op_max(T a, T b) { return a > b ? a : b; }
template <class T> INL T op_min(T a, T b) { return a < b ? a : b; }
template <class T> INL T op_and(T a, T b) { return (T)(a & b); }
template <class T> INL T op_or(T a, T b) { return (T)(a | b); }
template <class T> INL T op_xor(T a, T b) { return (T)(a ^ b); }
template <class T> INL T op_not(T a) { return (T)~a; }
template <class T> INL T op_floor(T a) { return a; }
template <class T> INL T op_ceil(T a) { return a; }
template <class T> INL T op_round(T a) { return a; }
template <class T> INL bool op_isnan(T) { return false; }
template <class T> INL bool op_isinf(T) { return false; }
template <class T> INL bool op_isfinite(T) { return true; }
template <class T> INL bool op_eq(T a, T b) { return a == b; }
template <class T> INL bool op_ne(T a, T b) { return a != b; }
template <class T> INL bool op_lt(T a, T b) { return a < b; }
template <class T> INL bool op_le(T a, T b) { return a <= b; }
template <class T> INL bool op_gt(T a, T b) { return a > b; }
template <class T> INL bool op_ge(T a, T b) { return a >= b; }
template <class T> INL bool op_land(T a, T b) { return to_bool(a) && to_bool(b); }
template <class T> INL bool op_lor(T a, T b) { return to_bool(a) || to_bool(b); }
template <class T> INL bool op_lnot(T a) { return !to_bool(a); }
template <class T> INL T op_where(bool c, T a, T b) { return c ? a : b; }
// bool
INL bool op_add(bool a, bool b) { return a || b; }
INL bool op_mul(bool a, bool b) { return a && b; }
INL bool op_max(bool a, bool b) { return a || b; }
INL bool op_min(bool a, bool b) { return a && b; }
INL bool op_and(bool a, bool b) { return a && b; }
INL bool op_or(bool a, bool b) { return a || b; }
INL bool op_xor(bool a, bool b) { return a != b; }
INL bool op_not(bool a) { return !a; }
INL bool op_abs(bool a) { return a; }
// floats
#define REAL(T, s)                                                                                   \
  INL T op_add(T a, T b) { return a + b; }                                                           \
  INL T op_sub(T a, T b) { return a - b; }                                                           \
  INL T op_mul(T a, T b) { return a * b; }                                                           \
  INL T op_div(T a, T b) { return a / b; }                                                           \
  INL T op_neg(T a) { return -a; }                                                                   \
  INL T op_abs(T a) { return fabs##s(a); }                                                           \
  INL T op_sign(T a) { return a != a ? a : a > 0 ? (T)1 : a < 0 ? (T)-1 : a + (T)0; }                \
  INL T op_max(T a, T b) { return a != a ? a : b != b ? b : a > b ? a : b; }                         \
  INL T op_min(T a, T b) { return a != a ? a : b != b ? b : a < b ? a : b; }                         \
  INL T op_pow(T a, T b) { return pow##s(a, b); }                                                    \
  INL T op_atan2(T a, T b) { return atan2##s(a, b); }                                                \
  INL void divmod(T a, T b, T& q, T& r) {                                                            \
    if (b == 0) { q = a / b; r = nan##s(""); return; }                                               \
    T mod = fmod##s(a, b), div = (a - mod) / b;                                                      \
    if (mod != 0) { if ((b < 0) != (mod < 0)) { mod += b; div -= 1; } }                              \
    else mod = copysign##s((T)0, b);                                                                 \
    if (div != 0) { T w = floor##s(div); if (div - w > (T)0.5) w += 1; div = w; }                    \
    else div = copysign##s((T)0, a / b);                                                             \
    if (isinf(a) || isinf(b)) div = a / b;                                                           \
    q = div; r = mod;                                                                                \
  }                                                                                                  \
  INL T op_floordiv(T a, T b) { T q, r; divmod(a, b, q, r); return q; }                              \
  INL T op_rem(T a, T b) { T q, r; divmod(a, b, q, r); return r; }                                   \
  INL T op_sqrt(T a) { return sqrt##s(a); }                                                          \
  INL T op_rsqrt(T a) { return (T)1 / sqrt##s(a); }                                                  \
  INL T op_exp(T a) { return exp##s(a); }                                                            \
  INL T op_expm1(T a) { return expm1##s(a); }                                                        \
  INL T op_log(T a) { return log##s(a); }                                                            \
  INL T op_log1p(T a) { return log1p##s(a); }                                                        \
  INL T op_log2(T a) { return log2##s(a); }                                                          \
  INL T op_sin(T a) { return sin##s(a); }                                                            \
  INL T op_cos(T a) { return cos##s(a); }                                                            \
  INL T op_tan(T a) { return tan##s(a); }                                                            \
  INL T op_asin(T a) { return asin##s(a); }                                                          \
  INL T op_acos(T a) { return acos##s(a); }                                                          \
  INL T op_atan(T a) { return atan##s(a); }                                                          \
  INL T op_sinh(T a) { return sinh##s(a); }                                                          \
  INL T op_cosh(T a) { return cosh##s(a); }                                                          \
  INL T op_tanh(T a) { return tanh##s(a); }                                                          \
  INL T op_erf(T a) { return erf##s(a); }                                                            \
  INL T op_erfinv(T a) { return erfinv##s(a); }                                                      \
  INL T op_sigmoid(T a) { if (a >= 0) return (T)1 / ((T)1 + exp##s(-a)); T e = exp##s(a); return e / ((T)1 + e); } \
  INL T op_floor(T a) { return floor##s(a); }                                                        \
  INL T op_ceil(T a) { return ceil##s(a); }                                                          \
  INL T op_round(T a) { return rint##s(a); }                                                         \
  INL bool op_isnan(T a) { return a != a; }                                                          \
  INL bool op_isinf(T a) { return isinf(a); }                                                        \
  INL bool op_isfinite(T a) { return isfinite(a); }
REAL(float, f)
REAL(double, )
)MC";

// Complex numbers are computed in float64; complex64 is rounded once.
// Of parts that are not finite: the host engine's text.
constexpr const char* kSpecialNames = R"MC(
typedef cd Z;
#define MC_SPECIAL INL
#define kInf __longlong_as_double(0x7ff0000000000000ll)
#define kNaN __longlong_as_double(0x7ff8000000000000ll)
)MC";
#define MC_SHARED_CODE(...) #__VA_ARGS__
constexpr const char* kSpecial =
#include "prims/complex_special.h"
    ;
#undef MC_SHARED_CODE

constexpr const char* kComplex = R"MC(

#define SPECIAL(f) if (ends(a.re) || ends(a.im)) return special_##f(a.re, a.im)
INL cd op_add(cd a, cd b) { return {a.re + b.re, a.im + b.im}; }
INL cd op_sub(cd a, cd b) { return {a.re - b.re, a.im - b.im}; }
INL cd op_mul(cd a, cd b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
// A power of two near the larger part; 1 where that part is 0, infinite or NaN.
INL double size_of(cd a) {
  const double m = fmax(fabs(a.re), fabs(a.im));
  const double p = __longlong_as_double(__double_as_longlong(m) & 0x7ff0000000000000ll);
  return p > 0 && p < __longlong_as_double(0x7ff0000000000000ll) ? p : 1.0;
}
INL cd op_div(cd a, cd b) {
  const double s = size_of(b), x = b.re / s, y = b.im / s, q = x * x + y * y;
  return {((a.re * x + a.im * y) / q) / s, ((a.im * x - a.re * y) / q) / s};
}
INL cd op_neg(cd a) { return {-a.re, -a.im}; }
INL cd op_conj(cd a) { return {a.re, -a.im}; }
template <class T> INL T op_conj(T a) { return a; }
INL double op_abs(cd a) {
  if (isinf(a.re) || isinf(a.im)) return __longlong_as_double(0x7ff0000000000000ll);
  const double s = size_of(a), x = a.re / s, y = a.im / s;
  return sqrt(x * x + y * y) * s;
}
INL cd op_exp(cd a) {
  SPECIAL(exp);
  double s, c;
  sincos(a.im, &s, &c);
  const double h = exp(a.re * 0.5);
  if (a.im == 0) return {h * h, a.im};
  return {h * c * h, h * s * h};
}
INL cd op_log(cd a) {
  SPECIAL(log);
  const double big = fmax(fabs(a.re), fabs(a.im)), small = fmin(fabs(a.re), fabs(a.im));
  double re;
  if (isinf(a.re) || isinf(a.im)) re = __longlong_as_double(0x7ff0000000000000ll);
  else if (big > 0.5 && big < 1.5) re = log1p(fma(big - 1, big + 1, small * small)) * 0.5;
  else { const double s = size_of(a), x = a.re / s, y = a.im / s; re = log(x * x + y * y) * 0.5 + log(s); }
  return {re, atan2(a.im, a.re)};
}
INL cd op_log2(cd a) { const cd r = op_log(a); return {r.re * 1.4426950408889634, r.im * 1.4426950408889634}; }
INL cd op_sqrt(cd a) {
  SPECIAL(sqrt);
  const double inf = __longlong_as_double(0x7ff0000000000000ll);
  const double s = size_of(a), x = a.re / s, y = a.im / s, m = sqrt(x * x + y * y);
  const double t = sqrt((fabs(x) + m) * 0.5), u = fabs(y) / (t + t), r = sqrt(s);
  const double p = m == 0 ? 0 : t * r, q = m == 0 ? 0 : u * r;
  double re = a.re < 0 ? q : p, im = a.re < 0 ? p : q;
  const bool im_inf = isinf(a.im);
  if (im_inf || a.re == inf) re = inf; else if (a.re == -inf) re = a.im != a.im ? a.im : 0;
  if (im_inf || a.re == -inf) im = inf; else if (a.re == inf) im = a.im != a.im ? a.im : 0;
  return {re, copysign(im, a.im)};
}
INL cd op_rsqrt(cd a) { return op_div(cd{1, 0}, op_sqrt(a)); }
INL double times_cosh(double t, double y) {
  if (t == 0) return t;
  const double h = exp(fabs(y) * 0.5);
  return fabs(y) > 700 ? t * (h * 0.5) * h : t * cosh(y);
}
INL double times_sinh(double t, double y) {
  if (t == 0 || y == 0) return copysign(0.0, signbit(y) ? -t : t);
  const double h = exp(fabs(y) * 0.5);
  return fabs(y) > 700 ? (y < 0 ? -t : t) * (h * 0.5) * h : t * sinh(y);
}
INL cd op_sinh(cd a) {
  SPECIAL(sinh);
  double s, c;
  sincos(a.im, &s, &c);
  return {times_sinh(c, a.re), times_cosh(a.im == 0 ? a.im : s, a.re)};
}
INL cd op_cosh(cd a) {
  SPECIAL(cosh);
  double s, c;
  sincos(a.im, &s, &c);
  return {times_cosh(c, a.re), times_sinh(a.im == 0 ? a.im : s, a.re)};
}
INL cd op_sin(cd a) { const cd r = op_sinh(cd{-a.im, a.re}); return {r.im, -r.re}; }
INL cd op_cos(cd a) { return op_cosh(cd{-a.im, a.re}); }
INL cd op_tanh(cd a) {
  SPECIAL(tanh);
  double s, c;
  sincos(a.im, &s, &c);
  if (fabs(a.re) > 22) return {copysign(1.0, a.re), s * c * 4 * exp(-2 * fabs(a.re))};
  const double sh = sinh(a.re), ch = cosh(a.re), d = sh * sh + c * c;
  return {sh * ch / d, s * c / d};
}
INL cd op_tan(cd a) { const cd r = op_tanh(cd{-a.im, a.re}); return {r.im, -r.re}; }
INL cd op_pow(cd a, cd b) {
  if (b.re == 0 && b.im == 0) return {1, 0};
  if (a.re == 0 && a.im == 0) { const double z = b.re > 0 ? 0.0 : nan(""); return {z, z}; }
  return op_exp(op_mul(b, op_log(a)));
}
INL cd op_expm1(cd a) {
  SPECIAL(expm1);
  double s, c;
  sincos(a.im, &s, &c);
  const double h = sin(a.im * 0.5), e = expm1(a.re);
  if (a.re > 40) return op_exp(a);
  return {e * c - 2 * h * h, a.im == 0 ? a.im : (e + 1) * s};
}
INL cd op_log1p(cd a) {
  SPECIAL(log);
  const double r = fma(a.re, a.re + 2, a.im * a.im);
  const cd far = op_log(cd{a.re + 1, a.im});
  return {fabs(r) < 0.5 ? log1p(r) * 0.5 : far.re, far.im};
}
// As the host engine's: Hull, Fairgrieve and Tang (1997).
INL double length_of(double x, double y) { return op_abs(cd{x, y}); }
struct Arc { double sine, cosine, b, high; bool flat; };
INL Arc arc_parts(cd z) {
  const double x = fabs(z.re), y = fabs(z.im), big = fmax(x, y);
  if (big > 1e150) {
    const double u = x / big, v = y / big;
    return {u, v, 2, log(big) + log(u * u + v * v) * 0.5 + 0.6931471805599453, false};
  }
  const double r = length_of(x + 1, y), s = length_of(x - 1, y), a = (r + s) * 0.5, sum = a + x;
  const double rest = y * (y / (r + (x + 1)));
  double near, cosine;
  if (x <= 1) {
    near = y == 0 ? 0.0 : y * (y / (s + (1 - x)));
    cosine = sqrt(0.5 * sum * (rest + (s + (1 - x))));
  } else {
    near = s + (x - 1);
    cosine = y * sqrt(0.5 * (sum / (r + (x + 1)) + sum / (s + (x - 1))));
  }
  const double am1 = 0.5 * (rest + near), b = x / a;
  double high = a < 1.5 ? log1p(am1 + sqrt(am1 * (a + 1))) : log(a + sqrt(a * a - 1));
  if (y < 1e-150 && x < 1) high = y / sqrt((1 - x) * (1 + x));
  return {x, cosine, b, high, b <= 0.6417};
}
INL cd op_asin(cd a) {
  SPECIAL(asin);
  const Arc p = arc_parts(a);
  return {copysign(p.flat ? asin(p.b) : atan2(p.sine, p.cosine), a.re), copysign(p.high, a.im)};
}
INL cd op_acos(cd a) {
  SPECIAL(acos);
  const Arc p = arc_parts(a);
  return {p.flat ? acos(copysign(p.b, a.re)) : atan2(p.cosine, copysign(p.sine, a.re)), copysign(p.high, -a.im)};
}
INL cd op_atanh(cd a) {
  SPECIAL(atanh);
  const double x = fabs(a.re), y = fabs(a.im), big = fmax(x, y), gap = 1 - x;
  if (big > 1e150) {
    const double u = x / big, v = y / big;
    return {copysign(u / (u * u + v * v) / big, a.re), copysign(1.5707963267948966, a.im)};
  }
  const double re = gap == 0 && y < 1e-150 ? (0.6931471805599453 - log(y)) * 0.5
                                           : log1p(x * 4 / fma(gap, gap, y * y)) * 0.25;
  return {copysign(re, a.re), copysign(atan2(y + y, fma(gap, 1 + x, -(y * y))) * 0.5, a.im)};
}
INL cd op_atan(cd a) { const cd r = op_atanh(cd{-a.im, a.re}); return {r.im, -r.re}; }
INL cd op_complex(float a, float b) { return {(double)a, (double)b}; }
INL cd op_complex(double a, double b) { return {a, b}; }
INL cd op_round(cd a) { return {rint(a.re), rint(a.im)}; }
INL bool op_eq(cd a, cd b) { return a.re == b.re && a.im == b.im; }
INL bool op_ne(cd a, cd b) { return a.re != b.re || a.im != b.im; }
INL bool op_isnan(cd a) { return a.re != a.re || a.im != a.im; }
INL bool op_isinf(cd a) { return isinf(a.re) || isinf(a.im); }
INL bool op_isfinite(cd a) { return isfinite(a.re) && isfinite(a.im); }
)MC";

}  // namespace

const std::string& jit_prelude() {
  static const std::string text =
      std::string(kTypes) + kCasts + kReal + kSpecialNames + kSpecial + "\n" + kComplex;
  return text;
}

}  // namespace mc::cuda
