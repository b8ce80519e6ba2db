// Reductions once for all instruction sets: kReduceRow.
#pragma once

#include <algorithm>

#include "backends/numpy/kernels/reduce.h"
#include "backends/numpy/simd/lanes_io.h"

namespace mc::simd::MC_SIMD_NS {

struct JoinSum {
  static constexpr double kStart = 0;
  template <class V>
  MC_INL V join(V a, V x) {
    return a + x;
  }
};
struct JoinProd {
  static constexpr double kStart = 1;
  template <class V>
  MC_INL V join(V a, V x) {
    return a * x;
  }
};
// Of two zeros the first stays.
struct JoinMax {
  static constexpr double kStart = -__builtin_inf();
  template <class V>
  MC_INL V join(V a, V x) {
    return select(is_nan(x), x, max(x, a));
  }
};
struct JoinMin {
  static constexpr double kStart = __builtin_inf();
  template <class V>
  MC_INL V join(V a, V x) {
    return select(is_nan(x), x, min(x, a));
  }
};

// Elements of type T as vectors of accumulators.
template <class T>
struct Wide {
  using V = F32;
  using A = float;
  MC_INL V load(const T* p) { return vload(p); }
  MC_INL V load(const T* p, int n) { return vload(p, n); }
  MC_INL auto first(int n) { return first_lanes(n); }
};
template <>
struct Wide<double> {
  using V = F64;
  using A = double;
  MC_INL V load(const double* p) { return F64::load(p); }
  MC_INL V load(const double* p, int n) { return F64::load(p, n); }
  MC_INL auto first(int n) { return first_lanes8(n); }
};

template <class T, class R>
static void join_blocks(void* accumulators, const void* data, int64_t blocks) {
  using W = Wide<T>;
  using V = typename W::V;
  constexpr int kVectors = 64 / V::kLanes;
  auto* acc = static_cast<typename W::A*>(accumulators);
  const T* p = static_cast<const T*>(data);
  V v[kVectors];
  for (int k = 0; k < kVectors; ++k) v[k] = V::load(acc + k * V::kLanes);
  for (int64_t b = 0; b < blocks; ++b, p += 64) {
    for (int k = 0; k < kVectors; ++k) v[k] = R::join(v[k], W::load(p + k * V::kLanes));
  }
  for (int k = 0; k < kVectors; ++k) V::store(acc + k * V::kLanes, v[k]);
}

template <class T, class R>
static void join_run(const void* data, int64_t n, void* out) {
  using W = Wide<T>;
  using V = typename W::V;
  using A = typename W::A;
  constexpr int kVectors = 64 / V::kLanes, kParts = 16 / V::kLanes;
  const V start = V::set(static_cast<A>(R::kStart));
  const T* p = static_cast<const T*>(data);
  V v[kVectors];
  for (int k = 0; k < kVectors; ++k) v[k] = start;
  int64_t i = 0;
  for (; i + 64 <= n; i += 64) {
    for (int k = 0; k < kVectors; ++k) v[k] = R::join(v[k], W::load(p + i + k * V::kLanes));
  }
  for (int k = 0; k < kVectors; ++k) {
    const int left = static_cast<int>(n - i) - k * V::kLanes;
    if (left <= 0) break;
    const T* q = p + i + k * V::kLanes;
    // Joining the start value changes nothing: no accumulator is -0 in a sum that starts from 0.
    v[k] = R::join(v[k], left >= V::kLanes ? W::load(q) : select(W::first(left), W::load(q, left), start));
  }
  A lane[16];
  for (int h = 0; h < kParts; ++h)
    V::store(lane + h * V::kLanes,
             R::join(R::join(v[h], v[kParts + h]), R::join(v[2 * kParts + h], v[3 * kParts + h])));
  // The tree on halves of the array: lanes behind the half are read but not used.
  A padded[16 + V::kLanes];
  for (int k = 0; k < 16; ++k) padded[k] = lane[k];
  for (int k = 16; k < 16 + V::kLanes; ++k) padded[k] = static_cast<A>(R::kStart);
  if constexpr (V::kLanes == 8) V::store(padded, R::join(V::load(padded), V::load(padded + 8)));
  V x = V::load(padded);
  for (int half = V::kLanes == 16 ? 8 : 4; half >= 1; half /= 2) {
    V::store(padded, x);
    x = R::join(x, V::load(padded + half));
  }
  V::store(padded, x);
  *static_cast<A*>(out) = padded[0];
}

// Row i belongs to accumulator i mod 64, so up to four rows 64 apart are joined while their accumulators are
// in registers.
template <class T, class R>
static void join_rows(void* accumulators, int64_t width, const void* data, int64_t stride, int64_t rows,
                      int64_t cols, int64_t at) {
  using W = Wide<T>;
  using V = typename W::V;
  auto* const acc = static_cast<typename W::A*>(accumulators);
  const T* const p = static_cast<const T*>(data);
  for (int64_t block = 0; block < rows; block += 256) {
    for (int64_t j = 0; j < std::min<int64_t>(64, rows - block); ++j) {
      auto* const a = acc + (at + block + j) % 64 * width;
      const T* const x = p + (block + j) * stride;
      const int64_t step = 64 * stride, count = std::min<int64_t>(4, (rows - block - j + 63) / 64);
      int64_t c = 0;
      if (count == 4) {
        for (; c + V::kLanes <= cols; c += V::kLanes) {
          V v = R::join(V::load(a + c), W::load(x + c));
          v = R::join(v, W::load(x + c + step));
          v = R::join(v, W::load(x + c + 2 * step));
          V::store(a + c, R::join(v, W::load(x + c + 3 * step)));
        }
      } else {
        for (; c + V::kLanes <= cols; c += V::kLanes) {
          V v = V::load(a + c);
          for (int64_t k = 0; k < count; ++k) v = R::join(v, W::load(x + c + k * step));
          V::store(a + c, v);
        }
      }
      if (const int n = static_cast<int>(cols - c); n > 0) {
        V v = V::load(a + c, n);
        for (int64_t k = 0; k < count; ++k) v = R::join(v, W::load(x + c + k * step, n));
        V::store(a + c, v, n);
      }
    }
  }
}

// Only accumulators that have elements: they are a prefix, and the others change nothing.
template <class T, class R>
static void fold_rows(void* accumulators, int64_t width, int64_t n, int64_t cols, void* out) {
  using V = typename Wide<T>::V;
  using A = typename Wide<T>::A;
  A* const acc = static_cast<A*>(accumulators);
  const int have = static_cast<int>(std::min<int64_t>(n, 64)), lanes = std::min(have, 16);
  const auto join = [&](int to, int from) MC_LAMBDA {
    A *a = acc + to * width, *b = acc + from * width;
    int64_t c = 0;
    for (; c + V::kLanes <= cols; c += V::kLanes) V::store(a + c, R::join(V::load(a + c), V::load(b + c)));
    if (const int k = static_cast<int>(cols - c); k > 0)
      V::store(a + c, R::join(V::load(a + c, k), V::load(b + c, k)), k);
  };
  for (int l = 0; l < lanes; ++l) {
    if (16 + l < have) join(l, 16 + l);
    if (48 + l < have) join(32 + l, 48 + l);
    if (32 + l < have) join(l, 32 + l);
  }
  for (int half = 8; half >= 1; half /= 2)
    for (int l = 0; l < half && l + half < lanes; ++l) join(l, l + half);
  std::memcpy(out, acc, static_cast<size_t>(cols) * sizeof(A));
}

template <class T, class R>
constexpr kernels::ReduceFns kReduceFns = {join_run<T, R>, join_blocks<T, R>, join_rows<T, R>,
                                           fold_rows<T, R>};
#define MC_REDUCE_OF(R) \
  { kReduceFns<float, R>, kReduceFns<double, R>, kReduceFns<float16, R>, kReduceFns<bfloat16, R> }
constexpr kernels::ReduceTable kReduceRow = {
    {MC_REDUCE_OF(JoinSum), MC_REDUCE_OF(JoinProd), MC_REDUCE_OF(JoinMax), MC_REDUCE_OF(JoinMin)}};
#undef MC_REDUCE_OF

}  // namespace mc::simd::MC_SIMD_NS
