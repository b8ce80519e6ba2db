#if defined(__x86_64__)
#include <immintrin.h>

#include "backends/numpy/simd/convert.h"

namespace mc::simd {
namespace {

__m256i load16(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
void store16(void* p, __m256i x) { _mm256_storeu_si256(static_cast<__m256i*>(p), x); }

void widen_bf16(const bfloat16* src, float* dst, int64_t n) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16)
    _mm512_storeu_ps(dst + i,
                     _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load16(src + i)), 16)));
  for (; i < n; ++i) dst[i] = to_f32(src[i]);
}
void widen_f16(const float16* src, float* dst, int64_t n) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) _mm512_storeu_ps(dst + i, _mm512_cvtph_ps(load16(src + i)));
  for (; i < n; ++i) dst[i] = to_f32(src[i]);
}
void narrow_bf16(const float* src, bfloat16* dst, int64_t n) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const __m512 x = _mm512_loadu_ps(src + i);
    const __m512i u = _mm512_castps_si512(x), high = _mm512_srli_epi32(u, 16);
    const __m512i odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), odd);
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    const __m512i r = _mm512_mask_or_epi32(_mm512_srli_epi32(up, 16), nan, high, _mm512_set1_epi32(0x40));
    store16(dst + i, _mm512_cvtepi32_epi16(r));
  }
  for (; i < n; ++i) dst[i] = to_bf16(src[i]);
}
void narrow_f16(const float* src, float16* dst, int64_t n) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16)
    store16(dst + i,
            _mm512_cvtps_ph(_mm512_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  for (; i < n; ++i) dst[i] = to_f16(src[i]);
}

}  // namespace

const ConvertKernels kConvertAvx512 = {widen_bf16, widen_f16, narrow_bf16, narrow_f16};

}  // namespace mc::simd
#endif
