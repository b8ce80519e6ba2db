#include "prims/block_formats.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "mc/error.h"

using namespace mc;
using namespace mc::blocks;

namespace {

using Bytes = std::vector<uint8_t>;

// The sections of tests/golden/quant/NAME.bin (see make_quant_goldens.py).
std::vector<Bytes> golden(const std::string& name) {
  const char* root = std::getenv("MC_SOURCE_DIR");
  std::ifstream f(std::string(root ? root : ".") + "/tests/golden/quant/" + name + ".bin", std::ios::binary);
  EXPECT_TRUE(f.good()) << name;
  std::vector<Bytes> out;
  uint32_t n = 0;
  while (f.read(reinterpret_cast<char*>(&n), 4)) {
    out.emplace_back(n);
    f.read(reinterpret_cast<char*>(out.back().data()), n);
    EXPECT_TRUE(f.good()) << name;
  }
  return out;
}
std::vector<float> floats(const Bytes& b) {
  std::vector<float> out(b.size() / 4);
  std::memcpy(out.data(), b.data(), b.size());
  return out;
}
Bytes bytes_of(const std::vector<float>& v) {
  Bytes out(v.size() * 4);
  std::memcpy(out.data(), v.data(), out.size());
  return out;
}

const char* const kNames[] = {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K", "F16", "BF16"};

}  // namespace

TEST(BlockFormats, NamesParse) {
  for (const char* name : kNames) {
    ASSERT_TRUE(parse_block_format(name)) << name;
    EXPECT_EQ(block_format_name(*parse_block_format(name)), name);
  }
  EXPECT_EQ(parse_block_format("q4_k"), BlockFormat::Q4_K);
  for (const char* name : {"", "Q4", "Q4_2", "Q4_K_M", "Q8_1"})
    EXPECT_FALSE(parse_block_format(name)) << name;
}

TEST(BlockFormats, DequantizesToTheBitsOfTheGgufPackage) {
  for (const char* name : kNames) {
    const auto g = golden(name);
    ASSERT_EQ(g.size(), 2u);
    std::vector<float> out(g[1].size() / 4);
    dequantize_row(*parse_block_format(name), g[0].data(), out.data(), static_cast<int64_t>(out.size()));
    EXPECT_EQ(bytes_of(out), g[1]) << name;
  }
}

TEST(BlockFormats, QuantizesToTheBytesOfTheGgufPackage) {
  for (const char* name : {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"}) {
    const BlockFormat f = *parse_block_format(name);
    ASSERT_TRUE(can_quantize(f));
    const auto g = golden(std::string(name) + "_quantize");
    ASSERT_EQ(g.size(), 2u);
    const auto x = floats(g[0]);
    Bytes out(g[1].size(), 0xAA);
    quantize_row(f, x.data(), out.data(), static_cast<int64_t>(x.size()));
    const auto per = static_cast<size_t>(block_bytes(f));
    for (size_t b = 0; b < out.size() / per; ++b)
      EXPECT_EQ(
          Bytes(out.begin() + static_cast<long>(b * per), out.begin() + static_cast<long>((b + 1) * per)),
          Bytes(g[1].begin() + static_cast<long>(b * per), g[1].begin() + static_cast<long>((b + 1) * per)))
          << name << " block " << b;
  }
}

TEST(BlockFormats, ANonFiniteElementMakesItsBlockNaNAndNoOther) {
  for (const char* name : {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"})
    for (float bad : {NAN, INFINITY, -INFINITY}) {
      const BlockFormat f = *parse_block_format(name);
      std::vector<float> x(96, 1.0f), y(96);
      x[40] = bad;
      Bytes b(static_cast<size_t>(3 * block_bytes(f)));
      quantize_row(f, x.data(), b.data(), 96);
      dequantize_row(f, b.data(), y.data(), 96);
      for (int i = 0; i < 96; ++i)
        EXPECT_EQ(std::isnan(y[static_cast<size_t>(i)]), i / 32 == 1) << name << " " << i;
    }
}

TEST(BlockFormats, FormatsWithoutAQuantizerAreRefused) {
  float x[256] = {};
  uint8_t b[256];
  for (const char* name : {"Q4_K", "Q5_K", "Q6_K"}) {
    EXPECT_FALSE(can_quantize(*parse_block_format(name)));
    EXPECT_THROW(quantize_row(*parse_block_format(name), x, b, 256), Error);
  }
}

TEST(BlockFormats, HalvesRoundTripAndRoundToEven) {
  for (uint32_t h = 0; h < 0x10000; ++h) {
    const float f = half_to_float(static_cast<uint16_t>(h));
    if (std::isnan(f))
      EXPECT_TRUE(std::isnan(half_to_float(float_to_half(f))));
    else
      EXPECT_EQ(float_to_half(f), h);
    // Halfway to the next one up in magnitude goes to the even one, anything beyond goes up.
    if ((h & 0x7fff) < 0x7bff) {
      const float next = half_to_float(static_cast<uint16_t>(h + 1)), middle = (f + next) / 2;
      EXPECT_EQ(float_to_half(middle), h % 2 ? h + 1 : h);
      EXPECT_EQ(float_to_half(std::nextafter(middle, next)), h + 1);
      EXPECT_EQ(float_to_half(std::nextafter(middle, f)), h);
    }
  }
  EXPECT_EQ(float_to_half(65519.0f), 0x7bff);
  EXPECT_EQ(float_to_half(65520.0f), 0x7c00);
}

TEST(AffineGroups, EqualMlx) {
  for (int bits : {2, 3, 4, 5, 6, 8})
    for (int group : {32, 64, 128}) {
      const auto g = golden("affine_" + std::to_string(bits) + "_" + std::to_string(group));
      ASSERT_EQ(g.size(), 5u);
      const auto x = floats(g[0]);
      Bytes packed(g[1].size(), 0xAA);
      std::vector<float> scales(g[2].size() / 4), biases(g[3].size() / 4), back(256);
      ASSERT_EQ(packed.size(), static_cast<size_t>(4 * affine_row_bytes(bits, 256)));
      affine_quantize(bits, group, x.data(), 4, 256, packed.data(), scales.data(), biases.data());
      EXPECT_EQ(packed, g[1]) << bits << " " << group;
      EXPECT_EQ(bytes_of(scales), g[2]) << bits << " " << group;
      EXPECT_EQ(bytes_of(biases), g[3]) << bits << " " << group;
      const auto expect = floats(g[4]);
      for (int row = 0; row < 4; ++row) {
        affine_dequantize_row(bits, group, packed.data() + row * affine_row_bytes(bits, 256),
                              &scales[static_cast<size_t>(row * 256 / group)],
                              &biases[static_cast<size_t>(row * 256 / group)], back.data(), 256);
        for (int i = 0; i < 256; ++i) {
          // MLX rounds the product before it adds on some engines; ours rounds once.
          const float want = expect[static_cast<size_t>(row * 256 + i)], got = back[static_cast<size_t>(i)];
          const float size =
              std::fabs(scales[static_cast<size_t>((row * 256 + i) / group)]) * static_cast<float>(1 << bits);
          EXPECT_LE(std::fabs(got - want), size * std::numeric_limits<float>::epsilon())
              << bits << " " << group << " " << i;
        }
      }
    }
}

TEST(AffineGroups, ANonFiniteElementMakesItsGroupNaN) {
  std::vector<float> x(128, 0.5f), back(128);
  x[70] = NAN;
  uint8_t packed[64];
  float scales[2], biases[2];
  affine_quantize(4, 64, x.data(), 1, 128, packed, scales, biases);
  affine_dequantize_row(4, 64, packed, scales, biases, back.data(), 128);
  for (int i = 0; i < 128; ++i) EXPECT_EQ(std::isnan(back[static_cast<size_t>(i)]), i >= 64);
}
