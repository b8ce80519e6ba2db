// Quantized products against the plain definition: dequantize, then the contract's dot, bit for bit.
#include <gtest/gtest.h>

#include <bit>
#include <chrono>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "backends/numpy/quant/qmatmul.h"
#include "backends/numpy/simd/dispatch.h"
#include "base/thread_pool.h"
#include "mc/error.h"
#include "prims/block_formats.h"
#include "quant_util.h"

using namespace mc;
using namespace mc::numpy::quant;
using namespace mc::quant_test;

namespace {

// The contract's dot.
float dot(const float* x, const float* w, int64_t k) {
  float acc = 0;
  for (int64_t k0 = 0; k0 < k; k0 += 256) {
    float p = 0;
    for (int64_t i = k0; i < std::min(k, k0 + 256); ++i) p = std::fma(x[i], w[i], p);
    acc = k0 ? acc + p : p;
  }
  return acc;
}

std::vector<float> reference(const Sample& s, const std::vector<float>& x, int64_t m) {
  std::vector<float> w(static_cast<size_t>(s.n * s.k)), y(static_cast<size_t>(m * s.n));
  dequantize(s.format, s.source(), s.n, s.k, w.data());
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < s.n; ++j)
      y[static_cast<size_t>(i * s.n + j)] =
          dot(&x[static_cast<size_t>(i * s.k)], &w[static_cast<size_t>(j * s.k)], s.k);
  return y;
}

// docs/contract-fast.md, line by line.
std::vector<float> fast_reference(const Sample& s, const std::vector<float>& x, int64_t m) {
  const int64_t nb = s.k / 32;
  std::vector<int> xq(static_cast<size_t>(m * s.k));
  std::vector<float> dx(static_cast<size_t>(m * nb)), xs(static_cast<size_t>(m * nb));
  for (int64_t i = 0; i < m * nb; ++i) {
    const float* in = &x[static_cast<size_t>(32 * i)];
    float amax = 0;
    bool bad = false;
    for (int j = 0; j < 32; ++j) {
      bad |= !std::isfinite(in[j]);
      amax = std::max(amax, std::fabs(in[j]));
    }
    const auto at = static_cast<size_t>(i);
    int sum = 0;
    if (bad) {
      dx[at] = NAN;
    } else if (amax >= 0x1p-119f) {
      dx[at] = amax / 127.0f;
      for (int j = 0; j < 32; ++j)
        sum += xq[at * 32 + static_cast<size_t>(j)] =
            static_cast<int>(std::nearbyint(in[j] * (1.0f / dx[at])));
    }
    xs[at] = dx[at] * static_cast<float>(sum);
  }
  std::vector<float> y(static_cast<size_t>(m * s.n));
  for (int64_t r = 0; r < s.n; ++r) {
    const DecodedRow w = decode_row(s, r);
    for (int64_t i = 0; i < m; ++i) {
      float acc = 0;
      for (int64_t b = 0; b < nb; ++b) {
        const auto at = static_cast<size_t>(i * nb + b);
        for (int h = 0; h < w.halves; ++h) {
          int dot = 0;
          for (int64_t j = 32 * b + 32 / w.halves * h; j < 32 * b + 32 / w.halves * (h + 1); ++j)
            dot += w.q[static_cast<size_t>(j)] * xq[static_cast<size_t>(i * s.k + j)];
          acc = std::fma(w.d[static_cast<size_t>(b * w.halves + h)] * dx[at], static_cast<float>(dot), acc);
        }
        if (w.has_min) acc = std::fma(w.m[static_cast<size_t>(b)], xs[at], acc);
      }
      y[static_cast<size_t>(i * s.n + r)] = acc;
    }
  }
  return y;
}

bool has_codes(const Format& f) { return f.kind == QTensor::Kind::Affine || block_elements(f.block) > 1; }

}  // namespace

TEST(QuantizedMatmul, FastFollowsItsContractOnEverySetThreadCountAndBatch) {
  for (const Format& format : all_formats())
    for (const auto& [n, k] : shapes_for(format)) {
      const Sample s = make_sample(format, n, k, 8);
      constexpr int64_t kMax = 70;
      const auto x = random_floats(kMax * k, 12);
      const auto want = has_codes(format) ? fast_reference(s, x, kMax) : reference(s, x, kMax);
      for (simd::Isa isa : sets())
        for (int threads : {1, 2}) {
          const Setting setting(isa, threads);
          const Packed packed(s);
          for (int64_t m : {1, 2, 3, 4, 5, 6, 7, 8, 12, 33, 70}) {
            if (isa == simd::Isa::Scalar && m > 12) continue;
            ASSERT_EQ(run(s, packed, x, m, Precision::Fast, want), "")
                << name(format) << " n " << n << " k " << k << " m " << m << " " << isa_name(isa)
                << " threads " << threads;
          }
        }
    }
}

