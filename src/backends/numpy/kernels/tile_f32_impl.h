// float32 tiles, once for all instruction sets.
#pragma once

#include "backends/numpy/kernels/tile_table.h"
#include "backends/numpy/simd/math_f32.h"
#include "backends/numpy/simd/lanes_io.h"

namespace mc::simd::MC_SIMD_NS {

#define MC_TILE1(name, expr)                                                                      \
  static void name##_f32(const void* a, const void*, const void*, void* out, int64_t n) {         \
    const float* p = static_cast<const float*>(a);                                                \
    float* o = static_cast<float*>(out);                                                          \
    for_vectors(n, [&](int64_t i, int k) MC_LAMBDA {                                              \
      const F32 x = vload_n(p + i, k);                                                            \
      vstore_n(o + i, expr, k);                                                                   \
    });                                                                                           \
  }
#define MC_TILE2(name, expr)                                                                      \
  static void name##_f32(const void* a, const void* b, const void*, void* out, int64_t n) {       \
    const float *p = static_cast<const float*>(a), *q = static_cast<const float*>(b);             \
    float* o = static_cast<float*>(out);                                                          \
    for_vectors(n, [&](int64_t i, int k) MC_LAMBDA {                                              \
      const F32 x = vload_n(p + i, k), y = vload_n(q + i, k);                                     \
      vstore_n(o + i, expr, k);                                                                   \
    });                                                                                           \
  }
MC_TILE1(Negative, neg(x))
MC_TILE1(Abs, abs(x))
MC_TILE1(Sqrt, sqrt(x))
MC_TILE1(Rsqrt, F32::set(1) / sqrt(x))
MC_TILE1(Square, x* x)
MC_TILE1(Reciprocal, F32::set(1) / x)
MC_TILE1(Exp, exp(x))
MC_TILE1(Log, log(x))
MC_TILE1(Tanh, tanh(x))
MC_TILE1(Erf, erf(x))
MC_TILE1(Sigmoid, sigmoid(x))
MC_TILE1(Silu, silu(x))
MC_TILE1(Gelu, gelu(x))
MC_TILE1(GeluTanh, gelu_tanh(x))
MC_TILE1(Sin, sin(x))
MC_TILE1(Cos, cos(x))
MC_TILE2(Add, x + y)
MC_TILE2(Subtract, x - y)
MC_TILE2(Multiply, x* y)
MC_TILE2(Divide, x / y)

constexpr kernels::TileRow make_f32_row() {
  kernels::TileRow r;
  using enum kernels::PwOp;
#define MC_SET(name) r[name] = name##_f32;
  MC_SET(Negative) MC_SET(Abs) MC_SET(Sqrt) MC_SET(Rsqrt) MC_SET(Square) MC_SET(Reciprocal) MC_SET(Exp) MC_SET(Log)
  MC_SET(Tanh) MC_SET(Erf) MC_SET(Sigmoid) MC_SET(Silu) MC_SET(Gelu) MC_SET(GeluTanh) MC_SET(Sin) MC_SET(Cos)
  MC_SET(Add) MC_SET(Subtract) MC_SET(Multiply) MC_SET(Divide)
#undef MC_SET
  return r;
}

}  // namespace mc::simd::MC_SIMD_NS
