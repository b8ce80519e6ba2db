// The types as pairs of ymm registers. Included by lanes.h only.
#pragma once
#include <immintrin.h>

namespace mc::simd::avx2 {

// Masks are whole lanes of ones.
struct M32 {
  __m256 a, b;
  friend M32 operator&(M32 x, M32 y) { return {_mm256_and_ps(x.a, y.a), _mm256_and_ps(x.b, y.b)}; }
  friend M32 operator|(M32 x, M32 y) { return {_mm256_or_ps(x.a, y.a), _mm256_or_ps(x.b, y.b)}; }
  friend M32 operator~(M32 x) {
    const __m256 ones = _mm256_castsi256_ps(_mm256_set1_epi32(-1));
    return {_mm256_xor_ps(x.a, ones), _mm256_xor_ps(x.b, ones)};
  }
};
struct M64 {
  __m256d a, b;
  friend M64 operator&(M64 x, M64 y) { return {_mm256_and_pd(x.a, y.a), _mm256_and_pd(x.b, y.b)}; }
  friend M64 operator|(M64 x, M64 y) { return {_mm256_or_pd(x.a, y.a), _mm256_or_pd(x.b, y.b)}; }
  friend M64 operator~(M64 x) {
    const __m256d ones = _mm256_castsi256_pd(_mm256_set1_epi32(-1));
    return {_mm256_xor_pd(x.a, ones), _mm256_xor_pd(x.b, ones)};
  }
};
MC_INL uint32_t mask_bits(M32 m) {
  return static_cast<uint32_t>(_mm256_movemask_ps(m.a)) | static_cast<uint32_t>(_mm256_movemask_ps(m.b)) << 8;
}
MC_INL uint32_t mask_bits(M64 m) {
  return static_cast<uint32_t>(_mm256_movemask_pd(m.a)) | static_cast<uint32_t>(_mm256_movemask_pd(m.b)) << 4;
}
MC_INL bool any(M32 m) { return !_mm256_testz_ps(_mm256_or_ps(m.a, m.b), _mm256_or_ps(m.a, m.b)); }
MC_INL bool any(M64 m) { return !_mm256_testz_pd(_mm256_or_pd(m.a, m.b), _mm256_or_pd(m.a, m.b)); }
MC_INL M32 first_lanes(int n) {
  const __m256i k = _mm256_set1_epi32(n);
  return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(k, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))),
          _mm256_castsi256_ps(_mm256_cmpgt_epi32(k, _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15)))};
}
MC_INL M64 first_lanes8(int n) {
  const __m256i k = _mm256_set1_epi64x(n);
  return {_mm256_castsi256_pd(_mm256_cmpgt_epi64(k, _mm256_setr_epi64x(0, 1, 2, 3))),
          _mm256_castsi256_pd(_mm256_cmpgt_epi64(k, _mm256_setr_epi64x(4, 5, 6, 7)))};
}

struct I32 {
  __m256i a, b;
  MC_INL I32 set(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
  MC_INL I32 load(const void* p) {
    const auto* q = static_cast<const __m256i*>(p);
    return {_mm256_loadu_si256(q), _mm256_loadu_si256(q + 1)};
  }
  MC_INL void store(void* p, I32 x) {
    auto* q = static_cast<__m256i*>(p);
    _mm256_storeu_si256(q, x.a), _mm256_storeu_si256(q + 1, x.b);
  }
  friend I32 operator+(I32 x, I32 y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
  friend I32 operator-(I32 x, I32 y) { return {_mm256_sub_epi32(x.a, y.a), _mm256_sub_epi32(x.b, y.b)}; }
  friend I32 operator&(I32 x, I32 y) { return {_mm256_and_si256(x.a, y.a), _mm256_and_si256(x.b, y.b)}; }
  friend I32 operator|(I32 x, I32 y) { return {_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)}; }
  friend I32 operator^(I32 x, I32 y) { return {_mm256_xor_si256(x.a, y.a), _mm256_xor_si256(x.b, y.b)}; }
};
template <int K>
MC_INL I32 shl(I32 x) {
  return {_mm256_slli_epi32(x.a, K), _mm256_slli_epi32(x.b, K)};
}
template <int K>
MC_INL I32 shr(I32 x) {
  return {_mm256_srli_epi32(x.a, K), _mm256_srli_epi32(x.b, K)};
}
template <int K>
MC_INL I32 sar(I32 x) {
  return {_mm256_srai_epi32(x.a, K), _mm256_srai_epi32(x.b, K)};
}
MC_INL M32 eq(I32 x, I32 y) {
  return {_mm256_castsi256_ps(_mm256_cmpeq_epi32(x.a, y.a)),
          _mm256_castsi256_ps(_mm256_cmpeq_epi32(x.b, y.b))};
}
MC_INL M32 gt(I32 x, I32 y) {
  return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(x.a, y.a)),
          _mm256_castsi256_ps(_mm256_cmpgt_epi32(x.b, y.b))};
}
MC_INL I32 select(M32 m, I32 x, I32 y) {
  return {_mm256_blendv_epi8(y.a, x.a, _mm256_castps_si256(m.a)),
          _mm256_blendv_epi8(y.b, x.b, _mm256_castps_si256(m.b))};
}