// The largest codes and activations: integer sums must not overflow on the way.
TEST(QuantizedMatmul, FastIsExactAtTheExtremes) {
  for (const Format& format : all_formats()) {
    if (!has_codes(format)) continue;
    Sample s = make_sample(format, 32, 256, 8);
    for (int fill : {0xFF, 0x80, 0x7F, 0x00}) {
      if (format.kind == QTensor::Kind::Affine) {
        std::fill(s.codes.begin(), s.codes.end(), static_cast<uint8_t>(fill));
      } else {
        const Sample scales = make_sample(format, 32, 256, 8);
        std::fill(s.codes.begin(), s.codes.end(), static_cast<uint8_t>(fill));
        const size_t size = static_cast<size_t>(block_bytes(format.block)),
                     at = format.block == BlockFormat::Q6_K ? 208 : 0;
        for (size_t b = 0; b < s.codes.size(); b += size)
          std::memcpy(&s.codes[b + at], &scales.codes[b + at], 2);
        if (format.block == BlockFormat::Q4_1 || format.block == BlockFormat::Q5_1 ||
            format.block == BlockFormat::Q4_K || format.block == BlockFormat::Q5_K)
          for (size_t b = 0; b < s.codes.size(); b += size)
            std::memcpy(&s.codes[b + 2], &scales.codes[b + 2], 2);
      }
      std::vector<float> x(7 * 256);
      for (size_t i = 0; i < x.size(); ++i)
        x[i] = (i / 256 < 2 ? 1.0f : i / 256 < 4 ? -1.0f : i % 2 ? 1.0f : -1.0f);
      const auto want = fast_reference(s, x, 7);
      for (simd::Isa isa : sets()) {
        const Setting setting(isa, 1);
        for (int64_t m : {1, 7})
          ASSERT_EQ(run(s, Packed(s), x, m, Precision::Fast, want), "")
              << name(format) << " " << isa_name(isa) << " fill " << fill;
      }
    }
  }
}

TEST(QuantizedMatmul, FastBlocksOfNaNZeroAndTinyValues) {
  const Sample s = make_sample(Format::of(BlockFormat::Q4_K), 20, 512, 8);
  auto x = random_floats(12 * 512, 3);
  std::fill_n(x.begin(), 512, 0.0f);
  x[512 + 33] = NAN;
  x[2 * 512 + 500] = -INFINITY;
  for (int i = 0; i < 64; ++i) x[static_cast<size_t>(3 * 512 + i)] *= i < 32 ? 0x1p-125f : 0x1p-118f;
  for (int i = 0; i < 32; ++i) x[static_cast<size_t>(4 * 512 + i)] *= 0x1p125f;
  const auto want = fast_reference(s, x, 12);
  ASSERT_EQ(want[0], 0.0f);
  ASSERT_TRUE(std::isnan(want[20]) && std::isnan(want[40]) && !std::isnan(want[60]));
  for (simd::Isa isa : sets()) {
    const Setting setting(isa, 2);
    EXPECT_EQ(run(s, Packed(s), x, 12, Precision::Fast, want), "") << isa_name(isa);
    for (int64_t row : {0, 1, 2, 3, 4}) {
      const std::vector<float> one(x.begin() + row * 512, x.begin() + (row + 1) * 512),
          expect(want.begin() + row * 20, want.begin() + (row + 1) * 20);
      EXPECT_EQ(run(s, Packed(s), one, 1, Precision::Fast, expect), "") << isa_name(isa) << " row " << row;
    }
  }
}

TEST(QuantizedMatmul, HighestIsDequantizeThenDotOnEverySetThreadCountAndBatch) {
  for (const Format& format : all_formats())
    for (const auto& [n, k] : shapes_for(format)) {
      const Sample s = make_sample(format, n, k, 7);
      constexpr int64_t kMax = 70;
      const auto x = random_floats(kMax * k, 11);
      const auto want = reference(s, x, kMax);
      for (simd::Isa isa : sets())
        for (int threads : {1, 2}) {
          const Setting setting(isa, threads);
          const Packed packed(s);
          for (int64_t m : {1, 2, 3, 4, 5, 7, 8, 9, 14, 15, 33, 70}) {
            if (isa == simd::Isa::Scalar && m > 15) continue;  // the same code in more tiles, and slow
            ASSERT_EQ(run(s, packed, x, m, Precision::Highest, want), "")
                << name(format) << " n " << n << " k " << k << " m " << m << " " << isa_name(isa)
                << " threads " << threads;
          }
        }
    }
}

