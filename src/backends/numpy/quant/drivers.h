// Between the public entry and the two precisions' drivers.
#pragma once

#include <cstdint>
#include <span>

#include "backends/numpy/quant/qmatmul.h"

namespace mc::numpy::quant {

// Part t of n things for `threads` threads.
inline int64_t share(int64_t n, int64_t t, int64_t threads) { return n * t / threads; }

// Precision::Fast for weights with codes; operands are checked.
void fast_qmatmul(int64_t m, const float* x, int64_t x_stride, std::span<const Product> products);

}  // namespace mc::numpy::quant
