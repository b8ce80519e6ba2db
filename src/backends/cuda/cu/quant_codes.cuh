// How 32 consecutive elements of a row are coded. block32 gives the signed or unsigned codes as bytes and the
// scales that make numbers of them; number() is the exact expression of docs/contract.md, section 3.
#pragma once

#include "backends/cuda/cu/common.cuh"
#include "backends/cuda/cu/quant.h"

namespace mc::cuda {

enum : int { kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ8_0, kQ4_K, kQ5_K, kQ6_K, kDenseF32, kDenseF16, kDenseBF16 };

enum class Scheme { D, DM, K, K6, Affine, Dense };
__host__ __device__ constexpr Scheme scheme_of(int f) {
  switch (f) {
    case kQ4_0:
    case kQ5_0:
    case kQ8_0: return Scheme::D;
    case kQ4_1:
    case kQ5_1: return Scheme::DM;
    case kQ4_K:
    case kQ5_K: return Scheme::K;
    case kQ6_K: return Scheme::K6;
    case kDenseF32:
    case kDenseF16:
    case kDenseBF16: return Scheme::Dense;
    default: return Scheme::Affine;
  }
}

__device__ __forceinline__ uint32_t u16_at(const uint8_t* p) { return *reinterpret_cast<const uint16_t*>(p); }
__device__ __forceinline__ float half_at(const uint8_t* p) {
  return load(Half{*reinterpret_cast<const uint16_t*>(p)});
}
__device__ __forceinline__ uint32_t u32_at2(const uint8_t* p) { return u16_at(p) | u16_at(p + 2) << 16; }

// Blocks of these formats are whole words.
template <int F>
__device__ __forceinline__ uint32_t word_at(const uint8_t* p) {
  if constexpr (F == kQ4_1 || F == kQ5_1 || F == kQ4_K || F == kQ5_K)
    return *reinterpret_cast<const uint32_t*>(p);
  else
    return u32_at2(p);
}

// Codes as 8 words of four bytes, elements in order; scale d0 (d1: of the second half, Q6_K) and minimum m.
struct Codes {
  uint32_t q[8];
  float d0, d1, m;
};

// Bit i of `bits` (i = 0..3 from `shift`) to bit `to` of byte i.
__device__ __forceinline__ uint32_t spread4(uint32_t bits, int to) {
  bits &= 15u;
  return ((bits | bits << 7 | bits << 14 | bits << 21) & 0x01010101u) << to;
}

__device__ __forceinline__ void scale_min(const uint8_t* s, int j, int& scale, int& min) {
  if (j < 4) {
    scale = s[j] & 63;
    min = s[j + 4] & 63;
  } else {
    scale = (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
    min = s[j + 4] >> 4 | (s[j] >> 6) << 4;
  }
}

template <int F>
__device__ __forceinline__ Codes block32(const QuantWeight& w, int64_t row, int64_t block) {
  Codes c;
  c.d1 = c.m = 0;
  const uint8_t* base = static_cast<const uint8_t*>(w.codes) + row * w.row_bytes;
  if constexpr (F == kQ4_0 || F == kQ4_1 || F == kQ5_0 || F == kQ5_1) {
    constexpr bool min = F == kQ4_1 || F == kQ5_1, five = F == kQ5_0 || F == kQ5_1;
    constexpr int head = (min ? 4 : 2), bytes = head + (five ? 4 : 0) + 16;
    const uint8_t* b = base + block * bytes;
    c.d0 = half_at(b);
    if (min) c.m = half_at(b + 2);
    const uint32_t high = five ? word_at<F>(b + head) : 0;
    const uint8_t* qs = b + head + (five ? 4 : 0);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const uint32_t v = word_at<F>(qs + 4 * i);
      c.q[i] = v & 0x0f0f0f0fu;
      c.q[i + 4] = v >> 4 & 0x0f0f0f0fu;
      if (five) {
        c.q[i] |= spread4(high >> (4 * i), 4);
        c.q[i + 4] |= spread4(high >> (16 + 4 * i), 4);
      }
    }
    if (!min)
#pragma unroll
      for (int i = 0; i < 8; ++i) c.q[i] = __vsub4(c.q[i], five ? 0x10101010u : 0x08080808u);
  } else if constexpr (F == kQ8_0) {
    const uint8_t* b = base + block * 34;
    c.d0 = half_at(b);
#pragma unroll
    for (int i = 0; i < 8; ++i) c.q[i] = word_at<F>(b + 2 + 4 * i);
  } else if constexpr (F == kQ4_K || F == kQ5_K) {
    constexpr bool five = F == kQ5_K;
    const uint8_t* b = base + block / 8 * (five ? 176 : 144);
    const int j = static_cast<int>(block % 8);
    int sc, mn;
    scale_min(b + 4, j, sc, mn);
    c.d0 = half_at(b) * static_cast<float>(sc);
    c.m = half_at(b + 2) * static_cast<float>(mn);
    const uint8_t* qs = b + (five ? 48 : 16) + 32 * (j / 2);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      c.q[i] = word_at<F>(qs + 4 * i) >> (4 * (j % 2)) & 0x0f0f0f0fu;
      if (five) c.q[i] |= (word_at<F>(b + 16 + 4 * i) >> j & 0x01010101u) << 4;
    }
  } else if constexpr (F == kQ6_K) {
    const uint8_t* b = base + block / 8 * 210;
    const int j = static_cast<int>(block % 8), half = j / 4, quarter = j % 4;
    const float d = half_at(b + 208);
    c.d0 = d * static_cast<float>(static_cast<int8_t>(b[192 + 2 * j]));
    c.d1 = d * static_cast<float>(static_cast<int8_t>(b[193 + 2 * j]));
    const uint8_t *low = b + 64 * half + 32 * (quarter % 2), *high = b + 128 + 32 * half;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const uint32_t l = word_at<F>(low + 4 * i) >> (quarter < 2 ? 0 : 4) & 0x0f0f0f0fu;
      const uint32_t h = word_at<F>(high + 4 * i) >> (2 * quarter) & 0x03030303u;
      c.q[i] = __vsub4(l | h << 4, 0x20202020u);
    }
  } else if constexpr (scheme_of(F) == Scheme::Affine) {
    constexpr int bits = F - kAffine;
    // 32 codes are `bits` whole words.
    const uint32_t* p = reinterpret_cast<const uint32_t*>(base) + block * bits;
    uint32_t word[bits];
#pragma unroll
    for (int i = 0; i < bits; ++i) word[i] = p[i];
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      uint32_t q = 0;
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const int at = (4 * i + k) * bits, s = at % 32, n = at / 32;
        uint32_t v = word[n] >> s;
        if (s + bits > 32) v |= word[n + 1 < bits ? n + 1 : n] << (32 - s);
        q |= (v & ((1u << bits) - 1)) << (8 * k);
      }
      c.q[i] = q;
    }
    const int64_t g = row * (w.cols / w.group) + block * 32 / w.group;
    auto read = [&](const void* t) {
      return w.scale_dtype == kF32   ? static_cast<const float*>(t)[g]
             : w.scale_dtype == kF16 ? load(static_cast<const Half*>(t)[g])
                                     : load(static_cast<const Brain*>(t)[g]);
    };
    c.d0 = read(w.scales);
    c.m = read(w.biases);
  }
  return c;
}

