// Calling a generic function with the element type of a dtype.
#pragma once

#include <algorithm>
#include <complex>
#include <cstdint>

#include "backends/numpy/kernel.h"

namespace mc::numpy {

// f(T{}) for the integer dtypes.
template <class F>
void with_integer(Dtype d, F f) {
  switch (d) {
    case Dtype::U8: return f(uint8_t{});
    case Dtype::U16: return f(uint16_t{});
    case Dtype::U32: return f(uint32_t{});
    case Dtype::U64: return f(uint64_t{});
    case Dtype::I8: return f(int8_t{});
    case Dtype::I16: return f(int16_t{});
    case Dtype::I32: return f(int32_t{});
    default: return f(int64_t{});
  }
}
// For integers and floats; bool as uint8.
template <class F>
void with_real(Dtype d, F f) {
  switch (d) {
    case Dtype::Bool: return f(uint8_t{});
    case Dtype::F16: return f(float16{});
    case Dtype::BF16: return f(bfloat16{});
    case Dtype::F32: return f(float{});
    case Dtype::F64: return f(double{});
    default: return with_integer(d, f);
  }
}
template <class F>
void with_number(Dtype d, F f) {
  if (d == Dtype::C64) return f(std::complex<float>{});
  if (d == Dtype::C128) return f(std::complex<double>{});
  with_real(d, f);
}

// Element i of an integer array; numbers beyond int64 as the largest of it: out of range either way.
inline int64_t index_at(const Tensor& t, int64_t i) {
  int64_t out = 0;
  with_integer(t.dtype, [&](auto tag) {
    using T = decltype(tag);
    if constexpr (sizeof(T) == 8 && static_cast<T>(-1) > T{0})
      out = static_cast<int64_t>(std::min<uint64_t>(t.as<T>()[i], INT64_MAX));
    else
      out = t.as<T>()[i];
  });
  return out;
}

}  // namespace mc::numpy
