#include <algorithm>
#include <cstring>

#include "backends/mlx/core/emit.h"

namespace mc::mlx_engine {

std::optional<std::vector<int64_t>> Emit::known(size_t i) const {
  if (i >= sources.size() || !sources[i].buffer) return std::nullopt;
  const Aval& a = in_avals[i];
  const std::shared_ptr<Holder> h = holder_of(sources[i]);
  const std::byte* p = h->base                           ? h->base
                       : h->array && library().host_sees ? h->array->data<std::byte>()
                                                         : nullptr;
  constexpr int64_t kMost = 1024;
  if (!p || a.shape.numel() > kMost) return std::nullopt;
  std::vector<int64_t> out;
  auto read = [&]<class T>(T) {
    for (int64_t n = 0; n < a.shape.numel(); ++n) {
      T v;
      std::memcpy(&v, p + sources[i].offset + static_cast<size_t>(n) * sizeof v, sizeof v);
      out.push_back(v);
    }
  };
  switch (a.dtype) {
    case Dtype::I32: read(int32_t{}); return out;
    case Dtype::I64: read(int64_t{}); return out;
    default: return std::nullopt;
  }
}

namespace {

mx::Shape filled(int n, int32_t v) { return mx::Shape(static_cast<size_t>(n), v); }
std::vector<int> axes_up_to(int n) {
  std::vector<int> out;
  for (int i = 0; i < n; ++i) out.push_back(i);
  return out;
}

// Starts of any integer dtype, at least 0 and at most `most` along each axis, as int32.
mx::array clamped(const mx::array& starts, const Shape& most, const mx::Stream& s) {
  std::vector<int32_t> high;
  for (int64_t m : most) high.push_back(static_cast<int32_t>(m));
  const mx::array top(high.data(), mx::Shape{static_cast<int32_t>(high.size())}, mx::int32);
  const bool is_unsigned64 = starts.dtype() == mx::uint64;
  const mx::array wide = is_unsigned64 ? starts : mx::astype(starts, mx::int64, s);
  const mx::array limit = mx::astype(top, wide.dtype(), s);
  const mx::array low = mx::minimum(wide, limit, s);
  return mx::astype(mx::maximum(low, mx::zeros({}, wide.dtype(), s), s), mx::int32, s);
}

Shape room(const Shape& whole, const Shape& window) {
  Shape out = whole;
  for (int d = 0; d < out.ndim(); ++d) out[d] -= window[d];
  return out;
}

// Row b's window starts at starts[b]; one that does not fit writes back what is there.
bool update_rows(const Emit& e, int axis) {
  const int64_t rows = e.shape(0)[0];
  if (rows > 16 || e.shape(1)[axis] > e.shape(0)[axis]) return false;
  const mx::Stream& s = e.s;
  const int64_t most = e.shape(0)[axis] - e.shape(1)[axis];
  if (const auto starts = e.known(2)) {
    mx::array y = e.in[0];
    e.in[0] = mx::array(0);  // the only reference goes on, so that libmlx writes in place where it may
    const bool all =
        std::all_of(starts->begin(), starts->end(), [&](int64_t b) { return b == starts->front(); });
    for (int64_t b = 0; b < rows; b = all ? rows : b + 1) {
      const int64_t start = (*starts)[static_cast<size_t>(b)];
      if (start < 0 || start > most) continue;
      mx::Shape lo = filled(e.shape(1).ndim(), 0), hi = mlx_shape(e.shape(1));
      lo[0] = static_cast<int32_t>(b);
      hi[0] = static_cast<int32_t>(all ? rows : b + 1);
      const mx::array update = all ? e.in[1] : mx::slice(e.in[1], lo, hi, s);
      lo[axis] += static_cast<int32_t>(start);
      hi[axis] += static_cast<int32_t>(start);
      y = mx::slice_update(y, update, lo, hi, s);
    }
    return e.give(y);
  }
  const mx::array& at = e.in[2];
  if (at.dtype() == mx::uint64) return false;
  const mx::array wide = mx::astype(at, mx::int64, s);
  const mx::array fits = mx::logical_and(mx::greater_equal(wide, mx::array(int64_t{0}), s),
                                         mx::less_equal(wide, mx::array(most), s), s);
  const mx::array safe = mx::astype(mx::where(fits, wide, mx::array(int64_t{0}), s), mx::int32, s);
  mx::Shape window = mlx_shape(e.shape(1));
  window[0] = 1;
  mx::array y = e.in[0];
  e.in[0] = mx::array(0);  // the only reference goes on, so that libmlx writes in place where it may
  for (int32_t b = 0; b < rows; ++b) {
    const mx::array row(b);
    auto one = [&](const mx::array& v) { return mx::slice(v, mx::Shape{b}, mx::Shape{b + 1}, s); };
    const mx::array start = mx::concatenate({mx::array({b}), one(safe)}, 0, s);
    mx::Shape lo = filled(e.shape(1).ndim(), 0), hi = mlx_shape(e.shape(1));
    lo[0] = b;
    hi[0] = b + 1;
    const mx::array update = mx::slice(e.in[1], lo, hi, s);
    const mx::array before = mx::slice(y, start, {0, axis}, window, s);
    const mx::array fit = mx::reshape(one(fits), filled(e.shape(1).ndim(), 1), s);
    y = mx::slice_update(y, mx::where(fit, update, before, s), start, {0, axis}, s);
  }
  return e.give(y);
}

}  // namespace

bool emit_shape(const Emit& e) {
  const mx::Stream& s = e.s;
  switch (e.op) {
    case Op::Reshape: return e.give(mx::reshape(e.x(), mlx_shape(e.out_avals[0].shape), s));
    case Op::BroadcastTo: return e.give(mx::broadcast_to(e.x(), mlx_shape(e.out_avals[0].shape), s));
    case Op::Transpose: {
      std::vector<int> axes;
      for (int64_t a : e.as<TransposeAttrs>().axes) axes.push_back(static_cast<int>(a));
      return e.give(axes.empty() ? e.x() : mx::transpose(e.x(), axes, s));
    }
    case Op::Slice: {
      const auto& a = e.as<SliceAttrs>();
      if (a.start.ndim() == 0) return e.give(e.x());
      return e.give(mx::slice(e.x(), mlx_shape(a.start), mlx_shape(a.stop), mlx_shape(a.step), s));
    }
    case Op::SliceUpdate: {
      const auto& a = e.as<SliceAttrs>();
      if (a.start.ndim() == 0) return e.give(e.y());
      if (e.in_avals[1].shape.numel() == 0) return e.give(e.x());
      return e.give(
          mx::slice_update(e.x(), e.y(), mlx_shape(a.start), mlx_shape(a.stop), mlx_shape(a.step), s));
    }
    case Op::DynamicSlice: {
      const auto& a = e.as<DynamicSliceAttrs>();
      const int n = e.shape(0).ndim();
      if (n == 0) return e.give(e.x());
      return e.give(mx::slice(e.x(), clamped(e.y(), room(e.shape(0), a.sizes), s), axes_up_to(n),
                              mlx_shape(a.sizes), s));
    }
    case Op::DynamicUpdate: {
      const int axis = e.as<DynamicUpdateAttrs>().axis, n = e.shape(0).ndim();
      if (e.shape(1).numel() == 0) return e.give(e.x());
      if (axis >= 0) return update_rows(e, axis);
      if (n == 0) return e.give(e.y());
      return e.give(mx::slice_update(e.x(), e.y(), clamped(e.in[2], room(e.shape(0), e.shape(1)), s),
                                     axes_up_to(n), s));
    }
    case Op::Pad: {
      const auto& a = e.as<PadAttrs>();
      for (int d = 0; d < a.low.ndim(); ++d)
        if (a.low[d] < 0 || a.high[d] < 0) return false;
      if (a.low.ndim() == 0) return e.give(e.x());
      return e.give(mx::pad(e.x(), axes_up_to(a.low.ndim()), mlx_shape(a.low), mlx_shape(a.high), e.y(),
                            "constant", s));
    }
    case Op::Concatenate: return e.give(mx::concatenate(e.in, e.as<AxisAttrs>().axis, s));
    case Op::Flip: {
      const auto& axes = e.as<FlipAttrs>().axes;
      const int n = e.shape(0).ndim();
      mx::Shape start = filled(n, 0), stop = mlx_shape(e.shape(0)), step = filled(n, 1);
      for (int64_t ax : axes) {
        const auto i = static_cast<int>(ax);
        start[i] = stop[i] - 1;
        step[i] = -1;
        stop[i] = -stop[i] - 1;
      }
      return e.give(n == 0 ? e.x() : mx::slice(e.x(), start, stop, step, s));
    }
    default: return false;
  }
}

}  // namespace mc::mlx_engine