// Element i of the block; codes that can be negative are signed bytes.
template <int F>
__device__ __forceinline__ int code(const Codes& c, int i) {
  const uint32_t byte = c.q[i / 4] >> (8 * (i % 4));
  constexpr Scheme s = scheme_of(F);
  return s == Scheme::D || s == Scheme::K6 ? static_cast<int8_t>(byte) : static_cast<int>(byte & 255u);
}
template <int F>
__device__ __forceinline__ float number(const Codes& c, int i) {
  const float q = static_cast<float>(code<F>(c, i));
  switch (scheme_of(F)) {
    case Scheme::D: return c.d0 * q;
    case Scheme::DM: return c.d0 * q + c.m;
    case Scheme::K: return c.d0 * q - c.m;
    case Scheme::K6: return (i < 16 ? c.d0 : c.d1) * q;
    default: return fmaf(c.d0, q, c.m);
  }
}

// 32 numbers of a row; dense rows need not be whole blocks.
template <int F>
__device__ __forceinline__ void numbers(const QuantWeight& w, int64_t row, int64_t block, float (&out)[32]) {
  if constexpr (scheme_of(F) == Scheme::Dense) {
    const int64_t k0 = block * 32;
#pragma unroll
    for (int i = 0; i < 32; ++i) {
      out[i] = 0;
      if (k0 + i >= w.cols) continue;
      const int64_t at = row * w.cols + k0 + i;
      out[i] = F == kDenseF32   ? static_cast<const float*>(w.codes)[at]
               : F == kDenseF16 ? load(static_cast<const Half*>(w.codes)[at])
                                : load(static_cast<const Brain*>(w.codes)[at]);
    }
  } else {
    const Codes c = block32<F>(w, row, block);
#pragma unroll
    for (int i = 0; i < 32; ++i) out[i] = number<F>(c, i);
  }
}

template <int F>
struct FormatTag {
  static constexpr int value = F;
};
// Calls f with the format as a compile-time number; false if there is none of that number.
template <class G>
bool with_format(int format, G f) {
  switch (format) {
    case kQ4_0: f(FormatTag<kQ4_0>{}); return true;
    case kQ4_1: f(FormatTag<kQ4_1>{}); return true;
    case kQ5_0: f(FormatTag<kQ5_0>{}); return true;
    case kQ5_1: f(FormatTag<kQ5_1>{}); return true;
    case kQ8_0: f(FormatTag<kQ8_0>{}); return true;
    case kQ4_K: f(FormatTag<kQ4_K>{}); return true;
    case kQ5_K: f(FormatTag<kQ5_K>{}); return true;
    case kQ6_K: f(FormatTag<kQ6_K>{}); return true;
    case kDenseF32: f(FormatTag<kDenseF32>{}); return true;
    case kDenseF16: f(FormatTag<kDenseF16>{}); return true;
    case kDenseBF16: f(FormatTag<kDenseBF16>{}); return true;
    case kAffine + 2: f(FormatTag<kAffine + 2>{}); return true;
    case kAffine + 3: f(FormatTag<kAffine + 3>{}); return true;
    case kAffine + 4: f(FormatTag<kAffine + 4>{}); return true;
    case kAffine + 5: f(FormatTag<kAffine + 5>{}); return true;
    case kAffine + 6: f(FormatTag<kAffine + 6>{}); return true;
    case kAffine + 8: f(FormatTag<kAffine + 8>{}); return true;
    default: return false;
  }
}

__device__ __forceinline__ float read_as(const void* p, int dtype, int64_t i) {
  return dtype == kF32   ? static_cast<const float*>(p)[i]
         : dtype == kF16 ? load(static_cast<const Half*>(p)[i])
                         : load(static_cast<const Brain*>(p)[i]);
}
__device__ __forceinline__ void write_as(void* p, int dtype, int64_t i, float x) {
  if (dtype == kF32)
    static_cast<float*>(p)[i] = x;
  else if (dtype == kF16)
    static_cast<Half*>(p)[i] = store<Half>(x);
  else
    static_cast<Brain*>(p)[i] = store<Brain>(x);
}

}  // namespace mc::cuda
