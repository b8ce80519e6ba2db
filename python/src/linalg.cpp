// Linear algebra.
#include "common.h"
#include "mc/ops.h"

namespace mcpy {

void bind_linalg(nb::module_& m) {
  m.def(
      "svd",
      [](nb::handle a, bool full) {
        const mc::SvdResult r = mc::svd(to_array(a), full);
        return nb::make_tuple(r.u, r.s, r.vt);
      },
      nb::arg(), nb::arg("full") = false);
  m.def("svdvals", [](nb::handle a) { return mc::svdvals(to_array(a)); });
  m.def("eigh", [](nb::handle a) {
    auto [w, v] = mc::eigh(to_array(a));
    return nb::make_tuple(w, v);
  });
  m.def("eig", [](nb::handle a) {
    auto [w, v] = mc::eig(to_array(a));
    return nb::make_tuple(w, v);
  });
  m.def(
      "qr",
      [](nb::handle a, bool complete) {
        auto [q, r] = mc::qr(to_array(a), complete);
        return nb::make_tuple(q, r);
      },
      nb::arg(), nb::arg("complete") = false);
  m.def(
      "cholesky", [](nb::handle a, bool upper) { return mc::cholesky(to_array(a), upper); }, nb::arg(),
      nb::arg("upper") = false);
  m.def("solve", [](nb::handle a, nb::handle b) { return mc::solve(to_array(a), to_array(b)); });
  m.def("solve_triangular", [](nb::handle a, nb::handle b, bool upper) {
    return mc::solve_triangular(to_array(a), to_array(b), upper);
  });
  m.def("inv", [](nb::handle a) { return mc::inv(to_array(a)); });
  m.def("det", [](nb::handle a) { return mc::det(to_array(a)); });
  m.def("trace", [](nb::handle a, int offset) { return mc::trace(to_array(a), offset); });
  m.def(
      "norm",
      [](nb::handle a, nb::handle axes, bool keepdims) {
        const Array x = to_array(a);
        if (axes.is_none() && !keepdims) return mc::norm(x);
        if (!axes.is_none()) return mc::norm(x, to_shape(axes), keepdims);
        Shape all;
        for (int i = 0; i < x.ndim(); ++i) all.push_back(1);
        return mc::reshape(mc::norm(x), all);
      },
      nb::arg(), nb::arg().none(), nb::arg());
  m.def("lstsq",
        [](nb::handle a, nb::handle b, double rcond) { return mc::lstsq(to_array(a), to_array(b), rcond); });
  m.def("pinv", [](nb::handle a, double rcond) { return mc::pinv(to_array(a), rcond); });
}

}  // namespace mcpy
