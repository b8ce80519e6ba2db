// Kernels that move data: concatenate, pad, windows that are read and written, ranges.
#include <cmath>
#include <cstring>

#include "backends/numpy/dtype_dispatch.h"
#include "backends/numpy/kernel.h"
#include "base/thread_pool.h"
#include "prims/attrs.h"

namespace mc::numpy {
namespace {

template <class T>
void move_items(T* dst, int64_t to, const T* src, int64_t from, int64_t n) {
  for (int64_t i = 0; i < n; ++i) dst[i * to] = src[i * from];
}
struct Item16 {
  uint64_t a, b;
};

// n items, each side with a stride in items.
void move_row(std::byte* dst, int64_t to, const std::byte* src, int64_t from, int64_t n, int64_t item) {
  if (to == 1 && from == 1) {
    std::memcpy(dst, src, static_cast<size_t>(n * item));
    return;
  }
  const auto as = [&](auto tag) {
    using T = decltype(tag);
    move_items(reinterpret_cast<T*>(dst), to, reinterpret_cast<const T*>(src), from, n);
  };
  switch (item) {
    case 1: return as(uint8_t{});
    case 2: return as(uint16_t{});
    case 4: return as(uint32_t{});
    case 8: return as(uint64_t{});
    default: return as(Item16{});
  }
}

// Writes src into a window of dst (row-major of `shape`): dst[start + i*step] = src[i].
void write_window(std::byte* dst, const Shape& shape, const Tensor& src, const Shape& start,
                  const Shape& step) {
  const int64_t item = static_cast<int64_t>(itemsize(src.dtype));
  const int64_t total = src.numel();
  if (total == 0) return;
  const Shape strides = row_major(shape);
  int64_t base = 0;
  for (int d = 0; d < shape.ndim(); ++d) base += start[d] * strides[d];
  dst += base * item;
  // A window that is one piece is a copy from any strides.
  Shape window = Shape::filled(shape.ndim(), 1);
  for (int d = 0; d < shape.ndim(); ++d) window[d] = strides[d] * step[d];
  if (is_row_major(src.shape, window)) return copy_strided(src, dst);
  // Dimensions that are contiguous with each other on both sides are one.
  Shape extent, to, from;
  for (int d = 0; d < shape.ndim(); ++d) {
    const int64_t n = src.shape[d];
    if (n == 1) continue;
    if (const int last = extent.ndim() - 1;
        last >= 0 && to[last] == window[d] * n && from[last] == src.strides[d] * n) {
      extent[last] *= n;
      to[last] = window[d];
      from[last] = src.strides[d];
    } else {
      extent.push_back(n);
      to.push_back(window[d]);
      from.push_back(src.strides[d]);
    }
  }
  const int last = extent.ndim() - 1;  // total > 1 here, so there is one
  const int64_t inner = extent[last], rows = total / inner;
  parallel_for(rows, std::max<int64_t>(1, 65536 / inner), [&](int64_t begin, int64_t end) {
    Shape at = Shape::filled(extent.ndim(), 0);
    int64_t rest = begin, t = 0, f = 0;
    for (int d = last - 1; d >= 0; --d) {
      at[d] = rest % extent[d];
      rest /= extent[d];
      t += at[d] * to[d], f += at[d] * from[d];
    }
    for (int64_t r = begin; r < end; ++r) {
      move_row(dst + t * item, to[last], src.data + f * item, from[last], inner, item);
      for (int d = last - 1; d >= 0; --d) {
        t += to[d], f += from[d];
        if (++at[d] < extent[d]) break;
        t -= extent[d] * to[d], f -= extent[d] * from[d];
        at[d] = 0;
      }
    }
  });
}

// Fills the output with input 0 unless they share memory.
void copy_base(const Call& c) {
  if (c.in[0].data != c.out[0].data || !is_row_major(c.in[0].shape, c.in[0].strides))
    copy_strided(c.in[0], c.out[0].data);
}

Shape ones_like(const Shape& s) { return Shape::filled(s.ndim(), 1); }

int64_t read_index(const Tensor& t, int64_t i) {
  return index_at(t, i * (t.shape.ndim() ? t.strides[0] : 0));
}

void concatenate(const Call& c) {
  const int axis = c.attr<AxisAttrs>().axis;
  Shape start = Shape::filled(c.out[0].shape.ndim(), 0);
  for (const Tensor& t : c.in) {
    write_window(c.out[0].data, c.out[0].shape, t, start, ones_like(start));
    start[axis] += t.shape[axis];
  }
}

void pad(const Call& c) {
  const auto& a = c.attr<PadAttrs>();
  // Negative widths crop.
  Tensor src = c.in[0];
  Shape start = a.low;
  for (int d = 0; d < src.shape.ndim(); ++d) {
    const int64_t cut_low = std::max<int64_t>(0, -a.low[d]), cut_high = std::max<int64_t>(0, -a.high[d]);
    src.data += cut_low * src.strides[d] * static_cast<int64_t>(itemsize(src.dtype));
    src.shape[d] = std::max<int64_t>(0, src.shape[d] - cut_low - cut_high);
    start[d] = std::max<int64_t>(0, a.low[d]);
  }
  // The border: before and behind the source in each dimension, as far as the dimensions before it leave.
  const Shape& shape = c.out[0].shape;
  Tensor fill = c.in[1];
  fill.strides = Shape::filled(shape.ndim(), 0);
  Shape corner = Shape::filled(shape.ndim(), 0);
  fill.shape = shape;
  for (int d = 0; d < shape.ndim() && src.numel() > 0; ++d) {
    const int64_t end = start[d] + src.shape[d];
    corner[d] = 0, fill.shape[d] = start[d];
    write_window(c.out[0].data, shape, fill, corner, ones_like(corner));
    corner[d] = end, fill.shape[d] = shape[d] - end;
    write_window(c.out[0].data, shape, fill, corner, ones_like(corner));
    corner[d] = start[d], fill.shape[d] = src.shape[d];
  }
  if (src.numel() == 0) return copy_strided(fill, c.out[0].data);
  write_window(c.out[0].data, shape, src, start, ones_like(start));
}

void slice_update(const Call& c) {
  const auto& a = c.attr<SliceAttrs>();
  copy_base(c);
  write_window(c.out[0].data, c.out[0].shape, c.in[1], a.start, a.step);
}

void dynamic_slice(const Call& c) {
  const Tensor& src = c.in[0];
  Tensor window = src;
  window.shape = c.out[0].shape;
  for (int d = 0; d < src.shape.ndim(); ++d) {
    const int64_t at = std::clamp<int64_t>(read_index(c.in[1], d), 0, src.shape[d] - window.shape[d]);
    window.data += at * src.strides[d] * static_cast<int64_t>(itemsize(src.dtype));
  }
  copy_strided(window, c.out[0].data);
}

void dynamic_update(const Call& c) {
  const int axis = c.attr<DynamicUpdateAttrs>().axis;
  copy_base(c);
  const Tensor& update = c.in[1];
  const Shape& shape = c.out[0].shape;
  Shape start = Shape::filled(shape.ndim(), 0);
  if (axis < 0) {
    for (int d = 0; d < shape.ndim(); ++d)
      start[d] = std::clamp<int64_t>(read_index(c.in[2], d), 0, shape[d] - update.shape[d]);
    return write_window(c.out[0].data, shape, update, start, ones_like(start));
  }
  Tensor row = update;
  row.shape[0] = 1;
  for (int64_t b = 0; b < shape[0]; ++b) {
    const int64_t at = read_index(c.in[2], b);
    if (at < 0 || at > shape[axis] - update.shape[axis]) continue;
    start[0] = b;
    start[axis] = at;
    row.data = update.data + b * update.strides[0] * static_cast<int64_t>(itemsize(update.dtype));
    write_window(c.out[0].data, shape, row, start, ones_like(start));
  }
}

template <class T>
void arange_ints(T* out, const ArangeAttrs& a) {
  for (int64_t i = 0; i < a.n; ++i)
    out[i] = static_cast<T>(static_cast<uint64_t>(a.istart) +
                            static_cast<uint64_t>(i) * static_cast<uint64_t>(a.istep));
}

void arange(const Call& c) {
  const auto& a = c.attr<ArangeAttrs>();
  const Tensor& o = c.out[0];
  auto at = [&](int64_t i) { return a.start + static_cast<double>(i) * a.step; };
  switch (a.dtype) {
    case Dtype::U8:
    case Dtype::I8: return arange_ints(o.as<uint8_t>(), a);
    case Dtype::U16:
    case Dtype::I16: return arange_ints(o.as<uint16_t>(), a);
    case Dtype::U32:
    case Dtype::I32: return arange_ints(o.as<uint32_t>(), a);
    case Dtype::U64:
    case Dtype::I64: return arange_ints(o.as<uint64_t>(), a);
    case Dtype::F32:
      for (int64_t i = 0; i < a.n; ++i) o.as<float>()[i] = static_cast<float>(at(i));
      return;
    case Dtype::F64:
      for (int64_t i = 0; i < a.n; ++i) o.as<double>()[i] = at(i);
      return;
    default:  // the public function makes other dtypes by astype
      throw Error(ErrorCode::Internal, "arange of an unexpected dtype", "arange");
  }
}

constexpr KernelRow kRows[] = {
    {Op::Concatenate, concatenate, kAnyStrides},
    {Op::Pad, pad, kAnyStrides},
    {Op::SliceUpdate, slice_update, kAnyStrides | kInPlace},
    {Op::DynamicSlice, dynamic_slice, kAnyStrides},
    {Op::DynamicUpdate, dynamic_update, kAnyStrides | kInPlace},
    {Op::Arange, arange},
};

}  // namespace

std::span<const KernelRow> shape_kernels() { return kRows; }

}  // namespace mc::numpy
