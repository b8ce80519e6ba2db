// Gather, scatter and take along an axis. An index out of range reads the fill value and writes nothing.
#include <algorithm>
#include <complex>
#include <cstring>
#include <limits>
#include <vector>

#include "backends/numpy/dtype_dispatch.h"
#include "backends/numpy/kernel.h"
#include "backends/numpy/simd/convert.h"
#include "base/thread_pool.h"
#include "mc/ops.h"
#include "prims/attrs.h"

namespace mc::numpy {
namespace {

// Counted from 0; false if out of range for windows of `size` in a dimension of `dim`.
bool resolve(int64_t& i, int64_t dim, int64_t size) {
  if (i < 0) i += dim;
  return i >= 0 && size <= dim && i <= dim - size;  // i + size may overflow
}

// NaN, the lowest integer, or false.
void fill_value(Dtype dtype, std::byte* out) {
  auto put = [&](auto v) { std::memcpy(out, &v, sizeof v); };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const double nan64 = std::numeric_limits<double>::quiet_NaN();
  switch (dtype) {
    case Dtype::I8: return put(std::numeric_limits<int8_t>::min());
    case Dtype::I16: return put(std::numeric_limits<int16_t>::min());
    case Dtype::I32: return put(std::numeric_limits<int32_t>::min());
    case Dtype::I64: return put(std::numeric_limits<int64_t>::min());
    case Dtype::F16: return put(uint16_t{0x7e00});
    case Dtype::BF16: return put(uint16_t{0x7fc0});
    case Dtype::F32: return put(nan);
    case Dtype::F64: return put(nan64);
    case Dtype::C64: return put(std::complex<float>(nan, nan));
    case Dtype::C128: return put(std::complex<double>(nan64, nan64));
    default: std::memset(out, 0, itemsize(dtype));
  }
}

// Row-major windows of `a` at given positions: `count` of them, each of `sizes`.
struct Windows {
  Shape shape, strides, sizes;
  Axes axes;
  std::span<const Tensor> indices;