// Codes lifted to weights by one fma are the dequantized ones, and where a block's scales would not give them
// the weight says so.
TEST(QuantizedMatmul, LiftedCodesAreDequantizedOnes) {
  for (BlockFormat block : {BlockFormat::Q4_1, BlockFormat::Q5_1, BlockFormat::Q8_0}) {
    Sample s = make_sample(Format::of(block), 97, 544, 21);
    const int64_t size = block_bytes(block), count = s.n * s.k / 32;
    std::mt19937 rng(5);
    const auto put = [&](int64_t i, uint16_t d, uint16_t m) {
      std::memcpy(&s.codes[static_cast<size_t>(i * size)], &d, 2);
      if (block != BlockFormat::Q8_0) std::memcpy(&s.codes[static_cast<size_t>(i * size + 2)], &m, 2);
    };
    // As quantizers choose them: the minimum lies beyond a quarter of a step, or is zero.
    for (int64_t i = 0; i < count; ++i)
      put(i, static_cast<uint16_t>((rng() & 0x3ff) | 8 << 10),
          rng() % 9 == 0 ? uint16_t{0} : static_cast<uint16_t>((rng() & 0x83ff) | (7 + rng() % 6) << 10));
    const auto x = random_floats(s.k, 13);
    const auto check = [&](bool lifts) {
      const auto want = reference(s, x, 1);
      for (simd::Isa isa : sets())
        for (int threads : {1, 2}) {
          const Setting setting(isa, threads);
          const Packed packed(s);
          EXPECT_EQ(packed.weight.lifts, lifts) << name(s.format);
          EXPECT_EQ(run(s, packed, x, 1, Precision::Highest, want), "")
              << name(s.format) << " " << isa_name(isa) << " threads " << threads << " lifts " << lifts;
        }
    };
    check(true);
    // A step of 1.x beside a minimum of 2^-14: their difference has more than 24 bits.
    if (block != BlockFormat::Q8_0) {
      put(count / 2, 0x3fff, 0x0401);
      check(false);
    }
    put(count / 2, 0x7c00, 0);  // an infinite step
    check(false);
  }
}

TEST(QuantizedMatmul, ManyTokensInChunks) {
  const Format format = Format::of(BlockFormat::Q4_1);
  const Sample s = make_sample(format, 40, 64, 3);
  const auto x = random_floats(1100 * 64, 5);
  const auto want = reference(s, x, 1100);
  for (int threads : {1, 2}) {
    const Setting setting(simd::best_isa(), threads);
    EXPECT_EQ(run(s, Packed(s), x, 1100, Precision::Highest, want), "");
  }
}

TEST(QuantizedMatmul, ProductsOfOneInputEqualTheirOwnCalls) {
  for (Precision precision : {Precision::Highest, Precision::Fast})
    for (int64_t m : {1, 5, 40}) {
      const Sample a = make_sample(Format::of(BlockFormat::Q4_K), 70, 512, 1),
                   b = make_sample(Format::of(BlockFormat::Q6_K), 20, 512, 2),
                   c = make_sample(Format::affine(4, 64, Dtype::F16), 33, 512, 3);
      const auto x = random_floats(m * 512, 9);
      const Packed pa(a), pb(b), pc(c);
      std::vector<float> ya(static_cast<size_t>(m * 70)), yb(static_cast<size_t>(m * 20)),
          yc(static_cast<size_t>(m * 33));
      const Product products[] = {
          {pa.weight, ya.data(), 70}, {pb.weight, yb.data(), 20}, {pc.weight, yc.data(), 33}};
      qmatmul(m, x.data(), 512, products, precision);
      EXPECT_EQ(run(a, pa, x, m, precision, ya), "");
      EXPECT_EQ(run(b, pb, x, m, precision, yb), "");
      EXPECT_EQ(run(c, pc, x, m, precision, yc), "");
    }
}

