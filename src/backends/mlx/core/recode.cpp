#include "backends/mlx/core/recode.h"

#include <cstring>

#include "prims/block_formats.h"

namespace mc::mlx_engine {
namespace {

float half_at(const uint8_t* p) {
  uint16_t h;
  std::memcpy(&h, p, 2);
  return blocks::half_to_float(h);
}

// 32 codes as a little-endian stream of bits.
void put_codes(int bits, const uint8_t codes[32], uint8_t* dst) {
  uint64_t window = 0;
  int have = 0;
  for (int i = 0; i < 32; ++i) {
    window |= static_cast<uint64_t>(codes[i]) << have;
    for (have += bits; have >= 8; have -= 8, window >>= 8) *dst++ = static_cast<uint8_t>(window);
  }
}

void nibbles(const uint8_t* qs, uint8_t codes[32]) {
  for (int i = 0; i < 16; ++i) {
    codes[i] = qs[i] & 15;
    codes[i + 16] = qs[i] >> 4;
  }
}
void fifth_bits(const uint8_t* qh, uint8_t codes[32]) {
  uint32_t high;
  std::memcpy(&high, qh, 4);
  for (int i = 0; i < 32; ++i) codes[i] = static_cast<uint8_t>(codes[i] | ((high >> i & 1u) << 4));
}

// Scale and minimum, six bits each, of group j of a K block.
void k_scales(const uint8_t* q, int j, int& scale, int& minimum) {
  if (j < 4) {
    scale = q[j] & 63;
    minimum = q[j + 4] & 63;
  } else {
    scale = (q[j + 4] & 15) | (q[j - 4] >> 6) << 4;
    minimum = q[j + 4] >> 4 | (q[j] >> 6) << 4;
  }
}

}  // namespace

int affine_bits_of(BlockFormat format) {
  switch (format) {
    case BlockFormat::Q4_0:
    case BlockFormat::Q4_1:
    case BlockFormat::Q4_K: return 4;
    case BlockFormat::Q5_0:
    case BlockFormat::Q5_1:
    case BlockFormat::Q5_K: return 5;
    case BlockFormat::Q8_0: return 8;
    default: return 0;
  }
}

// A half times a small integer is exact in float32, so scale·code + bias has the bits of the format's own
// formula.
void recode_row(BlockFormat format, const void* src, int64_t cols, uint32_t* packed, float* scales,
                float* biases) {
  const int bits = affine_bits_of(format), block = block_bytes(format);
  const auto* p = static_cast<const uint8_t*>(src);
  auto* out = reinterpret_cast<uint8_t*>(packed);
  uint8_t codes[32];
  for (int64_t at = 0; at < cols; at += block_elements(format), p += block) {
    if (format == BlockFormat::Q4_K || format == BlockFormat::Q5_K) {
      const float d = half_at(p), least = half_at(p + 2);
      const uint8_t* qh = p + 16;
      const uint8_t* qs = p + (format == BlockFormat::Q5_K ? 48 : 16);
      for (int g = 0; g < 8; ++g) {
        int scale, minimum;
        k_scales(p + 4, g, scale, minimum);
        *scales++ = d * static_cast<float>(scale);
        *biases++ = -(least * static_cast<float>(minimum));
        for (int i = 0; i < 32; ++i) {
          const uint8_t q = qs[32 * (g / 2) + i];
          codes[i] = g % 2 ? q >> 4 : q & 15;
          if (format == BlockFormat::Q5_K)
            codes[i] = static_cast<uint8_t>(codes[i] | ((qh[i] >> g & 1) << 4));
        }
        put_codes(bits, codes, out);
        out += 4 * bits;
      }
      continue;
    }
    const float d = half_at(p);
    float bias;
    switch (format) {
      case BlockFormat::Q4_0:
        nibbles(p + 2, codes);
        bias = -8 * d;
        break;
      case BlockFormat::Q4_1:
        nibbles(p + 4, codes);
        bias = half_at(p + 2);
        break;
      case BlockFormat::Q5_0:
        nibbles(p + 6, codes);
        fifth_bits(p + 2, codes);
        bias = -16 * d;
        break;
      case BlockFormat::Q5_1:
        nibbles(p + 8, codes);
        fifth_bits(p + 4, codes);
        bias = half_at(p + 2);
        break;
      default:  // Q8_0: signed codes become unsigned ones
        for (int i = 0; i < 32; ++i) codes[i] = static_cast<uint8_t>(p[2 + i] ^ 0x80);
        bias = -128 * d;
        break;
    }
    *scales++ = d;
    *biases++ = bias;
    put_codes(bits, codes, out);
    out += 4 * bits;
  }
}

}  // namespace mc::mlx_engine
