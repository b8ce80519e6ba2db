// The types as arrays: the definition of what the other two must give. Included by lanes.h only.
#pragma once
#include <bit>
#include <cmath>

#include "backends/numpy/simd/convert.h"

namespace mc::simd::scalar {

#define MC_LANES(n) for (int i = 0; i < n; ++i)

template <class T, int N>
struct Lanes {
  T v[N];
};
struct M32 : Lanes<bool, 16> {};
struct M64 : Lanes<bool, 8> {};
#define MC_MASK(M, N)                                    \
  MC_INL M operator&(M a, M b) {                         \
    MC_LANES(N) a.v[i] = a.v[i] && b.v[i];               \
    return a;                                            \
  }                                                      \
  MC_INL M operator|(M a, M b) {                         \
    MC_LANES(N) a.v[i] = a.v[i] || b.v[i];               \
    return a;                                            \
  }                                                      \
  MC_INL M operator~(M a) {                              \
    MC_LANES(N) a.v[i] = !a.v[i];                        \
    return a;                                            \
  }                                                      \
  MC_INL uint32_t mask_bits(M a) {                       \
    uint32_t r = 0;                                      \
    MC_LANES(N) r |= static_cast<uint32_t>(a.v[i]) << i; \
    return r;                                            \
  }                                                      \
  MC_INL bool any(M a) { return mask_bits(a) != 0; }
MC_MASK(M32, 16)
MC_MASK(M64, 8)
#undef MC_MASK
MC_INL M32 first_lanes(int n) {
  M32 r;
  MC_LANES(16) r.v[i] = i < n;
  return r;
}
MC_INL M64 first_lanes8(int n) {
  M64 r;
  MC_LANES(8) r.v[i] = i < n;
  return r;
}

#define MC_INT(I, T, U, N, M)                                                             \
  struct I : Lanes<T, N> {                                                                \
    MC_INL I set(T x) {                                                                   \
      I r;                                                                                \
      MC_LANES(N) r.v[i] = x;                                                             \
      return r;                                                                           \
    }                                                                                     \
    MC_INL I load(const void* p) {                                                        \
      I r;                                                                                \
      std::memcpy(r.v, p, sizeof r.v);                                                    \
      return r;                                                                           \
    }                                                                                     \
    MC_INL void store(void* p, I a) { std::memcpy(p, a.v, sizeof a.v); }                  \
  };                                                                                      \
  MC_INL I operator+(I a, I b) {                                                          \
    MC_LANES(N) a.v[i] = static_cast<T>(static_cast<U>(a.v[i]) + static_cast<U>(b.v[i])); \
    return a;                                                                             \
  }                                                                                       \
  MC_INL I operator-(I a, I b) {                                                          \
    MC_LANES(N) a.v[i] = static_cast<T>(static_cast<U>(a.v[i]) - static_cast<U>(b.v[i])); \
    return a;                                                                             \
  }                                                                                       \
  MC_INL I operator&(I a, I b) {                                                          \
    MC_LANES(N) a.v[i] &= b.v[i];                                                         \
    return a;                                                                             \
  }                                                                                       \
  MC_INL I operator|(I a, I b) {                                                          \
    MC_LANES(N) a.v[i] |= b.v[i];                                                         \
    return a;                                                                             \
  }                                                                                       \
  MC_INL I operator^(I a, I b) {                                                          \
    MC_LANES(N) a.v[i] ^= b.v[i];                                                         \
    return a;                                                                             \
  }                                                                                       \
  template <int K>                                                                        \
  MC_INL I shl(I a) {                                                                     \
    MC_LANES(N) a.v[i] = static_cast<T>(static_cast<U>(a.v[i]) << K);                     \
    return a;                                                                             \
  }                                                                                       \
  template <int K>                                                                        \
  MC_INL I shr(I a) {                                                                     \
    MC_LANES(N) a.v[i] = static_cast<T>(static_cast<U>(a.v[i]) >> K);                     \
    return a;                                                                             \
  }                                                                                       \
  MC_INL M eq(I a, I b) {                                                                 \
    M r;                                                                                  \
    MC_LANES(N) r.v[i] = a.v[i] == b.v[i];                                                \
    return r;                                                                             \
  }
MC_INT(I32, int32_t, uint32_t, 16, M32)
MC_INT(I64, int64_t, uint64_t, 8, M64)
#undef MC_INT
template <int K>
MC_INL I32 sar(I32 a) {
  MC_LANES(16) a.v[i] >>= K;
  return a;
}
MC_INL M32 gt(I32 a, I32 b) {
  M32 r;
  MC_LANES(16) r.v[i] = a.v[i] > b.v[i];
  return r;
}
MC_INL I32 select(M32 m, I32 a, I32 b) {
  MC_LANES(16) a.v[i] = m.v[i] ? a.v[i] : b.v[i];
  return a;
}

#define MC_FLOAT(F, T, N, M, I, FMA)                                   \
  struct F : Lanes<T, N> {                                             \
    static constexpr int kLanes = N;                                   \
    MC_INL F set(T x) {                                                \
      F r;                                                             \
      MC_LANES(N) r.v[i] = x;                                          \
      return r;                                                        \
    }                                                                  \
    MC_INL F zero() { return set(0); }                                 \
    MC_INL F load(const T* p) {                                        \
      F r;                                                             \
      std::memcpy(r.v, p, sizeof r.v);                                 \
      return r;                                                        \
    }                                                                  \
    MC_INL F load(const T* p, int n) {                                 \
      F r = zero();                                                    \
      MC_LANES(n) r.v[i] = p[i];                                       \
      return r;                                                        \
    }                                                                  \
    MC_INL void store(T* p, F a) { std::memcpy(p, a.v, sizeof a.v); }  \
    MC_INL void store(T* p, F a, int n) { MC_LANES(n) p[i] = a.v[i]; } \
    MC_INL void stream(T* p, F a) { store(p, a); }                     \
  };                                                                   \
  MC_INL F operator+(F a, F b) {                                       \
    MC_LANES(N) a.v[i] = a.v[i] + b.v[i];                              \
    return a;                                                          \
  }                                                                    \
  MC_INL F operator-(F a, F b) {                                       \
    MC_LANES(N) a.v[i] = a.v[i] - b.v[i];                              \
    return a;                                                          \
  }                                                                    \
  MC_INL F operator*(F a, F b) {                                       \
    MC_LANES(N) a.v[i] = a.v[i] * b.v[i];                              \
    return a;                                                          \
  }                                                                    \
  MC_INL F operator/(F a, F b) {                                       \
    MC_LANES(N) a.v[i] = a.v[i] / b.v[i];                              \
    return a;                                                          \
  }                                                                    \
  MC_INL F as_##F(I a) {                                               \
    F r;                                                               \
    std::memcpy(r.v, a.v, sizeof r.v);                                 \
    return r;                                                          \
  }                                                                    \
  MC_INL I as_##I(F a) {                                               \
    I r;                                                               \
    std::memcpy(r.v, a.v, sizeof r.v);                                 \
    return r;                                                          \
  }                                                                    \
  MC_INL F fma(F a, F b, F c) {                                        \
    MC_LANES(N) a.v[i] = FMA(a.v[i], b.v[i], c.v[i]);                  \
    return a;                                                          \
  }                                                                    \
  MC_INL F fnma(F a, F b, F c) {                                       \
    MC_LANES(N) a.v[i] = FMA(-a.v[i], b.v[i], c.v[i]);                 \
    return a;                                                          \
  }                                                                    \
  MC_INL F min(F a, F b) {                                             \
    MC_LANES(N) a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i];            \
    return a;                                                          \
  }                                                                    \
  MC_INL F max(F a, F b) {                                             \
    MC_LANES(N) a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];            \
    return a;                                                          \
  }                                                                    \
  MC_INL F sqrt(F a) {                                                 \
    MC_LANES(N) a.v[i] = std::sqrt(a.v[i]);                            \
    return a;                                                          \
  }                                                                    \
  MC_INL F round(F a) {                                                \
    MC_LANES(N) a.v[i] = std::nearbyint(a.v[i]);                       \
    return a;                                                          \
  }                                                                    \
  MC_INL F floor(F a) {                                                \
    MC_LANES(N) a.v[i] = std::floor(a.v[i]);                           \
    return a;                                                          \
  }                                                                    \
  MC_INL F ceil(F a) {                                                 \
    MC_LANES(N) a.v[i] = std::ceil(a.v[i]);                            \
    return a;                                                          \
  }                                                                    \
  MC_INL F trunc(F a) {                                                \
    MC_LANES(N) a.v[i] = std::trunc(a.v[i]);                           \
    return a;                                                          \
  }                                                                    \
  MC_INL M lt(F a, F b) {                                              \
    M r;                                                               \
    MC_LANES(N) r.v[i] = a.v[i] < b.v[i];                              \
    return r;                                                          \
  }                                                                    \
  MC_INL M le(F a, F b) {                                              \
    M r;                                                               \
    MC_LANES(N) r.v[i] = a.v[i] <= b.v[i];                             \
    return r;                                                          \
  }                                                                    \
  MC_INL M gt(F a, F b) { return lt(b, a); }                           \
  MC_INL M ge(F a, F b) { return le(b, a); }                           \
  MC_INL M eq(F a, F b) {                                              \
    M r;                                                               \
    MC_LANES(N) r.v[i] = a.v[i] == b.v[i];                             \
    return r;                                                          \
  }                                                                    \
  MC_INL M ne(F a, F b) {                                              \
    M r;                                                               \
    MC_LANES(N) r.v[i] = !(a.v[i] == b.v[i]);                          \
    return r;                                                          \
  }                                                                    \
  MC_INL F select(M m, F a, F b) {                                     \
    MC_LANES(N) a.v[i] = m.v[i] ? a.v[i] : b.v[i];                     \
    return a;                                                          \
  }
