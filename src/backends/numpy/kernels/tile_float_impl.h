// float32 and float64 tiles, once for all instruction sets: make_row<F32>() and make_row<F64>().
#pragma once

#include "backends/numpy/kernels/tile_table.h"
#include "backends/numpy/simd/lanes_io.h"
#include "backends/numpy/simd/math_f32.h"
#include "backends/numpy/simd/math_f64.h"

namespace mc::simd::MC_SIMD_NS {

template <class V>
struct Element;
template <>
struct Element<F32> {
  using T = float;
  using M = M32;
};
template <>
struct Element<F64> {
  using T = double;
  using M = M64;
};

// The 0/1 bytes of a mask, for its first n lanes.
MC_INL void store_bools(uint8_t* out, uint32_t bits, int n) {
  for (int i = 0; i < n; ++i) out[i] = bits >> i & 1;
}
#if MC_SIMD_TARGET > 0
MC_INL __m128i spread_bits(uint32_t bits) {
  const __m128i pick = _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
  const __m128i bit = _mm_set1_epi64x(static_cast<int64_t>(0x8040201008040201ull));
  const __m128i v = _mm_and_si128(_mm_shuffle_epi8(_mm_cvtsi32_si128(static_cast<int>(bits)), pick), bit);
  return _mm_and_si128(_mm_cmpeq_epi8(v, bit), _mm_set1_epi8(1));
}
MC_INL void store_bools(uint8_t* out, M32 m) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), spread_bits(mask_bits(m)));
}
MC_INL void store_bools(uint8_t* out, M64 m) {
  _mm_storel_epi64(reinterpret_cast<__m128i*>(out), spread_bits(mask_bits(m)));
}
#else
MC_INL void store_bools(uint8_t* out, M32 m) { store_bools(out, mask_bits(m), 16); }
MC_INL void store_bools(uint8_t* out, M64 m) { store_bools(out, mask_bits(m), 8); }
#endif

// Half the lanes at a time in float64, rounded once.
#define MC_VIA_F64(name) \
  MC_INL F32 name(F32 x) { return narrow(name(widen_lo(x)), name(widen_hi(x))); }
MC_VIA_F64(expm1)
MC_VIA_F64(exp2)
MC_VIA_F64(log1p)
MC_VIA_F64(log2)
MC_VIA_F64(tan)
MC_VIA_F64(arcsin)
MC_VIA_F64(arccos)
MC_VIA_F64(arctan)
MC_VIA_F64(sinh)
MC_VIA_F64(cosh)
MC_VIA_F64(erfinv)
#undef MC_VIA_F64
MC_INL F32 arctan2(F32 y, F32 x) {
  return narrow(arctan2(widen_lo(y), widen_lo(x)), arctan2(widen_hi(y), widen_hi(x)));
}
// float32 powers don't need the logarithm in two parts.
MC_INL F64 pow_single(F64 x, F64 y) {
  const F64 ax = abs(x);
  const F64 p = max(F64::set(-1500), min(F64::set(1500), y * log(ax)));
  F64 r = exp(p);
  const M64 negative = lt(copysign(F64::set(1), x), F64::zero());
  r = select(negative & is_odd(y), neg(r), r);
  r = select(lt(x, F64::zero()) & lt(ax, F64::set(kInfD)) & ~is_whole(y), nan64(), r);
  r = select(is_nan(x) | is_nan(y), nan64(), r);
  r = select(eq(ax, F64::set(1)) & eq(abs(y), F64::set(kInfD)), F64::set(1), r);
  return select(eq(x, F64::set(1)) | eq(y, F64::zero()), F64::set(1), r);
}
MC_INL F32 pow(F32 x, F32 y) {
  return narrow(pow_single(widen_lo(x), widen_lo(y)), pow_single(widen_hi(x), widen_hi(y)));
}
template <class V>
MC_INL V sign(V x) {
  const V one = V::set(1);
  return select(is_nan(x), x,
                select(gt(x, V::zero()), one, select(lt(x, V::zero()), neg(one), x + V::zero())));
}
// NaN in either gives NaN; of two zeros either may be returned, the second here.
template <class V>
MC_INL V maximum(V x, V y) {
  return select(is_nan(x), x, max(x, y));
}
template <class V>
MC_INL V minimum(V x, V y) {
  return select(is_nan(x), x, min(x, y));
}

#define MC_OP1(Name, expr) \
  struct Name##Of {        \
    template <class V>     \
    MC_INL V run(V x) {    \
      return expr;         \
    }                      \
  };
#define MC_OP2(Name, expr)      \
  struct Name##Of {             \
    template <class V>          \
    MC_INL auto run(V x, V y) { \
      return expr;              \
    }                           \
  };
#define MC_TEST1(Name, expr) \
  struct Name##Of {          \
    template <class V>       \
    MC_INL auto run(V x) {   \
      return expr;           \
    }                        \
  };
