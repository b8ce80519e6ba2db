// Stable sorting along an axis, NaN last, and searching in sorted rows.
#include <algorithm>
#include <bit>
#include <cmath>
#include <complex>
#include <cstring>
#include <numeric>
#include <type_traits>
#include <utility>
#include <vector>

#include "backends/numpy/dtype_dispatch.h"
#include "backends/numpy/kernel.h"
#include "backends/numpy/simd/convert.h"
#include "base/thread_pool.h"
#include "prims/attrs.h"

namespace mc::numpy {
namespace {

template <class T>
struct Less {
  bool operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>) return a < b || (std::isnan(b) && !std::isnan(a));
    return a < b;
  }
};

// An unsigned number in the order of Less: zeros of both signs are equal, every NaN is the largest.
template <class T>
auto sort_key(T v) {
  if constexpr (std::is_floating_point_v<T>) {
    using U = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
    if (std::isnan(v)) return static_cast<U>(~U{0});
    v += T{0};
    const U u = std::bit_cast<U>(v), top = U{1} << (8 * sizeof(U) - 1);
    return static_cast<U>(u & top ? ~u : u | top);
  } else {
    using U = std::conditional_t<sizeof(T) <= 4, uint32_t, uint64_t>;
    constexpr U kTop = std::is_signed_v<T> ? U{1} << (8 * sizeof(U) - 1) : 0;
    if constexpr (std::is_signed_v<T>)
      return static_cast<U>(static_cast<U>(static_cast<std::make_signed_t<U>>(v)) ^ kTop);
    else
      return static_cast<U>(v);
  }
}

constexpr int64_t kRadixFrom = 512;  // shorter lines are merged

// Stable, by eleven bits a pass from the lowest; a digit that all keys share takes none.
template <class K>
class Radix {
 public:
  explicit Radix(size_t n) : from_(n), to_(n) {}
  void set(size_t i, K key) { from_[i] = {key, static_cast<uint32_t>(i)}; }
  void sort(std::vector<int32_t>& order) {
    std::vector<uint32_t> counts(kPasses << kBits);
    for (const Pair& p : from_)
      for (size_t d = 0; d < kPasses; ++d) ++counts[(d << kBits) + digit(p.key, d)];
    for (size_t d = 0; d < kPasses; ++d) {
      uint32_t* const count = counts.data() + (d << kBits);
      if (count[digit(from_[0].key, d)] == from_.size()) continue;
      uint32_t sum = 0;
      for (size_t i = 0; i < (size_t{1} << kBits); ++i) sum += std::exchange(count[i], sum);
      for (const Pair& p : from_) to_[count[digit(p.key, d)]++] = p;
      from_.swap(to_);
    }
    for (size_t i = 0; i < from_.size(); ++i) order[i] = static_cast<int32_t>(from_[i].index);
  }

 private:
  struct Pair {
    K key;
    uint32_t index;
  };
  static constexpr size_t kBits = 11, kPasses = (8 * sizeof(K) + kBits - 1) / kBits;
  static size_t digit(K key, size_t d) {
    return static_cast<size_t>(key >> (d * kBits)) & ((size_t{1} << kBits) - 1);
  }
  std::vector<Pair> from_, to_;
};