#define as_F32 as_f32
#define as_F64 as_f64
#define as_I32 as_i32
#define as_I64 as_i64
MC_FLOAT(F32, float, 16, M32, I32, std::fma)
MC_FLOAT(F64, double, 8, M64, I64, std::fma)
#undef as_F32
#undef as_F64
#undef as_I32
#undef as_I64
#undef MC_FLOAT

MC_INL I32 to_i32(F32 a) {
  I32 r;
  MC_LANES(16) {
    const float x = std::nearbyint(a.v[i]);
    r.v[i] = x >= -2147483648.0f && x < 2147483648.0f ? static_cast<int32_t>(x) : INT32_MIN;
  }
  return r;
}
MC_INL F32 to_f32(I32 a) {
  F32 r;
  MC_LANES(16) r.v[i] = static_cast<float>(a.v[i]);
  return r;
}

// In two steps, of which only the second can be inexact.
MC_INL F32 ldexp(F32 p, F32 n) {
  MC_LANES(16) {
    const float c = n.v[i] < 254 ? (n.v[i] > -252 ? n.v[i] : -252.0f) : 254.0f;
    const int k = static_cast<int>(c), a = k >> 1, b = k - a;
    p.v[i] = p.v[i] * std::bit_cast<float>((a + 127) << 23) * std::bit_cast<float>((b + 127) << 23);
  }
  return p;
}
MC_INL F64 ldexp(F64 p, F64 n) {
  MC_LANES(8) {
    const double c = n.v[i] < 2046 ? (n.v[i] > -2044 ? n.v[i] : -2044.0) : 2046.0;
    const int64_t k = static_cast<int64_t>(c), a = k >> 1, b = k - a;
    p.v[i] = p.v[i] * std::bit_cast<double>((a + 1023) << 52) * std::bit_cast<double>((b + 1023) << 52);
  }
  return p;
}

