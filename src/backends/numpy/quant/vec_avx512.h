// Sixteen lanes. Only for files compiled for AVX-512.
#pragma once

// GCC 12's own header leaves the source of unmasked operations undefined on purpose, and then warns.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#ifndef __clang__  // which has no such warning
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop

#include <cstdint>
#include <cstring>

namespace mc::numpy::quant {

struct VecAvx512 {
  static constexpr int kLanes = 16;
  using F = __m512;
  using I = __m512i;
#define MC_V static inline __attribute__((always_inline))
  MC_V I load_i(const void* p) { return _mm512_loadu_si512(p); }
  MC_V void store_i(void* p, I v) { _mm512_storeu_si512(p, v); }
  MC_V F load(const float* p) { return _mm512_loadu_ps(p); }
  MC_V void store(float* p, F v) { _mm512_storeu_ps(p, v); }
  MC_V F zero() { return _mm512_setzero_ps(); }
  MC_V F set1(float x) { return _mm512_set1_ps(x); }
  MC_V I set1_i(uint32_t x) { return _mm512_set1_epi32(static_cast<int>(x)); }
  MC_V I and_or(I v, uint32_t mask, uint32_t bits) {
    // Not one ternary operation: its three register reads take a port from fma (Zen 4).
    return _mm512_add_epi32(_mm512_and_si512(v, set1_i(mask)), set1_i(bits));
  }
  MC_V I and_i(I v, uint32_t mask) { return _mm512_and_si512(v, set1_i(mask)); }
  MC_V I select(uint32_t mask, I a, I b) { return _mm512_ternarylogic_epi32(set1_i(mask), a, b, 0xCA); }
  template <int N>
  MC_V I shr(I v) {
    return _mm512_srli_epi32(v, N);
  }
  template <int N>
  MC_V I shl(I v) {
    return _mm512_slli_epi32(v, N);
  }
  MC_V F as_f(I v) { return _mm512_castsi512_ps(v); }
  MC_V F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  MC_V F add(F a, F b) { return _mm512_add_ps(a, b); }
  MC_V F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  MC_V F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  MC_V F neg(F a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }
  MC_V F load_half(const void* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
  }
  MC_V F load_bfloat(const void* p) {
    return as_f(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(static_cast<const __m256i*>(p))), 16));
  }
  MC_V F load_u8(const void* p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p))));
  }
  MC_V F load_i8(const void* p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p))));
  }
  MC_V I broadcast4(const int8_t* p) {
    int v;
    std::memcpy(&v, p, 4);
    return _mm512_set1_epi32(v);
  }
  MC_V F to_float(I v) { return _mm512_cvtepi32_ps(v); }
  // acc + the dot of each word's four unsigned bytes of u with the four signed ones of s.
  static constexpr bool kPicksBytes = false;
  static constexpr bool kExactDot = true;
  MC_V I dot4(I acc, I u, I s) { return _mm512_dpbusd_epi32(acc, u, s); }
  MC_V void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
  MC_V void prefetch_l2(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1); }
#undef MC_V
};

}  // namespace mc::numpy::quant
