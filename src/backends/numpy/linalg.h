// What the decompositions share. LAPACK is column-major: a row-major matrix is its transpose there.
#pragma once

#include <algorithm>
#include <cmath>
#include <complex>
#include <string>
#include <vector>

#include "backends/numpy/kernel.h"
#include "backends/numpy/lapack.h"
#include "mc/detail/str.h"
#include "prims/attrs.h"

namespace mc::numpy {

inline strided::MatrixDims dims_of(const Tensor& t, std::string_view where) {
  return strided::matrix_dims(t.shape, where, "LAPACK");
}

template <class T>
void transpose(const T* src, int rows, int cols, T* dst) {
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < cols; ++j)
      dst[static_cast<size_t>(j) * static_cast<size_t>(rows) + static_cast<size_t>(i)] =
          src[static_cast<size_t>(i) * static_cast<size_t>(cols) + static_cast<size_t>(j)];
}

inline bool finite(double x) { return std::isfinite(x); }
template <class R>
bool finite(std::complex<R> x) {
  return std::isfinite(x.real()) && std::isfinite(x.imag());
}
template <class T>
bool finite(const std::vector<T>& v) {
  return std::all_of(v.begin(), v.end(), [](T x) { return finite(x); });
}

[[noreturn]] inline void failed(std::string_view op, std::string why) {
  throw Error(ErrorCode::SingularMatrix, std::move(why), std::string(op));
}

template <class F>
void with_float(Dtype d, F f) {
  if (d == Dtype::F32)
    f(float{});
  else
    f(double{});
}
template <class F>
void with_number(Dtype d, F f) {
  if (d == Dtype::C64) return f(std::complex<float>{});
  if (d == Dtype::C128) return f(std::complex<double>{});
  with_float(d, f);
}
inline size_t area(int64_t a, int64_t b) { return static_cast<size_t>(a) * static_cast<size_t>(b); }

// Of complex matrices; the results of eig are complex for every dtype.
void complex_svd(const Call& c);
void complex_eigh(const Call& c);
void eig(const Call& c);

}  // namespace mc::numpy
