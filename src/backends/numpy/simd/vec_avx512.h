// Vectors of the AVX-512 kernels; for files compiled with its flags only.
#pragma once

#include <immintrin.h>

#include "backends/numpy/simd/convert.h"

namespace mc::simd {
namespace {

struct F32x16 {
  using T = float;
  using Reg = __m512;
  using Mask = __mmask16;
  static constexpr int kLanes = 16, kMr = 14, kDirectSmall = 8, kDirectTwo = 4, kGemvPanels = 2;

  MC_INLINE Reg zero() { return _mm512_setzero_ps(); }
  MC_INLINE Reg set1(const T* p) { return _mm512_set1_ps(*p); }
  MC_INLINE Reg load(const T* p) { return _mm512_loadu_ps(p); }
  MC_INLINE void store(T* p, Reg r) { _mm512_storeu_ps(p, r); }
  MC_INLINE Mask mask(int n) { return static_cast<Mask>((1u << n) - 1); }
  MC_INLINE Reg load_mask(const T* p, Mask m) { return _mm512_maskz_loadu_ps(m, p); }
  MC_INLINE void store_mask(T* p, Mask m, Reg r) { _mm512_mask_storeu_ps(p, m, r); }
  MC_INLINE Reg fma(Reg a, Reg b, Reg c) { return _mm512_fmadd_ps(a, b, c); }
  MC_INLINE Reg add(Reg a, Reg b) { return _mm512_add_ps(a, b); }
  template <class Src>
  MC_INLINE Reg load_as(const Src* p) {
    if constexpr (sizeof(Src) == 4) {
      return load(p);
    } else {
      const __m256i h = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
      if constexpr (__is_same(Src, float16))
        return _mm512_cvtph_ps(h);
      else
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
    }
  }
  MC_INLINE void transpose(Reg (&r)[16]) {
    Reg t[16], u[16];
    for (int i = 0; i < 16; i += 2) {
      t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
      t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    auto lo = [](Reg a, Reg b) {
      return _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
    };
    auto hi = [](Reg a, Reg b) {
      return _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
    };
    for (int i = 0; i < 16; i += 4) {  // u[i + j]: in each quarter q, column 4q + j of rows i .. i + 3
      u[i] = lo(t[i], t[i + 2]);
      u[i + 1] = hi(t[i], t[i + 2]);
      u[i + 2] = lo(t[i + 1], t[i + 3]);
      u[i + 3] = hi(t[i + 1], t[i + 3]);
    }
    for (int j = 0; j < 4; ++j) {
      const Reg a = _mm512_shuffle_f32x4(u[j], u[j + 4], 0x88),
                b = _mm512_shuffle_f32x4(u[j + 8], u[j + 12], 0x88);
      const Reg c = _mm512_shuffle_f32x4(u[j], u[j + 4], 0xdd),
                d = _mm512_shuffle_f32x4(u[j + 8], u[j + 12], 0xdd);
      r[j] = _mm512_shuffle_f32x4(a, b, 0x88);
      r[j + 8] = _mm512_shuffle_f32x4(a, b, 0xdd);
      r[j + 4] = _mm512_shuffle_f32x4(c, d, 0x88);
      r[j + 12] = _mm512_shuffle_f32x4(c, d, 0xdd);
    }
  }
};

struct F64x8 {
  using T = double;
  using Reg = __m512d;
  using Mask = __mmask8;
  static constexpr int kLanes = 8, kMr = 14, kDirectSmall = 8, kDirectTwo = 4, kGemvPanels = 2;

  MC_INLINE Reg zero() { return _mm512_setzero_pd(); }
  MC_INLINE Reg set1(const T* p) { return _mm512_set1_pd(*p); }
  MC_INLINE Reg load(const T* p) { return _mm512_loadu_pd(p); }
  MC_INLINE void store(T* p, Reg r) { _mm512_storeu_pd(p, r); }
  MC_INLINE Mask mask(int n) { return static_cast<Mask>((1u << n) - 1); }
  MC_INLINE Reg load_mask(const T* p, Mask m) { return _mm512_maskz_loadu_pd(m, p); }
  MC_INLINE void store_mask(T* p, Mask m, Reg r) { _mm512_mask_storeu_pd(p, m, r); }
  MC_INLINE Reg fma(Reg a, Reg b, Reg c) { return _mm512_fmadd_pd(a, b, c); }
  MC_INLINE Reg add(Reg a, Reg b) { return _mm512_add_pd(a, b); }
  template <class Src>
  MC_INLINE Reg load_as(const Src* p) {
    return load(p);
  }
  MC_INLINE void transpose(Reg (&r)[8]) {
    Reg t[8];
    for (int i = 0; i < 8; i += 2) {
      t[i] = _mm512_unpacklo_pd(r[i], r[i + 1]);      // columns 0 2 4 6
      t[i + 1] = _mm512_unpackhi_pd(r[i], r[i + 1]);  // columns 1 3 5 7
    }
    for (int j = 0; j < 2; ++j) {
      const Reg a = _mm512_shuffle_f64x2(t[j], t[j + 2], 0x88),
                b = _mm512_shuffle_f64x2(t[j + 4], t[j + 6], 0x88);
      const Reg c = _mm512_shuffle_f64x2(t[j], t[j + 2], 0xdd),
                d = _mm512_shuffle_f64x2(t[j + 4], t[j + 6], 0xdd);
      r[j] = _mm512_shuffle_f64x2(a, b, 0x88);
      r[j + 4] = _mm512_shuffle_f64x2(a, b, 0xdd);
      r[j + 2] = _mm512_shuffle_f64x2(c, d, 0x88);
      r[j + 6] = _mm512_shuffle_f64x2(c, d, 0xdd);
    }
  }
};

}  // namespace
}  // namespace mc::simd
