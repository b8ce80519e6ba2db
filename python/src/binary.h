// The two-operand functions: arrays and numbers in any mixture.
#pragma once

#include "common.h"

namespace mcpy {

struct Binary {
  const char* name;
  Array (*aa)(const Array&, const Array&);
  Array (*as)(const Array&, Scalar);
  Array (*sa)(Scalar, const Array&);
};
#define MCPY_BINARY(name)                                                              \
  mcpy::Binary {                                                                       \
#name, static_cast < mc::Array (*)(const mc::Array&, const mc::Array&)>(mc::name), \
        static_cast < mc::Array (*)(const mc::Array&, mc::Scalar)>(mc::name),          \
        static_cast < mc::Array (*)(mc::Scalar, const mc::Array&)>(mc::name)           \
  }

inline Array call(const Binary& f, nb::handle x, nb::handle y) {
  Scalar s = 0;
  if (is_array(x)) {
    if (is_array(y)) return f.aa(array_ref(x), array_ref(y));
    if (to_scalar(y, &s)) return f.as(array_ref(x), s);
    if (PyComplex_Check(y.ptr())) {  // of the array's own precision
      const Dtype d = array_ref(x).dtype();
      const bool wide = d == Dtype::F64 || d == Dtype::C128;
      return f.aa(array_ref(x), to_array(y, wide ? Dtype::C128 : Dtype::C64));
    }
    return f.aa(array_ref(x), to_array(y));
  }
  if (is_array(y)) {
    if (to_scalar(x, &s)) return f.sa(s, array_ref(y));
    if (PyComplex_Check(x.ptr())) {
      const Dtype d = array_ref(y).dtype();
      const bool wide = d == Dtype::F64 || d == Dtype::C128;
      return f.aa(to_array(x, wide ? Dtype::C128 : Dtype::C64), array_ref(y));
    }
    return f.aa(to_array(x), array_ref(y));
  }
  // Neither is an array: a number still takes the dtype of what stands beside it.
  if (to_scalar(y, &s)) return f.as(to_array(x), s);
  if (to_scalar(x, &s)) return f.sa(s, to_array(y));
  return f.aa(to_array(x), to_array(y));
}

}  // namespace mcpy
