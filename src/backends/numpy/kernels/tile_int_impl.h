// Integer and bool tiles, and those that only move bytes. Plain loops, left to the compiler to vectorize;
// compiled once for the baseline and once for AVX2.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "backends/numpy/kernels/tile_table.h"

#ifdef __AVX2__
#define MC_TILE_NS avx2
#else
#define MC_TILE_NS scalar
#endif

namespace mc::simd::MC_TILE_NS {

// Arithmetic wraps: in an unsigned type at least as wide as int.
template <class T>
using Wide = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
template <class T>
inline constexpr int kBits = 8 * sizeof(T);

#define MC_INT_OP1(Name, expr)     \
  struct Name##Int {               \
    template <class T>             \
    static T run(T x) {            \
      return static_cast<T>(expr); \
    }                              \
  };
#define MC_INT_OP2(Name, expr)  \
  struct Name##Int {            \
    template <class T>          \
    static auto run(T x, T y) { \
      return expr;              \
    }                           \
  };
template <class T>
static T floor_divide(T a, T b) {
  if (b == 0) return 0;
  if constexpr (std::is_signed_v<T>) {
    if (b == -1) return static_cast<T>(Wide<T>{0} - static_cast<Wide<T>>(a));
    const T q = static_cast<T>(a / b);
    return static_cast<T>(q - (a % b != 0 && (a < 0) != (b < 0)));
  } else {
    return static_cast<T>(a / b);
  }
}
template <class T>
static T remainder(T a, T b) {
  if (b == 0) return 0;
  if constexpr (std::is_signed_v<T>) {
    if (b == -1) return 0;
    const T r = static_cast<T>(a % b);
    return static_cast<T>(r != 0 && (r < 0) != (b < 0) ? r + b : r);
  } else {
    return static_cast<T>(a % b);
  }
}
template <class T>
static T power(T base, T e) {
  if constexpr (std::is_signed_v<T>) {
    if (e < 0) return base == 1 ? T{1} : base == -1 ? static_cast<T>(e % 2 ? -1 : 1) : T{0};
  }
  Wide<T> b = static_cast<Wide<T>>(base), r = 1;
  for (auto k = static_cast<std::make_unsigned_t<T>>(e); k;
       k = static_cast<std::make_unsigned_t<T>>(k >> 1)) {
    if (k & 1) r *= b;
    b *= b;
  }
  return static_cast<T>(r);
}
template <class T>
static T left_shift(T a, T n) {
  const auto k = static_cast<std::make_unsigned_t<T>>(n);
  return k < kBits<T> ? static_cast<T>(static_cast<Wide<T>>(a) << k) : T{0};
}
template <class T>
static T right_shift(T a, T n) {
  const auto k = static_cast<std::make_unsigned_t<T>>(n);
  if (k < kBits<T>) return static_cast<T>(a >> k);
  return static_cast<T>(std::is_signed_v<T> && a < T{0} ? -1 : 0);
}

#define MC_INT_UNARY(X)                                                                                   \
  X(Negative, Wide<T>{0} - static_cast<Wide<T>>(x))                                                       \
  X(Abs, std::is_signed_v<T>&& x < T{0} ? Wide<T>{0} - static_cast<Wide<T>>(x) : static_cast<Wide<T>>(x)) \
  X(Sign, (x > T{0}) - (std::is_signed_v<T> && x < T{0}))                                                 \
  X(Square, static_cast<Wide<T>>(x) * static_cast<Wide<T>>(x))                                            \
  X(BitwiseNot, ~x) X(Copy, x) X(Floor, x) X(Ceil, x) X(Round, x) X(Conj, x) X(Real, x) X(Imag, T{0} * x)
#define MC_INT_BINARY(X)                                                                             \
  X(Add, static_cast<T>(static_cast<Wide<T>>(x) + static_cast<Wide<T>>(y)))                          \
  X(Subtract, static_cast<T>(static_cast<Wide<T>>(x) - static_cast<Wide<T>>(y)))                     \
  X(Multiply, static_cast<T>(static_cast<Wide<T>>(x) * static_cast<Wide<T>>(y)))                     \
  X(FloorDivide, floor_divide(x, y))                                                                 \
  X(Remainder, remainder(x, y))                                                                      \
  X(Power, power(x, y))                                                                              \
  X(Maximum, x > y ? x : y)                                                                          \
  X(Minimum, x < y ? x : y) X(BitwiseAnd, static_cast<T>(x & y)) X(BitwiseOr, static_cast<T>(x | y)) \
      X(BitwiseXor, static_cast<T>(x ^ y)) X(LeftShift, left_shift(x, y)) X(RightShift, right_shift(x, y))
#define MC_INT_COMPARE(X)                                                      \
  X(Equal, x == y)                                                             \
  X(NotEqual, x != y)                                                          \
  X(Less, x < y)                                                               \
  X(LessEqual, x <= y)                                                         \
  X(Greater, x > y) X(GreaterEqual, x >= y) X(LogicalAnd, (x != 0) & (y != 0)) \
      X(LogicalOr, (x != 0) | (y != 0)) X(LogicalXor, (x != 0) ^ (y != 0))
