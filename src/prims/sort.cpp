// Sorting and searching.
#include "core/op_names.h"
#include "mc/ops.h"
#include "prims/attrs.h"
#include "prims/rows.h"

namespace mc {
namespace {

void infer_sort(InferCtx& c) {
  require_dtype(c, 0, kDReal | kDBool);
  c.push(c.shape(0), c.op == Op::Sort ? c.dtype(0) : Dtype::I32);
}
void infer_search(InferCtx& c) {
  require_dtype(c, 0, kDReal | kDBool);
  if (c.shape(0).ndim() != 1)
    c.fail(ErrorCode::ShapeMismatch, cat("the sorted array has one dimension, got ", c.shape(0).str()));
  if (c.dtype(0) != c.dtype(1))
    c.fail(ErrorCode::DtypeMismatch,
           cat("dtypes ", dtype_name(c.dtype(0)), " and ", dtype_name(c.dtype(1)), " differ"));
  c.push(c.shape(1), Dtype::I32);
}
// The gradient goes back where the elements came from.
Arrays vjp_sort(const VjpCtx& c) {
  const int axis = c.as<AxisAttrs>().axis;
  return {scatter_add_axis(zeros_like(c.cot[0]), argsort(c.in[0], axis), c.cot[0], axis)};
}
Arrays vmap_sort(const VmapCtx& c) {
  return {apply1(c.op, {c.in[0]}, AxisAttrs{c.as<AxisAttrs>().axis + 1})};
}
Arrays vmap_search(const VmapCtx& c) {
  if (!c.batched[0]) return {apply1(c.op, c.in, c.attrs)};
  // Count for each value how many sorted ones come before it.
  const Array sorted = c.in[0], v = c.batch(1);
  Shape s = Shape::filled(v.ndim() + 1, 1);
  s[0] = c.size;
  s[v.ndim()] = sorted.shape(1);
  const Array line = reshape(sorted, s), value = expand_dims(v, {-1});
  return {
      sum(astype(c.as<SearchAttrs>().right ? less_equal(line, value) : less(line, value), Dtype::I32), {-1})};
}

using Cases = std::vector<SampleCase>;
Cases sort_cases() {
  return {{{{3, 9}}, AxisAttrs{1}, "np.sort(in0, 1)"},
          {{{2, 300}}, AxisAttrs{1}, "np.sort(in0, 1)"},
          {{{0, 2}}, AxisAttrs{1}, "in0"},
          {{{5, 2}}, AxisAttrs{0}, "np.sort(in0, 0)"}};
}
Cases argsort_cases() {
  return {{{{3, 9}}, AxisAttrs{1}, "np.argsort(in0, 1, kind='stable')"},
          {{{2, 300}}, AxisAttrs{1}, "np.argsort(in0, 1, kind='stable')"},
          {{{5, 2}}, AxisAttrs{0}, "np.argsort(in0, 0, kind='stable')"}};
}

Cases search_cases() {
  auto one = [](const Shape& sorted, const Shape& values, bool right) {
    return SampleCase{{sorted, values},
                      SearchAttrs{right},
                      cat("np.searchsorted(in0, in1, '", right ? "right" : "left", "')"),
                      {},
                      0,
                      0,
                      Draw::Sorted};
  };
  return {one({17}, {5}, false), one({40}, {2, 3}, true), one({1}, {4}, true), one({0}, {3}, false)};
}

const OpDef kRows[] = {
    {.op = Op::Sort,
     .doc = "ascending along an axis, stable, NaN last",
     .infer = infer_sort,
     .vjp = vjp_sort,
     .vmap = vmap_sort,
     .hlo = "stablehlo.sort",
     .samples = {.dtypes = kDReal, .c = 0, .cases = sort_cases}},
    {.op = Op::ArgSort,
     .doc = "the indices that sort, int32",
     .traits = kNoGrad,
     .infer = infer_sort,
     .vmap = vmap_sort,
     .samples = {.dtypes = kDReal, .c = 0, .cases = argsort_cases, .smooth = false}},
    {.op = Op::SearchSorted,
     .doc = "where values belong in a sorted array, int32",
     .traits = kNoGrad,
     .infer = infer_search,
     .vmap = vmap_search,
     .samples = {.dtypes = kDReal, .c = 0, .cases = search_cases, .smooth = false}},
};

Array along(Op op, const Array& a, int axis) {
  return apply1(op, {&a, 1}, AxisAttrs{normalize_axis(axis, a.ndim(), op_name(op))});
}
void check_kth(const Array& a, int64_t kth, int axis, std::string_view where) {
  const int64_t n = a.shape(normalize_axis(axis, a.ndim(), where));
  if (kth < -n || kth >= n)
    throw Error(ErrorCode::IndexOutOfRange, cat("kth is ", kth, ", the axis has ", n, " elements"),
                std::string(where));
}

}  // namespace

Rows sort_rows() { return kRows; }

Array sort(const Array& a, int axis) { return along(Op::Sort, a, axis); }
Array argsort(const Array& a, int axis) { return along(Op::ArgSort, a, axis); }
// A sorted array is partitioned at every element.
Array partition(const Array& a, int64_t kth, int axis) {
  check_kth(a, kth, axis, "partition");
  return sort(a, axis);
}
Array argpartition(const Array& a, int64_t kth, int axis) {
  check_kth(a, kth, axis, "argpartition");
  return argsort(a, axis);
}
std::pair<Array, Array> topk(const Array& a, int64_t k, int axis) {
  const int ax = normalize_axis(axis, a.ndim(), "topk");
  const int64_t n = a.shape(ax);
  if (k < 0 || k > n)
    throw Error(ErrorCode::IndexOutOfRange, cat("k is ", k, ", the axis has ", n, " elements"), "topk");
  // Descending and stable: ascending order of the flipped array, read backwards.
  const Array order = argsort(flip(a, {ax}), ax);
  const Array index = static_cast<int>(n - 1) - flip(slice_axis(order, ax, n - k, n), {ax});
  return {take_along_axis(a, index, ax), index};
}
Array searchsorted(const Array& sorted, const Array& v, bool right) {
  const Dtype d = promote(sorted.dtype(), v.dtype());
  return apply1(Op::SearchSorted, {astype(sorted, d), astype(v, d)}, SearchAttrs{right});
}

}  // namespace mc
