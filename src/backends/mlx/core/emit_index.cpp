#include <limits>

#include "backends/mlx/core/emit.h"

namespace mc::mlx_engine {
namespace {

// What a read outside gives.
mx::array fill_of(Dtype d, const mx::Stream& s) {
  const mx::Dtype t = mlx_dtype(d);
  if (d == Dtype::C64) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    return mx::array(std::complex<float>(nan, nan));
  }
  if (is_floating(d)) return scalar_of(std::numeric_limits<double>::quiet_NaN(), t);
  if (is_signed_int(d)) return mx::astype(mx::array(iinfo(d).min), t, s);
  return mx::zeros({}, t, s);
}

// Indices counted from 0 that are safe to read, and which of the given ones were inside. libmlx itself would
// read whatever memory an index leads to.
std::pair<mx::array, mx::array> resolved(const mx::array& index, int64_t dim, const mx::Stream& s) {
  const mx::array zero(int64_t{0}), n(dim);
  mx::array i = mx::astype(index, mx::int64, s);
  i = mx::where(mx::less(i, zero, s), mx::add(i, n, s), i, s);
  const mx::array inside = mx::logical_and(mx::greater_equal(i, zero, s), mx::less(i, n, s), s);
  return {mx::astype(mx::where(inside, i, zero, s), mx::int32, s), inside};
}

}  // namespace

bool emit_index(const Emit& e) {
  const mx::Stream& s = e.s;
  switch (e.op) {
    case Op::Gather: {
      const auto& a = e.as<GatherAttrs>();
      if (e.in.size() != 2 || e.in_avals[1].dtype == Dtype::U64) return false;
      // Whole lines along one axis: libmlx's take.
      const auto axis = static_cast<int>(a.axes[0]);
      for (int d = 0; d < e.shape(0).ndim(); ++d)
        if (a.sizes[d] != (d == axis ? 1 : e.shape(0)[d])) return false;
      if (axis != 0) return false;
      const auto [at, inside] = resolved(e.y(), e.shape(0)[0], s);
      const mx::Shape shape = mlx_shape(e.out_avals[0].shape);
      const mx::array read = mx::reshape(mx::take(e.x(), at, 0, s), shape, s);
      mx::Shape wide = mlx_shape(e.shape(1));
      for (int d = 0; d < e.shape(0).ndim(); ++d) wide.push_back(1);
      return e.give(mx::where(mx::reshape(inside, wide, s), read, fill_of(e.dtype(), s), s));
    }
    case Op::TakeAlongAxis: {
      if (e.in_avals[1].dtype == Dtype::U64) return false;
      const int axis = e.as<AxisAttrs>().axis;
      const auto [at, inside] = resolved(e.y(), e.shape(0)[axis], s);
      return e.give(mx::where(inside, mx::take_along_axis(e.x(), at, axis, s), fill_of(e.dtype(), s), s));
    }
    default: return false;
  }
}

}  // namespace mc::mlx_engine
