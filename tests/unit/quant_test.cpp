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
    for (int64_t j = 0; j < s.n; ++j) y[static_cast<size_t>(i * s.n + j)] = dot(&x[static_cast<size_t>(i * s.k)], &w[static_cast<size_t>(j * s.k)], s.k);
  return y;
}

}  // namespace

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
            ASSERT_EQ(run(s, packed, x, m, Precision::Highest, want), "") << name(format) << " n " << n << " k " << k << " m " << m << " " << isa_name(isa) << " threads " << threads;
          }
        }
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
  for (Precision precision : {Precision::Highest})
    for (int64_t m : {1, 5, 40}) {
      const Sample a = make_sample(Format::of(BlockFormat::Q4_K), 70, 512, 1), b = make_sample(Format::of(BlockFormat::Q6_K), 20, 512, 2),
                   c = make_sample(Format::affine(4, 64, Dtype::F16), 33, 512, 3);
      const auto x = random_floats(m * 512, 9);
      const Packed pa(a), pb(b), pc(c);
      std::vector<float> ya(static_cast<size_t>(m * 70)), yb(static_cast<size_t>(m * 20)), yc(static_cast<size_t>(m * 33));
      const Product products[] = {{pa.weight, ya.data(), 70}, {pb.weight, yb.data(), 20}, {pc.weight, yc.data(), 33}};
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
  const Product same[] = {{packed.weight, y.data(), 8}, {{s.format, 8, 96, packed.weight.packed}, y.data(), 8}};
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
    for (int i : {0, 1, 3}) EXPECT_EQ(std::memcmp(&some[static_cast<size_t>(i * 256)], &all[static_cast<size_t>(ids[i] * 256)], 1024), 0) << name(format);
    for (int i : {2, 4})
      for (int j = 0; j < 256; ++j) EXPECT_TRUE(std::isnan(some[static_cast<size_t>(i * 256 + j)]));
  }
}
