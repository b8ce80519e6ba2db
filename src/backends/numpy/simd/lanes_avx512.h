// The types as zmm registers. Included by lanes.h only.
#pragma once
#include <immintrin.h>

namespace mc::simd::avx512 {

struct M32 {
  __mmask16 m;
  friend M32 operator&(M32 a, M32 b) { return {static_cast<__mmask16>(a.m & b.m)}; }
  friend M32 operator|(M32 a, M32 b) { return {static_cast<__mmask16>(a.m | b.m)}; }
  friend M32 operator~(M32 a) { return {static_cast<__mmask16>(~a.m)}; }
};
struct M64 {
  __mmask8 m;
  friend M64 operator&(M64 a, M64 b) { return {static_cast<__mmask8>(a.m & b.m)}; }
  friend M64 operator|(M64 a, M64 b) { return {static_cast<__mmask8>(a.m | b.m)}; }
  friend M64 operator~(M64 a) { return {static_cast<__mmask8>(~a.m)}; }
};
MC_INL bool any(M32 a) { return a.m != 0; }
MC_INL bool any(M64 a) { return a.m != 0; }
MC_INL uint32_t mask_bits(M32 a) { return a.m; }
MC_INL uint32_t mask_bits(M64 a) { return a.m; }
MC_INL M32 first_lanes(int n) { return {static_cast<__mmask16>((1u << n) - 1)}; }
MC_INL M64 first_lanes8(int n) { return {static_cast<__mmask8>((1u << n) - 1)}; }

struct I32 {
  __m512i v;
  MC_INL I32 set(int32_t x) { return {_mm512_set1_epi32(x)}; }
  MC_INL I32 load(const void* p) { return {_mm512_loadu_si512(p)}; }
  MC_INL void store(void* p, I32 a) { _mm512_storeu_si512(p, a.v); }
  friend I32 operator+(I32 a, I32 b) { return {_mm512_add_epi32(a.v, b.v)}; }
  friend I32 operator-(I32 a, I32 b) { return {_mm512_sub_epi32(a.v, b.v)}; }
  friend I32 operator&(I32 a, I32 b) { return {_mm512_and_si512(a.v, b.v)}; }
  friend I32 operator|(I32 a, I32 b) { return {_mm512_or_si512(a.v, b.v)}; }
  friend I32 operator^(I32 a, I32 b) { return {_mm512_xor_si512(a.v, b.v)}; }
};
template <int K>
MC_INL I32 shl(I32 a) {
  return {_mm512_slli_epi32(a.v, K)};
}
template <int K>
MC_INL I32 shr(I32 a) {
  return {_mm512_srli_epi32(a.v, K)};
}
template <int K>
MC_INL I32 sar(I32 a) {
  return {_mm512_srai_epi32(a.v, K)};
}
MC_INL M32 eq(I32 a, I32 b) { return {_mm512_cmpeq_epi32_mask(a.v, b.v)}; }
MC_INL M32 gt(I32 a, I32 b) { return {_mm512_cmpgt_epi32_mask(a.v, b.v)}; }
MC_INL I32 select(M32 m, I32 a, I32 b) { return {_mm512_mask_blend_epi32(m.m, b.v, a.v)}; }

struct F32 {
  static constexpr int kLanes = 16;
  __m512 v;
  MC_INL F32 set(float x) { return {_mm512_set1_ps(x)}; }
  MC_INL F32 zero() { return {_mm512_setzero_ps()}; }
  MC_INL F32 load(const float* p) { return {_mm512_loadu_ps(p)}; }
  MC_INL F32 load(const float* p, int n) { return {_mm512_maskz_loadu_ps(first_lanes(n).m, p)}; }
  MC_INL void store(float* p, F32 a) { _mm512_storeu_ps(p, a.v); }
  MC_INL void store(float* p, F32 a, int n) { _mm512_mask_storeu_ps(p, first_lanes(n).m, a.v); }
  // 64-byte aligned; past the caches.
  MC_INL void stream(float* p, F32 a) { _mm512_stream_ps(p, a.v); }
  friend F32 operator+(F32 a, F32 b) { return {_mm512_add_ps(a.v, b.v)}; }
  friend F32 operator-(F32 a, F32 b) { return {_mm512_sub_ps(a.v, b.v)}; }
  friend F32 operator*(F32 a, F32 b) { return {_mm512_mul_ps(a.v, b.v)}; }
  friend F32 operator/(F32 a, F32 b) { return {_mm512_div_ps(a.v, b.v)}; }
};
MC_INL F32 as_f32(I32 a) { return {_mm512_castsi512_ps(a.v)}; }
MC_INL I32 as_i32(F32 a) { return {_mm512_castps_si512(a.v)}; }
MC_INL F32 fma(F32 a, F32 b, F32 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
MC_INL F32 fnma(F32 a, F32 b, F32 c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
MC_INL F32 min(F32 a, F32 b) { return {_mm512_min_ps(a.v, b.v)}; }
MC_INL F32 max(F32 a, F32 b) { return {_mm512_max_ps(a.v, b.v)}; }
MC_INL F32 sqrt(F32 a) { return {_mm512_sqrt_ps(a.v)}; }
MC_INL F32 round(F32 a) { return {_mm512_roundscale_ps(a.v, 8)}; }
MC_INL F32 floor(F32 a) { return {_mm512_roundscale_ps(a.v, 9)}; }
MC_INL F32 ceil(F32 a) { return {_mm512_roundscale_ps(a.v, 10)}; }
MC_INL F32 trunc(F32 a) { return {_mm512_roundscale_ps(a.v, 11)}; }
MC_INL M32 lt(F32 a, F32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
MC_INL M32 le(F32 a, F32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ)}; }
MC_INL M32 gt(F32 a, F32 b) { return lt(b, a); }
MC_INL M32 ge(F32 a, F32 b) { return le(b, a); }
MC_INL M32 eq(F32 a, F32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
MC_INL M32 ne(F32 a, F32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_NEQ_UQ)}; }
MC_INL F32 select(M32 m, F32 a, F32 b) { return {_mm512_mask_blend_ps(m.m, b.v, a.v)}; }
// Nearest even; INT32_MIN outside int32.
MC_INL I32 to_i32(F32 a) { return {_mm512_cvtps_epi32(a.v)}; }
MC_INL F32 to_f32(I32 a) { return {_mm512_cvtepi32_ps(a.v)}; }
// p·2^n, n a whole number, one rounding; |p| in [2^-60, 2^60], 0, infinite or NaN.
MC_INL F32 ldexp(F32 p, F32 n) { return {_mm512_scalef_ps(p.v, n.v)}; }

struct I64 {
  __m512i v;
  MC_INL I64 set(int64_t x) { return {_mm512_set1_epi64(x)}; }
  friend I64 operator+(I64 a, I64 b) { return {_mm512_add_epi64(a.v, b.v)}; }
  friend I64 operator-(I64 a, I64 b) { return {_mm512_sub_epi64(a.v, b.v)}; }
  friend I64 operator&(I64 a, I64 b) { return {_mm512_and_si512(a.v, b.v)}; }
  friend I64 operator|(I64 a, I64 b) { return {_mm512_or_si512(a.v, b.v)}; }
  friend I64 operator^(I64 a, I64 b) { return {_mm512_xor_si512(a.v, b.v)}; }
};
template <int K>
MC_INL I64 shl(I64 a) {
  return {_mm512_slli_epi64(a.v, K)};
}
template <int K>
MC_INL I64 shr(I64 a) {
  return {_mm512_srli_epi64(a.v, K)};
}
MC_INL M64 eq(I64 a, I64 b) { return {_mm512_cmpeq_epi64_mask(a.v, b.v)}; }

struct F64 {
  static constexpr int kLanes = 8;
  __m512d v;
  MC_INL F64 set(double x) { return {_mm512_set1_pd(x)}; }
  MC_INL F64 zero() { return {_mm512_setzero_pd()}; }
  MC_INL F64 load(const double* p) { return {_mm512_loadu_pd(p)}; }
  MC_INL F64 load(const double* p, int n) { return {_mm512_maskz_loadu_pd(first_lanes8(n).m, p)}; }
  MC_INL void store(double* p, F64 a) { _mm512_storeu_pd(p, a.v); }
  MC_INL void store(double* p, F64 a, int n) { _mm512_mask_storeu_pd(p, first_lanes8(n).m, a.v); }
  MC_INL void stream(double* p, F64 a) { _mm512_stream_pd(p, a.v); }
  friend F64 operator+(F64 a, F64 b) { return {_mm512_add_pd(a.v, b.v)}; }
  friend F64 operator-(F64 a, F64 b) { return {_mm512_sub_pd(a.v, b.v)}; }
  friend F64 operator*(F64 a, F64 b) { return {_mm512_mul_pd(a.v, b.v)}; }
  friend F64 operator/(F64 a, F64 b) { return {_mm512_div_pd(a.v, b.v)}; }
};
MC_INL F64 as_f64(I64 a) { return {_mm512_castsi512_pd(a.v)}; }
MC_INL I64 as_i64(F64 a) { return {_mm512_castpd_si512(a.v)}; }
MC_INL F64 fma(F64 a, F64 b, F64 c) { return {_mm512_fmadd_pd(a.v, b.v, c.v)}; }
MC_INL F64 fnma(F64 a, F64 b, F64 c) { return {_mm512_fnmadd_pd(a.v, b.v, c.v)}; }
MC_INL F64 min(F64 a, F64 b) { return {_mm512_min_pd(a.v, b.v)}; }
MC_INL F64 max(F64 a, F64 b) { return {_mm512_max_pd(a.v, b.v)}; }
MC_INL F64 sqrt(F64 a) { return {_mm512_sqrt_pd(a.v)}; }
MC_INL F64 round(F64 a) { return {_mm512_roundscale_pd(a.v, 8)}; }
MC_INL F64 floor(F64 a) { return {_mm512_roundscale_pd(a.v, 9)}; }
MC_INL F64 ceil(F64 a) { return {_mm512_roundscale_pd(a.v, 10)}; }
MC_INL F64 trunc(F64 a) { return {_mm512_roundscale_pd(a.v, 11)}; }
MC_INL M64 lt(F64 a, F64 b) { return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_LT_OQ)}; }
MC_INL M64 le(F64 a, F64 b) { return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_LE_OQ)}; }
MC_INL M64 gt(F64 a, F64 b) { return lt(b, a); }
MC_INL M64 ge(F64 a, F64 b) { return le(b, a); }
MC_INL M64 eq(F64 a, F64 b) { return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_EQ_OQ)}; }
MC_INL M64 ne(F64 a, F64 b) { return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_NEQ_UQ)}; }
MC_INL F64 select(M64 m, F64 a, F64 b) { return {_mm512_mask_blend_pd(m.m, b.v, a.v)}; }
MC_INL F64 ldexp(F64 p, F64 n) { return {_mm512_scalef_pd(p.v, n.v)}; }

