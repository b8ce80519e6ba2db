// Conversions between all dtypes; see pointwise.h for what they do outside the target's range.
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <tuple>
#include <type_traits>
#include <utility>

#include "backends/numpy/kernels/pointwise.h"
#include "backends/numpy/simd/convert.h"

namespace mc::kernels {
namespace {

struct Bool {
  uint8_t v;
};
template <class T>
struct Complex {
  T re, im;
};
template <class T>
inline constexpr bool kIsComplex = false;
template <class T>
inline constexpr bool kIsComplex<Complex<T>> = true;

// Dtype's order.
using Types = std::tuple<Bool, uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t,
                         float16, bfloat16, float, double, Complex<float>, Complex<double>>;
static_assert(std::tuple_size_v<Types> == kDtypeCount);

// A source as a plain arithmetic value.
template <class S>
inline auto plain(S x) {
  if constexpr (std::is_same_v<S, Bool>)
    return static_cast<uint8_t>(x.v != 0);
  else if constexpr (std::is_same_v<S, float16> || std::is_same_v<S, bfloat16>)
    return simd::to_f32(x);
  else if constexpr (kIsComplex<S>)
    return x.re;
  else
    return x;
}
template <class D, class F>
inline D saturate(F x) {
  constexpr F high = static_cast<F>(uint64_t{1} << (std::numeric_limits<D>::digits - 1)) * 2;
  if (x >= high) return std::numeric_limits<D>::max();
  if (x > static_cast<F>(std::numeric_limits<D>::min())) return static_cast<D>(x);
  return std::isnan(x) ? D{0} : std::numeric_limits<D>::min();
}
template <class D, class S>
inline D convert(S s) {
  if constexpr (std::is_same_v<D, Bool>) {
    if constexpr (kIsComplex<S>)
      return {static_cast<uint8_t>(s.re != 0 || s.im != 0)};
    else
      return {static_cast<uint8_t>(plain(s) != 0)};
  } else if constexpr (kIsComplex<D>) {
    using T = decltype(D::re);
    if constexpr (kIsComplex<S>)
      return {static_cast<T>(s.re), static_cast<T>(s.im)};
    else
      return {static_cast<T>(plain(s)), 0};
  } else {
    const auto x = plain(s);
    using X = std::remove_const_t<decltype(x)>;
    // 64-bit integers reach the 16-bit floats through float64.
    using W = std::conditional_t<std::is_same_v<X, float>, float, double>;
    if constexpr (std::is_same_v<D, float16>)
      return simd::to_f16(static_cast<W>(x));
    else if constexpr (std::is_same_v<D, bfloat16>)
      return simd::to_bf16(static_cast<W>(x));
    else if constexpr (std::is_floating_point_v<X> && std::is_integral_v<D>)
      return saturate<D>(x);
    else
      return static_cast<D>(x);
  }
}

template <class S, class D>
void cast_tile(const void* a, const void*, const void*, void* out, int64_t n) {
  const S* s = static_cast<const S*>(a);
  D* d = static_cast<D*>(out);
  if constexpr (std::is_same_v<S, D> && !std::is_same_v<D, Bool>)
    std::memmove(d, s, static_cast<size_t>(n) * sizeof(S));
  else if constexpr ((std::is_same_v<S, float16> || std::is_same_v<S, bfloat16>)&&std::is_same_v<D, float>)
    simd::widen(s, d, n);
  else if constexpr (std::is_same_v<S, float> && (std::is_same_v<D, float16> || std::is_same_v<D, bfloat16>))
    simd::narrow(s, d, n);
  else
    for (int64_t i = 0; i < n; ++i) d[i] = convert<D>(s[i]);
}

template <size_t... I>
constexpr auto make_table(std::index_sequence<I...>) {
  return std::array<TileFn, sizeof...(I)>{cast_tile<std::tuple_element_t<I / kDtypeCount, Types>,
                                                    std::tuple_element_t<I % kDtypeCount, Types>>...};
}
constexpr auto kCasts = make_table(std::make_index_sequence<kDtypeCount * kDtypeCount>());

template <class T>
void load_strided(T* dst, const T* src, int64_t stride, int64_t n) {
  if (stride == 0) {
    const T x = *src;
    for (int64_t i = 0; i < n; ++i) dst[i] = x;
  } else {
    for (int64_t i = 0; i < n; ++i) dst[i] = src[i * stride];
  }
}
struct Pair {
  uint64_t a, b;
};

}  // namespace

TileFn cast_fn(Dtype from, Dtype to) {
  return kCasts[static_cast<size_t>(from) * kDtypeCount + static_cast<size_t>(to)];
}

void load_tile(void* dst, const void* src, int item, int64_t stride, int64_t n) {
  if (n <= 0) return;
  if (stride == 1) {
    std::memcpy(dst, src, static_cast<size_t>(n * item));
    return;
  }
  switch (item) {
    case 1: load_strided(static_cast<uint8_t*>(dst), static_cast<const uint8_t*>(src), stride, n); break;
    case 2: load_strided(static_cast<uint16_t*>(dst), static_cast<const uint16_t*>(src), stride, n); break;
    case 4: load_strided(static_cast<uint32_t*>(dst), static_cast<const uint32_t*>(src), stride, n); break;
    case 8: load_strided(static_cast<uint64_t*>(dst), static_cast<const uint64_t*>(src), stride, n); break;
    default: load_strided(static_cast<Pair*>(dst), static_cast<const Pair*>(src), stride, n); break;
  }
}

}  // namespace mc::kernels
