// What the drivers in gemm*.cpp need of one instruction set, for T = float and double.
#pragma once

#include "backends/numpy/simd/ukernel.h"

namespace mc::simd {

// A pack writes past the end of its last row by less than this many elements.
inline constexpr int kPackSlack = 32;
// Rows (of activations) that gemv_packed takes at once.
inline constexpr int kGemvRows = 4;

template <class T>
struct FloatKernels {
  Ukernel<T> tile;

  // dst[k][width], k < kc, from src(lane, k) at src + lane * lane_stride + k * k_stride (elements of
  // src_dtype), lanes past `lanes` zero. T float takes F32, BF16 and F16; T double takes F64. May write
  // kPackSlack elements past the end, so panels are packed in ascending order.
  void (*pack)(T* dst, int width, int lanes, int64_t kc, const void* src, Dtype src_dtype,
               int64_t lane_stride, int64_t k_stride);

  // As tile.run for any n, with B in place: b(k, j) at b + k * ldb + j, nothing else of it read;
  // a(i, k) at a + k * a_step + i, m <= mr.
  void (*direct)(int m, int64_t n, int64_t kc, const T* a, int64_t a_step, const T* b, int64_t ldb, T* c,
                 int64_t ldc, bool add);

  // y(i, j) for i < m <= kGemvRows, j < n over all of K: x rows are contiguous, ldx apart; w holds
  // ceil(n / nr) panels [K][nr] of w_dtype one after another.
  void (*gemv_packed)(int m, int64_t n, int64_t K, const T* x, int64_t ldx, const void* w, Dtype w_dtype,
                      T* y, int64_t ldy);

  // dst[k][0..16) = src[k][0..16) widened, k < rows; strides in elements.
  void (*widen16)(T* dst, int64_t dst_stride, const void* src, Dtype src_dtype, int64_t src_stride,
                  int64_t rows);
};

extern const FloatKernels<float> kF32Scalar, kF32Avx2, kF32Avx512;
extern const FloatKernels<double> kF64Scalar, kF64Avx2, kF64Avx512;

// Of the set in use.
template <class T>
const FloatKernels<T>& float_kernels();
template <>
const FloatKernels<float>& float_kernels<float>();
template <>
const FloatKernels<double>& float_kernels<double>();

}  // namespace mc::simd