MC_INL F64 widen_lo(F32 a) { return {_mm512_cvtps_pd(_mm512_castps512_ps256(a.v))}; }
MC_INL F64 widen_hi(F32 a) { return {_mm512_cvtps_pd(_mm512_extractf32x8_ps(a.v, 1))}; }
MC_INL F32 narrow(F64 lo, F64 hi) {
  return {_mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(lo.v)), _mm512_cvtpd_ps(hi.v), 1)};
}
MC_INL M32 join(M64 lo, M64 hi) { return {static_cast<__mmask16>(lo.m | (hi.m << 8))}; }
MC_INL F64 load_widen(const float* p) { return {_mm512_cvtps_pd(_mm256_loadu_ps(p))}; }

MC_INL F32 load_f16(const uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
MC_INL F32 load_bf16(const uint16_t* p) {
  return {_mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))), 16))};
}
MC_INL void store_f16(uint16_t* p, F32 a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT));
}
// The low halves of 16 int32.
MC_INL void store_u16(uint16_t* p, I32 a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(a.v));
}

// Lanes by the fixed tree 16 -> 8 -> 4 -> 2 -> 1: lane j with lane j + half.
MC_INL float sum_lanes(F32 a) {
  const __m256 b = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
  const __m128 d = _mm_add_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_add_ss(d, _mm_movehdup_ps(d)));
}
MC_INL float max_lanes(F32 a) {
  const __m256 b = _mm256_max_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 c = _mm_max_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
  const __m128 d = _mm_max_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_max_ss(d, _mm_movehdup_ps(d)));
}
// Eight lanes, 8 -> 4 -> 2 -> 1.
MC_INL double sum_lanes(F64 a) {
  const __m256d b = _mm256_add_pd(_mm512_castpd512_pd256(a.v), _mm512_extractf64x4_pd(a.v, 1));
  const __m128d c = _mm_add_pd(_mm256_castpd256_pd128(b), _mm256_extractf128_pd(b, 1));
  return _mm_cvtsd_f64(_mm_add_sd(c, _mm_unpackhi_pd(c, c)));
}