// Runs fn(values, indices) for each line along the axis: values are the line, widened; indices 0 … n-1 sorted
// stably.
template <class T, class Read, class Done>
void each_line(const Shape& shape, int axis, Read read, Done done) {
  int64_t outer = 1, n = 1, inner = 1;
  for (int d = 0; d < shape.ndim(); ++d) (d < axis ? outer : d == axis ? n : inner) *= shape[d];
  if (n == 0) return;
  parallel_for(outer * inner, std::max<int64_t>(1, 4096 / n), [&](int64_t begin, int64_t end) {
    std::vector<int32_t> order(static_cast<size_t>(n));
    if (n >= kRadixFrom) {
      Radix<decltype(sort_key(T{}))> radix(static_cast<size_t>(n));
      for (int64_t line = begin; line < end; ++line) {
        const int64_t base = line / inner * n * inner + line % inner;
        for (int64_t i = 0; i < n; ++i)
          radix.set(static_cast<size_t>(i), sort_key(static_cast<T>(read(base + i * inner))));
        radix.sort(order);
        done(base, inner, order);
      }
      return;
    }
    std::vector<T> values(static_cast<size_t>(n));
    for (int64_t line = begin; line < end; ++line) {
      const int64_t base = line / inner * n * inner + line % inner;
      for (int64_t i = 0; i < n; ++i) values[static_cast<size_t>(i)] = read(base + i * inner);
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
        return Less<T>()(values[static_cast<size_t>(a)], values[static_cast<size_t>(b)]);
      });
      done(base, inner, order);
    }
  });
}

template <class F>
void with_reader(const Tensor& t, F f) {
  if (is_complex(t.dtype)) throw Error(ErrorCode::Internal, "complex numbers have no order", "sort");
  with_real(t.dtype, [&](auto tag) {
    using T = decltype(tag);
    if constexpr (std::is_same_v<T, float16> || std::is_same_v<T, bfloat16>)
      f(float{}, [p = t.as<T>()](int64_t i) { return simd::to_f32(p[i]); });
    else
      f(T{}, [p = t.as<T>()](int64_t i) { return p[i]; });
  });
}

void sort(const Call& c) {
  const size_t item = itemsize(c.in[0].dtype);
  with_reader(c.in[0], [&](auto tag, auto read) {
    each_line<decltype(tag)>(c.in[0].shape, c.attr<AxisAttrs>().axis, read,
                             [&](int64_t base, int64_t stride, const std::vector<int32_t>& order) {
                               const auto gather = [&](auto unit) {
                                 using U = decltype(unit);
                                 const U* const from = c.in[0].as<U>() + base;
                                 U* const to = c.out[0].as<U>() + base;
                                 for (size_t i = 0; i < order.size(); ++i)
                                   to[static_cast<int64_t>(i) * stride] = from[order[i] * stride];
                               };
                               switch (item) {
                                 case 1: return gather(uint8_t{});
                                 case 2: return gather(uint16_t{});
                                 case 4: return gather(uint32_t{});
                                 default: return gather(uint64_t{});
                               }
                             });
  });
}

void argsort(const Call& c) {
  with_reader(c.in[0], [&](auto tag, auto read) {
    each_line<decltype(tag)>(c.in[0].shape, c.attr<AxisAttrs>().axis, read,
                             [&](int64_t base, int64_t stride, const std::vector<int32_t>& order) {
                               for (size_t i = 0; i < order.size(); ++i)
                                 c.out[0].as<int32_t>()[base + static_cast<int64_t>(i) * stride] = order[i];
                             });
  });
}

void searchsorted(const Call& c) {
  const bool right = c.attr<SearchAttrs>().right;
  const int64_t n = c.in[0].numel(), m = c.in[1].numel();
  with_reader(c.in[0], [&](auto tag, auto read) {
    using T = decltype(tag);
    with_reader(c.in[1], [&](auto, auto value) {
      const Less<T> less;
      parallel_for(m, 1024, [&](int64_t begin, int64_t end) {
        for (int64_t k = begin; k < end; ++k) {
          const T v = static_cast<T>(value(k));
          int64_t lo = 0, hi = n;
          while (lo < hi) {
            const int64_t mid = (lo + hi) / 2;
            const bool before = right ? !less(v, read(mid)) : less(read(mid), v);
            if (before)
              lo = mid + 1;
            else
              hi = mid;
          }
          c.out[0].as<int32_t>()[k] = static_cast<int32_t>(lo);
        }
      });
    });
  });
}

constexpr KernelRow kRows[] = {{Op::Sort, sort}, {Op::ArgSort, argsort}, {Op::SearchSorted, searchsorted}};

}  // namespace

std::span<const KernelRow> sort_kernels() { return kRows; }

}  // namespace mc::numpy