#define MC_FLOAT_UNARY(X)                                                                                   \
  X(Negative, neg(x))                                                                                       \
  X(Abs, abs(x))                                                                                            \
  X(Sign, sign(x))                                                                                          \
  X(Sqrt, sqrt(x))                                                                                          \
  X(Rsqrt, V::set(1) / sqrt(x)) X(Square, x* x) X(Reciprocal, V::set(1) / x) X(Exp, exp(x))                 \
      X(Expm1, expm1(x)) X(Exp2, exp2(x)) X(Log, log(x)) X(Log1p, log1p(x)) X(Log2, log2(x)) X(Sin, sin(x)) \
          X(Cos, cos(x)) X(Tan, tan(x)) X(Arcsin, arcsin(x)) X(Arccos, arccos(x)) X(Arctan, arctan(x))      \
              X(Sinh, sinh(x)) X(Cosh, cosh(x)) X(Tanh, tanh(x)) X(Erf, erf(x)) X(Erfinv, erfinv(x))        \
                  X(Sigmoid, sigmoid(x)) X(Silu, silu(x)) X(Gelu, gelu(x)) X(GeluTanh, gelu_tanh(x))        \
                      X(Floor, floor(x)) X(Ceil, ceil(x)) X(Round, round(x))
#define MC_FLOAT_BINARY(X) \
  X(Add, x + y)            \
  X(Subtract, x - y)       \
  X(Multiply, x* y)        \
  X(Divide, x / y)         \
  X(Power, pow(x, y)) X(Maximum, maximum(x, y)) X(Minimum, minimum(x, y)) X(Arctan2, arctan2(x, y))
#define MC_FLOAT_COMPARE(X)                                                                         \
  X(Equal, eq(x, y))                                                                                \
  X(NotEqual, ne(x, y))                                                                             \
  X(Less, lt(x, y))                                                                                 \
  X(LessEqual, le(x, y))                                                                            \
  X(Greater, gt(x, y)) X(GreaterEqual, ge(x, y)) X(LogicalAnd, ne(x, V::zero()) & ne(y, V::zero())) \
      X(LogicalOr, ne(x, V::zero()) | ne(y, V::zero()))                                             \
          X(LogicalXor, (ne(x, V::zero()) & eq(y, V::zero())) | (eq(x, V::zero()) & ne(y, V::zero())))
#define MC_FLOAT_TEST(X)                         \
  X(IsNan, is_nan(x))                            \
  X(IsInf, eq(abs(x), V::set(__builtin_inff()))) \
  X(IsFinite, lt(abs(x), V::set(__builtin_inff()))) X(LogicalNot, eq(x, V::zero()))
MC_FLOAT_UNARY(MC_OP1)
MC_FLOAT_BINARY(MC_OP2)
MC_FLOAT_COMPARE(MC_OP2)
MC_FLOAT_TEST(MC_TEST1)

template <class V, class Op>
static void tile1(const void* a, const void*, const void*, void* out, int64_t n) {
  using T = typename Element<V>::T;
  const T* p = static_cast<const T*>(a);
  T* o = static_cast<T*>(out);
  int64_t i = 0;
  for (; i + V::kLanes <= n; i += V::kLanes) V::store(o + i, Op::run(V::load(p + i)));
  if (i < n) {
    const int k = static_cast<int>(n - i);
    V::store(o + i, Op::run(V::load(p + i, k)), k);
  }
}
template <class V, class Op>
static void tile2(const void* a, const void* b, const void*, void* out, int64_t n) {
  using T = typename Element<V>::T;
  const T *p = static_cast<const T*>(a), *q = static_cast<const T*>(b);
  T* o = static_cast<T*>(out);
  int64_t i = 0;
  for (; i + V::kLanes <= n; i += V::kLanes) V::store(o + i, Op::run(V::load(p + i), V::load(q + i)));
  if (i < n) {
    const int k = static_cast<int>(n - i);
    V::store(o + i, Op::run(V::load(p + i, k), V::load(q + i, k)), k);
  }
}
template <class V, class Op>
static void compare2(const void* a, const void* b, const void*, void* out, int64_t n) {
  using T = typename Element<V>::T;
  const T *p = static_cast<const T*>(a), *q = static_cast<const T*>(b);
  uint8_t* o = static_cast<uint8_t*>(out);
  int64_t i = 0;
  for (; i + V::kLanes <= n; i += V::kLanes) store_bools(o + i, Op::run(V::load(p + i), V::load(q + i)));
  if (i < n) {
    const int k = static_cast<int>(n - i);
    store_bools(o + i, mask_bits(Op::run(V::load(p + i, k), V::load(q + i, k))), k);
  }
}
template <class V, class Op>
static void test1(const void* a, const void*, const void*, void* out, int64_t n) {
  using T = typename Element<V>::T;
  const T* p = static_cast<const T*>(a);
  uint8_t* o = static_cast<uint8_t*>(out);
  int64_t i = 0;
  for (; i + V::kLanes <= n; i += V::kLanes) store_bools(o + i, Op::run(V::load(p + i)));
  if (i < n) {
    const int k = static_cast<int>(n - i);
    store_bools(o + i, mask_bits(Op::run(V::load(p + i, k))), k);
  }
}

template <class V>
constexpr kernels::TileRow make_row() {
  kernels::TileRow r;
  using P = kernels::PwOp;
#define MC_SET1(Name, expr) r[P::Name] = tile1<V, Name##Of>;
#define MC_SET2(Name, expr) r[P::Name] = tile2<V, Name##Of>;
#define MC_SETC(Name, expr) r[P::Name] = compare2<V, Name##Of>;
#define MC_SETT(Name, expr) r[P::Name] = test1<V, Name##Of>;
  MC_FLOAT_UNARY(MC_SET1)
  MC_FLOAT_BINARY(MC_SET2)
  MC_FLOAT_COMPARE(MC_SETC)
  MC_FLOAT_TEST(MC_SETT)
  return r;
}

}  // namespace mc::simd::MC_SIMD_NS