struct F32 {
  static constexpr int kLanes = 16;
  __m256 a, b;
  MC_INL F32 set(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  MC_INL F32 zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  MC_INL F32 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  MC_INL F32 load(const float* p, int n) {
    const M32 m = first_lanes(n);
    return {_mm256_maskload_ps(p, _mm256_castps_si256(m.a)),
            _mm256_maskload_ps(p + 8, _mm256_castps_si256(m.b))};
  }
  MC_INL void store(float* p, F32 x) { _mm256_storeu_ps(p, x.a), _mm256_storeu_ps(p + 8, x.b); }
  MC_INL void store(float* p, F32 x, int n) {
    const M32 m = first_lanes(n);
    _mm256_maskstore_ps(p, _mm256_castps_si256(m.a), x.a),
        _mm256_maskstore_ps(p + 8, _mm256_castps_si256(m.b), x.b);
  }
  // 64-byte aligned; past the caches.
  MC_INL void stream(float* p, F32 x) { _mm256_stream_ps(p, x.a), _mm256_stream_ps(p + 8, x.b); }
#define MC_OP2(F, op, name, suffix)                                                  \
  friend F operator op(F x, F y) {                                                   \
    return {_mm256_##name##_##suffix(x.a, y.a), _mm256_##name##_##suffix(x.b, y.b)}; \
  }
  MC_OP2(F32, +, add, ps)
  MC_OP2(F32, -, sub, ps)
  MC_OP2(F32, *, mul, ps)
  MC_OP2(F32, /, div, ps)
};

struct I64 {
  __m256i a, b;
  MC_INL I64 set(int64_t x) { return {_mm256_set1_epi64x(x), _mm256_set1_epi64x(x)}; }
  friend I64 operator+(I64 x, I64 y) { return {_mm256_add_epi64(x.a, y.a), _mm256_add_epi64(x.b, y.b)}; }
  friend I64 operator-(I64 x, I64 y) { return {_mm256_sub_epi64(x.a, y.a), _mm256_sub_epi64(x.b, y.b)}; }
  friend I64 operator&(I64 x, I64 y) { return {_mm256_and_si256(x.a, y.a), _mm256_and_si256(x.b, y.b)}; }
  friend I64 operator|(I64 x, I64 y) { return {_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)}; }
  friend I64 operator^(I64 x, I64 y) { return {_mm256_xor_si256(x.a, y.a), _mm256_xor_si256(x.b, y.b)}; }
};
template <int K>
MC_INL I64 shl(I64 x) {
  return {_mm256_slli_epi64(x.a, K), _mm256_slli_epi64(x.b, K)};
}
template <int K>
MC_INL I64 shr(I64 x) {
  return {_mm256_srli_epi64(x.a, K), _mm256_srli_epi64(x.b, K)};
}
MC_INL M64 eq(I64 x, I64 y) {
  return {_mm256_castsi256_pd(_mm256_cmpeq_epi64(x.a, y.a)),
          _mm256_castsi256_pd(_mm256_cmpeq_epi64(x.b, y.b))};
}

struct F64 {
  static constexpr int kLanes = 8;
  __m256d a, b;
  MC_INL F64 set(double x) { return {_mm256_set1_pd(x), _mm256_set1_pd(x)}; }
  MC_INL F64 zero() { return {_mm256_setzero_pd(), _mm256_setzero_pd()}; }
  MC_INL F64 load(const double* p) { return {_mm256_loadu_pd(p), _mm256_loadu_pd(p + 4)}; }
  MC_INL F64 load(const double* p, int n) {
    const M64 m = first_lanes8(n);
    return {_mm256_maskload_pd(p, _mm256_castpd_si256(m.a)),
            _mm256_maskload_pd(p + 4, _mm256_castpd_si256(m.b))};
  }
  MC_INL void store(double* p, F64 x) { _mm256_storeu_pd(p, x.a), _mm256_storeu_pd(p + 4, x.b); }
  MC_INL void store(double* p, F64 x, int n) {
    const M64 m = first_lanes8(n);
    _mm256_maskstore_pd(p, _mm256_castpd_si256(m.a), x.a),
        _mm256_maskstore_pd(p + 4, _mm256_castpd_si256(m.b), x.b);
  }
  MC_INL void stream(double* p, F64 x) { _mm256_stream_pd(p, x.a), _mm256_stream_pd(p + 4, x.b); }
  MC_OP2(F64, +, add, pd)
  MC_OP2(F64, -, sub, pd)
  MC_OP2(F64, *, mul, pd)
  MC_OP2(F64, /, div, pd)
#undef MC_OP2
};

#define MC_FLOAT(F, M, s, s2, I)                                                                             \
  MC_INL F fma(F x, F y, F z) { return {_mm256_fmadd_##s(x.a, y.a, z.a), _mm256_fmadd_##s(x.b, y.b, z.b)}; } \
  MC_INL F fnma(F x, F y, F z) {                                                                             \
    return {_mm256_fnmadd_##s(x.a, y.a, z.a), _mm256_fnmadd_##s(x.b, y.b, z.b)};                             \
  }                                                                                                          \
  MC_INL F min(F x, F y) { return {_mm256_min_##s(x.a, y.a), _mm256_min_##s(x.b, y.b)}; }                    \
  MC_INL F max(F x, F y) { return {_mm256_max_##s(x.a, y.a), _mm256_max_##s(x.b, y.b)}; }                    \
  MC_INL F sqrt(F x) { return {_mm256_sqrt_##s(x.a), _mm256_sqrt_##s(x.b)}; }                                \
  MC_INL F round(F x) { return {_mm256_round_##s(x.a, 8), _mm256_round_##s(x.b, 8)}; }                       \
  MC_INL F floor(F x) { return {_mm256_round_##s(x.a, 9), _mm256_round_##s(x.b, 9)}; }                       \
  MC_INL F ceil(F x) { return {_mm256_round_##s(x.a, 10), _mm256_round_##s(x.b, 10)}; }                      \
  MC_INL F trunc(F x) { return {_mm256_round_##s(x.a, 11), _mm256_round_##s(x.b, 11)}; }                     \
  MC_INL M lt(F x, F y) {                                                                                    \
    return {_mm256_cmp_##s(x.a, y.a, _CMP_LT_OQ), _mm256_cmp_##s(x.b, y.b, _CMP_LT_OQ)};                     \
  }                                                                                                          \
  MC_INL M le(F x, F y) {                                                                                    \
    return {_mm256_cmp_##s(x.a, y.a, _CMP_LE_OQ), _mm256_cmp_##s(x.b, y.b, _CMP_LE_OQ)};                     \
  }                                                                                                          \
  MC_INL M gt(F x, F y) { return lt(y, x); }                                                                 \
  MC_INL M ge(F x, F y) { return le(y, x); }                                                                 \
  MC_INL M eq(F x, F y) {                                                                                    \
    return {_mm256_cmp_##s(x.a, y.a, _CMP_EQ_OQ), _mm256_cmp_##s(x.b, y.b, _CMP_EQ_OQ)};                     \
  }                                                                                                          \
  MC_INL M ne(F x, F y) {                                                                                    \
    return {_mm256_cmp_##s(x.a, y.a, _CMP_NEQ_UQ), _mm256_cmp_##s(x.b, y.b, _CMP_NEQ_UQ)};                   \
  }                                                                                                          \
  MC_INL F select(M m, F x, F y) {                                                                           \
    return {_mm256_blendv_##s(y.a, x.a, m.a), _mm256_blendv_##s(y.b, x.b, m.b)};                             \
  }                                                                                                          \
  MC_INL F as_f##s2(I x) { return {_mm256_castsi256_##s(x.a), _mm256_castsi256_##s(x.b)}; }                  \
  MC_INL I as_i##s2(F x) { return {_mm256_cast##s##_si256(x.a), _mm256_cast##s##_si256(x.b)}; }
MC_FLOAT(F32, M32, ps, 32, I32)
MC_FLOAT(F64, M64, pd, 64, I64)
#undef MC_FLOAT

// Nearest even; INT32_MIN outside int32.
MC_INL I32 to_i32(F32 x) { return {_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }
MC_INL F32 to_f32(I32 x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }

// p·2^n in two steps, of which only the second can be inexact.
MC_INL F32 ldexp(F32 p, F32 n) {
  const I32 k = to_i32(min(max(n, F32::set(-252)), F32::set(254)));
  const I32 i = sar<1>(k), j = k - i, bias = I32::set(127);
  return p * as_f32(shl<23>(i + bias)) * as_f32(shl<23>(j + bias));
}
MC_INL F64 ldexp(F64 p, F64 n) {
  n = min(max(n, F64::set(-2044)), F64::set(2046));
  const F64 i = floor(n * F64::set(0.5)), j = n - i;
  // 1.5·2^52 + i has i in its low bits; the shift drops all others.
  const F64 magic = F64::set(0x1.8p52);
  const I64 bias = I64::set(1023);
  return p * as_f64(shl<52>(as_i64(i + magic) + bias)) * as_f64(shl<52>(as_i64(j + magic) + bias));
}

MC_INL F64 load_widen(const float* p) {
  return {_mm256_cvtps_pd(_mm_loadu_ps(p)), _mm256_cvtps_pd(_mm_loadu_ps(p + 4))};
}
MC_INL F64 widen_lo(F32 x) {
  return {_mm256_cvtps_pd(_mm256_castps256_ps128(x.a)), _mm256_cvtps_pd(_mm256_extractf128_ps(x.a, 1))};
}
MC_INL F64 widen_hi(F32 x) {
  return {_mm256_cvtps_pd(_mm256_castps256_ps128(x.b)), _mm256_cvtps_pd(_mm256_extractf128_ps(x.b, 1))};
}
MC_INL F32 narrow(F64 lo, F64 hi) {
  return {_mm256_set_m128(_mm256_cvtpd_ps(lo.b), _mm256_cvtpd_ps(lo.a)),
          _mm256_set_m128(_mm256_cvtpd_ps(hi.b), _mm256_cvtpd_ps(hi.a))};
}
MC_INL __m256 narrow_mask(M64 m) {
  const __m256 s = _mm256_shuffle_ps(_mm256_castpd_ps(m.a), _mm256_castpd_ps(m.b), 0x88);
  return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(s), 0xd8));
}
MC_INL M32 join(M64 lo, M64 hi) { return {narrow_mask(lo), narrow_mask(hi)}; }

MC_INL F32 load_f16(const uint16_t* p) {
  const auto* q = reinterpret_cast<const __m128i*>(p);
  return {_mm256_cvtph_ps(_mm_loadu_si128(q)), _mm256_cvtph_ps(_mm_loadu_si128(q + 1))};
}
MC_INL F32 load_bf16(const uint16_t* p) {
  const auto* q = reinterpret_cast<const __m128i*>(p);
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(q)), 16)),
          _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(q + 1)), 16))};
}
MC_INL void store_f16(uint16_t* p, F32 x) {
  auto* q = reinterpret_cast<__m128i*>(p);
  _mm_storeu_si128(q, _mm256_cvtps_ph(x.a, _MM_FROUND_TO_NEAREST_INT));
  _mm_storeu_si128(q + 1, _mm256_cvtps_ph(x.b, _MM_FROUND_TO_NEAREST_INT));
}
// The low halves of 16 int32.
MC_INL void store_u16(uint16_t* p, I32 x) {
  const __m256i low = _mm256_set1_epi32(0xffff);
  const __m256i y = _mm256_packus_epi32(_mm256_and_si256(x.a, low), _mm256_and_si256(x.b, low));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(y, 0xd8));
}

// Lanes by the fixed tree 16 -> 8 -> 4 -> 2 -> 1: lane j with lane j + half.
MC_INL float sum_lanes(F32 x) {
  const __m256 b = _mm256_add_ps(x.a, x.b);
  const __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
  const __m128 d = _mm_add_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_add_ss(d, _mm_movehdup_ps(d)));
}
MC_INL float max_lanes(F32 x) {
  const __m256 b = _mm256_max_ps(x.a, x.b);
  const __m128 c = _mm_max_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
  const __m128 d = _mm_max_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_max_ss(d, _mm_movehdup_ps(d)));
}
MC_INL double sum_lanes(F64 x) {
  const __m256d b = _mm256_add_pd(x.a, x.b);
  const __m128d c = _mm_add_pd(_mm256_castpd256_pd128(b), _mm256_extractf128_pd(b, 1));
  return _mm_cvtsd_f64(_mm_add_sd(c, _mm_unpackhi_pd(c, c)));
}

MC_INL void transpose8(const __m256 (&r)[8], float* out, int64_t stride) {
  __m256 t[8], u[8];
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
  for (int i = 0; i < 4; ++i) {
    _mm256_storeu_ps(out + i * stride, _mm256_permute2f128_ps(u[i], u[i + 4], 0x20));
    _mm256_storeu_ps(out + (i + 4) * stride, _mm256_permute2f128_ps(u[i], u[i + 4], 0x31));
  }
}
// Transposes 16 rows of 16 floats: out[j·out_stride + i] = row(i)[j].
template <class Load>
MC_INL void transpose16(Load row, float* out, int64_t out_stride) {
  for (int h = 0; h < 2; ++h) {
    __m256 lo[8], hi[8];
    for (int i = 0; i < 8; ++i) {
      const F32 x = row(8 * h + i);
      lo[i] = x.a, hi[i] = x.b;
    }
    transpose8(lo, out + 8 * h, out_stride);
    transpose8(hi, out + 8 * out_stride + 8 * h, out_stride);
  }
}

}  // namespace mc::simd::avx2
