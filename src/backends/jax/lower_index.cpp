// Reading and writing at positions that are arrays. Every index is checked in the program: one outside reads
// the fill value and writes nothing.
#include <limits>

#include "backends/jax/lower.h"
#include "mc/detail/str.h"
#include "mc/ops.h"

namespace mc::jax_engine {
namespace {

struct Position {
  Val at;      // counted from 0, within [0, dim - size]
  Val inside;  // bool: the index given was
};
Position resolved(Hlo& h, const Val& index, int64_t dim, int64_t size) {
  const Val i = as_index(h, index);
  const Aval& a = i.aval;
  const int64_t limit = dim - size;
  const Val zero = h.whole(a, 0);
  const Val up = h.select(h.compare(i, zero, "LT"), h.add(i, h.filled_int(a, dim)), i);
  const Val inside = h.land(h.compare(up, zero, "GE"), h.compare(up, h.filled_int(a, limit), "LE"));
  return {h.select(inside, up, zero), inside};
}

// Index arrays of one shape as one array (shape…, axes), and whether all of a position's were inside.
struct Positions {
  Val at;
  Val inside;
  Shape shape;
};
Positions all_resolved(Hlo& h, std::span<const Val> indices, const Axes& axes, const Shape& dims,
                       const Shape& sizes) {
  Positions p;
  p.shape = indices[0].shape();
  Shape wide = p.shape;
  wide.push_back(1);
  std::vector<Val> parts;
  for (size_t k = 0; k < indices.size(); ++k) {
    const int axis = static_cast<int>(axes[static_cast<int>(k)]);
    const Position one = resolved(h, indices[k], dims[axis], sizes[axis]);
    p.inside = k ? h.land(p.inside, one.inside) : one.inside;
    parts.push_back(h.reshape(one.at, wide));
  }
  p.at = h.concatenate(parts, p.shape.ndim());
  return p;
}

// `flags` of the positions' shape over windows behind it.
Val over_windows(Hlo& h, const Val& flags, const Shape& shape) {
  Shape dims;
  for (int d = 0; d < flags.ndim(); ++d) dims.push_back(d);
  return h.broadcast_dims(flags, shape, dims);
}

void lower_gather(const Lower& l) {
  Hlo& h = l.h;
  const auto& a = l.as<GatherAttrs>();
  const Val& x = l.x();
  const Aval& out = l.out[0];
  if (l.in.size() == 1) {
    Shape stop = a.sizes;
    return l.give(h.slice(x, Shape::filled(x.ndim(), 0), stop, Shape::filled(x.ndim(), 1)));
  }
  bool fits = out.shape.numel() > 0;
  for (int d = 0; d < x.ndim(); ++d) fits = fits && a.sizes[d] <= x.shape()[d];
  if (!fits) return l.give(h.spread(fill_value(h, out.dtype), out.shape));
  const Positions p = all_resolved(h, l.in.subspan(1), a.axes, x.shape(), a.sizes);
  const int rank = p.shape.ndim();
  std::vector<int64_t> offset, map;
  for (int d = 0; d < x.ndim(); ++d) offset.push_back(rank + d);
  for (int64_t d : a.axes) map.push_back(d);
  const Val read = h.op("stablehlo.gather", {x, p.at}, out,
                        cat("dimension_numbers = #stablehlo.gather<offset_dims = ", ints(offset),
                            ", start_index_map = ", ints(map), ", index_vector_dim = ", rank,
                            ">, slice_sizes = ", list_text(a.sizes), ", indices_are_sorted = false"));
  l.give(h.select(over_windows(h, p.inside, out.shape), read, h.spread(fill_value(h, out.dtype), out.shape)));
}

const char* combiner(ScatterMode mode, Dtype d) {
  switch (mode) {
    case ScatterMode::Add: return is_bool(d) ? "stablehlo.or" : "stablehlo.add";
    case ScatterMode::Multiply: return is_bool(d) ? "stablehlo.and" : "stablehlo.multiply";
    case ScatterMode::Max: return is_bool(d) ? "stablehlo.or" : "stablehlo.maximum";
    case ScatterMode::Min: return is_bool(d) ? "stablehlo.and" : "stablehlo.minimum";
    default: return nullptr;
  }
}

struct Scatter {
  std::vector<int64_t> window_dims, inserted, map;
  int index_dim;
};
Val scatter(Hlo& h, const Val& a, const Val& at, const Val& updates, const Scatter& s, ScatterMode mode) {
  const Aval two[2] = {{{}, a.dtype()}, {{}, a.dtype()}};
  const std::string body = h.region(two, [&](std::span<const Val> x) {
    const char* name = combiner(mode, a.dtype());
    return std::vector<Val>{name ? h.same(name, x[0], x[1]) : x[1]};
  });
  const Val in[3] = {a, at, updates};
  return h.ops(
      "stablehlo.scatter", in, {&a.aval, 1},
      cat("scatter_dimension_numbers = #stablehlo.scatter<update_window_dims = ", ints(s.window_dims),
          ", inserted_window_dims = ", ints(s.inserted), ", scatter_dims_to_operand_dims = ", ints(s.map),
          ", index_vector_dim = ", s.index_dim, ">, indices_are_sorted = false, unique_indices = false"),
      body)[0];
}

// The last of several updates stays. Where the compiler keeps no order, each place first learns the number of
// its last update.
Val scatter_set(Hlo& h, const Val& a, const Val& at, const Val& updates, const Scatter& s) {
  if (h.on_host()) return scatter(h, a, at, updates, s, ScatterMode::Set);
  const int64_t n = updates.shape().numel();
  const Aval flat{{n}, Dtype::I32}, base{a.shape(), Dtype::I32};
  const Val number = h.reshape(h.iota(flat, 0), updates.shape());
  const Val winner = scatter(h, h.filled_int(base, -1), at, number, s, ScatterMode::Max);
  const Val none = h.compare(winner, h.whole(base, 0), "LT");
  Shape wide = a.shape();
  wide.push_back(1);
  const Val safe = h.reshape(h.select(none, h.whole(base, 0), winner), wide);
  const Val read =
      h.op("stablehlo.gather", {h.reshape(updates, {n}), safe}, a.aval,
           cat("dimension_numbers = #stablehlo.gather<collapsed_slice_dims = [0], start_index_map = [0], "
               "index_vector_dim = ",
               a.ndim(), ">, slice_sizes = array<i64: 1>, indices_are_sorted = false"));
  return h.select(none, a, read);
}

// Halves add up in float32 and are rounded at each step by the contract's order; here once, at the end.
Val combine(Hlo& h, const Val& a, const Val& at, const Val& updates, const Scatter& s, ScatterMode mode) {
  if (mode == ScatterMode::Set) return scatter_set(h, a, at, updates, s);
  const Dtype w = wide(a.dtype());
  return cast(h, scatter(h, h.convert(a, w), at, h.convert(updates, w), s, mode), a.dtype());
}

void lower_scatter(const Lower& l) {
  Hlo& h = l.h;
  const auto& a = l.as<ScatterAttrs>();
  const Val &x = l.x(), &updates = l.in.back();
  const std::span<const Val> indices = l.in.subspan(1, l.in.size() - 2);
  const auto mode = static_cast<ScatterMode>(a.mode);
  if (x.shape().numel() == 0 || updates.shape().numel() == 0) return l.give(x);
  const int rank = indices.empty() ? 0 : indices[0].ndim();
  Shape sizes;
  for (int d = rank; d < updates.ndim(); ++d) sizes.push_back(updates.shape()[d]);
  Scatter s;
  for (int d = rank; d < updates.ndim(); ++d) s.window_dims.push_back(d);
  for (int64_t d : a.axes) s.map.push_back(d);
  s.index_dim = rank;
  Val at;
  if (indices.empty()) {
    at = h.whole({{0}, Dtype::I64}, 0);
  } else {
    const Positions p = all_resolved(h, indices, a.axes, x.shape(), sizes);
    // What was outside is sent where StableHLO drops it.
    Shape wide = p.at.shape();
    const Val keep = over_windows(h, p.inside, wide);
    at = h.select(keep, p.at, h.filled_int(p.at.aval, std::numeric_limits<int32_t>::max()));
  }
  l.give(combine(h, x, at, updates, s, mode));
}

// Index arrays for all elements of `index`: along `axis` its own, else the element's position.
Val full_positions(Hlo& h, const Val& along, int axis) {
  const Shape& shape = along.shape();
  Shape wide = shape;
  wide.push_back(1);
  std::vector<Val> parts;
  for (int d = 0; d < shape.ndim(); ++d)
    parts.push_back(h.reshape(d == axis ? along : h.iota({shape, Dtype::I64}, d), wide));
  return h.concatenate(parts, shape.ndim());
}

void lower_take_along(const Lower& l) {
  Hlo& h = l.h;
  const int axis = l.as<AxisAttrs>().axis;
  const Aval& out = l.out[0];
  if (out.shape.numel() == 0 || l.x().shape().numel() == 0)
    return l.give(h.spread(fill_value(h, out.dtype), out.shape));
  const Position p = resolved(h, l.y(), l.x().shape()[axis], 1);
  std::vector<int64_t> all;
  for (int d = 0; d < out.shape.ndim(); ++d) all.push_back(d);
  const Val read = h.op("stablehlo.gather", {l.x(), full_positions(h, p.at, axis)}, out,
                        cat("dimension_numbers = #stablehlo.gather<collapsed_slice_dims = ", ints(all),
                            ", start_index_map = ", ints(all), ", index_vector_dim = ", out.shape.ndim(),
                            ">, slice_sizes = ", list_text(Shape::filled(out.shape.ndim(), 1)),
                            ", indices_are_sorted = false"));
  l.give(h.select(p.inside, read, h.spread(fill_value(h, out.dtype), out.shape)));
}

void lower_scatter_add(const Lower& l) {
  Hlo& h = l.h;
  const int axis = l.as<AxisAttrs>().axis;
  const Val &x = l.in[0], &updates = l.in[2];
  if (x.shape().numel() == 0 || updates.shape().numel() == 0) return l.give(x);
  const Position p = resolved(h, l.in[1], x.shape()[axis], 1);
  const Val along = h.select(p.inside, p.at, h.filled_int(p.at.aval, std::numeric_limits<int32_t>::max()));
  Scatter s;
  for (int d = 0; d < x.ndim(); ++d) {
    s.inserted.push_back(d);
    s.map.push_back(d);
  }
  s.index_dim = x.ndim();
  l.give(combine(h, x, full_positions(h, along, axis), updates, s, ScatterMode::Add));
}

constexpr LowerRow kRows[] = {
    {Op::Gather, lower_gather},
    {Op::Scatter, lower_scatter},
    {Op::TakeAlongAxis, lower_take_along},
    {Op::ScatterAddAxis, lower_scatter_add},
};

}  // namespace

std::span<const LowerRow> index_rows() { return kRows; }

}  // namespace mc::jax_engine