// Transposes 16 rows of 16 floats: out[j·out_stride + i] = in[i·in_stride + j].
MC_INL void transpose16(const __m512 (&r)[16], float* out, int64_t out_stride) {
  __m512 t[16], u[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    const __m512d a0 = _mm512_castps_pd(t[i]), a1 = _mm512_castps_pd(t[i + 1]);
    const __m512d b0 = _mm512_castps_pd(t[i + 2]), b1 = _mm512_castps_pd(t[i + 3]);
    u[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a0, b0));
    u[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a0, b0));
    u[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(a1, b1));
    u[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(a1, b1));
  }
  // u[4k + c] holds, in its four 128-bit lanes l, column 4l + c of rows 4k..4k+3.
  for (int c = 0; c < 4; ++c) {
    const __m512 p = _mm512_shuffle_f32x4(u[c], u[4 + c], 0x88),
                 q = _mm512_shuffle_f32x4(u[c], u[4 + c], 0xdd);
    const __m512 s = _mm512_shuffle_f32x4(u[8 + c], u[12 + c], 0x88),
                 w = _mm512_shuffle_f32x4(u[8 + c], u[12 + c], 0xdd);
    _mm512_storeu_ps(out + c * out_stride, _mm512_shuffle_f32x4(p, s, 0x88));
    _mm512_storeu_ps(out + (8 + c) * out_stride, _mm512_shuffle_f32x4(p, s, 0xdd));
    _mm512_storeu_ps(out + (4 + c) * out_stride, _mm512_shuffle_f32x4(q, w, 0x88));
    _mm512_storeu_ps(out + (12 + c) * out_stride, _mm512_shuffle_f32x4(q, w, 0xdd));
  }
}
template <class Load>
MC_INL void transpose16(Load row, float* out, int64_t out_stride) {
  __m512 r[16];
  for (int i = 0; i < 16; ++i) r[i] = row(i).v;
  transpose16(r, out, out_stride);
}

}  // namespace mc::simd::avx512
