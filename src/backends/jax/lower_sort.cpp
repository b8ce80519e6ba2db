// Sorting and searching.
#include "backends/jax/lower.h"
#include "mc/detail/str.h"

namespace mc::jax_engine {
namespace {

// A stable sort of `values`, and beside it of what follows.
std::vector<Val> sorted(Hlo& h, std::span<const Val> values, int axis) {
  std::vector<Aval> avals, scalars;
  for (const Val& v : values) {
    avals.push_back(v.aval);
    scalars.push_back({{}, v.dtype()});
    scalars.push_back({{}, v.dtype()});
  }
  const std::string body = h.region(
      scalars, [&](std::span<const Val> x) { return std::vector<Val>{less_nan_last(h, x[0], x[1])}; });
  return h.ops("stablehlo.sort", values, avals, cat("dimension = ", axis, " : i64, is_stable = true"), body);
}

void lower_sort(const Lower& l) {
  if (l.x().shape().numel() == 0) return l.give(l.x());
  l.give(sorted(l.h, {&l.x(), 1}, l.as<AxisAttrs>().axis)[0]);
}
void lower_argsort(const Lower& l) {
  const int axis = l.as<AxisAttrs>().axis;
  const Val in[2] = {l.x(), l.h.iota(l.out[0], axis)};
  l.give(l.out[0].shape.numel() == 0 ? in[1] : sorted(l.h, in, axis)[1]);
}

// Binary search, all values at once, one step for each bit of the length.
void lower_search(const Lower& l) {
  Hlo& h = l.h;
  const int64_t n = l.x().shape()[0];
  const Aval index{l.y().shape(), Dtype::I32};
  if (n == 0 || index.shape.numel() == 0) return l.give(h.whole(index, 0));
  const bool right = l.as<SearchAttrs>().right;
  Val low = h.whole(index, 0), high = h.filled_int(index, n);
  Shape wide = index.shape;
  wide.push_back(1);
  for (int64_t left = n; left > 0; left /= 2) {
    const Val open = h.compare(low, high, "LT");
    const Val middle = h.shr(h.add(low, high), 1);
    const Val safe = h.same("stablehlo.minimum", middle, h.filled_int(index, n - 1));
    const Val at =
        h.op("stablehlo.gather", {l.x(), h.reshape(safe, wide)}, {index.shape, l.dtype()},
             cat("dimension_numbers = #stablehlo.gather<collapsed_slice_dims = [0], start_index_map = [0], "
                 "index_vector_dim = ",
                 index.shape.ndim(), ">, slice_sizes = array<i64: 1>, indices_are_sorted = false"));
    const Val up = right ? h.lnot(less_nan_last(h, l.y(), at)) : less_nan_last(h, at, l.y());
    low = h.select(h.land(open, up), h.add(middle, h.whole(index, 1)), low);
    high = h.select(h.land(open, h.lnot(up)), middle, high);
  }
  l.give(low);
}

constexpr LowerRow kRows[] = {
    {Op::Sort, lower_sort},
    {Op::ArgSort, lower_argsort},
    {Op::SearchSorted, lower_search},
};

}  // namespace

std::span<const LowerRow> sort_rows() { return kRows; }

Val less_nan_last(Hlo& h, const Val& a, const Val& b) {
  const Val less = h.compare(a, b, "LT");
  if (!is_floating(a.dtype())) return less;
  return h.lor(less, h.land(h.is_nan(b), h.compare(a, a, "EQ")));
}

}  // namespace mc::jax_engine
