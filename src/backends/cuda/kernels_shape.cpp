// Kernels that move data: concatenate, pad, windows that are read and written, ranges, random words.
#include <algorithm>

#include "backends/cuda/cu/launch.h"
#include "backends/cuda/kernel.h"
#include "mc/error.h"
#include "prims/attrs.h"

namespace mc::cuda {
namespace {

int item_of(const Tensor& t) { return static_cast<int>(itemsize(t.dtype)); }

// A window of `shape`: from src with strides ss to dst with strides ds. Neighbouring dimensions become one
// where both sides allow it.
WindowArgs window_args(const void* src, void* dst, const Shape& shape, const Shape& ss, const Shape& ds,
                       bool merge) {
  WindowArgs a{};
  a.src = src;
  a.dst = dst;
  a.n = shape.numel();
  for (int d = 0; d < shape.ndim(); ++d) {
    if (merge && shape[d] == 1) continue;
    const int last = a.nd - 1;
    if (merge && a.nd > 0 && a.ss[last] == ss[d] * shape[d] && a.ds[last] == ds[d] * shape[d]) {
      a.dim[last] *= shape[d];
      a.ss[last] = ss[d];
      a.ds[last] = ds[d];
      continue;
    }
    a.dim[a.nd] = shape[d];
    a.ss[a.nd] = ss[d];
    a.ds[a.nd] = ds[d];
    ++a.nd;
  }
  return a;
}

void copy_window(const void* src, void* dst, const Shape& shape, const Shape& ss, const Shape& ds, int item,
                 cudaStream_t stream) {
  const WindowArgs a = window_args(src, dst, shape, ss, ds, true);
  if (a.n == 0) return;
  if (a.nd == 0 || (a.nd == 1 && a.ss[0] == 1 && a.ds[0] == 1)) {
    check(cudaMemcpyAsync(dst, src, static_cast<size_t>(a.n) * static_cast<size_t>(item),
                          cudaMemcpyDeviceToDevice, stream),
          "copying on the device");
    return;
  }
  launch_window(a, item, stream);
  check(cudaGetLastError(), "copying a window");
}

// src into a window of dst (row-major of `shape`): dst[start + i·step] = src[i].
void write_window(std::byte* dst, const Shape& shape, const Tensor& src, const Shape& start,
                  const Shape& step, cudaStream_t stream) {
  Shape ds = row_major(shape);
  int64_t offset = 0;
  for (int d = 0; d < shape.ndim(); ++d) {
    offset += start[d] * ds[d];
    ds[d] *= step[d];
  }
  copy_window(src.data, dst + offset * item_of(src), src.shape, src.strides, ds, item_of(src), stream);
}

void copy_base(const Call& c) {
  if (c.in[0].data != c.out[0].data || !is_row_major(c.in[0].shape, c.in[0].strides))
    copy_strided(c.in[0], c.out[0].data, c.stream);
}

Shape ones_like(const Shape& s) { return Shape::filled(s.ndim(), 1); }

void concatenate(const Call& c) {
  const int axis = c.attr<AxisAttrs>().axis;
  Shape start = Shape::filled(c.out[0].shape.ndim(), 0);
  for (const Tensor& t : c.in) {
    write_window(c.out[0].data, c.out[0].shape, t, start, ones_like(start), c.stream);
    start[axis] += t.shape[axis];
  }
}

void pad(const Call& c) {
  const auto& a = c.attr<PadAttrs>();
  Tensor fill = c.in[1];
  fill.shape = c.out[0].shape;
  fill.strides = Shape::filled(c.out[0].shape.ndim(), 0);
  copy_strided(fill, c.out[0].data, c.stream);
  // Negative widths crop.
  Tensor src = c.in[0];
  Shape start = a.low;
  for (int d = 0; d < src.shape.ndim(); ++d) {
    const int64_t cut_low = std::max<int64_t>(0, -a.low[d]), cut_high = std::max<int64_t>(0, -a.high[d]);
    src.data += cut_low * src.strides[d] * item_of(src);
    src.shape[d] = std::max<int64_t>(0, src.shape[d] - cut_low - cut_high);
    start[d] = std::max<int64_t>(0, a.low[d]);
  }
  write_window(c.out[0].data, c.out[0].shape, src, start, ones_like(start), c.stream);
}

void slice_update(const Call& c) {
  const auto& a = c.attr<SliceAttrs>();
  copy_base(c);
  write_window(c.out[0].data, c.out[0].shape, c.in[1], a.start, a.step, c.stream);
}

void set_starts(WindowArgs& w, const Tensor& starts) {
  w.starts = starts.data;
  w.start_dtype = static_cast<int>(starts.dtype);
  w.start_stride = starts.shape.ndim() && starts.shape[0] != 1 ? starts.strides[0] : 0;
}

void dynamic_slice(const Call& c) {
  const Tensor &src = c.in[0], &out = c.out[0];
  WindowArgs w = window_args(src.data, out.data, out.shape, src.strides, row_major(out.shape), true);
  w.mode = WindowArgs::ClampSource;
  set_starts(w, c.in[1]);
  w.starts_n = src.shape.ndim();
  for (int d = 0; d < src.shape.ndim(); ++d) {
    w.room[d] = src.shape[d] - out.shape[d];
    w.stride[d] = src.strides[d];
  }
  launch_window(w, item_of(src), c.stream);
  check(cudaGetLastError(), "dynamic_slice");
}

void dynamic_update(const Call& c) {
  const int axis = c.attr<DynamicUpdateAttrs>().axis;
  copy_base(c);
  const Tensor& update = c.in[1];
  const Shape& shape = c.out[0].shape;
  const Shape strides = row_major(shape);
  WindowArgs w = window_args(update.data, c.out[0].data, update.shape, update.strides, strides, axis < 0);
  set_starts(w, c.in[2]);
  if (axis < 0) {
    w.mode = WindowArgs::ClampTarget;
    w.starts_n = shape.ndim();
    for (int d = 0; d < shape.ndim(); ++d) {
      w.room[d] = shape[d] - update.shape[d];
      w.stride[d] = strides[d];
    }
  } else {
    w.mode = WindowArgs::Rows;
    w.row_room = shape[axis] - update.shape[axis];
    w.row_stride = strides[axis];
  }
  launch_window(w, item_of(update), c.stream);
  check(cudaGetLastError(), "dynamic_update");
}

void arange(const Call& c) {
  const auto& a = c.attr<ArangeAttrs>();
  launch_arange({c.out[0].data, a.n, static_cast<int>(a.dtype), a.start, a.step, a.istart, a.istep},
                c.stream);
  check(cudaGetLastError(), "arange");
}

void random_bits(const Call& c) {
  const int64_t n = c.attr<RandomBitsAttrs>().shape.numel();
  launch_random_bits(c.in[0].as<uint32_t>(), c.in[0].numel() / 2, n, c.out[0].as<uint32_t>(), c.stream);
  check(cudaGetLastError(), "random_bits");
}

constexpr KernelRow kRows[] = {
    {Op::Concatenate, concatenate, kAnyStrides},
    {Op::Pad, pad, kAnyStrides},
    {Op::SliceUpdate, slice_update, kAnyStrides | kInPlace},
    {Op::DynamicSlice, dynamic_slice, kAnyStrides},
    {Op::DynamicUpdate, dynamic_update, kAnyStrides | kInPlace},
    {Op::Arange, arange},
    {Op::RandomBits, random_bits},
};

}  // namespace

std::span<const KernelRow> shape_kernels() { return kRows; }

void copy_strided(const Tensor& src, std::byte* dst, cudaStream_t stream) {
  copy_window(src.data, dst, src.shape, src.strides, row_major(src.shape), item_of(src), stream);
}

}  // namespace mc::cuda
