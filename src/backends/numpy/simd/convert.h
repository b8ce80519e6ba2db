// float16 and bfloat16 to and from float32. Widening is exact; narrowing rounds to nearest, ties to even, and
// keeps NaN a quiet NaN with its sign and leading payload bits. Every instruction set gives the same bits.
#pragma once

#include <bit>
#include <cstdint>

#include "mc/dtype.h"

// Shared inline code is forced inline: files built for wide vectors must not leave copies of it that a linker
// could pick for a baseline machine.
#define MC_INLINE static inline __attribute__((always_inline))

namespace mc::simd {

MC_INLINE float to_f32(bfloat16 x) { return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16); }

MC_INLINE float to_f32(float16 x) {
  const uint32_t sign = static_cast<uint32_t>(x.bits & 0x8000) << 16;
  const uint32_t rest = x.bits & 0x7fff;
  if (rest >= 0x7c00) {  // infinity, or NaN made quiet as the hardware does
    const uint32_t quiet = rest > 0x7c00 ? 0x400000u : 0u;
    return std::bit_cast<float>(sign | 0x7f800000u | (rest & 0x3ff) << 13 | quiet);
  }
  if (rest >= 0x400) return std::bit_cast<float>(sign | ((rest << 13) + (112u << 23)));
  // Subnormal: rest * 2^-24 is exact in float32.
  return std::bit_cast<float>(sign |
                              std::bit_cast<uint32_t>(static_cast<float>(static_cast<int>(rest)) * 0x1p-24f));
}

MC_INLINE bfloat16 to_bf16(float x) {
  const uint32_t u = std::bit_cast<uint32_t>(x);
  const uint32_t nan = (u >> 16) | 0x40;
  const uint32_t rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
  return {static_cast<uint16_t>((u & 0x7fffffff) > 0x7f800000 ? nan : rounded)};
}

MC_INLINE float16 to_f16(float x) {
  const uint32_t u = std::bit_cast<uint32_t>(x);
  const uint32_t sign = (u >> 16) & 0x8000, rest = u & 0x7fffffff;
  uint32_t r;
  if (rest > 0x7f800000) {
    r = 0x7e00 | ((rest >> 13) & 0x3ff);
  } else if (rest >= 0x477ff000) {  // from halfway between 65504 and 65536 on
    r = 0x7c00;
  } else if (rest >= 0x38800000) {
    r = (rest - (112u << 23) + 0xfff + ((rest >> 13) & 1)) >> 13;
  } else {
    // Subnormal result: adding 0.5 puts its unit, 2^-24, at float32's last place, so the addition does the
    // rounding.
    r = std::bit_cast<uint32_t>(std::bit_cast<float>(rest) + 0.5f) - std::bit_cast<uint32_t>(0.5f);
  }
  return {static_cast<uint16_t>(sign | r)};
}

// float64 to the nearest 16-bit float in one rounding: the step through float32 rounds to odd, which keeps
// what the second rounding needs to know.
MC_INLINE float round_to_odd_f32(double x) {
  const float f = static_cast<float>(x);
  if (x != x || static_cast<double>(f) == x) return f;
  uint32_t u = std::bit_cast<uint32_t>(f);
  const double magnitude = x < 0 ? -x : x;
  if (static_cast<double>(std::bit_cast<float>(u & 0x7fffffff)) > magnitude) --u;
  return std::bit_cast<float>(u | 1);
}
MC_INLINE bfloat16 to_bf16(double x) { return to_bf16(round_to_odd_f32(x)); }
MC_INLINE float16 to_f16(double x) { return to_f16(round_to_odd_f32(x)); }

// Bulk forms over n contiguous elements; source and destination do not overlap.
void widen(const bfloat16* src, float* dst, int64_t n);
void widen(const float16* src, float* dst, int64_t n);
void narrow(const float* src, bfloat16* dst, int64_t n);
void narrow(const float* src, float16* dst, int64_t n);

// One row per instruction set; used through the functions above.
struct ConvertKernels {
  void (*widen_bf16)(const bfloat16*, float*, int64_t);
  void (*widen_f16)(const float16*, float*, int64_t);
  void (*narrow_bf16)(const float*, bfloat16*, int64_t);
  void (*narrow_f16)(const float*, float16*, int64_t);
};
extern const ConvertKernels kConvertAvx2, kConvertAvx512;

}  // namespace mc::simd
