// Creation, views, windows.
#include "backends/jax/lower.h"
#include "mc/detail/str.h"

namespace mc::jax_engine {
namespace {

Shape zeros(int n) { return Shape::filled(n, 0); }

void lower_full(const Lower& l) {
  const auto& a = l.as<FullAttrs>();
  Hlo& h = l.h;
  const Val v = is_complex(a.dtype)   ? h.complex_number(a.dtype, a.re, a.im)
                : is_inexact(a.dtype) ? h.number(a.dtype, a.re)
                                      : h.integer(a.dtype, a.i);
  l.give(h.spread(v, a.shape));
}
// In float64 or int64, rounded once.
void lower_arange(const Lower& l) {
  const auto& a = l.as<ArangeAttrs>();
  Hlo& h = l.h;
  const bool whole = is_integer(a.dtype);
  const Aval wide{{a.n}, whole ? Dtype::I64 : Dtype::F64};
  const Val step = whole ? h.filled_int(wide, a.istep) : h.filled(wide, a.step);
  const Val start = whole ? h.filled_int(wide, a.istart) : h.filled(wide, a.start);
  l.give(h.convert(h.add(start, h.mul(h.iota(wide, 0), step)), a.dtype));
}
void lower_reshape(const Lower& l) { l.give(l.h.reshape(l.x(), l.out[0].shape)); }
void lower_transpose(const Lower& l) { l.give(l.h.transpose(l.x(), l.as<TransposeAttrs>().axes)); }
void lower_broadcast(const Lower& l) { l.give(l.h.broadcast(l.x(), l.out[0].shape)); }
void lower_flip(const Lower& l) {
  l.give(l.h.op("stablehlo.reverse", {l.x()}, l.out[0],
                cat("dimensions = ", list_text(l.as<FlipAttrs>().axes))));
}
void lower_concatenate(const Lower& l) {
  std::vector<Val> parts;
  for (const Val& v : l.in)
    if (v.shape().numel() > 0) parts.push_back(v);
  if (parts.empty()) return l.give(l.h.reshape(l.in[0], l.out[0].shape));
  l.give(l.h.concatenate(parts, l.as<AxisAttrs>().axis));
}
void lower_pad(const Lower& l) {
  const auto& a = l.as<PadAttrs>();
  l.give(l.h.pad(l.x(), l.y(), a.low, a.high, zeros(l.x().ndim())));
}
void lower_slice(const Lower& l) {
  const auto& a = l.as<SliceAttrs>();
  l.give(l.h.slice(l.x(), a.start, a.stop, a.step));
}

Val update_at(Hlo& h, const Val& a, const Val& update, std::span<const Val> starts) {
  std::vector<Val> in{a, update};
  in.insert(in.end(), starts.begin(), starts.end());
  return h.op("stablehlo.dynamic_update_slice", in, a.aval);
}

void lower_slice_update(const Lower& l) {
  const auto& a = l.as<SliceAttrs>();
  Hlo& h = l.h;
  if (l.out[0].shape.numel() == 0 || l.y().shape().numel() == 0) return l.give(l.x());
  bool dense = true;
  for (int64_t s : a.step) dense = dense && s == 1;
  if (dense) {
    std::vector<Val> starts;
    for (int64_t s : a.start) starts.push_back(h.integer(Dtype::I64, s));
    return l.give(update_at(h, l.x(), l.y(), starts));
  }
  // The update spread out to the array's shape, and a mask of where it is.
  const int n = l.x().ndim();
  Shape high, interior;
  for (int d = 0; d < n; ++d) {
    const int64_t count = l.y().shape()[d];
    interior.push_back(a.step[d] - 1);
    high.push_back(l.x().shape()[d] - a.start[d] - count - (count - 1) * (a.step[d] - 1));
  }
  const Val spread = h.pad(l.y(), h.whole({{}, l.dtype()}, 0), a.start, high, interior);
  const Val mask =
      h.pad(h.whole({l.y().shape(), Dtype::Bool}, 1), h.integer(Dtype::Bool, 0), a.start, high, interior);
  l.give(h.select(mask, spread, l.x()));
}

// Element i of a vector of starts as a scalar within [0, limit].
Val start_of(Hlo& h, const Val& starts, int64_t i, int64_t limit) {
  const Val s = h.reshape(h.slice_axis(starts, 0, i, i + 1), {});
  return h.op("stablehlo.clamp", {h.integer(Dtype::I64, 0), as_index(h, s), h.integer(Dtype::I64, limit)},
              {{}, Dtype::I64});
}

void lower_dynamic_slice(const Lower& l) {
  Hlo& h = l.h;
  const Shape& sizes = l.as<DynamicSliceAttrs>().sizes;
  std::vector<Val> in{l.x()};
  for (int d = 0; d < sizes.ndim(); ++d) in.push_back(start_of(h, l.y(), d, l.x().shape()[d] - sizes[d]));
  l.give(h.op("stablehlo.dynamic_slice", in, l.out[0], cat("slice_sizes = ", list_text(sizes))));
}

// Kept out of its readers: XLA's CPU compiler would compute an update anew for each reader of another shape
// (a matrix product's batch), and copy the whole of a donated cache three times for it.
Val settled(Hlo& h, const Val& a) { return h.same("stablehlo.optimization_barrier", a); }

void lower_dynamic_update(const Lower& l) {
  Hlo& h = l.h;
  const int axis = l.as<DynamicUpdateAttrs>().axis;
  const Val &a = l.in[0], &update = l.in[1], &at = l.in[2];
  if (a.shape().numel() == 0 || update.shape().numel() == 0) return l.give(a);
  std::vector<Val> starts;
  if (axis < 0) {
    for (int d = 0; d < a.ndim(); ++d) starts.push_back(start_of(h, at, d, a.shape()[d] - update.shape()[d]));
    return l.give(settled(h, update_at(h, a, update, starts)));
  }
  // A row at a time, in place; one that does not fit is written as it was.
  const int64_t limit = a.shape()[axis] - update.shape()[axis];
  if (limit < 0) return l.give(a);
  Val out = a;
  const Val zero = h.integer(Dtype::I64, 0), last = h.integer(Dtype::I64, limit);
  Shape window = update.shape();
  window[0] = 1;
  for (int64_t b = 0; b < a.shape()[0]; ++b) {
    const Val start = as_index(h, h.reshape(h.slice_axis(at, 0, b, b + 1), {}));
    const Val fits = h.land(h.compare(start, zero, "GE"), h.compare(start, last, "LE"));
    starts.clear();
    for (int d = 0; d < a.ndim(); ++d) starts.push_back(zero);
    starts[0] = h.integer(Dtype::I64, b);
    starts[static_cast<size_t>(axis)] = h.op("stablehlo.clamp", {zero, start, last}, {{}, Dtype::I64});
    std::vector<Val> in{out};
    in.insert(in.end(), starts.begin(), starts.end());
    const Val before =
        h.op("stablehlo.dynamic_slice", in, {window, a.dtype()}, cat("slice_sizes = ", list_text(window)));
    const Val row = h.slice_axis(update, 0, b, b + 1);
    out = update_at(h, out, h.select(h.spread(fits, window), row, before), starts);
  }
  l.give(settled(h, out));
}

constexpr LowerRow kRows[] = {
    {Op::Full, lower_full},
    {Op::Arange, lower_arange},
    {Op::Reshape, lower_reshape},
    {Op::Transpose, lower_transpose},
    {Op::BroadcastTo, lower_broadcast},
    {Op::Slice, lower_slice},
    {Op::SliceUpdate, lower_slice_update},
    {Op::DynamicSlice, lower_dynamic_slice},
    {Op::DynamicUpdate, lower_dynamic_update},
    {Op::Pad, lower_pad},
    {Op::Concatenate, lower_concatenate},
    {Op::Flip, lower_flip},
};

}  // namespace

std::span<const LowerRow> shape_rows() { return kRows; }

Val as_index(Hlo& h, const Val& a) {
  if (a.dtype() != Dtype::U64) return h.convert(a, Dtype::I64);
  const Aval wide{a.shape(), Dtype::U64};
  return h.convert(h.same("stablehlo.minimum", a, h.filled_int(wide, INT64_MAX)), Dtype::I64);
}

}  // namespace mc::jax_engine