  // Element offset of window w; false if it does not fit.
  bool at(int64_t w, int64_t& offset) const {
    offset = 0;
    for (size_t k = 0; k < indices.size(); ++k) {
      const int axis = static_cast<int>(axes[static_cast<int>(k)]);
      int64_t i = index_at(indices[k], w);
      if (!resolve(i, shape[axis], sizes[axis])) return false;
      offset += i * strides[axis];
    }
    return true;
  }
  // Calls fn(element offset in the window's source, element offset in the packed window, run length) for runs
  // of the last axis.
  template <class F>
  void runs(F fn) const {
    const int nd = shape.ndim();
    const int64_t inner = nd ? sizes[nd - 1] : 1, rows = inner ? sizes.numel() / inner : 0;
    Shape at = Shape::filled(nd, 0);
    int64_t offset = 0;
    for (int64_t r = 0; r < rows; ++r) {
      fn(offset, r * inner, inner);
      for (int d = nd - 2; d >= 0; --d) {
        offset += strides[d];
        if (++at[d] < sizes[d]) break;
        offset -= sizes[d] * strides[d];
        at[d] = 0;
      }
    }
  }
};

void gather(const Call& c) {
  const auto& a = c.attr<GatherAttrs>();
  const Tensor& src = c.in[0];
  const int64_t item = static_cast<int64_t>(itemsize(src.dtype));
  const Windows w{src.shape, row_major(src.shape), a.sizes, a.axes, c.in.subspan(1)};
  const int64_t count = c.in.size() > 1 ? c.in[1].numel() : 1, size = a.sizes.numel();
  std::byte fill[16];
  fill_value(src.dtype, fill);
  parallel_for(
      count, std::max<int64_t>(1, 16384 / std::max<int64_t>(1, size)), [&](int64_t begin, int64_t end) {
        for (int64_t k = begin; k < end; ++k) {
          std::byte* dst = c.out[0].data + k * size * item;
          int64_t base;
          if (!w.at(k, base)) {
            for (int64_t i = 0; i < size; ++i) std::memcpy(dst + i * item, fill, static_cast<size_t>(item));
            continue;
          }
          w.runs([&](int64_t from, int64_t to, int64_t n) {
            std::memcpy(dst + to * item, src.data + (base + from) * item, static_cast<size_t>(n * item));
          });
        }
      });
}

template <class T>
T widen(T v) {
  return v;
}
float widen(bfloat16 v) { return simd::to_f32(v); }
float widen(float16 v) { return simd::to_f32(v); }
template <class T, class W>
T narrow(W v) {
  if constexpr (std::is_same_v<T, bfloat16>) {
    return simd::to_bf16(v);
  } else if constexpr (std::is_same_v<T, float16>) {
    return simd::to_f16(v);
  } else {
    return static_cast<T>(v);
  }
}
template <class T>
struct IsComplex : std::false_type {};
template <class T>
struct IsComplex<std::complex<T>> : std::true_type {};

template <class T>
void combine(T* dst, const T* src, int64_t n, ScatterMode mode) {
  for (int64_t i = 0; i < n; ++i) {
    if (mode == ScatterMode::Set) {
      dst[i] = src[i];
      continue;
    }
    const auto x = widen(dst[i]), y = widen(src[i]);
    if constexpr (std::is_same_v<T, bool>) {
      dst[i] = mode == ScatterMode::Multiply || mode == ScatterMode::Min ? (x && y) : (x || y);
    } else if constexpr (IsComplex<T>::value) {
      dst[i] = mode == ScatterMode::Multiply ? x * y
                                             : x + y;  // max and min are refused when the operation is built
    } else {
      using W = decltype(widen(dst[0]));
      switch (mode) {
        case ScatterMode::Add: dst[i] = narrow<T>(static_cast<W>(x + y)); break;
        case ScatterMode::Multiply: dst[i] = narrow<T>(static_cast<W>(x * y)); break;
        case ScatterMode::Max: dst[i] = x != x || x > y ? dst[i] : src[i]; break;
        default: dst[i] = x != x || x < y ? dst[i] : src[i]; break;
      }
    }
  }
}

// bool apart from integers: true and true is true.
template <class F>
void with_type(Dtype dtype, F f) {
  if (dtype == Dtype::Bool) return f(bool{});
  with_number(dtype, f);
}

void copy_base(const Call& c) {
  if (c.in[0].data != c.out[0].data)
    std::memcpy(c.out[0].data, c.in[0].data,
                static_cast<size_t>(c.out[0].numel()) * itemsize(c.out[0].dtype));
}

// In ascending order of the updates: duplicate indices have one result, so this is one thread's work.
void scatter(const Call& c) {
  const auto& a = c.attr<ScatterAttrs>();
  copy_base(c);
  const Tensor& dst = c.out[0];
  const Tensor& updates = c.in.back();
  const std::span<const Tensor> indices = c.in.subspan(1, c.in.size() - 2);
  const int index_rank = indices.empty() ? 0 : indices[0].shape.ndim();
  Shape sizes;
  for (int d = index_rank; d < updates.shape.ndim(); ++d) sizes.push_back(updates.shape[d]);
  const Windows w{dst.shape, row_major(dst.shape), sizes, a.axes, indices};
  const int64_t count = indices.empty() ? 1 : indices[0].numel(), size = sizes.numel();
  with_type(dst.dtype, [&](auto tag) {
    using T = decltype(tag);
    for (int64_t k = 0; k < count; ++k) {
      int64_t base;
      if (!w.at(k, base)) continue;
      w.runs([&](int64_t from, int64_t to, int64_t n) {
        combine(dst.as<T>() + base + from, updates.as<T>() + k * size + to, n,
                static_cast<ScatterMode>(a.mode));
      });
    }
  });
}

// Sizes before, along and after the axis.
struct AxisView {
  int64_t outer = 1, dim = 1, inner = 1;
  AxisView(const Shape& s, int axis) {
    for (int d = 0; d < s.ndim(); ++d) (d < axis ? outer : d == axis ? dim : inner) *= s[d];
  }
};

struct Item16 {
  uint64_t a, b;
};
template <class F>
void with_item(size_t item, F f) {
  switch (item) {
    case 1: return f(uint8_t{});
    case 2: return f(uint16_t{});
    case 4: return f(uint32_t{});
    case 8: return f(uint64_t{});
    default: return f(Item16{});
  }
}

void take_along_axis(const Call& c) {
  const int axis = c.attr<AxisAttrs>().axis;
  const Tensor& src = c.in[0];
  const AxisView from(src.shape, axis), to(c.out[0].shape, axis);
  std::byte fill[16];
  fill_value(src.dtype, fill);
  with_integer(c.in[1].dtype, [&](auto index_tag) {
    with_item(itemsize(src.dtype), [&](auto item_tag) {
      using I = decltype(index_tag);
      using T = decltype(item_tag);
      T missing;
      std::memcpy(&missing, fill, sizeof missing);
      const I* const indices = c.in[1].as<I>();
      // Rows of `inner`: one index line each.
      parallel_for(to.outer * to.dim, std::max<int64_t>(1, 16384 / std::max<int64_t>(1, to.inner)),
                   [&](int64_t begin, int64_t end) {
                     int64_t o = begin / to.dim, d = begin % to.dim;
                     for (int64_t row = begin; row < end; ++row) {
                       const T* const p = src.as<T>() + o * from.dim * from.inner;
                       const I* const index = indices + row * to.inner;
                       T* const out = c.out[0].as<T>() + row * to.inner;
                       for (int64_t i = 0; i < to.inner; ++i) {
                         int64_t k;
                         if constexpr (std::is_same_v<I, uint64_t>)
                           k = static_cast<int64_t>(std::min<uint64_t>(index[i], INT64_MAX));
                         else
                           k = static_cast<int64_t>(index[i]);
                         out[i] = resolve(k, from.dim, 1) ? p[k * from.inner + i] : missing;
                       }
                       if (++d == to.dim) d = 0, ++o;
                     }
                   });
    });
  });
}

void scatter_add_axis(const Call& c) {
  const int axis = c.attr<AxisAttrs>().axis;
  copy_base(c);
  const Tensor& dst = c.out[0];
  const AxisView to(dst.shape, axis), from(c.in[2].shape, axis);
  with_type(dst.dtype, [&](auto tag) {
    using T = decltype(tag);
    for (int64_t o = 0; o < from.outer; ++o)
      for (int64_t i = 0; i < from.dim * from.inner; ++i) {
        const int64_t at = o * from.dim * from.inner + i;
        int64_t index = index_at(c.in[1], at);
        if (!resolve(index, to.dim, 1)) continue;
        combine(dst.as<T>() + (o * to.dim + index) * to.inner + i % from.inner, c.in[2].as<T>() + at, 1,
                ScatterMode::Add);
      }
  });
}

constexpr KernelRow kRows[] = {
    {Op::Gather, gather},
    {Op::Scatter, scatter, kInPlace},
    {Op::TakeAlongAxis, take_along_axis},
    {Op::ScatterAddAxis, scatter_add_axis, kInPlace},
};

}  // namespace

std::span<const KernelRow> index_kernels() { return kRows; }

}  // namespace mc::numpy
