#include "prims/block_formats.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "mc/detail/str.h"
#include "mc/error.h"

namespace mc::blocks {
namespace {

float half_at(const uint8_t* p) {
  uint16_t h;
  std::memcpy(&h, p, 2);
  return half_to_float(h);
}
float bfloat_at(const uint8_t* p) {
  uint16_t h;
  std::memcpy(&h, p, 2);
  return std::bit_cast<float>(static_cast<uint32_t>(h) << 16);
}
void put_half(uint8_t* p, float x) {
  const uint16_t h = float_to_half(x);
  std::memcpy(p, &h, 2);
}
int nibble(const uint8_t* qs, int i) { return i < 16 ? qs[i] & 15 : qs[i - 16] >> 4; }
int bit(const uint8_t* qh, int i) { return qh[i / 8] >> (i % 8) & 1; }

// The 6-bit scale and minimum of sub-block j of Q4_K and Q5_K.
void scale_min(const uint8_t* s, int j, int& scale, int& min) {
  if (j < 4) {
    scale = s[j] & 63;
    min = s[j + 4] & 63;
  } else {
    scale = (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
    min = s[j + 4] >> 4 | (s[j] >> 6) << 4;
  }
}

void dequantize_k45(const uint8_t* b, bool five, float* dst) {
  const float d = half_at(b), dmin = half_at(b + 2);
  const uint8_t *qh = b + 16, *qs = five ? b + 48 : b + 16;
  for (int j = 0; j < 8; ++j) {
    int sc, mn;
    scale_min(b + 4, j, sc, mn);
    const float ds = d * static_cast<float>(sc), dm = dmin * static_cast<float>(mn);
    for (int l = 0; l < 32; ++l) {
      int q = qs[32 * (j / 2) + l] >> (4 * (j % 2)) & 15;
      if (five) q |= (qh[l] >> j & 1) << 4;
      dst[32 * j + l] = ds * static_cast<float>(q) - dm;
    }
  }
}

void dequantize_q6k(const uint8_t* b, float* dst) {
  const float d = half_at(b + 208);
  for (int i = 0; i < 256; ++i) {
    // Half of 128: low nibbles of 64 bytes, then their high nibbles; two high bits in 32 bytes, one pair
    // per 32.
    const int half = i / 128, r = i % 128, quarter = r / 32;
    const int low = b[64 * half + r % 64] >> (r < 64 ? 0 : 4) & 15;
    const int high = b[128 + 32 * half + r % 32] >> (2 * quarter) & 3;
    const float ds = d * static_cast<float>(static_cast<int8_t>(b[192 + i / 16]));
    dst[i] = ds * static_cast<float>((low | high << 4) - 32);
  }
}

void dequantize_block(BlockFormat format, const uint8_t* b, float* dst) {
  switch (format) {
    case BlockFormat::Q4_0:
      for (int i = 0; i < 32; ++i) dst[i] = half_at(b) * static_cast<float>(nibble(b + 2, i) - 8);
      return;
    case BlockFormat::Q4_1:
      for (int i = 0; i < 32; ++i)
        dst[i] = half_at(b) * static_cast<float>(nibble(b + 4, i)) + half_at(b + 2);
      return;
    case BlockFormat::Q5_0:
      for (int i = 0; i < 32; ++i)
        dst[i] = half_at(b) * static_cast<float>((nibble(b + 6, i) | bit(b + 2, i) << 4) - 16);
      return;
    case BlockFormat::Q5_1:
      for (int i = 0; i < 32; ++i)
        dst[i] = half_at(b) * static_cast<float>(nibble(b + 8, i) | bit(b + 4, i) << 4) + half_at(b + 2);
      return;
    case BlockFormat::Q8_0:
      for (int i = 0; i < 32; ++i) dst[i] = static_cast<float>(static_cast<int8_t>(b[2 + i])) * half_at(b);
      return;
    case BlockFormat::Q4_K: return dequantize_k45(b, false, dst);
    case BlockFormat::Q5_K: return dequantize_k45(b, true, dst);
    case BlockFormat::Q6_K: return dequantize_q6k(b, dst);
    case BlockFormat::F32: std::memcpy(dst, b, 4); return;
    case BlockFormat::F16: *dst = half_at(b); return;
    case BlockFormat::BF16: *dst = bfloat_at(b); return;
  }
}

// Truncation towards zero into [0, top]; NaN gives 0.
int to_code(float x, int top) {
  if (!(x > 0)) return 0;
  return x >= static_cast<float>(top) ? top : static_cast<int>(x);
}

void store_codes(const uint8_t q[32], bool five, uint8_t* qh, uint8_t* qs) {
  if (five) {
    std::memset(qh, 0, 4);
    for (int i = 0; i < 32; ++i) qh[i / 8] |= static_cast<uint8_t>((q[i] >> 4) << (i % 8));
  }
  for (int i = 0; i < 16; ++i) qs[i] = static_cast<uint8_t>((q[i] & 15) | (q[i + 16] & 15) << 4);
}

float reciprocal(float d) { return d == 0 ? 0.0f : 1.0f / d; }

// Symmetric: the element of largest magnitude becomes the lowest code.
void quantize_signed(const float* x, bool five, uint8_t* b) {
  float largest = x[0];
  for (int i = 1; i < 32; ++i)
    if (std::fabs(x[i]) > std::fabs(largest)) largest = x[i];
  const int half = five ? 16 : 8;
  const float d = largest / static_cast<float>(-half), id = reciprocal(d);
  uint8_t q[32];
  for (int i = 0; i < 32; ++i)
    q[i] = static_cast<uint8_t>(to_code(x[i] * id + (static_cast<float>(half) + 0.5f), 2 * half - 1));
  put_half(b, d);
  store_codes(q, five, b + 2, b + (five ? 6 : 2));
}

void quantize_with_min(const float* x, bool five, uint8_t* b) {
  const float lo = *std::min_element(x, x + 32), hi = *std::max_element(x, x + 32);
  const int top = five ? 31 : 15;
  const float d = (hi - lo) / static_cast<float>(top), id = reciprocal(d);
  uint8_t q[32];
  for (int i = 0; i < 32; ++i) q[i] = static_cast<uint8_t>(to_code((x[i] - lo) * id + 0.5f, top));
  put_half(b, d);
  put_half(b + 2, lo);
  store_codes(q, five, b + 4, b + (five ? 8 : 4));
}

void quantize_q8(const float* x, uint8_t* b) {
  float amax = 0;
  for (int i = 0; i < 32; ++i) amax = std::max(amax, std::fabs(x[i]));
  const float d = amax / 127.0f, id = reciprocal(d);
  put_half(b, d);
  for (int i = 0; i < 32; ++i) {
    // Ties away from zero, as the format's definition has it.
    const float v = x[i] * id, a = std::fabs(v), whole = std::floor(a);
    const int q = to_code(whole + std::floor(2.0f * (a - whole)), 127);
    b[2 + i] = static_cast<uint8_t>(v < 0 ? -q : q);
  }
}

bool all_finite(const float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    if (!std::isfinite(x[i])) return false;
  return true;
}

}  // namespace

uint16_t float_to_half(float x) {
  const uint32_t u = std::bit_cast<uint32_t>(x);
  const uint32_t sign = u >> 16 & 0x8000, rest = u & 0x7fffffff;
  uint32_t r;
  if (rest > 0x7f800000) {
    r = 0x7e00 | (rest >> 13 & 0x3ff);
  } else if (rest >= 0x477ff000) {  // from halfway between 65504 and 65536 on
    r = 0x7c00;
  } else if (rest >= 0x38800000) {
    r = (rest - (112u << 23) + 0xfff + (rest >> 13 & 1)) >> 13;
  } else {
    // A subnormal result counts units of 2^-24; the scaling is exact and the addition of 2^23 rounds.
    const float units = std::bit_cast<float>(rest) * 0x1p24f + 0x1p23f;
    r = std::bit_cast<uint32_t>(units) & 0x7fffff;
  }
  return static_cast<uint16_t>(sign | r);
}

std::optional<BlockFormat> parse_block_format(std::string_view name) {
  for (int i = 0; i < kBlockFormatCount; ++i) {
    const auto f = static_cast<BlockFormat>(i);
    const std::string_view have = block_format_name(f);
    if (have.size() == name.size() && std::equal(name.begin(), name.end(), have.begin(), [](char a, char b) {
          return (a >= 'a' && a <= 'z' ? static_cast<char>(a - 'a' + 'A') : a) == b;
        }))
      return f;
  }
  return std::nullopt;
}

void dequantize_row(BlockFormat format, const void* src, float* dst, int64_t k) {
  const auto* b = static_cast<const uint8_t*>(src);
  const int elements = block_elements(format), bytes = block_bytes(format);
  for (int64_t i = 0; i < k; i += elements, b += bytes) dequantize_block(format, b, dst + i);
}

bool can_quantize(BlockFormat format) { return format <= BlockFormat::Q8_0; }

void quantize_row(BlockFormat format, const float* src, void* dst, int64_t k) {
  if (!can_quantize(format))
    throw Error(ErrorCode::InvalidArgument, cat("there is no quantizer for ", block_format_name(format)),
                "quantize", "use Q4_0, Q4_1, Q5_0, Q5_1 or Q8_0");
  auto* b = static_cast<uint8_t*>(dst);
  const int bytes = block_bytes(format);
  for (int64_t i = 0; i < k; i += 32, b += bytes) {
    const float* x = src + i;
    if (!all_finite(x, 32)) {
      std::memset(b, 0, static_cast<size_t>(bytes));
      put_half(b, NAN);
      continue;
    }
    switch (format) {
      case BlockFormat::Q4_0: quantize_signed(x, false, b); break;
      case BlockFormat::Q4_1: quantize_with_min(x, false, b); break;
      case BlockFormat::Q5_0: quantize_signed(x, true, b); break;
      case BlockFormat::Q5_1: quantize_with_min(x, true, b); break;
      default: quantize_q8(x, b); break;
    }
  }
}

void affine_codes(int bits, const void* row, int64_t block, uint8_t codes[32]) {
  const auto* p = static_cast<const uint8_t*>(row) + block * 4 * bits;
  uint32_t window = 0;
  int have = 0;
  for (int i = 0; i < 32; ++i) {
    while (have < bits) {
      window |= static_cast<uint32_t>(*p++) << have;
      have += 8;
    }
    codes[i] = static_cast<uint8_t>(window & ((1u << bits) - 1));
    window >>= bits;
    have -= bits;
  }
}

void affine_quantize(int bits, int group, const float* src, int64_t rows, int64_t k, void* packed,
                     float* scales, float* biases) {
  auto* out = static_cast<uint8_t*>(packed);
  std::memset(out, 0, static_cast<size_t>(rows * affine_row_bytes(bits, k)));
  const float top = static_cast<float>((1 << bits) - 1);
  for (int64_t g = 0; g < rows * k / group; ++g) {
    const float* x = src + g * group;
    if (!all_finite(x, group)) {
      scales[g] = biases[g] = NAN;
      continue;
    }
    const float lo = *std::min_element(x, x + group), hi = *std::max_element(x, x + group);
    const bool low_side = std::fabs(lo) > std::fabs(hi);
    float scale = std::max((hi - lo) / top, 1e-7f), bias = 0;
    if (!low_side) scale = -scale;
    const float edge = low_side ? lo : hi, at = std::rint(edge / scale);
    if (at != 0) {
      scale = edge / at;
      bias = edge;
    }
    scales[g] = scale;
    biases[g] = bias;
    for (int i = 0; i < group; ++i) {
      const float q = std::min(std::max(std::rint((x[i] - bias) / scale), 0.0f), top);
      const auto code = static_cast<uint32_t>(q);
      const int64_t at_bit = (g * group + i) * bits;
      out[at_bit / 8] |= static_cast<uint8_t>(code << at_bit % 8);
      if (at_bit % 8 + bits > 8) out[at_bit / 8 + 1] |= static_cast<uint8_t>(code >> (8 - at_bit % 8));
    }
  }
}

void affine_dequantize_row(int bits, int group, const void* packed, const float* scales, const float* biases,
                           float* dst, int64_t k) {
  uint8_t codes[32];
  for (int64_t block = 0; block < k / 32; ++block) {
    affine_codes(bits, packed, block, codes);
    const int64_t g = block * 32 / group;
    for (int i = 0; i < 32; ++i)
      dst[block * 32 + i] = std::fma(scales[g], static_cast<float>(codes[i]), biases[g]);
  }
}

}  // namespace mc::blocks
