// Reductions and scans.
#include <algorithm>
#include <limits>

#include "core/op_names.h"
#include "mc/ops.h"
#include "prims/attrs.h"
#include "prims/rows.h"

namespace mc {
namespace {

Shape reduced(const Shape& s, const Axes& axes, bool keepdims) {
  Shape out;
  for (int d = 0; d < s.ndim(); ++d) {
    if (!axes.contains(d))
      out.push_back(s[d]);
    else if (keepdims)
      out.push_back(1);
  }
  return out;
}
int64_t count_of(const Shape& s, const Axes& axes) {
  int64_t n = 1;
  for (int64_t a : axes) n *= s[static_cast<int>(a)];
  return n;
}

void infer_reduce(InferCtx& c) {
  const auto& a = c.as<ReduceAttrs>();
  require_dtype(c, 0, op_def(c.op).samples.dtypes);
  normalize_axes(a.axes, c.shape(0).ndim(), op_name(c.op));
  if ((c.op == Op::Max || c.op == Op::Min) && count_of(c.shape(0), a.axes) == 0 &&
      reduced(c.shape(0), a.axes, false).numel() > 0)
    c.fail(ErrorCode::ShapeMismatch,
           cat("an array of shape ", c.shape(0).str(), " has no elements to choose from"));
  c.push(reduced(c.shape(0), a.axes, a.keepdims),
         c.op == Op::Any || c.op == Op::All ? Dtype::Bool : c.dtype(0));
}
void infer_arg(InferCtx& c) {
  const auto& a = c.as<ArgReduceAttrs>();
  require_dtype(c, 0, kDReal | kDBool);
  normalize_axis(a.axis, c.shape(0).ndim(), op_name(c.op));
  if (c.shape(0)[a.axis] == 0)
    c.fail(ErrorCode::ShapeMismatch,
           cat("axis ", a.axis, " of shape ", c.shape(0).str(), " has no elements to choose from"));
  c.push(reduced(c.shape(0), {a.axis}, a.keepdims), Dtype::I32);
}
void infer_scan(InferCtx& c) {
  require_dtype(c, 0, kDNumber);
  normalize_axis(c.as<ScanAttrs>().axis, c.shape(0).ndim(), op_name(c.op));
  c.push(c.shape(0), c.dtype(0));
}

// A reduced array with dimensions of 1 where the axes were.
Array unreduced(const Array& a, const Shape& full, const ReduceAttrs& r) {
  Shape s = full;
  for (int64_t ax : r.axes) s[static_cast<int>(ax)] = 1;
  return reshape(a, s);
}

Arrays vjp_sum(const VjpCtx& c) {
  const auto& a = c.as<ReduceAttrs>();
  return {broadcast_to(unreduced(c.cot[0], c.in[0].shape(), a), c.in[0].shape())};
}
// The product of all others, by products from both sides: right where elements are 0.
Arrays vjp_prod(const VjpCtx& c) {
  const auto& a = c.as<ReduceAttrs>();
  const Array& x = c.in[0];
  Axes order;
  for (int d = 0; d < x.ndim(); ++d)
    if (!a.axes.contains(d)) order.push_back(d);
  const int kept = order.ndim();
  for (int64_t ax : a.axes) order.push_back(ax);
  const Array t = transpose(x, order);
  Shape flat;
  for (int d = 0; d < kept; ++d) flat.push_back(t.shape()[d]);
  flat.push_back(count_of(x.shape(), a.axes));
  const Array y = reshape(t, flat);
  const int last = flat.ndim() - 1;
  const int64_t n = flat.back();
  if (n == 0) return {zeros_like(x)};
  Shape edge = flat;
  edge[last] = 1;
  const Array ones_edge = ones(edge, y.dtype());
  const Array left = concatenate({ones_edge, slice_axis(cumprod(y, last), last, 0, n - 1)}, last);
  const Array right = concatenate({slice_axis(cumprod(y, last, true), last, 1, n), ones_edge}, last);
  Axes back = order;
  for (int d = 0; d < order.ndim(); ++d) back[static_cast<int>(order[d])] = d;
  const Array others = transpose(reshape(left * right, t.shape()), back);
  return {unreduced(c.cot[0], x.shape(), a) * conj(others)};
}
// Shared equally among equal extremes.
Arrays vjp_extreme(const VjpCtx& c) {
  const auto& a = c.as<ReduceAttrs>();
  const Array hit = astype(equal(c.in[0], unreduced(c.out[0], c.in[0].shape(), a)), c.cot[0].dtype());
  return {hit * (unreduced(c.cot[0], c.in[0].shape(), a) / sum(hit, a.axes, true))};
}
Arrays vjp_cumsum(const VjpCtx& c) {
  const auto& a = c.as<ScanAttrs>();
  return {cumsum(c.cot[0], a.axis, !a.reverse)};
}
// d out_j / d x_i = prod of the others up to j: by out_j / x_i where x_i is not 0, else computed with x_i
// as 1.
Arrays vjp_cumprod(const VjpCtx& c) {
  const auto& a = c.as<ScanAttrs>();
  const Array& x = c.in[0];
  const int64_t n = x.shape(a.axis);
  // (…, i, j): the scan with x_i replaced by 1, for j on the far side of i.
  const Array m = moveaxis(x, a.axis, -1), g = moveaxis(c.cot[0], a.axis, -1);
  const Array diagonal = eye(n, -1, 0, Dtype::Bool);
  const Array replaced = where(diagonal, ones({n, n}, x.dtype()), expand_dims(m, {-2}));
  const Array others = cumprod(replaced, -1, a.reverse);
  const Array seen = a.reverse ? tri(n, n, 0, Dtype::Bool) : logical_not(tri(n, n, -1, Dtype::Bool));
  return {
      moveaxis(sum(where(seen, conj(others), zeros_like(others)) * expand_dims(g, {-2}), {-1}), -1, a.axis)};
}

Arrays vmap_reduce(const VmapCtx& c) {
  ReduceAttrs a = c.as<ReduceAttrs>();
  for (int64_t& ax : a.axes) ++ax;
  return {apply1(c.op, {c.in[0]}, a)};
}
Arrays vmap_arg(const VmapCtx& c) {
  ArgReduceAttrs a = c.as<ArgReduceAttrs>();
  ++a.axis;
  return {apply1(c.op, {c.in[0]}, a)};
}
Arrays vmap_scan(const VmapCtx& c) {
  ScanAttrs a = c.as<ScanAttrs>();
  ++a.axis;
  return {apply1(c.op, {c.in[0]}, a)};
}

using Cases = std::vector<SampleCase>;
template <int kWhich>
Cases reduce_cases() {
  static constexpr const char* kNames[] = {"sum", "prod", "max", "min", "any", "all"};
  const std::string f = cat("np.", kNames[kWhich]), x = kWhich < 2 ? "wide(in0)" : "in0";
  return {{{{3, 4, 5}}, ReduceAttrs{{1}, false}, cat(f, "(", x, ", axis=1)")},
          {{{3, 4, 5}}, ReduceAttrs{{0, 2}, true}, cat(f, "(", x, ", axis=(0, 2), keepdims=True)")},
          {{{70}}, ReduceAttrs{{0}, false}, cat(f, "(", x, ")")},
          // Products of many numbers leave the range of every dtype.
          {{{2, kWhich == 1 ? 50 : 1500}}, ReduceAttrs{{1}, false}, cat(f, "(", x, ", axis=1)")},
          {{{kWhich == 1 ? 40 : 700, 3}}, ReduceAttrs{{0}, false}, cat(f, "(", x, ", axis=0)")},
          {{{3, 0}}, ReduceAttrs{{0}, false}, cat(f, "(", x, ", axis=0)")},
          {{{2, 33}}, ReduceAttrs{{}, false}, kWhich > 3 ? "in0 != 0" : "in0"}};
}
Cases argmax_cases() {
  return {{{{3, 7}}, ArgReduceAttrs{1, false}, "np.argmax(in0, 1)"},
          {{{2, 700}}, ArgReduceAttrs{1, false}, "np.argmax(in0, 1)"},
          {{{3, 7, 2}}, ArgReduceAttrs{0, true}, "np.argmax(in0, 0, keepdims=True)"}};
}
Cases argmin_cases() {
  return {{{{3, 7}}, ArgReduceAttrs{1, false}, "np.argmin(in0, 1)"},
          {{{2, 700}}, ArgReduceAttrs{1, false}, "np.argmin(in0, 1)"},
          {{{3, 7, 2}}, ArgReduceAttrs{0, true}, "np.argmin(in0, 0, keepdims=True)"}};
}
Cases cumsum_cases() {
  return {{{{3, 7}}, ScanAttrs{1, false}, "np.cumsum(wide(in0), 1)"},
          {{{1500}}, ScanAttrs{0, false}, "np.cumsum(wide(in0), 0)"},
          {{{0, 2}}, ScanAttrs{0, false}, "in0"},
          {{{5, 2}}, ScanAttrs{0, true}, "np.cumsum(wide(in0)[::-1], 0)[::-1]"}};
}
Cases cumprod_cases() {
  return {{{{3, 7}}, ScanAttrs{1, false}, "np.cumprod(wide(in0), 1)"},
          {{{5, 2}}, ScanAttrs{0, true}, "np.cumprod(wide(in0)[::-1], 0)[::-1]"}};
}

const OpDef kRows[] = {
    {.op = Op::Sum,
     .doc = "sum over axes, in the order of the contract",
     .infer = infer_reduce,
     .vjp = vjp_sum,
     .vmap = vmap_reduce,
     .samples = {.dtypes = kDNumber, .c = 4, .cases = reduce_cases<0>}},
    {.op = Op::Prod,
     .doc = "product over axes",
     .infer = infer_reduce,
     .vjp = vjp_prod,
     .vmap = vmap_reduce,
     .samples = {.lo = 0.8, .hi = 1.2, .dtypes = kDNumber, .c = 4, .cases = reduce_cases<1>}},
    {.op = Op::Max,
     .doc = "largest over axes; NaN if there is one",
     .infer = infer_reduce,
     .vjp = vjp_extreme,
     .vmap = vmap_reduce,
     .samples = {.dtypes = kDReal | kDBool, .c = 0, .cases = reduce_cases<2>}},
    {.op = Op::Min,
     .doc = "smallest over axes; NaN if there is one",
     .infer = infer_reduce,
     .vjp = vjp_extreme,
     .vmap = vmap_reduce,
     .samples = {.dtypes = kDReal | kDBool, .c = 0, .cases = reduce_cases<3>}},
    {.op = Op::Any,
     .doc = "whether one is not zero",
     .traits = kNoGrad | kPredicate,
     .infer = infer_reduce,
     .vmap = vmap_reduce,
     .samples = {.dtypes = kDAll, .c = 0, .cases = reduce_cases<4>, .smooth = false}},
    {.op = Op::All,
     .doc = "whether none is zero",
     .traits = kNoGrad | kPredicate,
     .infer = infer_reduce,
     .vmap = vmap_reduce,
     .samples = {.dtypes = kDAll, .c = 0, .cases = reduce_cases<5>, .smooth = false}},
    {.op = Op::ArgMax,
     .doc = "first index of the largest; NaN counts as largest",
     .traits = kNoGrad,
     .infer = infer_arg,
     .vmap = vmap_arg,
     .samples = {.dtypes = kDReal | kDBool, .c = 0, .cases = argmax_cases, .smooth = false}},
    {.op = Op::ArgMin,
     .doc = "first index of the smallest; NaN counts as smallest",
     .traits = kNoGrad,
     .infer = infer_arg,
     .vmap = vmap_arg,
     .samples = {.dtypes = kDReal | kDBool, .c = 0, .cases = argmin_cases, .smooth = false}},
    {.op = Op::CumSum,
     .doc = "running sums along an axis",
     .infer = infer_scan,
     .vjp = vjp_cumsum,
     .vmap = vmap_scan,
     .samples = {.dtypes = kDNumber, .c = 256, .cases = cumsum_cases}},
    {.op = Op::CumProd,
     .doc = "running products along an axis",
     .infer = infer_scan,
     .vjp = vjp_cumprod,
     .vmap = vmap_scan,
     .samples = {.lo = 0.5, .hi = 1.5, .dtypes = kDNumber, .c = 64, .cases = cumprod_cases}},
};

Axes all_axes(const Array& a) {
  Axes out;
  for (int d = 0; d < a.ndim(); ++d) out.push_back(d);
  return out;
}

Array reduce(Op op, const Array& a, const Axes& axes, bool keepdims) {
  const Axes n = normalize_axes(axes, a.ndim(), op_name(op));
  if (n.empty() && op != Op::Any && op != Op::All) return a;
  return apply1(op, {&a, 1}, ReduceAttrs{n, keepdims});
}
// Sums of bool and of integers below 32 bits are int32 (uint32 for unsigned).
Array for_sum(const Array& a) {
  const Dtype d = a.dtype();
  if (is_bool(d) || (is_signed_int(d) && itemsize(d) < 4)) return astype(a, Dtype::I32);
  if (is_unsigned(d) && itemsize(d) < 4) return astype(a, Dtype::U32);
  return a;
}
Array for_mean(const Array& a) { return is_inexact(a.dtype()) ? a : astype(a, Dtype::F32); }
double count(const Array& a, const Axes& axes) {
  return static_cast<double>(count_of(a.shape(), normalize_axes(axes, a.ndim(), "mean")));
}

Array arg(Op op, const Array& a, std::optional<int> axis, bool keepdims) {
  if (!axis) {
    const Array r = apply1(op, {reshape(a, {-1})}, ArgReduceAttrs{0, false});
    return keepdims ? reshape(r, Shape::filled(a.ndim(), 1)) : r;
  }
  return apply1(op, {&a, 1}, ArgReduceAttrs{normalize_axis(*axis, a.ndim(), op_name(op)), keepdims});
}
Array scan(Op op, const Array& a, std::optional<int> axis, bool reverse) {
  const Array x = for_sum(axis ? a : reshape(a, {-1}));
  return apply1(op, {&x, 1}, ScanAttrs{normalize_axis(axis.value_or(0), x.ndim(), op_name(op)), reverse});
}

}  // namespace

Rows reduce_rows() { return kRows; }

#define MC_DEFINE(name, op, prepare)                                                    \
  Array name(const Array& a) { return reduce(Op::op, prepare(a), all_axes(a), false); } \
  Array name(const Array& a, const Axes& axes, bool keepdims) {                         \
    return reduce(Op::op, prepare(a), axes, keepdims);                                  \
  }
MC_DEFINE(sum, Sum, for_sum)
MC_DEFINE(prod, Prod, for_sum)
MC_DEFINE(max, Max, )
MC_DEFINE(min, Min, )
MC_DEFINE(any, Any, )
MC_DEFINE(all, All, )
#undef MC_DEFINE

// 16-bit floats are summed in float32 and rounded once.
Array mean(const Array& a, const Axes& axes, bool keepdims) {
  const Array x = for_mean(a);
  const Dtype d = x.dtype();
  const Array w = d == Dtype::F16 || d == Dtype::BF16 ? astype(x, Dtype::F32) : x;
  return astype(sum(w, axes, keepdims) / count(a, axes), d);
}
Array mean(const Array& a) { return mean(a, all_axes(a)); }

Array var(const Array& a, const Axes& axes, bool keepdims, int ddof) {
  const Array x = for_mean(a);
  const Dtype d = x.dtype();
  const Array w = d == Dtype::F16 || d == Dtype::BF16 ? astype(x, Dtype::F32) : x;
  const Array c = w - mean(w, axes, true);
  const Array square = is_complex(w.dtype()) ? real(c * conj(c)) : c * c;
  return astype(sum(square, axes, keepdims) / (count(a, axes) - ddof), real_dtype(d));
}
Array var(const Array& a) { return var(a, all_axes(a)); }
Array std(const Array& a, const Axes& axes, bool keepdims, int ddof) {
  return sqrt(var(a, axes, keepdims, ddof));
}
Array std(const Array& a) { return sqrt(var(a)); }

Array logsumexp(const Array& a, const Axes& axes, bool keepdims) {
  const Axes n = normalize_axes(axes, a.ndim(), "logsumexp");
  const Dtype d = is_inexact(a.dtype()) ? a.dtype() : Dtype::F32;
  if (n.empty()) return astype(a, d);
  const Array x = astype(a, d == Dtype::F16 || d == Dtype::BF16 ? Dtype::F32 : d);
  const Array m = max(x, n, true);
  const Array safe = stop_gradient(where(isfinite(m), m, zeros_like(m)));
  const Array r = log(sum(exp(x - safe), n, true)) + safe;
  return astype(keepdims ? r : squeeze(r, n), d);
}
Array logsumexp(const Array& a) { return logsumexp(a, all_axes(a)); }

Array argmax(const Array& a, std::optional<int> axis, bool keepdims) {
  return arg(Op::ArgMax, a, axis, keepdims);
}
Array argmin(const Array& a, std::optional<int> axis, bool keepdims) {
  return arg(Op::ArgMin, a, axis, keepdims);
}
Array cumsum(const Array& a, std::optional<int> axis, bool reverse) {
  return scan(Op::CumSum, a, axis, reverse);
}
Array cumprod(const Array& a, std::optional<int> axis, bool reverse) {
  return scan(Op::CumProd, a, axis, reverse);
}

}  // namespace mc
