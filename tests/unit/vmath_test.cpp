// Own math functions against the C library in a wider format, and the same bits on every instruction set.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "backends/numpy/kernels/pointwise.h"
#include "backends/numpy/simd/dispatch.h"

using namespace mc;
using namespace mc::kernels;
using simd::Isa;

namespace {

std::vector<Isa> isas() {
  std::vector<Isa> r;
  for (Isa isa : {Isa::Scalar, Isa::Avx2, Isa::Avx512})
    if (isa <= simd::best_isa()) r.push_back(isa);
  return r;
}

struct UsesIsa : testing::Test {
  ~UsesIsa() override { simd::set_isa(simd::best_isa()); }
};

// Error in units of the last place of the exact result; infinite where one is finite and the other is not.
double ulps(float got, double want) {
  if (std::isnan(want) || std::isnan(got)) return std::isnan(want) && std::isnan(got) ? 0 : INFINITY;
  const float rounded = static_cast<float>(want);
  if (std::isinf(rounded) || std::isinf(got)) return rounded == got ? 0 : INFINITY;
  const int e = std::max(std::ilogb(want == 0 ? 1e-300 : want), -126);
  return std::abs(static_cast<double>(got) - want) / std::ldexp(1.0, e - 23);
}

// Every 641st float, and all the special ones.
const std::vector<float>& sweep() {
  static const std::vector<float> values = [] {
    std::vector<float> v = {0.0f, -0.0f, 1.0f, -1.0f, 0.5f, 2.0f, INFINITY, -INFINITY, NAN, -NAN, 1e-45f, -1e-45f, 88.72283f, 88.72284f,
                            -87.33655f, -103.97207f, -103.97209f, 3.4028235e38f, -3.4028235e38f, 1.1754944e-38f, 0.625f, 0.62499994f,
                            1.57079637f, 3.14159274f, 16367173.0f * 0x1p72f};
    for (uint64_t u = 0; u < 0x100000000; u += 641) v.push_back(std::bit_cast<float>(static_cast<uint32_t>(u)));
    return v;
  }();
  return values;
}

struct Unary {
  PwOp op;
  double (*reference)(double);
  double bound;  // ulps
};
double sigmoid_ref(double x) { return 1 / (1 + std::exp(-x)); }
const Unary kUnary[] = {
    {PwOp::Exp, [](double x) { return std::exp(x); }, 1.01},
    {PwOp::Log, [](double x) { return std::log(x); }, 1.0},
    {PwOp::Tanh, [](double x) { return std::tanh(x); }, 1.5},
    {PwOp::Erf, [](double x) { return std::erf(x); }, 1.5},
    {PwOp::Sigmoid, sigmoid_ref, 2.3},
    {PwOp::Silu, [](double x) { return x == -INFINITY ? -0.0 : x * sigmoid_ref(x); }, 3.0},
    {PwOp::Gelu, [](double x) { return x == -INFINITY ? -0.0 : x * 0.5 * std::erfc(-x * 0.70710678118654752440); }, 5.0},
    {PwOp::GeluTanh,
     [](double x) { return x < -1e3 ? -0.0 : x * sigmoid_ref(1.5957691216057308 * (x + 0.044715 * x * x * x)); }, 3.0},
    {PwOp::Sin, [](double x) { return std::sin(x); }, 1.6},
    {PwOp::Cos, [](double x) { return std::cos(x); }, 1.6},
    {PwOp::Sqrt, [](double x) { return std::sqrt(x); }, 0.5},
    {PwOp::Rsqrt, [](double x) { return 1 / std::sqrt(x); }, 1.5},
};

TEST_F(UsesIsa, Float32AccuracyOverTheWholeRange) {
  const std::vector<float>& x = sweep();
  std::vector<float> got(x.size());
  for (const Unary& f : kUnary) {
    tile_fn(f.op, Dtype::F32)(x.data(), nullptr, nullptr, got.data(), static_cast<int64_t>(x.size()));
    double worst = 0;
    float at = 0, value = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double want = f.reference(static_cast<double>(x[i]));
      const double u = ulps(got[i], want);
      if (u > worst) worst = u, at = x[i], value = got[i];
      if (want == 0 && got[i] == 0) {
        ASSERT_EQ(std::signbit(want), std::signbit(got[i])) << static_cast<int>(f.op) << " at " << x[i];
      }
    }
    std::printf("op %2d: %.3f ulp at %.9g (%.9g)\n", static_cast<int>(f.op), worst, static_cast<double>(at), static_cast<double>(value));
    EXPECT_LE(worst, f.bound) << "op " << static_cast<int>(f.op) << " at " << at;
  }
}

TEST_F(UsesIsa, Float32BitsAreTheSameOnEveryInstructionSet) {
  std::vector<float> x;
  for (size_t i = 0; i < sweep().size(); i += i < 64 ? 1 : 37) x.push_back(sweep()[i]);
  const int64_t n = static_cast<int64_t>(x.size());
  for (int op = 0; op < kPwOpCount; ++op) {
    std::vector<std::vector<float>> out;
    for (Isa isa : isas()) {
      simd::set_isa(isa);
      const TileFn fn = tile_fn(static_cast<PwOp>(op), Dtype::F32);
      if (!fn) continue;
      out.emplace_back(x.size());
      fn(x.data(), x.data() + 1, nullptr, out.back().data(), n - 1);
    }
    for (size_t k = 1; k < out.size(); ++k)
      for (size_t i = 0; i < x.size(); ++i) {
        if (std::isnan(out[k][i]) && std::isnan(out[0][i])) continue;
        ASSERT_EQ(std::bit_cast<uint32_t>(out[0][i]), std::bit_cast<uint32_t>(out[k][i]))
            << "op " << op << " at " << x[i] << ": " << out[0][i] << " and " << out[k][i];
      }
  }
}

TEST_F(UsesIsa, TilesOfEveryLengthStayInside) {
  for (Isa isa : isas()) {
    simd::set_isa(isa);
    for (int64_t n = 0; n < 70; ++n) {
      std::vector<float> x(static_cast<size_t>(n), 0.5f), y(static_cast<size_t>(n) + 2, -7.0f);
      tile_fn(PwOp::Exp, Dtype::F32)(x.data(), nullptr, nullptr, y.data() + 1, n);
      EXPECT_EQ(y.front(), -7.0f);
      EXPECT_EQ(y.back(), -7.0f);
      for (int64_t i = 0; i < n; ++i) EXPECT_EQ(y[static_cast<size_t>(i) + 1], y[1]);
    }
  }
}

}  // namespace
