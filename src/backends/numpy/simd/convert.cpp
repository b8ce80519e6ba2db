#include "backends/numpy/simd/convert.h"

#include "backends/numpy/simd/dispatch.h"

namespace mc::simd {
namespace {

template <class Src>
void widen_scalar(const Src* src, float* dst, int64_t n) {
  for (int64_t i = 0; i < n; ++i) dst[i] = to_f32(src[i]);
}
void narrow_bf16_scalar(const float* src, bfloat16* dst, int64_t n) {
  for (int64_t i = 0; i < n; ++i) dst[i] = to_bf16(src[i]);
}
void narrow_f16_scalar(const float* src, float16* dst, int64_t n) {
  for (int64_t i = 0; i < n; ++i) dst[i] = to_f16(src[i]);
}
const ConvertKernels kConvertScalar = {widen_scalar<bfloat16>, widen_scalar<float16>, narrow_bf16_scalar,
                                       narrow_f16_scalar};

const ConvertKernels& kernels() {
#if defined(__x86_64__)
  switch (active_isa()) {
    case Isa::Avx512: return kConvertAvx512;
    case Isa::Avx2: return kConvertAvx2;
    case Isa::Scalar: break;
  }
#endif
  return kConvertScalar;
}

}  // namespace

void widen(const bfloat16* src, float* dst, int64_t n) { kernels().widen_bf16(src, dst, n); }
void widen(const float16* src, float* dst, int64_t n) { kernels().widen_f16(src, dst, n); }
void narrow(const float* src, bfloat16* dst, int64_t n) { kernels().narrow_bf16(src, dst, n); }
void narrow(const float* src, float16* dst, int64_t n) { kernels().narrow_f16(src, dst, n); }

}  // namespace mc::simd
