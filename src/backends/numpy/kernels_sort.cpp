// Stable sorting along an axis, NaN last, and searching in sorted rows.
#include <algorithm>
#include <complex>
#include <cstring>
#include <numeric>
#include <vector>

#include "backends/numpy/kernel.h"
#include "base/thread_pool.h"
#include "prims/attrs.h"

namespace mc::numpy {
namespace {

float widen_half(uint16_t bits, bool bf16) {
  if (bf16) {
    const uint32_t u = static_cast<uint32_t>(bits) << 16;
    float f;
    std::memcpy(&f, &u, 4);
    return f;
  }
  _Float16 h;
  std::memcpy(&h, &bits, 2);
  return static_cast<float>(h);
}

template <class T>
struct Less {
  bool operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>) return a < b || (b != b && a == a);
    return a < b;
  }
};

// Runs fn(values, indices) for each line along the axis: values are the line, widened; indices 0 … n-1 sorted
// stably.
template <class T, class Read, class Done>
void each_line(const Shape& shape, int axis, Read read, Done done) {
  int64_t outer = 1, n = 1, inner = 1;
  for (int d = 0; d < shape.ndim(); ++d) (d < axis ? outer : d == axis ? n : inner) *= shape[d];
  if (n == 0) return;
  parallel_for(outer * inner, std::max<int64_t>(1, 4096 / n), [&](int64_t begin, int64_t end) {
    std::vector<T> values(static_cast<size_t>(n));
    std::vector<int32_t> order(static_cast<size_t>(n));
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
  switch (t.dtype) {
    case Dtype::Bool:
    case Dtype::U8: return f(uint8_t{}, [p = t.as<uint8_t>()](int64_t i) { return p[i]; });
    case Dtype::U16: return f(uint16_t{}, [p = t.as<uint16_t>()](int64_t i) { return p[i]; });
    case Dtype::U32: return f(uint32_t{}, [p = t.as<uint32_t>()](int64_t i) { return p[i]; });
    case Dtype::U64: return f(uint64_t{}, [p = t.as<uint64_t>()](int64_t i) { return p[i]; });
    case Dtype::I8: return f(int8_t{}, [p = t.as<int8_t>()](int64_t i) { return p[i]; });
    case Dtype::I16: return f(int16_t{}, [p = t.as<int16_t>()](int64_t i) { return p[i]; });
    case Dtype::I32: return f(int32_t{}, [p = t.as<int32_t>()](int64_t i) { return p[i]; });
    case Dtype::I64: return f(int64_t{}, [p = t.as<int64_t>()](int64_t i) { return p[i]; });
    case Dtype::F16: return f(float{}, [p = t.as<uint16_t>()](int64_t i) { return widen_half(p[i], false); });
    case Dtype::BF16: return f(float{}, [p = t.as<uint16_t>()](int64_t i) { return widen_half(p[i], true); });
    case Dtype::F32: return f(float{}, [p = t.as<float>()](int64_t i) { return p[i]; });
    case Dtype::F64: return f(double{}, [p = t.as<double>()](int64_t i) { return p[i]; });
    default: throw Error(ErrorCode::Internal, "complex numbers have no order", "sort");
  }
}

void sort(const Call& c) {
  const size_t item = itemsize(c.in[0].dtype);
  with_reader(c.in[0], [&](auto tag, auto read) {
    each_line<decltype(tag)>(
        c.in[0].shape, c.attr<AxisAttrs>().axis, read,
        [&](int64_t base, int64_t stride, const std::vector<int32_t>& order) {
          for (size_t i = 0; i < order.size(); ++i)
            std::memcpy(c.out[0].data + static_cast<size_t>(base + static_cast<int64_t>(i) * stride) * item,
                        c.in[0].data + static_cast<size_t>(base + order[i] * stride) * item, item);
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