MC_INT_UNARY(MC_INT_OP1)
MC_INT_BINARY(MC_INT_OP2)
MC_INT_COMPARE(MC_INT_OP2)
// bool's own, on bytes of 0 and 1
MC_INT_OP1(LogicalNot, x == 0)

template <class T, class R, class Op>
static void int1(const void* a, const void*, const void*, void* out, int64_t n) {
  const T* p = static_cast<const T*>(a);
  R* o = static_cast<R*>(out);
  for (int64_t i = 0; i < n; ++i) o[i] = static_cast<R>(Op::run(p[i]));
}
template <class T, class R, class Op>
static void int2(const void* a, const void* b, const void*, void* out, int64_t n) {
  const T *p = static_cast<const T*>(a), *q = static_cast<const T*>(b);
  R* o = static_cast<R*>(out);
  for (int64_t i = 0; i < n; ++i) o[i] = static_cast<R>(Op::run(p[i], q[i]));
}
template <uint8_t value>
static void fill_bool(const void*, const void*, const void*, void* out, int64_t n) {
  std::memset(out, value, static_cast<size_t>(n));
}
template <class T>
static void where(const void* a, const void* b, const void* c, void* out, int64_t n) {
  const uint8_t* m = static_cast<const uint8_t*>(a);
  const T *p = static_cast<const T*>(b), *q = static_cast<const T*>(c);
  T* o = static_cast<T*>(out);
  for (int64_t i = 0; i < n; ++i) o[i] = m[i] ? p[i] : q[i];
}
template <int size>
static void copy(const void* a, const void*, const void*, void* out, int64_t n) {
  if (a != out) std::memmove(out, a, static_cast<size_t>(n) * size);
}

template <class T>
constexpr kernels::TileRow int_row() {
  kernels::TileRow r;
  using P = kernels::PwOp;
#define MC_SET1(Name, expr) r[P::Name] = int1<T, T, Name##Int>;
#define MC_SET2(Name, expr) r[P::Name] = int2<T, T, Name##Int>;
#define MC_SETC(Name, expr) r[P::Name] = int2<T, uint8_t, Name##Int>;
  MC_INT_UNARY(MC_SET1)
  MC_INT_BINARY(MC_SET2)
  MC_INT_COMPARE(MC_SETC)
  r[P::LogicalNot] = int1<T, uint8_t, LogicalNotInt>;
  r[P::IsNan] = r[P::IsInf] = fill_bool<0>;
  r[P::IsFinite] = fill_bool<1>;
  r[P::Where] = where<T>;
  return r;
}
constexpr kernels::TileRow bool_row() {
  kernels::TileRow r;
  using P = kernels::PwOp;
  using B = uint8_t;
  r[P::Add] = r[P::Maximum] = r[P::LogicalOr] = r[P::BitwiseOr] = int2<B, B, LogicalOrInt>;
  r[P::Multiply] = r[P::Minimum] = r[P::LogicalAnd] = r[P::BitwiseAnd] = int2<B, B, LogicalAndInt>;
  r[P::LogicalXor] = r[P::BitwiseXor] = r[P::NotEqual] = int2<B, B, LogicalXorInt>;
  r[P::Equal] = int2<B, B, EqualInt>;
  r[P::Less] = int2<B, B, LessInt>;
  r[P::LessEqual] = int2<B, B, LessEqualInt>;
  r[P::Greater] = int2<B, B, GreaterInt>;
  r[P::GreaterEqual] = int2<B, B, GreaterEqualInt>;
  r[P::LogicalNot] = r[P::BitwiseNot] = int1<B, B, LogicalNotInt>;
  r[P::Copy] = r[P::Abs] = r[P::Square] = r[P::Conj] = r[P::Real] = copy<1>;
  r[P::IsNan] = r[P::IsInf] = r[P::Imag] = fill_bool<0>;
  r[P::IsFinite] = fill_bool<1>;
  r[P::Where] = where<uint8_t>;
  return r;
}
struct Pair128 {
  uint64_t a, b;
};

inline constexpr kernels::IntTiles make_int_tiles() {
  kernels::IntTiles t;
  t.row[0] = bool_row();
  t.row[1] = int_row<uint8_t>();
  t.row[2] = int_row<uint16_t>();
  t.row[3] = int_row<uint32_t>();
  t.row[4] = int_row<uint64_t>();
  t.row[5] = int_row<int8_t>();
  t.row[6] = int_row<int16_t>();
  t.row[7] = int_row<int32_t>();
  t.row[8] = int_row<int64_t>();
  t.where[0] = where<uint8_t>, t.where[1] = where<uint16_t>, t.where[2] = where<uint32_t>,
  t.where[3] = where<uint64_t>;
  t.where[4] = where<Pair128>;
  t.copy[0] = copy<1>, t.copy[1] = copy<2>, t.copy[2] = copy<4>, t.copy[3] = copy<8>, t.copy[4] = copy<16>;
  return t;
}

}  // namespace mc::simd::MC_TILE_NS
