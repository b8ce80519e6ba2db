// Shapes, slices, gather and scatter, sorting.
#include "common.h"
#include "mc/dynamic.h"
#include "mc/ops.h"

namespace mcpy {

void bind_shape(nb::module_& m) {
  m.def("reshape", [](nb::handle a, nb::handle s) { return mc::reshape(to_array(a), to_shape(s)); });
  m.def(
      "flatten", [](nb::handle a, int b, int e) { return mc::flatten(to_array(a), b, e); }, nb::arg(),
      nb::arg() = 0, nb::arg() = -1);
  m.def(
      "squeeze",
      [](nb::handle a, nb::handle axes) {
        return axes.is_none() ? mc::squeeze(to_array(a)) : mc::squeeze(to_array(a), to_shape(axes));
      },
      nb::arg(), nb::arg().none());
  m.def("expand_dims",
        [](nb::handle a, nb::handle axes) { return mc::expand_dims(to_array(a), to_shape(axes)); });
  m.def(
      "transpose",
      [](nb::handle a, nb::handle axes) {
        return axes.is_none() ? mc::transpose(to_array(a)) : mc::transpose(to_array(a), to_shape(axes));
      },
      nb::arg(), nb::arg().none());
  m.def("swapaxes", [](nb::handle a, int i, int j) { return mc::swapaxes(to_array(a), i, j); });
  m.def("moveaxis", [](nb::handle a, int i, int j) { return mc::moveaxis(to_array(a), i, j); });
  m.def("broadcast_to",
        [](nb::handle a, nb::handle s) { return mc::broadcast_to(to_array(a), to_shape(s)); });
  m.def("broadcast_arrays", [](nb::handle a) { return to_pylist(mc::broadcast_arrays(to_arrays(a))); });
  m.def("concatenate", [](nb::handle a, int axis) { return mc::concatenate(to_arrays(a), axis); });
  m.def("stack", [](nb::handle a, int axis) { return mc::stack(to_arrays(a), axis); });
  m.def("split",
        [](nb::handle a, int64_t n, int axis) { return to_pylist(mc::split(to_array(a), n, axis)); });
  m.def("split_at", [](nb::handle a, nb::handle at, int axis) {
    return to_pylist(mc::split_at(to_array(a), to_shape(at), axis));
  });
  m.def("pad", [](nb::handle a, nb::handle widths, double v) {
    std::vector<std::pair<int64_t, int64_t>> w;
    for (nb::handle p : nb::iter(widths)) {
      const Shape two = to_shape(p);
      if (two.size() != 2) throw nb::value_error("pad takes a pair of widths for each axis");
      w.emplace_back(two[0], two[1]);
    }
    return mc::pad(to_array(a), w, v);
  });
  m.def(
      "flip",
      [](nb::handle a, nb::handle axes) {
        return axes.is_none() ? mc::flip(to_array(a)) : mc::flip(to_array(a), to_shape(axes));
      },
      nb::arg(), nb::arg().none());
  m.def("roll", [](nb::handle a, int64_t shift, int axis) { return mc::roll(to_array(a), shift, axis); });
  m.def("repeat", [](nb::handle a, int64_t n, int axis) { return mc::repeat(to_array(a), n, axis); });
  m.def("tile", [](nb::handle a, nb::handle reps) { return mc::tile(to_array(a), to_shape(reps)); });
  m.def("slice", [](const Array& a, nb::handle start, nb::handle stop, nb::handle step) {
    return mc::slice(a, to_shape(start), to_shape(stop), to_shape(step));
  });
  m.def("slice_update",
        [](const Array& a, const Array& u, nb::handle start, nb::handle stop, nb::handle step) {
          return mc::slice_update(a, u, to_shape(start), to_shape(stop), to_shape(step));
        });
  m.attr("end") = mc::kEnd;
  m.def("diag", [](nb::handle a, int k) { return mc::diag(to_array(a), k); });
  m.def("tril", [](nb::handle a, int k) { return mc::tril(to_array(a), k); });
  m.def("triu", [](nb::handle a, int k) { return mc::triu(to_array(a), k); });
  m.def(
      "take",
      [](nb::handle a, nb::handle i, nb::handle axis) {
        return mc::take(to_array(a), to_array(i), to_axis(axis));
      },
      nb::arg(), nb::arg(), nb::arg().none());
  m.def("take_along_axis", [](nb::handle a, nb::handle i, int axis) {
    return mc::take_along_axis(to_array(a), to_array(i), axis);
  });
  m.def("scatter_add_axis", [](nb::handle a, nb::handle i, nb::handle u, int axis) {
    return mc::scatter_add_axis(to_array(a), to_array(i), to_array(u), axis);
  });
  m.def("gather", [](const Array& a, nb::handle indices, nb::handle axes, nb::handle sizes) {
    return mc::gather(a, to_arrays(indices), to_shape(axes), to_shape(sizes));
  });
  m.def("scatter", [](const Array& a, nb::handle indices, const Array& u, nb::handle axes, int mode) {
    if (mode < 0 || mode > 4) throw nb::value_error("no such mode");
    return mc::scatter(a, to_arrays(indices), u, to_shape(axes), static_cast<mc::ScatterMode>(mode));
  });
  m.def("sort", [](nb::handle a, int axis) { return mc::sort(to_array(a), axis); });
  m.def("argsort", [](nb::handle a, int axis) { return mc::argsort(to_array(a), axis); });
  m.def("partition", [](nb::handle a, int64_t k, int axis) { return mc::partition(to_array(a), k, axis); });
  m.def("argpartition",
        [](nb::handle a, int64_t k, int axis) { return mc::argpartition(to_array(a), k, axis); });
  m.def("topk", [](nb::handle a, int64_t k, int axis) {
    auto [v, i] = mc::topk(to_array(a), k, axis);
    return nb::make_tuple(v, i);
  });
  m.def("searchsorted", [](nb::handle a, nb::handle v, bool right) {
    return mc::searchsorted(to_array(a), to_array(v), right);
  });

  // These look at the data: other Python threads run meanwhile.
  m.def(
      "nonzero",
      [](nb::handle a, nb::handle size) {
        const Array x = to_array(a);
        std::optional<int64_t> n;
        if (!size.is_none()) n = nb::cast<int64_t>(size);
        Arrays out;
        {
          nb::gil_scoped_release nogil;
          out = mc::nonzero(x, n);
        }
        return to_pylist(out);
      },
      nb::arg(), nb::arg().none() = nb::none());
  m.def("boolean_mask", [](nb::handle a, nb::handle mask) {
    const Array x = to_array(a), k = to_array(mask);
    nb::gil_scoped_release nogil;
    return mc::boolean_mask(x, k);
  });
  m.def("unique_all", [](nb::handle a) {
    const Array x = to_array(a);
    mc::UniqueResult r;
    {
      nb::gil_scoped_release nogil;
      r = mc::unique_all(x);
    }
    return nb::make_tuple(r.values, r.indices, r.inverse, r.counts);
  });
  m.def(
      "count_nonzero",
      [](nb::handle a, nb::handle axes, bool keepdims) {
        if (!axes.is_none()) return mc::count_nonzero(to_array(a), to_shape(axes), keepdims);
        const Array x = to_array(a);
        if (!keepdims) return mc::count_nonzero(x);
        Shape all;
        for (int i = 0; i < x.ndim(); ++i) all.push_back(i);
        return mc::count_nonzero(x, all, true);
      },
      nb::arg(), nb::arg().none(), nb::arg());
}

}  // namespace mcpy