TEST(QuantizedMatmul, NaNAndInfinityReachExactlyTheirOutputs) {
  for (BlockFormat f : {BlockFormat::Q4_0, BlockFormat::Q4_1, BlockFormat::Q8_0, BlockFormat::Q6_K}) {
    Sample s = make_sample(Format::of(f), 35, 512, 4);
    // An infinite scale in row 17.
    const int64_t row = s.k / block_elements(f) * block_bytes(f);
    const uint16_t inf = 0x7c00;
    std::memcpy(&s.codes[static_cast<size_t>(17 * row + (f == BlockFormat::Q6_K ? 208 : 0))], &inf, 2);
    for (int64_t m : {3, 40}) {
      auto x = random_floats(m * 512, 13);
      x[512 + 300] = NAN;
      x[2 * 512 + 5] = INFINITY;
      const auto want = reference(s, x, m);
      ASSERT_TRUE(std::isnan(want[35]) && !std::isnan(want[0]));
      for (simd::Isa isa : sets()) {
        const Setting setting(isa, 2);
        EXPECT_EQ(run(s, Packed(s), x, m, Precision::Highest, want), "") << isa_name(isa);
      }
    }
  }
}

TEST(QuantizedMatmul, PackedSizeIsTheFilesWithinThreePercent) {
  for (const Format& format : all_formats()) {
    const Sample s = make_sample(format, 64, 512, 1);
    const auto bytes = static_cast<double>(s.codes.size() + s.scales.size() + s.biases.size());
    EXPECT_LE(static_cast<double>(packed_bytes(format, 64, 512)), 1.03 * bytes) << name(format);
    EXPECT_GE(static_cast<double>(packed_bytes(format, 64, 512)), bytes) << name(format);
  }
}

TEST(QuantizedMatmul, EmptyOperands) {
  const Sample s = make_sample(Format::of(BlockFormat::Q8_0), 8, 0, 1);
  std::vector<float> y(16, 5.0f);
  const Product p{{s.format, 8, 0, nullptr}, y.data(), 8};
  qmatmul(2, nullptr, 0, {&p, 1}, Precision::Highest);
  for (float v : y) EXPECT_EQ(v, 0.0f);
  const Product none{{s.format, 0, 64, nullptr}, nullptr, 0};
  qmatmul(1, y.data(), 16, {&none, 1}, Precision::Highest);
  qmatmul(0, nullptr, 0, {&none, 1}, Precision::Fast);
}

TEST(QuantizedMatmul, WrongFormatsAndShapesAreRefused) {
  EXPECT_THROW(packed_bytes(Format::of(BlockFormat::Q4_K), 4, 128), Error);
  EXPECT_THROW(packed_bytes(Format::of(BlockFormat::Q4_0), 4, 33), Error);
  EXPECT_THROW(packed_bytes(Format::affine(7, 64, Dtype::F32), 4, 128), Error);
  EXPECT_THROW(packed_bytes(Format::affine(4, 48, Dtype::F32), 4, 96), Error);
  EXPECT_THROW(packed_bytes(Format::affine(4, 64, Dtype::I32), 4, 128), Error);
  EXPECT_EQ(packed_bytes(Format::of(BlockFormat::F16), 17, 3), 2 * 3 * 16 * 2);
  const Sample s = make_sample(Format::of(BlockFormat::Q8_0), 8, 64, 1);
  const Packed packed(s);
  std::vector<float> x(256), y(64);
  const Product same[] = {{packed.weight, y.data(), 8},
                          {{s.format, 8, 96, packed.weight.packed}, y.data(), 8}};
  EXPECT_THROW(qmatmul(2, x.data(), 64, same, Precision::Highest), Error);
  const Product narrow{packed.weight, y.data(), 7};
  EXPECT_THROW(qmatmul(2, x.data(), 64, {&narrow, 1}, Precision::Highest), Error);
}

TEST(QuantizedRows, GatherIsDequantize) {
  for (const Format& format : all_formats()) {
    const Sample s = make_sample(format, 37, 256, 21);
    std::vector<float> all(37 * 256), some(5 * 256);
    dequantize(format, s.source(), 37, 256, all.data());
    const int64_t ids[] = {36, 0, 37, 5, -1};
    dequantize_rows(format, s.source(), 37, 256, ids, 5, some.data());
    for (int i : {0, 1, 3})
      EXPECT_EQ(
          std::memcmp(&some[static_cast<size_t>(i * 256)], &all[static_cast<size_t>(ids[i] * 256)], 1024), 0)
          << name(format);
    for (int i : {2, 4})
      for (int j = 0; j < 256; ++j) EXPECT_TRUE(std::isnan(some[static_cast<size_t>(i * 256 + j)]));
  }
}
