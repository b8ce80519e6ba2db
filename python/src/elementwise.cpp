// Elementwise functions, creation and dtypes.
#include "binary.h"
#include "mc/ops.h"

namespace mcpy {
namespace {

using Unary = Array (*)(const Array&);
struct Named {
  const char* name;
  Unary fn;
};
#define MCPY_UNARY(name) {#name, static_cast<Unary>(mc::name)},
constexpr Named kUnary[] = {MC_UNARY_LIST(MCPY_UNARY)};
#define MCPY_ROW(name) MCPY_BINARY(name),
const Binary kBinary[] = {MC_BINARY_LIST(MCPY_ROW)};

Scalar number(nb::handle h) {
  Scalar s = 0;
  if (to_scalar(h, &s)) return s;
  if (is_array(h) && array_ref(h).size() == 1) {
    nb::object v = h.attr("item")();
    if (to_scalar(v, &s)) return s;
  }
  if (PyNumber_Check(h.ptr()) && !is_array(h)) {  // NumPy's scalars
    nb::object v =
        PyIndex_Check(h.ptr()) ? nb::steal(PyNumber_Index(h.ptr())) : nb::steal(PyNumber_Float(h.ptr()));
    if (!v.ptr()) raise_pending();
    to_scalar(v, &s);
    return s;
  }
  throw nb::type_error("a number is needed here");
}

bool is_number(nb::handle h) { return PyLong_Check(h.ptr()) || PyFloat_Check(h.ptr()); }

}  // namespace

void bind_elementwise(nb::module_& m) {
  for (const Named& u : kUnary) m.def(u.name, [fn = u.fn](nb::handle x) { return fn(to_array(x)); });
  for (const Binary& b : kBinary) m.def(b.name, [b](nb::handle x, nb::handle y) { return call(b, x, y); });
  m.def("complex", [](nb::handle re, nb::handle im) { return mc::complex(to_array(re), to_array(im)); });
  m.def("gelu", [](nb::handle x, bool exact) { return mc::gelu(to_array(x), exact); });
  m.def("round", [](nb::handle x, int decimals) { return mc::round(to_array(x), decimals); });
  m.def("nan_to_num", [](nb::handle x, double v) { return mc::nan_to_num(to_array(x), v); });
  m.def(
      "clip_scalar",
      [](nb::handle x, nb::handle lo, nb::handle hi) {
        std::optional<Scalar> low, high;
        if (!lo.is_none()) low = number(lo);
        if (!hi.is_none()) high = number(hi);
        return mc::clip(to_array(x), low, high);
      },
      nb::arg(), nb::arg().none(), nb::arg().none());
  m.def("where", [](nb::handle c, nb::handle x, nb::handle y) {
    const Array cond = to_array(c);
    const bool sx = is_number(x), sy = is_number(y);
    if (sx && sy) return mc::where(cond, number(x), number(y));
    if (sx) return mc::where(cond, number(x), to_array(y));
    if (sy) return mc::where(cond, to_array(x), number(y));
    return mc::where(cond, to_array(x), to_array(y));
  });

  m.def(
      "full",
      [](nb::handle shape, nb::handle v, nb::handle dtype) {
        if (is_array(v) || !PyNumber_Check(v.ptr()) || PyComplex_Check(v.ptr()))
          return mc::full(to_shape(shape), to_array(v, to_dtype_or_none(dtype)));
        const std::optional<Dtype> d = to_dtype_or_none(dtype);
        if (!d) return mc::broadcast_to(to_array(v), to_shape(shape));
        return mc::full(to_shape(shape), number(v), *d);
      },
      nb::arg(), nb::arg(), nb::arg().none());
  m.def(
      "zeros",
      [](nb::handle shape, nb::handle d) {
        return mc::zeros(to_shape(shape), to_dtype_or_none(d).value_or(Dtype::F32));
      },
      nb::arg(), nb::arg().none());
  m.def(
      "ones",
      [](nb::handle shape, nb::handle d) {
        return mc::ones(to_shape(shape), to_dtype_or_none(d).value_or(Dtype::F32));
      },
      nb::arg(), nb::arg().none());
  m.def(
      "eye",
      [](int64_t n, int64_t cols, int k, nb::handle d) {
        return mc::eye(n, cols, k, to_dtype_or_none(d).value_or(Dtype::F32));
      },
      nb::arg(), nb::arg(), nb::arg(), nb::arg().none());
  m.def(
      "arange",
      [](nb::handle a, nb::handle b, nb::handle s, nb::handle d) {
        return mc::arange(number(a), number(b), number(s), to_dtype_or_none(d));
      },
      nb::arg(), nb::arg(), nb::arg(), nb::arg().none());
  m.def(
      "linspace",
      [](double a, double b, int64_t n, nb::handle d) {
        return mc::linspace(a, b, n, to_dtype_or_none(d).value_or(Dtype::F32));
      },
      nb::arg(), nb::arg(), nb::arg(), nb::arg().none());
  m.def(
      "create_causal_mask",
      [](int64_t n, nb::handle d) {
        return mc::create_causal_mask(n, to_dtype_or_none(d).value_or(Dtype::F32));
      },
      nb::arg(), nb::arg().none());
  m.def(
      "tri",
      [](int64_t n, int64_t cols, int k, nb::handle d) {
        return mc::tri(n, cols, k, to_dtype_or_none(d).value_or(Dtype::F32));
      },
      nb::arg(), nb::arg(), nb::arg(), nb::arg().none());
  m.def("astype", [](nb::handle x, nb::handle d) { return mc::astype(to_array(x), to_dtype(d)); });
  m.def("bitcast", [](nb::handle x, nb::handle d) { return mc::bitcast(to_array(x), to_dtype(d)); });
}

}  // namespace mcpy
