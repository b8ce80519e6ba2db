// Eight lanes. Only for files compiled for AVX2.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace mc::numpy::quant {

struct VecAvx2 {
  static constexpr int kLanes = 8;
  using F = __m256;
  using I = __m256i;
#define MC_V static inline __attribute__((always_inline))
  MC_V I load_i(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  MC_V void store_i(void* p, I v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }
  MC_V F load(const float* p) { return _mm256_loadu_ps(p); }
  MC_V void store(float* p, F v) { _mm256_storeu_ps(p, v); }
  MC_V F zero() { return _mm256_setzero_ps(); }
  MC_V F set1(float x) { return _mm256_set1_ps(x); }
  MC_V I set1_i(uint32_t x) { return _mm256_set1_epi32(static_cast<int>(x)); }
  MC_V I and_or(I v, uint32_t mask, uint32_t bits) {
    return _mm256_or_si256(_mm256_and_si256(v, set1_i(mask)), set1_i(bits));
  }
  MC_V I and_i(I v, uint32_t mask) { return _mm256_and_si256(v, set1_i(mask)); }
  MC_V I select(uint32_t mask, I a, I b) { return _mm256_or_si256(and_i(a, mask), and_i(b, ~mask)); }
  template <int N>
  MC_V I shr(I v) {
    return _mm256_srli_epi32(v, N);
  }
  template <int N>
  MC_V I shl(I v) {
    return _mm256_slli_epi32(v, N);
  }
  MC_V F as_f(I v) { return _mm256_castsi256_ps(v); }
  MC_V F sub(F a, F b) { return _mm256_sub_ps(a, b); }
  MC_V F add(F a, F b) { return _mm256_add_ps(a, b); }
  MC_V F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  MC_V F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  MC_V F neg(F a) { return _mm256_xor_ps(a, _mm256_set1_ps(-0.0f)); }
  MC_V F load_half(const void* p) { return _mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(p))); }
  MC_V F load_bfloat(const void* p) {
    return as_f(
        _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p))), 16));
  }
  MC_V F load_u8(const void* p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(static_cast<const __m128i*>(p))));
  }
  MC_V F load_i8(const void* p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(static_cast<const __m128i*>(p))));
  }
  MC_V I broadcast4(const int8_t* p) {
    int v;
    std::memcpy(&v, p, 4);
    return _mm256_set1_epi32(v);
  }
  MC_V F to_float(I v) { return _mm256_cvtepi32_ps(v); }
  // Byte B of each word as a float: a shuffle and a conversion, neither on the ports of fma.
  static constexpr bool kPicksBytes = true;
  template <int B>
  MC_V F pick_byte(I v) {
    constexpr int kFrom = static_cast<int>(0x80808000u) | B;
    return to_float(_mm256_shuffle_epi8(v, _mm256_setr_epi32(kFrom, kFrom + 4, kFrom + 8, kFrom + 12, kFrom,
                                                             kFrom + 4, kFrom + 8, kFrom + 12)));
  }
  // Without a byte dot: pairs into 16 bits, which the caller keeps from overflowing, then pairs of those
  // into 32.
  static constexpr bool kExactDot = false;
  MC_V I pairs16(I u, I s) { return _mm256_maddubs_epi16(u, s); }
  // Kept as written: reassociated into a tree, a chain of these needs more registers than there are.
  MC_V I add16(I a, I b) {
    I sum = _mm256_add_epi16(a, b);
    asm("" : "+x"(sum));
    return sum;
  }
  MC_V I pairs32(I v) { return _mm256_madd_epi16(v, _mm256_set1_epi16(1)); }
  MC_V I add_i(I a, I b) { return _mm256_add_epi32(a, b); }
  MC_V void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
  MC_V void prefetch_l2(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1); }
#undef MC_V
};

}  // namespace mc::numpy::quant
