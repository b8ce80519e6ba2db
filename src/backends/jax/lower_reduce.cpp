// Reductions and scans.
#include <limits>

#include "backends/jax/lower.h"
#include "mc/detail/str.h"

namespace mc::jax_engine {
namespace {

Shape zeros(int n) { return Shape::filled(n, 0); }

void lower_sum(const Lower& l) {
  const Val x = l.h.convert(l.x(), wide(l.dtype()));
  l.give(l.h.reshape(cast(l.h, sum(l.h, x, l.as<ReduceAttrs>().axes), l.dtype()), l.out[0].shape));
}
// One accumulator: products of many numbers leave every range before their rounding errors add up.
void lower_prod(const Lower& l) {
  const Val x = l.h.convert(l.x(), wide(l.dtype()));
  const Axes& axes = l.as<ReduceAttrs>().axes;
  const Val r = axes.empty() ? x : l.h.reduce("stablehlo.multiply", x, l.h.whole({{}, x.dtype()}, 1), axes);
  l.give(l.h.reshape(cast(l.h, r, l.dtype()), l.out[0].shape));
}
Val lowest(Hlo& h, Dtype d, bool largest_of) {
  const double inf = std::numeric_limits<double>::infinity();
  if (is_bool(d)) return h.integer(d, !largest_of);
  if (is_floating(d)) return h.number(d, largest_of ? -inf : inf);
  const IntInfo i = iinfo(d);
  return h.integer(d, largest_of ? i.min : static_cast<int64_t>(i.max));
}
Val extreme(Hlo& h, const Val& x, const Axes& axes, bool largest) {
  if (axes.empty()) return x;
  if (is_bool(x.dtype()))
    return h.reduce(largest ? "stablehlo.or" : "stablehlo.and", x, lowest(h, x.dtype(), largest), axes);
  return h.reduce(largest ? "stablehlo.maximum" : "stablehlo.minimum", x, lowest(h, x.dtype(), largest),
                  axes);
}
template <bool kLargest>
void lower_extreme(const Lower& l) {
  l.give(l.h.reshape(extreme(l.h, l.x(), l.as<ReduceAttrs>().axes, kLargest), l.out[0].shape));
}
template <bool kAny>
void lower_logic(const Lower& l) {
  Hlo& h = l.h;
  const Val x = cast(h, l.x(), Dtype::Bool);
  l.give(h.reshape(extreme(h, x, l.as<ReduceAttrs>().axes, kAny), l.out[0].shape));
}

// The first place of the extreme, NaN being one: two plain reductions, which vectorize.
template <bool kLargest>
void lower_arg(const Lower& l) {
  Hlo& h = l.h;
  const int axis = l.as<ArgReduceAttrs>().axis;
  const Val& x = l.x();
  const Val m = extreme(h, x, {axis}, kLargest);
  Shape kept;
  for (int d = 0; d < x.ndim(); ++d)
    if (d != axis) kept.push_back(d);
  Val hit = h.compare(x, h.broadcast_dims(m, x.shape(), kept), "EQ");
  if (is_floating(x.dtype())) hit = h.lor(hit, h.is_nan(x));
  const Aval index{x.shape(), Dtype::I32};
  const Val at = h.select(hit, h.iota(index, axis), h.filled_int(index, std::numeric_limits<int32_t>::max()));
  l.give(h.reshape(extreme(h, at, {axis}, false), l.out[0].shape));
}

// Running sums in log2(n) steps, each adding what lies 1, 2, 4 … before.
template <bool kProduct>
void lower_scan(const Lower& l) {
  Hlo& h = l.h;
  const auto& a = l.as<ScanAttrs>();
  Val x = h.convert(l.x(), wide(l.dtype()));
  const int64_t n = x.shape()[a.axis];
  const Val neutral = h.whole({{}, x.dtype()}, kProduct ? 1 : 0);
  for (int64_t step = 1; step < n; step *= 2) {
    Shape low = zeros(x.ndim()), high = low;
    (a.reverse ? high : low)[a.axis] = step;
    (a.reverse ? low : high)[a.axis] = -step;
    const Val shifted = h.pad(x, neutral, low, high, zeros(x.ndim()));
    x = kProduct ? h.mul(x, shifted) : h.add(x, shifted);
  }
  l.give(cast(h, x, l.dtype()));
}

constexpr LowerRow kRows[] = {
    {Op::Sum, lower_sum},
    {Op::Prod, lower_prod},
    {Op::Max, lower_extreme<true>},
    {Op::Min, lower_extreme<false>},
    {Op::Any, lower_logic<true>},
    {Op::All, lower_logic<false>},
    {Op::ArgMax, lower_arg<true>},
    {Op::ArgMin, lower_arg<false>},
    {Op::CumSum, lower_scan<false>},
    {Op::CumProd, lower_scan<true>},
};

}  // namespace

std::span<const LowerRow> reduce_rows() { return kRows; }

// The compiler adds a row in few chains. A long one is cut into blocks, each summed on its own: the error of
// a million terms is then that of some hundred.
Val sum(Hlo& h, const Val& a, const Axes& axes) {
  if (axes.empty()) return a;
  const Val zero = h.whole({{}, a.dtype()}, 0);
  constexpr int64_t kBlock = 256;
  int64_t count = 1;
  for (int64_t d : axes) count *= a.shape()[static_cast<int>(d)];
  const int last = static_cast<int>(axes.back());
  const int64_t n = a.shape()[last];
  if (!is_inexact(a.dtype()) || count <= 4 * kBlock || n <= kBlock) {
    if (!is_inexact(a.dtype()) || count <= 4 * kBlock || axes.ndim() == 1)
      return h.reduce("stablehlo.add", a, zero, axes);
    // Axis by axis, the last one first.
    Axes rest = axes;
    rest.erase(rest.ndim() - 1);
    return sum(h, h.reduce("stablehlo.add", a, zero, {last}), rest);
  }
  const int64_t blocks = (n + kBlock - 1) / kBlock;
  Shape high = zeros(a.ndim()), split;
  high[last] = blocks * kBlock - n;
  const Val whole = high[last] ? h.pad(a, zero, zeros(a.ndim()), high, zeros(a.ndim())) : a;
  for (int d = 0; d < a.ndim(); ++d) {
    split.push_back(d == last ? blocks : a.shape()[d]);
    if (d == last) split.push_back(kBlock);
  }
  const Val parts = h.reduce("stablehlo.add", h.reshape(whole, split), zero, {last + 1});
  return sum(h, parts, axes);
}

}  // namespace mc::jax_engine
