// quantized_matmul_where: named rows have the bits of quantized_matmul, the others are zeros whatever there
// is.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "mc/mc.h"
#include "mc/quantize.h"

namespace mc {
namespace {

std::vector<float> noise(size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> out(n);
  for (float& v : out) v = normal(random);
  return out;
}
Array mask_of(unsigned bits, int64_t rows) {
  std::vector<int32_t> named;
  for (int64_t r = 0; r < rows; ++r) named.push_back(bits >> r & 1);
  return astype(Array(named, {rows}), Dtype::Bool);
}
bool same(const Array& a, const Array& b) {
  std::vector<std::byte> x(a.nbytes()), y(b.nbytes());
  a.to_bytes(x.data());
  b.to_bytes(y.data());
  return x == y;
}

TEST(MaskedProduct, NamedRowsKeepTheirBits) {
  constexpr int64_t k = 256, n = 96, m = 11;
  const QTensor w = quantize_affine(Array(noise(k * n, 1), {n, k}), 64, 4);
  for (Dtype d : {Dtype::F32, Dtype::BF16, Dtype::F16})
    for (bool fast : {false, true}) {
      const Array x = astype(Array(noise(m * k, 2), {m, k}), d), whole = quantized_matmul(x, w, fast).eval();
      for (unsigned bits : {0x0u, 0x1u, 0x5A5u, 0x7FEu, 0x7FFu}) {
        const Array mask = mask_of(bits, m);
        const Array want = where(expand_dims(mask, {-1}), whole, zeros_like(whole));
        EXPECT_TRUE(same(quantized_matmul_where(mask, x, w, fast), want))
            << dtype_name(d) << ", rows " << bits << (fast ? ", fast" : "");
      }
    }
}

TEST(MaskedProduct, WhatIsNotFiniteStaysInItsRow) {
  constexpr int64_t k = 64, n = 8, m = 3;
  std::vector<float> values = noise(k * n, 3), x = noise(m * k, 4);
  values[5] = INFINITY;  // of output 0
  x[static_cast<size_t>(2 * k)] = NAN;
  std::fill_n(x.begin() + k, k, 0.0f);  // zeros times infinity are NaN where they are asked for
  const QTensor w = block_tensor(
      Array::from_bytes(reinterpret_cast<const std::byte*>(values.data()), {n, k * 4}, Dtype::U8),
      BlockFormat::F32, {n, k});
  auto rows = [&](unsigned bits) {
    return quantized_matmul_where(mask_of(bits, m), Array(x, {m, k}), w).to_vector<float>();
  };
  const std::vector<float> none = rows(0), first = rows(1), second = rows(2), third = rows(4);
  for (size_t i = 0; i < static_cast<size_t>(m * n); ++i) {
    EXPECT_EQ(none[i], 0);
    EXPECT_TRUE(i / n == 0 || first[i] == 0);
    EXPECT_TRUE(i / n == 1 || second[i] == 0);
    EXPECT_TRUE(i / n == 2 || third[i] == 0);
  }
  EXPECT_TRUE(std::isinf(first[0]));
  EXPECT_TRUE(std::isnan(second[n]));
  EXPECT_EQ(second[n + 1], 0);
  EXPECT_TRUE(std::isnan(third[2 * n]) && std::isnan(third[2 * n + 1]));
}

TEST(MaskedProduct, ShapesAreChecked) {
  const QTensor w = quantize_affine(Array(noise(64 * 8, 5), {8, 64}), 64, 8);
  const Array x(noise(3 * 64, 6), {3, 64});
  EXPECT_THROW(quantized_matmul_where(mask_of(1, 2), x, w), Error);
  EXPECT_THROW(quantized_matmul_where(zeros({3}), x, w), Error);
}

}  // namespace
}  // namespace mc
