// The vector types that every kernel template is written with: F32 (16 floats), I32 (16 int32), F64 (8
// doubles), I64 (8 int64) and their masks. One definition per instruction set, each with the same results bit
// for bit: one zmm register, two ymm registers, or a plain array. Include it from X_scalar.cpp, X_avx2.cpp
// and X_avx512.cpp after defining MC_SIMD_TARGET as 0, 1 or 2; everything lives in namespace
// mc::simd::MC_SIMD_NS so that no inline function compiled for a wide instruction set can be chosen by the
// linker for a machine without it.
//
// min(a, b) is a < b ? a : b and max(a, b) is a > b ? a : b: the second operand where either is NaN.
#pragma once

#ifndef MC_SIMD_TARGET
#error "define MC_SIMD_TARGET before including lanes.h"
#endif

#include <cstdint>
#include <cstring>

// Inlined where registers hold vectors; calls where vectors are arrays, or the compiler drowns in unrolled
// loops.
#if MC_SIMD_TARGET == 0
#define MC_INL [[maybe_unused]] static __attribute__((noinline))
#define MC_LAMBDA
#else
#define MC_INL static inline __attribute__((always_inline))
#define MC_LAMBDA __attribute__((always_inline))
#endif

#if MC_SIMD_TARGET == 2
#define MC_SIMD_NS avx512
#include "backends/numpy/simd/lanes_avx512.h"
#elif MC_SIMD_TARGET == 1
#define MC_SIMD_NS avx2
#include "backends/numpy/simd/lanes_avx2.h"
#else
#define MC_SIMD_NS scalar
#include "backends/numpy/simd/lanes_scalar.h"
#endif

namespace mc::simd::MC_SIMD_NS {

MC_INL F32 neg(F32 a) { return as_f32(as_i32(a) ^ I32::set(INT32_MIN)); }
MC_INL F32 abs(F32 a) { return as_f32(as_i32(a) & I32::set(INT32_MAX)); }
MC_INL F32 sign_bit(F32 a) { return as_f32(as_i32(a) & I32::set(INT32_MIN)); }
// The magnitude of `a` (taken as non-negative) with the sign of `b` xor-ed in.
MC_INL F32 flip_sign(F32 a, F32 b) { return as_f32(as_i32(a) ^ as_i32(sign_bit(b))); }
MC_INL F32 copysign(F32 a, F32 b) { return as_f32(as_i32(abs(a)) | as_i32(sign_bit(b))); }
MC_INL M32 is_nan(F32 a) { return ne(a, a); }
MC_INL F64 neg(F64 a) { return as_f64(as_i64(a) ^ I64::set(INT64_MIN)); }
MC_INL F64 abs(F64 a) { return as_f64(as_i64(a) & I64::set(INT64_MAX)); }
MC_INL F64 sign_bit(F64 a) { return as_f64(as_i64(a) & I64::set(INT64_MIN)); }
MC_INL F64 flip_sign(F64 a, F64 b) { return as_f64(as_i64(a) ^ as_i64(sign_bit(b))); }
MC_INL F64 copysign(F64 a, F64 b) { return as_f64(as_i64(abs(a)) | as_i64(sign_bit(b))); }
MC_INL M64 is_nan(F64 a) { return ne(a, a); }

MC_INL float first(F32 a) {
  float v[16];
  F32::store(v, a);
  return v[0];
}

// One NaN for all instruction sets: what hardware makes for an invalid operation differs in sign and payload.
MC_INL F32 nan32() { return as_f32(I32::set(0x7fc00000)); }
MC_INL F64 nan64() { return as_f64(I64::set(0x7ff8000000000000)); }

template <int N>
MC_INL F32 horner(F32 x, const float (&c)[N]) {
  F32 r = F32::set(c[N - 1]);
  for (int i = N - 2; i >= 0; --i) r = fma(r, x, F32::set(c[i]));
  return r;
}
template <int N>
MC_INL F64 horner(F64 x, const double (&c)[N]) {
  F64 r = F64::set(c[N - 1]);
  for (int i = N - 2; i >= 0; --i) r = fma(r, x, F64::set(c[i]));
  return r;
}

}  // namespace mc::simd::MC_SIMD_NS
