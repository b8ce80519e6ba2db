#if defined(__x86_64__)
#include <immintrin.h>

#include "backends/numpy/simd/convert.h"

namespace mc::simd {
namespace {

__m128i load8(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }

void widen_bf16(const bfloat16* src, float* dst, int64_t n) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    _mm256_storeu_ps(dst + i,
                     _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load8(src + i)), 16)));
  for (; i < n; ++i) dst[i] = to_f32(src[i]);
}
void widen_f16(const float16* src, float* dst, int64_t n) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(load8(src + i)));
  for (; i < n; ++i) dst[i] = to_f32(src[i]);
}

// Eight results, each in the low half of a 32-bit lane.
__m256i round_bf16(__m256 x) {
  const __m256i u = _mm256_castps_si256(x), high = _mm256_srli_epi32(u, 16);
  const __m256i odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
  const __m256i up = _mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd);
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  return _mm256_blendv_epi8(_mm256_srli_epi32(up, 16), _mm256_or_si256(high, _mm256_set1_epi32(0x40)), nan);
}
void narrow_bf16(const float* src, bfloat16* dst, int64_t n) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const __m256i both =
        _mm256_packus_epi32(round_bf16(_mm256_loadu_ps(src + i)), round_bf16(_mm256_loadu_ps(src + i + 8)));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst + i), _mm256_permute4x64_epi64(both, 0xd8));
  }
  for (; i < n; ++i) dst[i] = to_bf16(src[i]);
}
void narrow_f16(const float* src, float16* dst, int64_t n) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    _mm_storeu_si128(
        reinterpret_cast<__m128i*>(dst + i),
        _mm256_cvtps_ph(_mm256_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  for (; i < n; ++i) dst[i] = to_f16(src[i]);
}

}  // namespace

const ConvertKernels kConvertAvx2 = {widen_bf16, widen_f16, narrow_bf16, narrow_f16};

}  // namespace mc::simd
#endif
