// Vectors of the AVX2 kernels; for files compiled with its flags only.
#pragma once

#include <immintrin.h>

#include "backends/numpy/simd/convert.h"

namespace mc::simd {
namespace {

struct F32x8 {
  using T = float;
  using Reg = __m256;
  using Mask = __m256i;
  static constexpr int kLanes = 8, kMr = 6, kDirectSmall = 8, kDirectTwo = 2, kGemvPanels = 4;

  MC_INLINE Reg zero() { return _mm256_setzero_ps(); }
  MC_INLINE Reg set1(const T* p) { return _mm256_broadcast_ss(p); }
  MC_INLINE Reg load(const T* p) { return _mm256_loadu_ps(p); }
  MC_INLINE void store(T* p, Reg r) { _mm256_storeu_ps(p, r); }
  MC_INLINE Mask mask(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  MC_INLINE Reg load_mask(const T* p, Mask m) { return _mm256_maskload_ps(p, m); }
  MC_INLINE void store_mask(T* p, Mask m, Reg r) { _mm256_maskstore_ps(p, m, r); }
  // Always the form that adds to its third operand: a compiler that mixes the forms moves sums about until
  // some of the twelve live in memory, and their chains wait for it.
  MC_INLINE Reg fma(Reg a, Reg b, Reg c) {
    asm("vfmadd231ps %2, %1, %0" : "+x"(c) : "x"(a), "x"(b));
    return c;
  }
  MC_INLINE Reg add(Reg a, Reg b) { return _mm256_add_ps(a, b); }
  template <class Src>
  MC_INLINE Reg load_as(const Src* p) {
    if constexpr (sizeof(Src) == 4) {
      return load(p);
    } else {
      const __m128i h = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
      if constexpr (__is_same(Src, float16))
        return _mm256_cvtph_ps(h);
      else
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
    }
  }
  MC_INLINE void transpose(Reg (&r)[8]) {
    Reg t[8], u[8];
    for (int i = 0; i < 8; i += 2) {
      t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
      t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
      u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
      u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
      u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
      u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    for (int j = 0; j < 4; ++j) {
      r[j] = _mm256_permute2f128_ps(u[j], u[j + 4], 0x20);
      r[j + 4] = _mm256_permute2f128_ps(u[j], u[j + 4], 0x31);
    }
  }
};

struct F64x4 {
  using T = double;
  using Reg = __m256d;
  using Mask = __m256i;
  static constexpr int kLanes = 4, kMr = 6, kDirectSmall = 8, kDirectTwo = 2, kGemvPanels = 4;

  MC_INLINE Reg zero() { return _mm256_setzero_pd(); }
  MC_INLINE Reg set1(const T* p) { return _mm256_broadcast_sd(p); }
  MC_INLINE Reg load(const T* p) { return _mm256_loadu_pd(p); }
  MC_INLINE void store(T* p, Reg r) { _mm256_storeu_pd(p, r); }
  MC_INLINE Mask mask(int n) {
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
  }
  MC_INLINE Reg load_mask(const T* p, Mask m) { return _mm256_maskload_pd(p, m); }
  MC_INLINE void store_mask(T* p, Mask m, Reg r) { _mm256_maskstore_pd(p, m, r); }
  MC_INLINE Reg fma(Reg a, Reg b, Reg c) {
    asm("vfmadd231pd %2, %1, %0" : "+x"(c) : "x"(a), "x"(b));
    return c;
  }
  MC_INLINE Reg add(Reg a, Reg b) { return _mm256_add_pd(a, b); }
  template <class Src>
  MC_INLINE Reg load_as(const Src* p) {
    return load(p);
  }
  MC_INLINE void transpose(Reg (&r)[4]) {
    const Reg a = _mm256_unpacklo_pd(r[0], r[1]), b = _mm256_unpackhi_pd(r[0], r[1]);
    const Reg c = _mm256_unpacklo_pd(r[2], r[3]), d = _mm256_unpackhi_pd(r[2], r[3]);
    r[0] = _mm256_permute2f128_pd(a, c, 0x20);
    r[1] = _mm256_permute2f128_pd(b, d, 0x20);
    r[2] = _mm256_permute2f128_pd(a, c, 0x31);
    r[3] = _mm256_permute2f128_pd(b, d, 0x31);
  }
};

}  // namespace
}  // namespace mc::simd