MC_INL F64 widen_lo(F32 a) {
  F64 r;
  MC_LANES(8) r.v[i] = a.v[i];
  return r;
}
MC_INL F64 widen_hi(F32 a) {
  F64 r;
  MC_LANES(8) r.v[i] = a.v[i + 8];
  return r;
}
MC_INL F32 narrow(F64 lo, F64 hi) {
  F32 r;
  MC_LANES(8) r.v[i] = static_cast<float>(lo.v[i]), r.v[i + 8] = static_cast<float>(hi.v[i]);
  return r;
}
MC_INL M32 join(M64 lo, M64 hi) {
  M32 r;
  MC_LANES(8) r.v[i] = lo.v[i], r.v[i + 8] = hi.v[i];
  return r;
}
MC_INL F64 load_widen(const float* p) {
  F64 r;
  MC_LANES(8) r.v[i] = p[i];
  return r;
}

MC_INL F32 load_f16(const uint16_t* p) {
  F32 r;
  MC_LANES(16) r.v[i] = mc::simd::to_f32(float16{p[i]});
  return r;
}
MC_INL F32 load_bf16(const uint16_t* p) {
  F32 r;
  MC_LANES(16) r.v[i] = std::bit_cast<float>(static_cast<uint32_t>(p[i]) << 16);
  return r;
}
MC_INL void store_f16(uint16_t* p, F32 a) { MC_LANES(16) p[i] = mc::simd::to_f16(a.v[i]).bits; }
MC_INL void store_u16(uint16_t* p, I32 a) { MC_LANES(16) p[i] = static_cast<uint16_t>(a.v[i]); }

MC_INL float sum_lanes(F32 a) {
  for (int half = 8; half; half /= 2) MC_LANES(half) a.v[i] = a.v[i] + a.v[i + half];
  return a.v[0];
}
MC_INL float max_lanes(F32 a) {
  for (int half = 8; half; half /= 2) MC_LANES(half) a.v[i] = a.v[i] > a.v[i + half] ? a.v[i] : a.v[i + half];
  return a.v[0];
}
MC_INL double sum_lanes(F64 a) {
  for (int half = 4; half; half /= 2) MC_LANES(half) a.v[i] = a.v[i] + a.v[i + half];
  return a.v[0];
}

template <class Load>
MC_INL void transpose16(Load row, float* out, int64_t out_stride) {
  for (int r = 0; r < 16; ++r) {
    const F32 x = row(r);
    MC_LANES(16) out[i * out_stride + r] = x.v[i];
  }
}
#undef MC_LANES

}  // namespace mc::simd::scalar
