// Random quantized weights of every format, and a guarded call of the product.
#pragma once

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "backends/numpy/quant/qmatmul.h"
#include "backends/numpy/simd/dispatch.h"
#include "mc/system.h"
#include "prims/block_formats.h"

namespace mc::quant_test {

using namespace mc::numpy::quant;

struct Sample {
  Format format;
  int64_t n = 0, k = 0;
  std::vector<uint8_t> codes, scales, biases;
  Source source() const { return {codes.data(), scales.data(), biases.data()}; }
};

inline std::string name(const Format& f) {
  if (f.kind == QTensor::Kind::Block) return std::string(block_format_name(f.block));
  return "affine " + std::to_string(f.bits) + " group " + std::to_string(f.group) + " " +
         std::string(dtype_name(f.scale_dtype));
}

inline std::vector<Format> all_formats() {
  std::vector<Format> out;
  for (int f = 0; f < kBlockFormatCount; ++f) out.push_back(Format::of(static_cast<BlockFormat>(f)));
  const Dtype dtypes[] = {Dtype::F32, Dtype::F16, Dtype::BF16};
  int i = 0;
  for (int bits : {2, 3, 4, 5, 6, 8})
    for (int group : {32, 64, 128}) out.push_back(Format::affine(bits, group, dtypes[(i++ + bits) % 3]));
  return out;
}

// Odd numbers of rows, one block, several blocks of 256 with a short last one.
inline std::vector<std::pair<int64_t, int64_t>> shapes_for(const Format& f) {
  const int64_t unit = f.kind == QTensor::Kind::Affine ? f.group : block_elements(f.block);
  if (unit == 1) return {{1, 1}, {35, 77}, {80, 515}};
  if (unit == 256) return {{1, 256}, {35, 512}, {97, 768}};
  return {{1, unit}, {35, 256 + unit}, {97, 576 / unit * unit}};
}

inline std::vector<float> random_floats(int64_t n, uint32_t seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  std::vector<float> out(static_cast<size_t>(n));
  for (float& v : out) v = normal(rng);
  return out;
}

// Scales as files have them, some subnormal, negative or zero.
inline uint16_t random_half(std::mt19937& rng) {
  const uint16_t odd[] = {0, 0x8000, 1, 0x8001, 0x03ff, 0x7bff};
  if (rng() % 16 == 0) return odd[rng() % 6];
  return static_cast<uint16_t>((rng() & 0x83ff) | (6 + rng() % 6) << 10);
}

inline Sample make_sample(const Format& f, int64_t n, int64_t k, uint32_t seed) {
  std::mt19937 rng(seed);
  Sample s{f, n, k, {}, {}, {}};
  const auto fill = [&](std::vector<uint8_t>& v, int64_t bytes) {
    v.resize(static_cast<size_t>(bytes));
    for (uint8_t& b : v) b = static_cast<uint8_t>(rng());
  };
  if (f.kind == QTensor::Kind::Affine) {
    fill(s.codes, n * blocks::affine_row_bytes(f.bits, k));
    const int64_t groups = n * k / f.group;
    for (auto* v : {&s.scales, &s.biases})
      for (int64_t i = 0; i < groups; ++i) {
        const uint16_t h = random_half(rng);
        const float value = blocks::half_to_float(h) * (f.scale_dtype == Dtype::F32 ? 1.0001f : 1.0f);
        uint32_t bits;
        std::memcpy(&bits, &value, 4);
        uint8_t bytes[4];
        if (f.scale_dtype == Dtype::F32) std::memcpy(bytes, &bits, 4);
        if (f.scale_dtype == Dtype::F16) std::memcpy(bytes, &h, 2);
        if (f.scale_dtype == Dtype::BF16) {
          const auto top = static_cast<uint16_t>(bits >> 16);
          std::memcpy(bytes, &top, 2);
        }
        v->insert(v->end(), bytes, bytes + (f.scale_dtype == Dtype::F32 ? 4 : 2));
      }
    return s;
  }
  const int64_t size = block_bytes(f.block), count = n * k / block_elements(f.block);
  fill(s.codes, count * size);
  for (int64_t i = 0; i < count; ++i) {
    uint8_t* b = &s.codes[static_cast<size_t>(i * size)];
    const auto put = [&](int64_t at) {
      const uint16_t h = random_half(rng);
      std::memcpy(b + at, &h, 2);
    };
    switch (f.block) {
      case BlockFormat::F32: {
        const float v = blocks::half_to_float(random_half(rng)) * 1.0001f;
        std::memcpy(b, &v, 4);
        break;
      }
      case BlockFormat::F16:
      case BlockFormat::BF16: put(0); break;
      case BlockFormat::Q6_K: put(208); break;
      case BlockFormat::Q4_1:
      case BlockFormat::Q5_1:
      case BlockFormat::Q4_K:
      case BlockFormat::Q5_K: put(2); [[fallthrough]];
      default: put(0); break;
    }
  }
  return s;
}

// Codes and scales of one row, straight from the file's bytes: w = d * q (+ m) in blocks of 32.
struct DecodedRow {
  std::vector<int> q;
  std::vector<float> d, m;  // d: per half of a block when halves is 2
  int halves = 1;
  bool has_min = false;
};

inline DecodedRow decode_row(const Sample& s, int64_t row) {
  DecodedRow out;
  const auto half = [](const uint8_t* p) {
    uint16_t h;
    std::memcpy(&h, p, 2);
    return blocks::half_to_float(h);
  };
  if (s.format.kind == QTensor::Kind::Affine) {
    out.has_min = true;
    const auto scale = [&](const std::vector<uint8_t>& v, int64_t i) {
      float f;
      if (s.format.scale_dtype == Dtype::F16) return half(&v[static_cast<size_t>(2 * i)]);
      uint32_t bits = 0;
      if (s.format.scale_dtype == Dtype::BF16)
        std::memcpy(reinterpret_cast<uint8_t*>(&bits) + 2, &v[static_cast<size_t>(2 * i)], 2);
      else
        std::memcpy(&bits, &v[static_cast<size_t>(4 * i)], 4);
      std::memcpy(&f, &bits, 4);
      return f;
    };
    for (int64_t b = 0; b < s.k / 32; ++b) {
      uint8_t codes[32];
      blocks::affine_codes(s.format.bits,
                           &s.codes[static_cast<size_t>(row * blocks::affine_row_bytes(s.format.bits, s.k))],
                           b, codes);
      out.q.insert(out.q.end(), codes, codes + 32);
      const int64_t g = row * (s.k / s.format.group) + 32 * b / s.format.group;
      out.d.push_back(scale(s.scales, g));
      out.m.push_back(scale(s.biases, g));
    }
    return out;
  }
  const BlockFormat f = s.format.block;
  const int64_t size = block_bytes(f), elements = block_elements(f), count = s.k / elements;
  for (int64_t i = 0; i < count; ++i) {
    const uint8_t* b = &s.codes[static_cast<size_t>((row * count + i) * size)];
    const float d = half(b);
    const auto legacy = [&](int head, bool five, int bias) {
      for (int j = 0; j < 32; ++j) {
        const uint8_t* qs = b + head + (five ? 4 : 0);
        int q = j < 16 ? qs[j] & 15 : qs[j - 16] >> 4;
        if (five) q |= (b[head + j / 8] >> j % 8 & 1) << 4;
        out.q.push_back(q - bias);
      }
      out.d.push_back(d);
    };
    switch (f) {
      case BlockFormat::Q4_0: legacy(2, false, 8); break;
      case BlockFormat::Q5_0: legacy(2, true, 16); break;
      case BlockFormat::Q4_1:
      case BlockFormat::Q5_1:
        legacy(4, f == BlockFormat::Q5_1, 0);
        out.m.push_back(half(b + 2));
        out.has_min = true;
        break;
      case BlockFormat::Q8_0:
        for (int j = 0; j < 32; ++j) out.q.push_back(static_cast<int8_t>(b[2 + j]));
        out.d.push_back(d);
        break;
      case BlockFormat::Q4_K:
      case BlockFormat::Q5_K:
        out.has_min = true;
        for (int j = 0; j < 8; ++j) {
          const uint8_t* s6 = b + 4;
          const int sc = j < 4 ? s6[j] & 63 : (s6[j + 4] & 15) | (s6[j - 4] >> 6) << 4;
          const int mn = j < 4 ? s6[j + 4] & 63 : s6[j + 4] >> 4 | (s6[j] >> 6) << 4;
          out.d.push_back(d * static_cast<float>(sc));
          out.m.push_back(-(half(b + 2) * static_cast<float>(mn)));
          for (int l = 0; l < 32; ++l) {
            const uint8_t* qs = b + (f == BlockFormat::Q5_K ? 48 : 16);
            int q = qs[32 * (j / 2) + l] >> 4 * (j % 2) & 15;
            if (f == BlockFormat::Q5_K) q |= (b[16 + l] >> j & 1) << 4;
            out.q.push_back(q);
          }
        }
        break;
      case BlockFormat::Q6_K:
        out.halves = 2;
        for (int j = 0; j < 256; ++j) {
          const int part = j / 128, r = j % 128;
          const int low = b[64 * part + r % 64] >> (r < 64 ? 0 : 4) & 15,
                    high = b[128 + 32 * part + r % 32] >> 2 * (r / 32) & 3;
          out.q.push_back((low | high << 4) - 32);
          if (j % 16 == 0)
            out.d.push_back(half(b + 208) * static_cast<float>(static_cast<int8_t>(b[192 + j / 16])));
        }
        break;
      default: break;
    }
  }
  return out;
}

struct Packed {
  std::unique_ptr<uint8_t, void (*)(void*)> memory{nullptr, std::free};
  Weight weight;
  explicit Packed(const Sample& s) {
    const int64_t bytes = packed_bytes(s.format, s.n, s.k), rounded = (bytes + 64 + 63) / 64 * 64;
    memory.reset(static_cast<uint8_t*>(std::aligned_alloc(64, static_cast<size_t>(rounded))));
    std::memset(memory.get(), 0xA5, static_cast<size_t>(rounded));
    const bool lifts = pack(s.format, s.source(), s.n, s.k, memory.get());
    for (int64_t i = bytes; i < rounded; ++i)
      if (memory.get()[i] != 0xA5) throw std::runtime_error("pack wrote past its end");
    weight = {s.format, s.n, s.k, memory.get(), lifts};
  }
};

// Instruction set and threads for a scope.
struct Setting {
  simd::Isa before = simd::active_isa();
  Setting(simd::Isa isa, int threads) {
    simd::set_isa(isa);
    set_num_threads(threads);
  }
  ~Setting() {
    simd::set_isa(before);
    set_num_threads(0);
  }
};

inline std::vector<simd::Isa> sets() {
  std::vector<simd::Isa> out;
  for (simd::Isa isa : {simd::Isa::Scalar, simd::Isa::Avx2, simd::Isa::Avx512})
    if (isa <= simd::best_isa()) out.push_back(isa);
  return out;
}

// Runs m rows of x against a packed sample with a gap after each row of y and guards around it. Empty when
// every bit is as wanted (NaNs count as equal) and nothing else was written; else says where not.
inline std::string run(const Sample& s, const Packed& packed, const std::vector<float>& x, int64_t m,
                       Precision precision, const std::vector<float>& want) {
  constexpr int64_t kGuard = 24, kGap = 5;
  const int64_t stride = s.n + kGap;
  const float sentinel = -123.25f;
  std::vector<float> y(static_cast<size_t>(2 * kGuard + m * stride), sentinel);
  const Product p{packed.weight, y.data() + kGuard, stride};
  qmatmul(m, x.data(), s.k, {&p, 1}, precision);
  for (int64_t i = 0; i < static_cast<int64_t>(y.size()); ++i) {
    const int64_t at = i - kGuard, row = at < 0 ? -1 : at / stride, column = at - row * stride;
    const float got = y[static_cast<size_t>(i)];
    if (row < 0 || row >= m || column >= s.n) {
      if (got != sentinel) return "wrote outside at " + std::to_string(at);
      continue;
    }
    const float expect = want[static_cast<size_t>(row * s.n + column)];
    if (std::memcmp(&got, &expect, 4) != 0 && !(std::isnan(got) && std::isnan(expect)))
      return "row " + std::to_string(row) + " column " + std::to_string(column) + ": " + std::to_string(got) +
             " instead of " + std::to_string(expect);
  }
  return "";
}

}  // namespace mc::quant_test
