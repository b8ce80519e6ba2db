// The kernels without intrinsics: what other machines run, and the yardstick of the vector ones in tests.
#include <cmath>

#include "backends/numpy/simd/convert.h"
#include "backends/numpy/simd/float_kernels.h"

namespace mc::simd {
namespace {

constexpr int kMr = 4;
template <class T>
constexpr int kNr = sizeof(T) == 4 ? 16 : 8;

inline float widened(float16 x) { return to_f32(x); }
inline float widened(bfloat16 x) { return to_f32(x); }
inline float widened(float x) { return x; }
inline double widened(double x) { return x; }

// C(m, n <= kNr) with B rows b_step apart; reads n columns only, so that it serves B in place too.
template <class T, class Src>
void tile(int m, int n, int64_t kc, const T* a, int64_t a_row, int64_t a_step, const Src* b, int64_t b_step,
          T* c, int64_t ldc, bool add) {
  for (int i = 0; i < m; ++i, a += a_row, c += ldc) {
    T acc[kNr<T>] = {};
    for (int64_t k = 0; k < kc; ++k) {
      const T av = a[k * a_step];
      const Src* bk = b + k * b_step;
      for (int j = 0; j < n; ++j) acc[j] = std::fma(av, widened(bk[j]), acc[j]);
    }
    for (int j = 0; j < n; ++j) c[j] = add ? c[j] + acc[j] : acc[j];
  }
}

template <class T>
void run(int m, int n, int64_t kc, const T* a, const T* b, T* c, int64_t ldc, bool add) {
  tile(m, n, kc, a, 1, kMr, b, kNr<T>, c, ldc, add);
}

template <class T>
void direct(int m, int64_t n, int64_t kc, const T* a, int64_t a_step, const T* b, int64_t ldb, T* c,
            int64_t ldc, bool add) {
  for (int64_t j = 0; j < n; j += kNr<T>)
    tile(m, static_cast<int>(n - j < kNr<T> ? n - j : kNr<T>), kc, a, 1, a_step, b + j, ldb, c + j, ldc, add);
}

// Calls f with `p` as a pointer to elements of `dtype`.
template <class T, class F>
void typed(const void* p, Dtype dtype, F&& f) {
  if constexpr (sizeof(T) == 8) {
    f(static_cast<const double*>(p));
  } else if (dtype == Dtype::F32) {
    f(static_cast<const float*>(p));
  } else if (dtype == Dtype::BF16) {
    f(static_cast<const bfloat16*>(p));
  } else {
    f(static_cast<const float16*>(p));
  }
}

template <class T>
void pack(T* dst, int width, int lanes, int64_t kc, const void* src, Dtype dtype, int64_t lane_stride,
          int64_t k_stride) {
  typed<T>(src, dtype, [&](auto* s) {
    for (int64_t k = 0; k < kc; ++k, dst += width) {
      for (int j = 0; j < lanes; ++j) dst[j] = widened(s[j * lane_stride + k * k_stride]);
      for (int j = lanes; j < width; ++j) dst[j] = 0;
    }
  });
}

template <class T>
void gemv_packed(int m, int64_t n, int64_t K, const T* x, int64_t ldx, const void* w, Dtype dtype, T* y,
                 int64_t ldy) {
  typed<T>(w, dtype, [&](auto* panel) {
    for (int64_t j = 0; j < n; j += kNr<T>, panel += K * kNr<T>) {
      const int width = static_cast<int>(n - j < kNr<T> ? n - j : kNr<T>);
      for (int64_t k0 = 0; k0 < K; k0 += kBlockK)
        tile(m, width, K - k0 < kBlockK ? K - k0 : kBlockK, x + k0, ldx, 1, panel + k0 * kNr<T>, kNr<T>,
             y + j, ldy, k0 > 0);
    }
  });
}

template <class T>
void widen16(T* dst, int64_t dst_stride, const void* src, Dtype dtype, int64_t src_stride, int64_t rows) {
  typed<T>(src, dtype, [&](auto* s) {
    for (int64_t k = 0; k < rows; ++k)
      for (int j = 0; j < 16; ++j) dst[k * dst_stride + j] = widened(s[k * src_stride + j]);
  });
}

}  // namespace

const FloatKernels<float> kF32Scalar = {
    {kMr, kNr<float>, run<float>}, pack<float>, direct<float>, gemv_packed<float>, widen16<float>};
const FloatKernels<double> kF64Scalar = {
    {kMr, kNr<double>, run<double>}, pack<double>, direct<double>, gemv_packed<double>, widen16<double>};

#if defined(__x86_64__)
namespace {
template <class T>
const FloatKernels<T>& pick(const FloatKernels<T>& avx2, const FloatKernels<T>& avx512,
                            const FloatKernels<T>& scalar) {
  switch (active_isa()) {
    case Isa::Avx512: return avx512;
    case Isa::Avx2: return avx2;
    case Isa::Scalar: break;
  }
  return scalar;
}
}  // namespace

template <>
const FloatKernels<float>& float_kernels<float>() {
  return pick(kF32Avx2, kF32Avx512, kF32Scalar);
}
template <>
const FloatKernels<double>& float_kernels<double>() {
  return pick(kF64Avx2, kF64Avx512, kF64Scalar);
}
#else
template <>
const FloatKernels<float>& float_kernels<float>() {
  return kF32Scalar;
}
template <>
const FloatKernels<double>& float_kernels<double>() {
  return kF64Scalar;
}
#endif

const F32Ukernel& f32_ukernel() { return float_kernels<float>().tile; }
const F64Ukernel& f64_ukernel() { return float_kernels<double>().tile; }

}  // namespace mc::simd
