// Reductions, cumulative sums and products of matrices.
#include "common.h"
#include "mc/ops.h"

namespace mcpy {
namespace {

using All = Array (*)(const Array&);
using Some = Array (*)(const Array&, const mc::Axes&, bool);
struct Reduction {
  const char* name;
  Some some;
};
#define MCPY_REDUCTION(name) \
  { #name, static_cast < Some>(mc::name) }
constexpr Reduction kReductions[] = {MCPY_REDUCTION(sum), MCPY_REDUCTION(prod),     MCPY_REDUCTION(mean),
                                     MCPY_REDUCTION(max), MCPY_REDUCTION(min),      MCPY_REDUCTION(any),
                                     MCPY_REDUCTION(all), MCPY_REDUCTION(logsumexp)};

Shape axes_of(nb::handle axis, const Array& a) {
  if (!axis.is_none()) return to_shape(axis);
  Shape all;
  for (int i = 0; i < a.ndim(); ++i) all.push_back(i);
  return all;
}

}  // namespace

void bind_reduce(nb::module_& m) {
  for (const Reduction& r : kReductions)
    m.def(
        r.name,
        [fn = r.some](nb::handle x, nb::handle axis, bool keepdims) {
          const Array a = to_array(x);
          return fn(a, axes_of(axis, a), keepdims);
        },
        nb::arg(), nb::arg().none(), nb::arg());
  m.def(
      "var",
      [](nb::handle x, nb::handle axis, bool keepdims, int ddof) {
        const Array a = to_array(x);
        return mc::var(a, axes_of(axis, a), keepdims, ddof);
      },
      nb::arg(), nb::arg().none(), nb::arg(), nb::arg());
  m.def(
      "std",
      [](nb::handle x, nb::handle axis, bool keepdims, int ddof) {
        const Array a = to_array(x);
        return mc::std(a, axes_of(axis, a), keepdims, ddof);
      },
      nb::arg(), nb::arg().none(), nb::arg(), nb::arg());
  m.def(
      "argmax",
      [](nb::handle x, nb::handle axis, bool keepdims) {
        return mc::argmax(to_array(x), to_axis(axis), keepdims);
      },
      nb::arg(), nb::arg().none(), nb::arg());
  m.def(
      "argmin",
      [](nb::handle x, nb::handle axis, bool keepdims) {
        return mc::argmin(to_array(x), to_axis(axis), keepdims);
      },
      nb::arg(), nb::arg().none(), nb::arg());
  m.def(
      "cumsum",
      [](nb::handle x, nb::handle axis, bool reverse) {
        return mc::cumsum(to_array(x), to_axis(axis), reverse);
      },
      nb::arg(), nb::arg().none(), nb::arg());
  m.def(
      "cumprod",
      [](nb::handle x, nb::handle axis, bool reverse) {
        return mc::cumprod(to_array(x), to_axis(axis), reverse);
      },
      nb::arg(), nb::arg().none(), nb::arg());
  m.def("matmul", [](nb::handle a, nb::handle b) { return mc::matmul(to_array(a), to_array(b)); });
  m.def("dot", [](nb::handle a, nb::handle b) { return mc::dot(to_array(a), to_array(b)); });
  m.def("inner", [](nb::handle a, nb::handle b) { return mc::inner(to_array(a), to_array(b)); });
  m.def("outer", [](nb::handle a, nb::handle b) { return mc::outer(to_array(a), to_array(b)); });
  m.def("tensordot", [](nb::handle a, nb::handle b, nb::handle i, nb::handle j) {
    return mc::tensordot(to_array(a), to_array(b), to_shape(i), to_shape(j));
  });
  m.def("einsum", [](nb::str s, nb::handle operands) { return mc::einsum(s.c_str(), to_arrays(operands)); });
}

}  // namespace mcpy
