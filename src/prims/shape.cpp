// Operations that arrange elements anew.
#include <algorithm>

#include "mc/ops.h"
#include "prims/attrs.h"
#include "prims/rows.h"
#include "prims/shape_check.h"

namespace mc {
namespace {

Axes reversed(int n) {
  Axes a;
  for (int i = n - 1; i >= 0; --i) a.push_back(i);
  return a;
}
Axes inverse(const Axes& axes) {
  Axes out = axes;
  for (int i = 0; i < axes.ndim(); ++i) out[static_cast<int>(axes[i])] = i;
  return out;
}
Axes shifted(const Axes& axes) {
  Axes out = axes;
  for (int64_t& a : out) ++a;
  return out;
}
Shape with_batch(const Shape& s, int64_t n) {
  Shape out = s;
  out.insert(0, n);
  return out;
}

void infer_reshape(InferCtx& c) {
  const Shape& to = c.as<ShapeAttrs>().shape;
  if (to.numel() != c.shape(0).numel())
    c.fail(ErrorCode::ShapeMismatch, cat("an array of shape ", c.shape(0).str(), " (", c.shape(0).numel(),
                                         " elements) can't become ", to.str()));
  c.push(to, c.dtype(0));
}
void infer_transpose(InferCtx& c) {
  const Axes& axes = c.as<TransposeAttrs>().axes;
  if (axes.ndim() != c.shape(0).ndim())
    c.fail(ErrorCode::ShapeMismatch, cat("axes ", axes.str(), " do not fit shape ", c.shape(0).str()));
  Shape s;
  for (int64_t a : axes) s.push_back(c.shape(0)[static_cast<int>(a)]);
  c.push(s, c.dtype(0));
}
void infer_broadcast(InferCtx& c) {
  const Shape& to = c.as<ShapeAttrs>().shape;
  const Shape& from = c.shape(0);
  bool ok = from.ndim() <= to.ndim();
  for (int i = 1; ok && i <= from.ndim(); ++i)
    ok = from[from.ndim() - i] == to[to.ndim() - i] || from[from.ndim() - i] == 1;
  for (int64_t d : to) ok = ok && d >= 0;
  if (!ok) c.fail(ErrorCode::ShapeMismatch, cat("shape ", from.str(), " can't be broadcast to ", to.str()));
  check_countable(c, to);
  c.push(to, c.dtype(0));
}
void infer_pad(InferCtx& c) {
  const auto& a = c.as<PadAttrs>();
  Shape s = c.shape(0);
  if (a.low.ndim() != s.ndim() || a.high.ndim() != s.ndim())
    c.fail(ErrorCode::ShapeMismatch,
           cat("an array of shape ", s.str(), " needs ", s.ndim(), " pairs of widths, got ", a.low.ndim()));
  for (int d = 0; d < s.ndim(); ++d) {
    if (__builtin_add_overflow(s[d], a.low[d], &s[d]) || __builtin_add_overflow(s[d], a.high[d], &s[d]))
      c.fail(ErrorCode::ShapeMismatch,
             cat("widths ", a.low[d], " and ", a.high[d], " of axis ", d, " are too large"));
    if (s[d] < 0)
      c.fail(ErrorCode::ShapeMismatch,
             cat("axis ", d, " of shape ", c.shape(0).str(), " is cut by more than it has"));
  }
  if (c.dtype(1) != c.dtype(0) || c.shape(1).ndim() != 0)
    c.fail(ErrorCode::DtypeMismatch, "the padding value must be a scalar of the array's dtype");
  check_countable(c, s);
  c.push(s, c.dtype(0));
}
void infer_concatenate(InferCtx& c) {
  const int axis = c.as<AxisAttrs>().axis;
  Shape s = c.shape(0);
  normalize_axis(axis, s.ndim(), "concatenate");
  for (size_t i = 1; i < c.in.size(); ++i) {
    const Shape& o = c.shape(i);
    bool ok = o.ndim() == s.ndim();
    for (int d = 0; ok && d < s.ndim(); ++d) ok = d == axis || o[d] == s[d];
    if (!ok)
      c.fail(ErrorCode::ShapeMismatch,
             cat("shapes ", c.shape(0).str(), " and ", o.str(), " can't be joined along axis ", axis));
    if (c.dtype(i) != c.dtype(0))
      c.fail(ErrorCode::DtypeMismatch,
             cat("dtypes ", dtype_name(c.dtype(0)), " and ", dtype_name(c.dtype(i)), " differ"));
    s[axis] += o[axis];
  }
  check_countable(c, s);
  c.push(s, c.dtype(0));
}
void infer_flip(InferCtx& c) {
  normalize_axes(c.as<FlipAttrs>().axes, c.shape(0).ndim(), "flip");
  c.push(c.shape(0), c.dtype(0));
}

Arrays vjp_reshape(const VjpCtx& c) { return {reshape(c.cot[0], c.in[0].shape())}; }
Arrays vjp_transpose(const VjpCtx& c) { return {transpose(c.cot[0], inverse(c.as<TransposeAttrs>().axes))}; }
Arrays vjp_broadcast(const VjpCtx& c) { return {unbroadcast(c.cot[0], c.in[0].shape())}; }
// Negative widths take elements away: the gradient of pad, and pad's own.
Array pad_or_crop(const Array& a, const std::vector<std::pair<int64_t, int64_t>>& widths, Scalar value = 0) {
  PadAttrs p;
  bool none = true;
  for (auto [low, high] : widths) {
    p.low.push_back(low);
    p.high.push_back(high);
    none = none && low == 0 && high == 0;
  }
  if (none && static_cast<int>(widths.size()) == a.ndim()) return a;
  return apply1(Op::Pad, {a, scalar(value, a.dtype())}, p);
}
Arrays vjp_pad(const VjpCtx& c) {
  const auto& a = c.as<PadAttrs>();
  const Shape& s = c.in[0].shape();
  std::vector<std::pair<int64_t, int64_t>> back;
  for (int d = 0; d < s.ndim(); ++d) back.emplace_back(-a.low[d], -a.high[d]);
  Arrays out(2);
  const Array inner = pad_or_crop(c.cot[0], back);
  if (c.needs[0]) out[0] = inner;
  if (c.needs[1]) out[1] = sum(c.cot[0]) - sum(inner);
  return out;
}
Arrays vjp_concatenate(const VjpCtx& c) {
  const int axis = c.as<AxisAttrs>().axis;
  Arrays out(c.in.size());
  int64_t at = 0;
  for (size_t i = 0; i < c.in.size(); ++i) {
    const int64_t n = c.in[i].shape(axis);
    if (c.needs[i]) out[i] = slice_axis(c.cot[0], axis, at, at + n);
    at += n;
  }
  return out;
}
Arrays vjp_flip(const VjpCtx& c) { return {flip(c.cot[0], c.as<FlipAttrs>().axes)}; }

Arrays vmap_reshape(const VmapCtx& c) {
  return {reshape(c.in[0], with_batch(c.as<ShapeAttrs>().shape, c.size))};
}
Arrays vmap_transpose(const VmapCtx& c) {
  Axes axes = shifted(c.as<TransposeAttrs>().axes);
  axes.insert(0, 0);
  return {transpose(c.in[0], axes)};
}
Arrays vmap_broadcast(const VmapCtx& c) {
  const Shape& to = c.as<ShapeAttrs>().shape;
  Shape mid = c.in[0].shape();
  while (mid.ndim() - 1 < to.ndim()) mid.insert(1, 1);
  return {broadcast_to(reshape(c.in[0], mid), with_batch(to, c.size))};
}
Arrays vmap_pad(const VmapCtx& c) {
  const auto& a = c.as<PadAttrs>();
  Shape low = a.low, high = a.high;
  low.insert(0, 0);
  high.insert(0, 0);
  if (!c.batched[1]) return {apply1(Op::Pad, {c.in[0], c.in[1]}, PadAttrs{low, high})};
  // A value for each example: pad a mask and choose.
  const Array x = c.batch(0), zero = scalar(0, x.dtype());
  const Array inside = apply1(Op::Pad, {ones(x.shape(), Dtype::Bool), scalar(false)}, PadAttrs{low, high});
  Shape s = Shape::filled(x.ndim(), 1);
  s[0] = c.size;
  return {where(inside, apply1(Op::Pad, {x, zero}, PadAttrs{low, high}), reshape(c.in[1], s))};
}
Arrays vmap_concatenate(const VmapCtx& c) {
  Arrays in;
  for (size_t i = 0; i < c.in.size(); ++i) in.push_back(c.batch(i));
  return {apply1(Op::Concatenate, in, AxisAttrs{c.as<AxisAttrs>().axis + 1})};
}
Arrays vmap_flip(const VmapCtx& c) { return {flip(c.in[0], shifted(c.as<FlipAttrs>().axes))}; }

using Cases = std::vector<SampleCase>;
Cases reshape_cases() {
  return {{{{2, 3, 4}}, ShapeAttrs{{6, 4}}, "in0.reshape(6, 4)"},
          {{{0, 3}}, ShapeAttrs{{3, 0}}, "in0.reshape(3, 0)"},
          {{{1}}, ShapeAttrs{{}}, "in0.reshape(())"}};
}
Cases transpose_cases() {
  return {{{{2, 3, 4}}, TransposeAttrs{{2, 0, 1}}, "in0.transpose(2, 0, 1)"},
          {{{5, 1}}, TransposeAttrs{{1, 0}}, "in0.T"}};
}
Cases broadcast_cases() {
  return {{{{3, 1}}, ShapeAttrs{{2, 3, 4}}, "np.broadcast_to(in0, (2, 3, 4))"},
          {{{}}, ShapeAttrs{{5}}, "np.broadcast_to(in0, (5,))"}};
}
Cases pad_cases() {
  return {
      {{{2, 3}, {}}, PadAttrs{{1, 0}, {0, 2}}, "np.pad(in0, ((1, 0), (0, 2)), constant_values=in1)"},
      {{{4, 3}, {}}, PadAttrs{{-1, 1}, {-1, 0}}, "np.pad(in0[1:-1], ((0, 0), (1, 0)), constant_values=in1)"}};
}
Cases concatenate_cases() {
  return {{{{2, 3}, {4, 3}}, AxisAttrs{0}, "np.concatenate([in0, in1], 0)"},
          {{{2, 1, 3}, {2, 0, 3}, {2, 5, 3}}, AxisAttrs{1}, "np.concatenate([in0, in1, in2], 1)"}};
}
Cases flip_cases() {
  return {{{{2, 3, 4}}, FlipAttrs{{0, 2}}, "np.flip(in0, (0, 2))"},
          {{{0, 2}}, FlipAttrs{{1}}, "np.flip(in0, 1)"}};
}

const OpDef kRows[] = {
    {.op = Op::Reshape,
     .doc = "the elements in row-major order in another shape",
     .traits = kView,
     .infer = infer_reshape,
     .vjp = vjp_reshape,
     .vmap = vmap_reshape,
     .hlo = "stablehlo.reshape",
     .samples = {.dtypes = kDAll, .c = 0, .cases = reshape_cases}},
    {.op = Op::Transpose,
     .doc = "axes in another order",
     .traits = kView,
     .infer = infer_transpose,
     .vjp = vjp_transpose,
     .vmap = vmap_transpose,
     .hlo = "stablehlo.transpose",
     .samples = {.dtypes = kDAll, .c = 0, .cases = transpose_cases}},
    {.op = Op::BroadcastTo,
     .doc = "repeats dimensions of 1",
     .traits = kView,
     .infer = infer_broadcast,
     .vjp = vjp_broadcast,
     .vmap = vmap_broadcast,
     .hlo = "stablehlo.broadcast_in_dim",
     .samples = {.dtypes = kDAll, .c = 0, .cases = broadcast_cases}},
    {.op = Op::Pad,
     .doc = "a value around the array; negative widths crop",
     .infer = infer_pad,
     .vjp = vjp_pad,
     .vmap = vmap_pad,
     .hlo = "stablehlo.pad",
     .samples = {.dtypes = kDAll, .c = 0, .cases = pad_cases}},
    {.op = Op::Concatenate,
     .doc = "arrays one after another along an axis",
     .infer = infer_concatenate,
     .vjp = vjp_concatenate,
     .vmap = vmap_concatenate,
     .hlo = "stablehlo.concatenate",
     .samples = {.dtypes = kDAll, .c = 0, .cases = concatenate_cases}},
    {.op = Op::Flip,
     .doc = "elements in reverse order along axes",
     .traits = kView,
     .infer = infer_flip,
     .vjp = vjp_flip,
     .vmap = vmap_flip,
     .hlo = "stablehlo.reverse",
     .samples = {.dtypes = kDAll, .c = 0, .cases = flip_cases}},
};

}  // namespace

Rows shape_rows() { return kRows; }

Array reshape(const Array& a, const Shape& shape) {
  Shape to = shape;
  int unknown = -1;
  int64_t known = 1;
  for (int d = 0; d < to.ndim(); ++d) {
    if (to[d] == -1 && unknown < 0) {
      unknown = d;
    } else if (to[d] < 0) {
      throw Error(ErrorCode::ShapeMismatch,
                  cat("shape ", shape.str(), " has more than one -1 or another negative dimension"),
                  "reshape");
    } else {
      if (__builtin_mul_overflow(known, to[d], &known)) {
        // More elements than any array has, unless another dimension is 0.
        if (shape.contains(0))
          known = 0;
        else
          throw Error(ErrorCode::ShapeMismatch,
                      cat("an array of shape ", a.shape().str(), " can't become ", shape.str()), "reshape");
      }
    }
  }
  if (unknown >= 0) {
    if (known == 0 || a.size() % known != 0)
      throw Error(
          ErrorCode::ShapeMismatch,
          cat("an array of shape ", a.shape().str(), " (", a.size(), " elements) can't become ", shape.str()),
          "reshape");
    to[unknown] = a.size() / known;
  }
  if (to == a.shape()) return a;
  return apply1(Op::Reshape, {&a, 1}, ShapeAttrs{to});
}

Array flatten(const Array& a, int start_axis, int end_axis) {
  if (a.ndim() == 0) return reshape(a, {1});
  const int s = normalize_axis(start_axis, a.ndim(), "flatten"),
            e = normalize_axis(end_axis, a.ndim(), "flatten");
  if (e < s)
    throw Error(ErrorCode::InvalidArgument, cat("axis ", end_axis, " lies before axis ", start_axis),
                "flatten");
  Shape to;
  for (int d = 0; d < a.ndim(); ++d) {
    if (d > s && d <= e)
      to[to.ndim() - 1] *= a.shape()[d];
    else
      to.push_back(a.shape()[d]);
  }
  return reshape(a, to);
}

Array squeeze(const Array& a) {
  Shape to;
  for (int64_t d : a.shape())
    if (d != 1) to.push_back(d);
  return reshape(a, to);
}
Array squeeze(const Array& a, const Axes& axes) {
  const Axes drop = normalize_axes(axes, a.ndim(), "squeeze");
  Shape to;
  for (int d = 0; d < a.ndim(); ++d) {
    if (!drop.contains(d)) {
      to.push_back(a.shape()[d]);
    } else if (a.shape()[d] != 1) {
      throw Error(ErrorCode::ShapeMismatch, cat("axis ", d, " of shape ", a.shape().str(), " is not 1"),
                  "squeeze");
    }
  }
  return reshape(a, to);
}
Array expand_dims(const Array& a, const Axes& axes) {
  const int nd = a.ndim() + axes.ndim();
  if (nd > kMaxRank)
    throw Error(ErrorCode::ShapeMismatch,
                cat("an array can have at most ", kMaxRank, " dimensions, got ", nd), "expand_dims");
  const Axes added = normalize_axes(axes, nd, "expand_dims");
  Shape to;
  int from = 0;
  for (int d = 0; d < nd; ++d) to.push_back(added.contains(d) ? 1 : a.shape()[from++]);
  return reshape(a, to);
}

Array transpose(const Array& a) { return transpose(a, reversed(a.ndim())); }
Array transpose(const Array& a, const Axes& axes) {
  if (axes.ndim() != a.ndim())
    throw Error(ErrorCode::InvalidArgument,
                cat("an array of shape ", a.shape().str(), " needs ", a.ndim(), " axes, got ", axes.str()),
                "transpose");
  Axes order = axes;
  bool same = true;
  for (int i = 0; i < order.ndim(); ++i) {
    order[i] = normalize_axis(axes[i], a.ndim(), "transpose");
    same = same && order[i] == i;
  }
  normalize_axes(axes, a.ndim(), "transpose");  // each once
  return same ? a : apply1(Op::Transpose, {&a, 1}, TransposeAttrs{order});
}
Array swapaxes(const Array& a, int axis1, int axis2) {
  const int x = normalize_axis(axis1, a.ndim(), "swapaxes"), y = normalize_axis(axis2, a.ndim(), "swapaxes");
  Axes order;
  for (int i = 0; i < a.ndim(); ++i) order.push_back(i == x ? y : i == y ? x : i);
  return transpose(a, order);
}
Array moveaxis(const Array& a, int source, int destination) {
  const int s = normalize_axis(source, a.ndim(), "moveaxis"),
            d = normalize_axis(destination, a.ndim(), "moveaxis");
  Axes order;
  for (int i = 0; i < a.ndim(); ++i)
    if (i != s) order.push_back(i);
  order.insert(d, s);
  return transpose(a, order);
}

Array broadcast_to(const Array& a, const Shape& shape) {
  if (a.shape() == shape) return a;
  return apply1(Op::BroadcastTo, {&a, 1}, ShapeAttrs{shape});
}
Arrays broadcast_arrays(const Arrays& arrays) {
  Shape s;
  for (const Array& a : arrays) s = broadcast_shapes(s, a.shape(), "broadcast_arrays");
  Arrays out;
  for (const Array& a : arrays) out.push_back(broadcast_to(a, s));
  return out;
}

Array concatenate(const Arrays& arrays, int axis) {
  if (arrays.empty())
    throw Error(ErrorCode::InvalidArgument, "there is nothing to join", "concatenate",
                "give at least one array");
  Dtype d = arrays[0].dtype();
  for (const Array& a : arrays) d = promote(d, a.dtype());
  if (arrays[0].ndim() == 0)
    throw Error(ErrorCode::ShapeMismatch, "scalars can't be joined", "concatenate", "use stack");
  const int ax = normalize_axis(axis, arrays[0].ndim(), "concatenate");
  if (arrays.size() == 1) return arrays[0];
  Arrays in;
  for (const Array& a : arrays) in.push_back(astype(a, d));
  return apply1(Op::Concatenate, in, AxisAttrs{ax});
}
Array stack(const Arrays& arrays, int axis) {
  if (arrays.empty())
    throw Error(ErrorCode::InvalidArgument, "there is nothing to stack", "stack", "give at least one array");
  Arrays in;
  const int ax = normalize_axis(axis, arrays[0].ndim() + 1, "stack");
  for (const Array& a : arrays) {
    if (!(a.shape() == arrays[0].shape()))
      throw Error(ErrorCode::ShapeMismatch,
                  cat("shapes ", arrays[0].shape().str(), " and ", a.shape().str(), " can't be stacked"),
                  "stack");
    in.push_back(expand_dims(a, {ax}));
  }
  return concatenate(in, ax);
}
Arrays split(const Array& a, int64_t sections, int axis) {
  const int ax = normalize_axis(axis, a.ndim(), "split");
  if (sections < 1 || a.shape()[ax] % sections != 0)
    throw Error(
        ErrorCode::ShapeMismatch,
        cat("axis ", ax, " of shape ", a.shape().str(), " can't be cut into ", sections, " equal parts"),
        "split", "use split_at");
  const int64_t n = a.shape()[ax] / sections;
  Arrays out;
  for (int64_t i = 0; i < sections; ++i) out.push_back(slice_axis(a, ax, i * n, (i + 1) * n));
  return out;
}
Arrays split_at(const Array& a, const Shape& indices, int axis) {
  const int ax = normalize_axis(axis, a.ndim(), "split_at");
  Arrays out;
  int64_t from = 0;
  for (int64_t i : indices) {
    out.push_back(slice_axis(a, ax, from, i));
    from = i;
  }
  out.push_back(slice_axis(a, ax, from, kEnd));
  return out;
}

Array pad(const Array& a, const std::vector<std::pair<int64_t, int64_t>>& widths, Scalar value) {
  for (auto [low, high] : widths)
    if (low < 0 || high < 0)
      throw Error(ErrorCode::InvalidArgument,
                  cat("widths must be 0 or more, got (", low, ", ", high, "); slice takes elements away"),
                  "pad");
  return pad_or_crop(a, widths, value);
}

Array flip(const Array& a) {
  Axes all;
  for (int i = 0; i < a.ndim(); ++i) all.push_back(i);
  return flip(a, all);
}
Array flip(const Array& a, const Axes& axes) {
  const Axes n = normalize_axes(axes, a.ndim(), "flip");
  return n.empty() ? a : apply1(Op::Flip, {&a, 1}, FlipAttrs{n});
}
Array roll(const Array& a, int64_t shift, int axis) {
  const int ax = normalize_axis(axis, a.ndim(), "roll");
  const int64_t n = a.shape()[ax];
  if (n == 0) return a;
  const int64_t s = (shift % n + n) % n;
  return s == 0 ? a : concatenate({slice_axis(a, ax, n - s, n), slice_axis(a, ax, 0, n - s)}, ax);
}
Array repeat(const Array& a, int64_t repeats, int axis) {
  if (repeats < 0)
    throw Error(ErrorCode::InvalidArgument, cat("repeats must be 0 or more, got ", repeats), "repeat");
  const int ax = normalize_axis(axis, a.ndim(), "repeat");
  Shape wide = a.shape(), to = a.shape();
  wide.insert(ax + 1, repeats);
  if (__builtin_mul_overflow(to[ax], repeats, &to[ax]))
    throw Error(ErrorCode::ShapeMismatch,
                cat(repeats, " repeats of ", a.shape().str(), " are too many elements"), "repeat");
  return reshape(broadcast_to(expand_dims(a, {ax + 1}), wide), to);
}
Array tile(const Array& a, const Shape& reps) {
  const int nd = std::max(a.ndim(), reps.ndim());
  Shape base, to;
  for (int d = 0; d < nd; ++d) {
    const int da = d - (nd - a.ndim()), dr = d - (nd - reps.ndim());
    const int64_t n = da >= 0 ? a.shape()[da] : 1, r = dr >= 0 ? reps[dr] : 1;
    if (r < 0)
      throw Error(ErrorCode::InvalidArgument, cat("repetitions must be 0 or more, got ", reps.str()), "tile");
    base.push_back(n);
    int64_t all = 0;
    if (__builtin_mul_overflow(n, r, &all))
      throw Error(ErrorCode::ShapeMismatch,
                  cat(reps.str(), " repetitions of ", a.shape().str(), " are too many elements"), "tile");
    to.push_back(all);
  }
  // One axis at a time keeps the rank small.
  Array x = reshape(a, base);
  for (int d = 0; d < nd; ++d) {
    const int64_t r = base[d] ? (to[d] / base[d]) : 1;
    if (r == 1) continue;
    Shape w = x.shape(), t = x.shape();
    w.insert(d, r);
    t[d] *= r;
    x = reshape(broadcast_to(expand_dims(x, {d}), w), t);
  }
  return reshape(x, to);
}

}  // namespace mc
