// Two float32 operations in one pass over a tile, each rounded on its own: what lies between stays in
// registers.
#pragma once

#include <cstring>
#include <type_traits>

#include "backends/numpy/kernels/tile_float_impl.h"

namespace mc::simd::MC_SIMD_NS {

// Where results go: kPast, past the caches, needs `o` on a boundary of a vector and whole vectors.
template <bool kPast>
MC_INL void put(float* o, F32 x) {
#if MC_SIMD_TARGET == 0
  F32::store(o, x);
#else
  if constexpr (!kPast) {
    F32::store(o, x);
  } else {
    float line[F32::kLanes];
    F32::store(line, x);
#if MC_SIMD_TARGET == 2
    _mm512_stream_ps(o, _mm512_loadu_ps(line));
#else
    _mm256_stream_ps(o, _mm256_loadu_ps(line));
    _mm256_stream_ps(o + 8, _mm256_loadu_ps(line + 8));
#endif
  }
#endif
}

// One operation, or two: second(first(a, b), c), or second(c, first(a, b)) when swapped, where the order
// decides which of two NaNs or zeros stays. An operand whose step is 0 is one line of 16 equal numbers.
struct NoneOf {
  MC_INL F32 run(F32 x, F32) { return x; }
};
template <class First, class Second, bool kSwapped, bool kPast>
static void tile_pair(const float* a, int64_t sa, const float* b, int64_t sb, const float* c, int64_t sc,
                      float* o, int64_t n) {
  constexpr bool kOne = std::is_same_v<Second, NoneOf>;
  auto both = [](F32 x, F32 y, F32 z) {
    const F32 between = First::run(x, y);
    return kSwapped ? Second::run(z, between) : Second::run(between, z);
  };
  int64_t i = 0;
  for (; i + F32::kLanes <= n; i += F32::kLanes) {
    const F32 x = F32::load(a + i * sa), y = F32::load(b + i * sb);
    put<kPast>(o + i, both(x, y, kOne ? x : F32::load(c + i * sc)));
  }
  if (i < n) {
    const int k = static_cast<int>(n - i);
    const F32 x = F32::load(a + i * sa, k), y = F32::load(b + i * sb, k);
    F32::store(o + i, both(x, y, kOne ? x : F32::load(c + i * sc, k)), k);
  }
}

template <class First, bool kPast>
constexpr void set_pairs(kernels::PairFn (&row)[kernels::kPairOps + 1][2]) {
  row[kernels::kPairOps][0] = row[kernels::kPairOps][1] = tile_pair<First, NoneOf, false, kPast>;
  row[0][0] = tile_pair<First, AddOf, false, kPast>, row[0][1] = tile_pair<First, AddOf, true, kPast>;
  row[1][0] = tile_pair<First, SubtractOf, false, kPast>,
  row[1][1] = tile_pair<First, SubtractOf, true, kPast>;
  row[2][0] = tile_pair<First, MultiplyOf, false, kPast>,
  row[2][1] = tile_pair<First, MultiplyOf, true, kPast>;
  row[3][0] = tile_pair<First, MaximumOf, false, kPast>, row[3][1] = tile_pair<First, MaximumOf, true, kPast>;
  row[4][0] = tile_pair<First, MinimumOf, false, kPast>, row[4][1] = tile_pair<First, MinimumOf, true, kPast>;
}

#if MC_SIMD_TARGET > 0
// Past the caches, whole cache lines at a time.
static void stream(char* dst, const char* src, size_t n) {
  const size_t head = std::min(n, (64 - reinterpret_cast<uintptr_t>(dst) % 64) % 64);
  std::memcpy(dst, src, head);
  dst += head, src += head, n -= head;
  for (; n >= 64; n -= 64, dst += 64, src += 64) {
#if MC_SIMD_TARGET == 2
    _mm512_stream_si512(reinterpret_cast<__m512i*>(dst), _mm512_loadu_si512(src));
#else
    const __m256i lo = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(src)),
                  hi = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(src + 32));
    _mm256_stream_si256(reinterpret_cast<__m256i*>(dst), lo);
    _mm256_stream_si256(reinterpret_cast<__m256i*>(dst + 32), hi);
#endif
  }
  std::memcpy(dst, src, n);
}
#endif

template <bool kPast>
constexpr void set_all(kernels::PairFn (&fn)[kernels::kPairOps][kernels::kPairOps + 1][2]) {
  set_pairs<AddOf, kPast>(fn[0]);
  set_pairs<SubtractOf, kPast>(fn[1]);
  set_pairs<MultiplyOf, kPast>(fn[2]);
  set_pairs<MaximumOf, kPast>(fn[3]);
  set_pairs<MinimumOf, kPast>(fn[4]);
}

constexpr kernels::PairTiles make_pairs() {
  kernels::PairTiles t;
  set_all<false>(t.fn);
  set_all<true>(t.streaming);
#if MC_SIMD_TARGET > 0
  t.stream = stream;
#endif
  return t;
}

}  // namespace mc::simd::MC_SIMD_NS
