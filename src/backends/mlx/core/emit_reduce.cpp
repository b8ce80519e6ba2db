#include "backends/mlx/core/emit.h"

namespace mc::mlx_engine {

// libmlx adds a row in few chains: of a million 0.1 the sum is 1 % off. Blocks of 16 keep every chain short.
mx::array sum_last(mx::array x, bool product, const mx::Stream& s) {
  constexpr int kBlock = 16;
  while (x.shape(-1) > 2 * kBlock) {
    const int32_t n = x.shape(-1), blocks = (n + kBlock - 1) / kBlock;
    mx::Shape shape = x.shape();
    if (n % kBlock) {
      std::vector<std::pair<int, int>> width(shape.size(), {0, 0});
      width.back().second = blocks * kBlock - n;
      x = mx::pad(x, width, mx::astype(mx::array(product ? 1.0f : 0.0f), x.dtype(), s), "constant", s);
    }
    shape.back() = blocks;
    shape.push_back(kBlock);
    x = mx::reshape(x, shape, s);
    x = product ? mx::prod(x, -1, false, s) : mx::sum(x, -1, false, s);
  }
  return product ? mx::prod(x, -1, false, s) : mx::sum(x, -1, false, s);
}

namespace {

// The reduced axes as one, the last.
mx::array reduced_last(const Emit& e, const Axes& axes) {
  std::vector<int> order;
  mx::Shape shape;
  int64_t count = 1;
  for (int d = 0; d < e.shape(0).ndim(); ++d)
    if (!axes.contains(d)) {
      order.push_back(d);
      shape.push_back(static_cast<int32_t>(e.shape(0)[d]));
    }
  for (int64_t d : axes) {
    order.push_back(static_cast<int>(d));
    count *= e.shape(0)[static_cast<int>(d)];
  }
  shape.push_back(static_cast<int32_t>(count));
  return mx::reshape(mx::transpose(e.x(), order, e.s), shape, e.s);
}

}  // namespace

bool emit_reduce(const Emit& e) {
  const mx::Stream& s = e.s;
  const Dtype d = e.dtype();
  switch (e.op) {
    case Op::Sum:
    case Op::Prod: {
      const auto& a = e.as<ReduceAttrs>();
      if (a.axes.empty()) return e.give(e.x());
      const bool product = e.op == Op::Prod;
      if (product && is_complex(d)) return false;
      mx::array x = reduced_last(e, a.axes);
      if (is_half(d)) x = mx::astype(x, mx::float32, s);
      x = is_integer(d) ? (product ? mx::prod(x, -1, false, s) : mx::sum(x, -1, false, s))
                        : sum_last(x, product, s);
      return e.give(mx::reshape(mx::astype(x, mlx_dtype(d), s), mlx_shape(e.out_avals[0].shape), s));
    }
    case Op::Max:
    case Op::Min: {
      const auto& a = e.as<ReduceAttrs>();
      if (a.axes.empty()) return e.give(e.x());
      std::vector<int> axes;
      for (int64_t ax : a.axes) axes.push_back(static_cast<int>(ax));
      if (is_bool(d)) {
        return e.give(e.op == Op::Max ? mx::any(e.x(), axes, a.keepdims, s)
                                      : mx::all(e.x(), axes, a.keepdims, s));
      }
      return e.give(e.op == Op::Max ? mx::max(e.x(), axes, a.keepdims, s)
                                    : mx::min(e.x(), axes, a.keepdims, s));
    }
    case Op::Any:
    case Op::All: {
      const auto& a = e.as<ReduceAttrs>();
      if (is_complex(d)) return false;
      const mx::array x = mx::not_equal(e.x(), mx::zeros({}, mlx_dtype(d), s), s);
      if (a.axes.empty()) return e.give(x);
      std::vector<int> axes;
      for (int64_t ax : a.axes) axes.push_back(static_cast<int>(ax));
      return e.give(e.op == Op::Any ? mx::any(x, axes, a.keepdims, s) : mx::all(x, axes, a.keepdims, s));
    }
    case Op::ArgMax:
    case Op::ArgMin: {
      const auto& a = e.as<ArgReduceAttrs>();
      // NaN counts as the extreme: the first NaN where there is one.
      mx::array x = is_bool(d) ? mx::astype(e.x(), mx::int32, s) : e.x();
      const bool largest = e.op == Op::ArgMax;
      mx::array at = largest ? mx::argmax(x, a.axis, a.keepdims, s) : mx::argmin(x, a.axis, a.keepdims, s);
      if (is_floating(d)) {
        const mx::array nan = mx::isnan(x, s);
        const mx::array first = mx::argmax(mx::astype(nan, mx::int32, s), a.axis, a.keepdims, s);
        at = mx::where(mx::any(nan, std::vector<int>{a.axis}, a.keepdims, s), first, at, s);
      }
      return e.give(mx::astype(at, mx::int32, s));
    }
    default: return false;
  }
}

}  // namespace mc::mlx_engine
