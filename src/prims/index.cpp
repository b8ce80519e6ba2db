// Reading and writing at positions that are arrays.
#include <algorithm>

#include "core/op_names.h"
#include "mc/ops.h"
#include "prims/attrs.h"
#include "prims/rows.h"

namespace mc {
namespace {

void check_indices(const InferCtx& c, size_t first, size_t count, const Axes& axes) {
  if (count != static_cast<size_t>(axes.ndim()))
    c.fail(ErrorCode::InvalidArgument, cat(count, " index arrays for ", axes.ndim(), " axes"));
  for (size_t i = 0; i < count; ++i) {
    require_dtype(c, first + i, kDInts);
    if (!(c.shape(first + i) == c.shape(first)))
      c.fail(ErrorCode::ShapeMismatch,
             cat("index arrays of shapes ", c.shape(first).str(), " and ", c.shape(first + i).str()));
  }
}
void infer_gather(InferCtx& c) {
  const auto& a = c.as<GatherAttrs>();
  const Shape& s = c.shape(0);
  check_indices(c, 1, c.in.size() - 1, a.axes);
  if (a.sizes.ndim() != s.ndim())
    c.fail(ErrorCode::ShapeMismatch, cat("windows of ", a.sizes.str(), " in an array of shape ", s.str()));
  for (int d = 0; d < s.ndim(); ++d)
    if (a.sizes[d] < 0 || (!a.axes.contains(d) && a.sizes[d] > s[d]))
      c.fail(ErrorCode::ShapeMismatch,
             cat("windows of ", a.sizes.str(), " do not fit an array of shape ", s.str()));
  Shape out = c.in.size() > 1 ? c.shape(1) : Shape{};
  for (int64_t d : a.sizes) out.push_back(d);
  c.push(out, c.dtype(0));
}
void infer_scatter(InferCtx& c) {
  const auto& a = c.as<ScatterAttrs>();
  const size_t count = c.in.size() - 2, last = c.in.size() - 1;
  check_indices(c, 1, count, a.axes);
  if (c.dtype(last) != c.dtype(0))
    c.fail(ErrorCode::DtypeMismatch,
           cat("updates are ", dtype_name(c.dtype(last)), ", the array ", dtype_name(c.dtype(0))));
  if (is_complex(c.dtype(0)) && a.mode >= static_cast<int>(ScatterMode::Max))
    c.fail(ErrorCode::DtypeMismatch, "complex numbers have no order");
  const int rank = count ? c.shape(1).ndim() : 0;
  bool ok = c.shape(last).ndim() == rank + c.shape(0).ndim();
  for (int d = 0; ok && d < rank; ++d) ok = c.shape(last)[d] == c.shape(1)[d];
  for (int d = 0; ok && d < c.shape(0).ndim(); ++d) ok = c.shape(last)[rank + d] <= c.shape(0)[d];
  if (!ok)
    c.fail(ErrorCode::ShapeMismatch,
           cat("updates of shape ", c.shape(last).str(), " do not fit indices of shape ",
               count ? c.shape(1).str() : "()", " into ", c.shape(0).str()));
  c.push(c.shape(0), c.dtype(0));
}
void check_along(const InferCtx& c, size_t input) {
  const int axis = c.as<AxisAttrs>().axis;
  const Shape &s = c.shape(0), &i = c.shape(input);
  bool ok = s.ndim() == i.ndim();
  for (int d = 0; ok && d < s.ndim(); ++d) ok = d == axis || s[d] == i[d];
  if (!ok)
    c.fail(ErrorCode::ShapeMismatch,
           cat("indices of shape ", i.str(), " must equal ", s.str(), " but for axis ", axis));
}
void infer_take_along(InferCtx& c) {
  require_dtype(c, 1, kDInts);
  check_along(c, 1);
  c.push(c.shape(1), c.dtype(0));
}
void infer_scatter_add(InferCtx& c) {
  require_dtype(c, 1, kDInts);
  check_along(c, 1);
  if (!(c.shape(2) == c.shape(1)) || c.dtype(2) != c.dtype(0))
    c.fail(ErrorCode::ShapeMismatch,
           cat("updates ", c.shape(2).str(), " of ", dtype_name(c.dtype(2)), " do not fit indices ",
               c.shape(1).str(), " and an array of ", dtype_name(c.dtype(0))));
  c.push(c.shape(0), c.dtype(0));
}

Arrays indices_of(const VjpCtx& c, size_t end) {
  return Arrays(c.in.begin() + 1, c.in.begin() + static_cast<std::ptrdiff_t>(end));
}

Arrays vjp_gather(const VjpCtx& c) {
  Arrays out(c.in.size());
  out[0] = c.in[0].size() == 0 ? zeros_like(c.in[0])  // every read was outside
                               : scatter(zeros(c.in[0].shape(), c.cot[0].dtype()), indices_of(c, c.in.size()),
                                         c.cot[0], c.as<GatherAttrs>().axes, ScatterMode::Add);
  return out;
}
Arrays vjp_scatter(const VjpCtx& c) {
  const auto& a = c.as<ScatterAttrs>();
  const size_t last = c.in.size() - 1;
  Arrays out(c.in.size());
  const Arrays idx = indices_of(c, last);
  const int rank = idx.empty() ? 0 : idx[0].ndim();
  Shape sizes;
  for (int d = rank; d < c.in[last].ndim(); ++d) sizes.push_back(c.in[last].shape()[d]);
  const Array& g = c.cot[0];
  const auto mode = static_cast<ScatterMode>(a.mode);
  if (mode == ScatterMode::Add) {
    out[0] = g;
    // An update that was dropped has no influence: where nothing is read a bool is false.
    if (c.needs[last]) {
      const Array kept = gather(ones(g.shape(), Dtype::Bool), idx, a.axes, sizes);
      out[last] = where(kept, gather(g, idx, a.axes, sizes), zeros_like(c.in[last]));
    }
  } else if (mode == ScatterMode::Set) {
    if (c.needs[0]) out[0] = scatter(g, idx, zeros_like(c.in[last]), a.axes);
    if (c.needs[last]) {
      // Of updates at one place only the last one counts: number them and see whose number stays.
      const int64_t n = c.in[last].size();
      const Array number = reshape(arange(0, n), c.in[last].shape());
      const Array winner = scatter(full(c.in[0].shape(), -1, Dtype::I32), idx, number, a.axes);
      const Array mine = equal(gather(winner, idx, a.axes, sizes), number);
      out[last] = where(mine, gather(g, idx, a.axes, sizes), zeros_like(c.in[last]));
    }
  } else if (mode == ScatterMode::Multiply) {
    // Others than itself: the product of all that are not zero, divided by itself; zeros are counted.
    const Array &x = c.in[0], &u = c.in[last];
    const Array zero = equal(u, 0), factor = where(zero, ones_like(u), u);
    const Array product = scatter(ones_like(x), idx, factor, a.axes, ScatterMode::Multiply);
    const Array zeros_at =
        scatter(zeros(x.shape(), Dtype::I32), idx, astype(zero, Dtype::I32), a.axes, ScatterMode::Add);
    if (c.needs[0]) out[0] = g * where(equal(zeros_at, 0), product, zeros_like(x));
    if (c.needs[last]) {
      auto at = [&](const Array& v) { return gather(v, idx, a.axes, sizes); };
      const Array kept = at(ones(x.shape(), Dtype::Bool));
      const Array others =
          where(equal(at(zeros_at), astype(zero, Dtype::I32)), at(product) / factor, zeros_like(u));
      out[last] = where(kept, at(g * x) * others, zeros_like(u));
    }
  } else {  // Max, Min: shared equally among equal extremes
    const Array &x = c.in[0], &u = c.in[last], &y = c.out[0];
    auto at = [&](const Array& v) { return gather(v, idx, a.axes, sizes); };
    const Array hit = astype(equal(at(y), u), g.dtype()), stayed = astype(equal(x, y), g.dtype());
    const Array share = g / scatter(stayed, idx, hit, a.axes, ScatterMode::Add);
    out[0] = stayed * share;
    if (c.needs[last]) out[last] = where(equal(hit, 1), at(share), zeros_like(u));
  }
  return out;
}
Arrays vjp_take_along(const VjpCtx& c) {
  return {
      scatter_add_axis(zeros(c.in[0].shape(), c.cot[0].dtype()), c.in[1], c.cot[0], c.as<AxisAttrs>().axis),
      {}};
}
Arrays vjp_scatter_add(const VjpCtx& c) {
  Arrays out(3);
  out[0] = c.cot[0];
  if (c.needs[2]) {
    const int axis = c.as<AxisAttrs>().axis;
    const Array kept = take_along_axis(ones(c.cot[0].shape(), Dtype::Bool), c.in[1],
                                       axis);  // false where the update was dropped
    out[2] = where(kept, take_along_axis(c.cot[0], c.in[1], axis), zeros_like(c.in[2]));
  }
  return out;
}

// A further index array names the example: the batch axis is gathered from like any other.
Array example_index(const Shape& batched_shape) {
  Shape s = Shape::filled(batched_shape.ndim(), 1);
  s[0] = batched_shape[0];
  return broadcast_to(reshape(arange(0, batched_shape[0]), s), batched_shape);
}
Axes with_batch(const Axes& axes) {
  Axes out{0};
  for (int64_t a : axes) out.push_back(a + 1);
  return out;
}
Arrays vmap_gather(const VmapCtx& c) {
  const auto& a = c.as<GatherAttrs>();
  Arrays idx;
  for (size_t i = 1; i < c.in.size(); ++i) idx.push_back(c.batch(i));
  if (idx.empty()) {
    Shape sizes = a.sizes;
    sizes.insert(0, c.size);
    return {apply1(Op::Gather, {c.in[0]}, GatherAttrs{{}, sizes})};
  }
  if (!c.batched[0]) return {gather(c.in[0], idx, a.axes, a.sizes)};
  Arrays all{example_index(idx[0].shape())};  // int32 beside any other integers
  all.insert(all.end(), idx.begin(), idx.end());
  Shape sizes = a.sizes;
  sizes.insert(0, 1);
  const Array y = gather(c.in[0], all, with_batch(a.axes), sizes);
  return {squeeze(y, {idx[0].ndim()})};
}
Arrays vmap_scatter(const VmapCtx& c) {
  const auto& a = c.as<ScatterAttrs>();
  const size_t last = c.in.size() - 1;
  Arrays idx;
  for (size_t i = 1; i < last; ++i) idx.push_back(c.batch(i));
  if (idx.empty()) return {scatter(c.batch(0), {}, c.batch(last), {}, static_cast<ScatterMode>(a.mode))};
  Arrays all{example_index(idx[0].shape())};  // int32 beside any other integers
  all.insert(all.end(), idx.begin(), idx.end());
  return {scatter(c.batch(0), all, expand_dims(c.batch(last), {idx[0].ndim()}), with_batch(a.axes),
                  static_cast<ScatterMode>(a.mode))};
}
Arrays vmap_along(const VmapCtx& c) {
  Arrays in;
  for (size_t i = 0; i < c.in.size(); ++i) in.push_back(c.batch(i));
  return {apply1(c.op, in, AxisAttrs{c.as<AxisAttrs>().axis + 1})};
}

using Cases = std::vector<SampleCase>;
Cases gather_cases() {
  return {{{{5, 3}, {4}}, GatherAttrs{{0}, {1, 3}}, "in0[in1][:, None, :]", {kSwept, Dtype::I32}, 5, -5},
          {{{5, 3}, {9}}, GatherAttrs{{0}, {1, 3}}, "gather0(in0, in1)", {kSwept, Dtype::I64}, 9, -9},
          {{{5, 6}, {2, 2}, {2, 2}},
           GatherAttrs{{0, 1}, {1, 1}},
           "in0[in1, in2][..., None, None]",
           {kSwept, Dtype::I32, Dtype::I32},
           5},
          {{{0, 3}, {4}}, GatherAttrs{{0}, {1, 3}}, "gather0(in0, in1)", {kSwept, Dtype::I32}, 1},
          {{{5, 3}, {0}}, GatherAttrs{{0}, {1, 3}}, "in0[in1][:, None, :]", {kSwept, Dtype::I32}, 5}};
}
Cases scatter_cases() {
  auto one = [](ScatterMode mode, const char* ufunc, double lo) {
    return SampleCase{{{5, 3}, {7}, {7, 1, 3}},
                      ScatterAttrs{{0}, static_cast<int>(mode)},
                      cat("scatter0(in0, in1, in2[:, 0], ", ufunc, ")"),
                      {kSwept, Dtype::I32, kSwept},
                      -lo,
                      lo};
  };
  return {one(ScatterMode::Add, "np.add", -5),     one(ScatterMode::Add, "np.add", -9),
          one(ScatterMode::Set, "None", -5),       one(ScatterMode::Multiply, "np.multiply", -5),
          one(ScatterMode::Max, "np.maximum", -5), one(ScatterMode::Min, "np.minimum", -5)};
}
Cases take_along_cases() {
  return {{{{4, 5}, {4, 3}}, AxisAttrs{1}, "take_along(in0, in1, 1)", {kSwept, Dtype::I32}, 5, -5},
          {{{4, 5}, {7, 5}}, AxisAttrs{0}, "take_along(in0, in1, 0)", {kSwept, Dtype::I64}, 8, -8}};
}
Cases scatter_add_cases() {
  return {{{{4, 5}, {4, 3}, {4, 3}},
           AxisAttrs{1},
           "add_along(in0, in1, in2, 1)",
           {kSwept, Dtype::I32, kSwept},
           5,
           -5},
          {{{4, 5}, {9, 5}, {9, 5}},
           AxisAttrs{0},
           "add_along(in0, in1, in2, 0)",
           {kSwept, Dtype::I32, kSwept},
           9,
           -9}};
}

const OpDef kRows[] = {
    {.op = Op::Gather,
     .doc = "windows at positions given by index arrays",
     .infer = infer_gather,
     .vjp = vjp_gather,
     .vmap = vmap_gather,
     .hlo = "stablehlo.gather",
     .samples = {.dtypes = kDAll, .c = 0, .cases = gather_cases}},
    {.op = Op::Scatter,
     .doc = "windows combined into a copy, in ascending order of the updates",
     .infer = infer_scatter,
     .vjp = vjp_scatter,
     .vmap = vmap_scatter,
     .hlo = "stablehlo.scatter",
     .samples = {.dtypes = kDReal, .c = 4, .cases = scatter_cases}},
    {.op = Op::TakeAlongAxis,
     .doc = "elements chosen along an axis for each line",
     .infer = infer_take_along,
     .vjp = vjp_take_along,
     .vmap = vmap_along,
     .samples = {.dtypes = kDAll, .c = 0, .cases = take_along_cases}},
    {.op = Op::ScatterAddAxis,
     .doc = "updates added along an axis for each line",
     .infer = infer_scatter_add,
     .vjp = vjp_scatter_add,
     .vmap = vmap_along,
     .samples = {.dtypes = kDNumber, .c = 4, .cases = scatter_add_cases}},
};

}  // namespace

Rows index_rows() { return kRows; }

Array gather(const Array& a, const Arrays& indices, const Axes& axes, const Shape& sizes) {
  Arrays in{a};
  Shape s;
  for (const Array& i : indices) s = broadcast_shapes(s, i.shape(), "gather");
  for (const Array& i : indices) in.push_back(broadcast_to(i, s));
  Axes n;
  for (int64_t ax : axes) n.push_back(normalize_axis(ax, a.ndim(), "gather"));
  return apply1(Op::Gather, in, GatherAttrs{n, sizes});
}
Array scatter(const Array& a, const Arrays& indices, const Array& updates, const Axes& axes,
              ScatterMode mode) {
  Arrays in{a};
  Shape s;
  for (const Array& i : indices) s = broadcast_shapes(s, i.shape(), "scatter");
  for (const Array& i : indices) in.push_back(broadcast_to(i, s));
  in.push_back(astype(updates, a.dtype()));
  Axes n;
  for (int64_t ax : axes) n.push_back(normalize_axis(ax, a.ndim(), "scatter"));
  return apply1(Op::Scatter, in, ScatterAttrs{n, static_cast<int>(mode)});
}
Array take(const Array& a, const Array& indices, std::optional<int> axis) {
  if (!is_integer(indices.dtype()))
    throw Error(ErrorCode::DtypeMismatch,
                cat("indices are ", dtype_name(indices.dtype()), ", expected integers"), "take");
  if (!axis) return take(reshape(a, {-1}), indices, 0);
  const int ax = normalize_axis(*axis, a.ndim(), "take");
  Shape sizes = a.shape();
  sizes[ax] = 1;
  const Array y = squeeze(gather(a, {indices}, {ax}, sizes), {indices.ndim() + ax});
  if (ax == 0) return y;
  // The index dimensions come first: move them to where the axis was.
  Axes order;
  for (int d = 0; d < ax; ++d) order.push_back(indices.ndim() + d);
  for (int d = 0; d < indices.ndim(); ++d) order.push_back(d);
  for (int d = indices.ndim() + ax; d < y.ndim(); ++d) order.push_back(d);
  return transpose(y, order);
}
// The dimensions beside the axis broadcast, as in NumPy.
Array take_along_axis(const Array& a, const Array& indices, int axis) {
  const int ax = normalize_axis(axis, a.ndim(), "take_along_axis");
  Array x = a, at = indices;
  if (a.ndim() == indices.ndim()) {
    Shape sa = a.shape(), si = indices.shape();
    sa[ax] = si[ax] = 1;
    if (!(sa == si)) {
      Shape wide = broadcast_shapes(sa, si, "take_along_axis"), to = wide;
      wide[ax] = a.shape(ax);
      to[ax] = indices.shape(ax);
      x = broadcast_to(a, wide);
      at = broadcast_to(indices, to);
    }
  }
  return apply1(Op::TakeAlongAxis, {x, at}, AxisAttrs{ax});
}
Array scatter_add_axis(const Array& a, const Array& indices, const Array& updates, int axis) {
  return apply1(Op::ScatterAddAxis, {a, indices, astype(updates, a.dtype())},
                AxisAttrs{normalize_axis(axis, a.ndim(), "scatter_add_axis")});
}

}  // namespace mc
