// Windows of arrays, read and written; starts fixed in the graph or known only when it runs.
#include "mc/ops.h"
#include "prims/attrs.h"
#include "prims/rows.h"

namespace mc {
namespace {

Shape window(const SliceAttrs& a) {
  Shape s = a.start;
  for (int d = 0; d < s.ndim(); ++d)
    s[d] = a.stop[d] > a.start[d] ? (a.stop[d] - a.start[d] + a.step[d] - 1) / a.step[d] : 0;
  return s;
}
SliceAttrs with_batch(const SliceAttrs& a, int64_t n) {
  SliceAttrs b = a;
  b.start.insert(0, 0);
  b.stop.insert(0, n);
  b.step.insert(0, 1);
  return b;
}

// The public functions clamp; a program that is replayed with other shapes comes here without them.
void check_window(const InferCtx& c, const SliceAttrs& a) {
  const Shape& s = c.shape(0);
  bool inside = a.start.ndim() == s.ndim();
  for (int d = 0; inside && d < s.ndim(); ++d)
    inside = a.start[d] >= 0 && a.step[d] >= 1 && (a.stop[d] <= a.start[d] || a.stop[d] <= s[d]);
  if (!inside)
    c.fail(ErrorCode::IndexOutOfRange,
           cat("the window from ", a.start.str(), " to ", a.stop.str(), " is not inside ", s.str()));
}
void infer_slice(InferCtx& c) {
  check_window(c, c.as<SliceAttrs>());
  c.push(window(c.as<SliceAttrs>()), c.dtype(0));
}
void infer_slice_update(InferCtx& c) {
  check_window(c, c.as<SliceAttrs>());
  const Shape w = window(c.as<SliceAttrs>());
  if (!(c.shape(1) == w))
    c.fail(ErrorCode::ShapeMismatch,
           cat("the update has shape ", c.shape(1).str(), ", the window ", w.str()));
  if (c.dtype(1) != c.dtype(0))
    c.fail(ErrorCode::DtypeMismatch,
           cat("the update has dtype ", dtype_name(c.dtype(1)), ", the array ", dtype_name(c.dtype(0))));
  c.push(c.shape(0), c.dtype(0));
}
void check_starts(const InferCtx& c, size_t input, int64_t n) {
  require_dtype(c, input, kDInts);
  if (!(c.shape(input) == Shape{n}))
    c.fail(ErrorCode::ShapeMismatch,
           cat("starts have shape ", c.shape(input).str(), ", expected (", n, ",)"));
}
void check_fits(const InferCtx& c, const Shape& sizes, int skip) {
  const Shape& s = c.shape(0);
  bool ok = sizes.ndim() == s.ndim();
  for (int d = 0; ok && d < s.ndim(); ++d) ok = sizes[d] >= 0 && (sizes[d] <= s[d] || d == skip);
  if (!ok)
    c.fail(ErrorCode::ShapeMismatch,
           cat("a window of ", sizes.str(), " does not fit an array of shape ", s.str()));
}
void infer_dynamic_slice(InferCtx& c) {
  const Shape& sizes = c.as<DynamicSliceAttrs>().sizes;
  check_fits(c, sizes, -1);
  check_starts(c, 1, c.shape(0).ndim());
  c.push(sizes, c.dtype(0));
}
void infer_dynamic_update(InferCtx& c) {
  const int axis = c.as<DynamicUpdateAttrs>().axis;
  if (c.dtype(1) != c.dtype(0))
    c.fail(ErrorCode::DtypeMismatch,
           cat("the update has dtype ", dtype_name(c.dtype(1)), ", the array ", dtype_name(c.dtype(0))));
  check_fits(c, c.shape(1), axis);
  check_starts(c, 2, axis < 0 ? c.shape(0).ndim() : c.shape(0)[0]);
  if (axis >= 0)
    for (int d = 0; d < c.shape(0).ndim(); ++d)
      if (d != axis && c.shape(1)[d] != c.shape(0)[d])
        c.fail(ErrorCode::ShapeMismatch, cat("the update of shape ", c.shape(1).str(), " must equal ",
                                             c.shape(0).str(), " but for axis ", axis));
  c.push(c.shape(0), c.dtype(0));
}

Arrays vjp_slice(const VjpCtx& c) {
  const auto& a = c.as<SliceAttrs>();
  const Shape& s = c.in[0].shape();
  bool dense = true;
  for (int64_t n : a.step) dense = dense && n == 1;
  if (dense) {  // zeros around it: one pass over the memory
    Shape high = s;
    for (int d = 0; d < s.ndim(); ++d) high[d] = s[d] - a.stop[d];
    return {apply1(Op::Pad, {c.cot[0], scalar(0, c.cot[0].dtype())}, PadAttrs{a.start, high})};
  }
  return {apply1(Op::SliceUpdate, {zeros(c.in[0].shape(), c.cot[0].dtype()), c.cot[0]}, c.attrs)};
}
Arrays vjp_slice_update(const VjpCtx& c) {
  Arrays out(2);
  if (c.needs[0]) out[0] = apply1(Op::SliceUpdate, {c.cot[0], zeros_like(c.in[1])}, c.attrs);
  if (c.needs[1]) out[1] = apply1(Op::Slice, {c.cot[0]}, c.attrs);
  return out;
}
Arrays vjp_dynamic_slice(const VjpCtx& c) {
  return {dynamic_update(zeros(c.in[0].shape(), c.cot[0].dtype()), c.cot[0], c.in[1]), {}};
}
Arrays vjp_dynamic_update(const VjpCtx& c) {
  const int axis = c.as<DynamicUpdateAttrs>().axis;
  Arrays out(3);
  if (c.needs[0]) out[0] = apply1(Op::DynamicUpdate, {c.cot[0], zeros_like(c.in[1]), c.in[2]}, c.attrs);
  if (!c.needs[1]) return out;
  if (axis < 0) {
    out[1] = dynamic_slice(c.cot[0], c.in[2], c.in[1].shape());
    return out;
  }
  // Row b's window starts at starts[b]; a dropped row has no gradient.
  const int64_t n = c.in[1].shape(axis), dim = c.in[0].shape(axis);
  Shape s = Shape::filled(c.in[0].ndim(), 1), along = s;
  s[0] = c.in[0].shape(0);
  along[axis] = n;
  const Array start = reshape(astype(c.in[2], Dtype::I32), s);
  const Array fits = logical_and(start >= 0, start <= static_cast<int>(dim - n));
  const Array index =
      broadcast_to(where(fits, start, 0) + reshape(arange(static_cast<int>(n)), along), c.in[1].shape());
  out[1] = where(fits, take_along_axis(c.cot[0], index, axis), zeros_like(c.in[1]));
  return out;
}

Arrays vmap_slice(const VmapCtx& c) {
  return {apply1(Op::Slice, {c.in[0]}, with_batch(c.as<SliceAttrs>(), c.size))};
}
Arrays vmap_slice_update(const VmapCtx& c) {
  return {apply1(Op::SliceUpdate, {c.batch(0), c.batch(1)}, with_batch(c.as<SliceAttrs>(), c.size))};
}
// Clamped starts as index arrays, the example's number first; each of shape (batch,).
Arrays window_indices(const VmapCtx& c, size_t starts, const Shape& array, const Shape& sizes) {
  const Array at = astype(c.batch(starts), Dtype::I64);
  Arrays idx{arange(0, c.size, 1, Dtype::I64)};
  for (int d = 0; d < sizes.ndim(); ++d)
    idx.push_back(clip(squeeze(slice_axis(at, 1, d, d + 1), {1}), 0, array[d + 1] - sizes[d]));
  return idx;
}
Axes all_axes(int n) {
  Axes a;
  for (int i = 0; i < n; ++i) a.push_back(i);
  return a;
}
// Starts that all examples share: the batch is one more dimension of the window.
Array shared_starts(const VmapCtx& c, size_t starts) {
  return concatenate({zeros({1}, c.in[starts].dtype()), c.in[starts]}, 0);
}

Arrays vmap_dynamic_slice(const VmapCtx& c) {
  Shape sizes = c.as<DynamicSliceAttrs>().sizes;
  if (!c.batched[1]) {
    const Array at = shared_starts(c, 1);
    sizes.insert(0, c.size);
    return {dynamic_slice(c.in[0], at, sizes)};
  }
  const Array x = c.batch(0);
  const Arrays idx = window_indices(c, 1, x.shape(), sizes);
  sizes.insert(0, 1);
  return {squeeze(gather(x, idx, all_axes(x.ndim()), sizes), {1})};
}
Arrays vmap_dynamic_update(const VmapCtx& c) {
  const int axis = c.as<DynamicUpdateAttrs>().axis;
  const Array x = c.batch(0), u = c.batch(1);
  if (axis >= 0) {  // the batch joins the rows
    const Array y = apply1(Op::DynamicUpdate, {flatten(x, 0, 1), flatten(u, 0, 1), flatten(c.batch(2))},
                           DynamicUpdateAttrs{axis});
    return {reshape(y, x.shape())};
  }
  if (!c.batched[2]) return {dynamic_update(x, u, shared_starts(c, 2))};
  Shape sizes = u.shape();
  sizes.erase(0);
  return {scatter(x, window_indices(c, 2, x.shape(), sizes), expand_dims(u, {1}), all_axes(x.ndim()))};
}

using Cases = std::vector<SampleCase>;
Cases slice_cases() {
  return {{{{5, 7}}, SliceAttrs{{1, 0}, {4, 7}, {1, 3}}, "in0[1:4, 0:7:3]"},
          {{{4}}, SliceAttrs{{2}, {2}, {1}}, "in0[2:2]"},
          {{{3, 4, 5}}, SliceAttrs{{0, 1, 2}, {3, 3, 5}, {2, 1, 1}}, "in0[0:3:2, 1:3, 2:5]"}};
}
Cases update_cases() {
  return {
      {{{5, 7}, {3, 3}}, SliceAttrs{{1, 0}, {4, 7}, {1, 3}}, "put(in0, (slice(1, 4), slice(0, 7, 3)), in1)"},
      {{{4}, {0}}, SliceAttrs{{2}, {2}, {1}}, "in0"}};
}
Cases dynamic_slice_cases() {
  return {{{{5, 7}, {2}},
           DynamicSliceAttrs{{2, 3}},
           "in0[clamp(in1[0], 0, 3):, clamp(in1[1], 0, 4):][:2, :3]",
           {kSwept, Dtype::I32},
           9}};
}
Cases dynamic_update_cases() {
  return {{{{5, 7}, {2, 3}, {2}},
           DynamicUpdateAttrs{-1},
           "put(in0, (slice(clamp(in2[0], 0, 3), clamp(in2[0], 0, 3) + 2), slice(clamp(in2[1], 0, 4), "
           "clamp(in2[1], 0, 4) + 3)), in1)",
           {kSwept, kSwept, Dtype::I32},
           9},
          {{{2, 3, 8}, {2, 3, 2}, {2}},
           DynamicUpdateAttrs{2},
           "update_rows(in0, in1, in2, 2)",
           {kSwept, kSwept, Dtype::I32},
           9}};
}

const OpDef kRows[] = {
    {.op = Op::Slice,
     .doc = "a[start:stop:step] with positive steps",
     .traits = kView,
     .infer = infer_slice,
     .vjp = vjp_slice,
     .vmap = vmap_slice,
     .hlo = "stablehlo.slice",
     .samples = {.dtypes = kDAll, .c = 0, .cases = slice_cases}},
    {.op = Op::SliceUpdate,
     .doc = "a copy with a[start:stop:step] replaced",
     .infer = infer_slice_update,
     .vjp = vjp_slice_update,
     .vmap = vmap_slice_update,
     .samples = {.dtypes = kDAll, .c = 0, .cases = update_cases}},
    {.op = Op::DynamicSlice,
     .doc = "a window whose start is an array; clamped",
     .infer = infer_dynamic_slice,
     .vjp = vjp_dynamic_slice,
     .vmap = vmap_dynamic_slice,
     .hlo = "stablehlo.dynamic_slice",
     .samples = {.dtypes = kDAll, .c = 0, .cases = dynamic_slice_cases}},
    {.op = Op::DynamicUpdate,
     .doc = "a copy with such a window replaced",
     .infer = infer_dynamic_update,
     .vjp = vjp_dynamic_update,
     .vmap = vmap_dynamic_update,
     .hlo = "stablehlo.dynamic_update_slice",
     .samples = {.dtypes = kDAll, .c = 0, .cases = dynamic_update_cases}},
};

// NumPy's rules for one axis; `reversed` for negative steps, whose elements are then taken backwards.
struct Range {
  int64_t start, stop, step;
  bool reversed;
};
Range normalize(int64_t start, int64_t stop, int64_t step, int64_t n, std::string_view where) {
  if (step == 0) throw Error(ErrorCode::InvalidArgument, "a step must not be 0", std::string(where));
  auto clamp = [](int64_t v, int64_t lo, int64_t hi) { return v < lo ? lo : v > hi ? hi : v; };
  // A longer step takes one element too, and does not overflow.
  step = clamp(step, -(n + 1), n + 1);
  if (step > 0) {
    const int64_t b = start == kEnd ? 0 : clamp(start < 0 ? start + n : start, 0, n);
    const int64_t e = stop == kEnd ? n : clamp(stop < 0 ? stop + n : stop, 0, n);
    return {b, e < b ? b : e, step, false};
  }
  const int64_t b = start == kEnd ? n - 1 : clamp(start < 0 ? start + n : start, -1, n - 1);
  const int64_t e = stop == kEnd ? -1 : clamp(stop < 0 ? stop + n : stop, -1, n - 1);
  const int64_t count = b > e ? (b - e - step - 1) / -step : 0;
  // The same elements in ascending order: the last one first.
  const int64_t low = b + (count - 1) * step;
  return count == 0 ? Range{0, 0, 1, false} : Range{low, b + 1, -step, true};
}

SliceAttrs normalized(const Shape& shape, const Shape& start, const Shape& stop, const Shape& step,
                      Axes* flips, std::string_view where) {
  if (start.ndim() != shape.ndim() || stop.ndim() != shape.ndim() ||
      (step.ndim() != 0 && step.ndim() != shape.ndim()))
    throw Error(ErrorCode::InvalidArgument,
                cat("an array of shape ", shape.str(), " needs ", shape.ndim(), " starts, stops and steps"),
                std::string(where));
  SliceAttrs a;
  for (int d = 0; d < shape.ndim(); ++d) {
    const Range r = normalize(start[d], stop[d], step.ndim() ? step[d] : 1, shape[d], where);
    a.start.push_back(r.start);
    a.stop.push_back(r.stop);
    a.step.push_back(r.step);
    if (r.reversed) flips->push_back(d);
  }
  return a;
}

}  // namespace

Rows slice_rows() { return kRows; }

Array slice(const Array& a, const Shape& start, const Shape& stop, const Shape& step) {
  Axes flips;
  const SliceAttrs s = normalized(a.shape(), start, stop, step, &flips, "slice");
  bool whole = true;
  for (int d = 0; d < a.ndim(); ++d)
    whole = whole && s.start[d] == 0 && s.stop[d] == a.shape()[d] && s.step[d] == 1;
  const Array w = whole ? a : apply1(Op::Slice, {&a, 1}, s);
  return flips.empty() ? w : flip(w, flips);
}
Array slice_axis(const Array& a, int axis, int64_t start, int64_t stop, int64_t step) {
  const int ax = normalize_axis(axis, a.ndim(), "slice_axis");
  Shape b = Shape::filled(a.ndim(), kEnd), e = b, s = Shape::filled(a.ndim(), 1);
  b[ax] = start;
  e[ax] = stop;
  s[ax] = step;
  return slice(a, b, e, s);
}
Array slice_update(const Array& a, const Array& update, const Shape& start, const Shape& stop,
                   const Shape& step) {
  Axes flips;
  const SliceAttrs s = normalized(a.shape(), start, stop, step, &flips, "slice_update");
  if (!flips.empty())
    throw Error(ErrorCode::InvalidArgument, "steps must be positive here", "slice_update",
                "flip the update instead");
  return apply1(Op::SliceUpdate, {a, broadcast_to(astype(update, a.dtype()), window(s))}, s);
}
Array dynamic_slice(const Array& a, const Array& starts, const Shape& sizes) {
  return apply1(Op::DynamicSlice, {a, starts}, DynamicSliceAttrs{sizes});
}
Array dynamic_update(const Array& a, const Array& update, const Array& starts) {
  return apply1(Op::DynamicUpdate, {a, astype(update, a.dtype()), starts}, DynamicUpdateAttrs{-1});
}
Array dynamic_update_rows(const Array& a, const Array& update, const Array& starts, int axis) {
  const int ax = normalize_axis(axis, a.ndim(), "dynamic_update_rows");
  if (ax == 0)
    throw Error(ErrorCode::InvalidArgument, "axis 0 holds the rows", "dynamic_update_rows",
                "choose another axis");
  return apply1(Op::DynamicUpdate, {a, astype(update, a.dtype()), starts}, DynamicUpdateAttrs{ax});
}

}  // namespace mc
