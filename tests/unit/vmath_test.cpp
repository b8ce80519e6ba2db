// Own math functions against the C library in a wider format, and the same bits on every instruction set.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
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
    std::vector<float> v = {0.0f,
                            -0.0f,
                            1.0f,
                            -1.0f,
                            0.5f,
                            2.0f,
                            INFINITY,
                            -INFINITY,
                            NAN,
                            -NAN,
                            1e-45f,
                            -1e-45f,
                            88.72283f,
                            88.72284f,
                            -87.33655f,
                            -103.97207f,
                            -103.97209f,
                            3.4028235e38f,
                            -3.4028235e38f,
                            1.1754944e-38f,
                            0.625f,
                            0.62499994f,
                            1.57079637f,
                            3.14159274f,
                            16367173.0f * 0x1p72f};
    for (uint64_t u = 0; u < 0x100000000; u += 641)
      v.push_back(std::bit_cast<float>(static_cast<uint32_t>(u)));
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
    {PwOp::Gelu,
     [](double x) { return x == -INFINITY ? -0.0 : x * 0.5 * std::erfc(-x * 0.70710678118654752440); }, 5.0},
    {PwOp::GeluTanh,
     [](double x) {
       return x < -1e3 ? -0.0 : x * sigmoid_ref(1.5957691216057308 * (x + 0.044715 * x * x * x));
     },
     3.0},
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
    std::printf("float32 %-8s %.3f ulp at %.9g (%.9g)\n", pw_name(f.op), worst, static_cast<double>(at),
                static_cast<double>(value));
    EXPECT_LE(worst, f.bound) << "op " << static_cast<int>(f.op) << " at " << at;
  }
}

// The same in float64, against long double.
double ulps64(double got, long double want) {
  if (std::isnan(want) || std::isnan(got)) return std::isnan(want) && std::isnan(got) ? 0 : INFINITY;
  const double rounded = static_cast<double>(want);
  if (std::isinf(rounded) || std::isinf(got)) return rounded == got ? 0 : INFINITY;
  const int e = std::max(std::ilogb(want == 0 ? 1e-4000L : want), -1022);
  return static_cast<double>(std::abs(static_cast<long double>(got) - want) / std::ldexp(1.0L, e - 52));
}

const std::vector<double>& sweep64() {
  static const std::vector<double> values = [] {
    std::vector<double> v = {0.0,
                             -0.0,
                             1.0,
                             -1.0,
                             0.5,
                             2.0,
                             INFINITY,
                             -INFINITY,
                             NAN,
                             5e-324,
                             -5e-324,
                             709.78,
                             709.79,
                             -745.13,
                             -745.14,
                             1.7976931348623157e308,
                             2.2250738585072014e-308,
                             6381956970095103.0 * 0x1p797};
    // Every exponent with random mantissas, then the everyday range densely.
    std::mt19937_64 g(7);
    for (int i = 0; i < 200000; ++i) v.push_back(std::bit_cast<double>(g()));
    for (double top : {1e-3, 0.6, 1.5, 3.0, 30.0, 800.0, 1e5, 1e9})
      for (int i = 0; i < 50000; ++i) v.push_back((static_cast<double>(g() >> 11) * 0x1p-52 - 1.0) * top);
    for (int i = 0; i < 50000; ++i)
      v.push_back(1.0 + (static_cast<double>(g() >> 11) * 0x1p-52 - 1.0) * std::ldexp(1.0, -(i % 50)));
    return v;
  }();
  return values;
}

long double sigmoid_ref64(long double x) { return 1 / (1 + std::exp(-x)); }
// erfinv by Newton's method on the C library's long double functions.
long double erfinv_ref(long double x) {
  if (!(std::abs(x) < 1))
    return std::abs(x) == 1 ? x * static_cast<long double>(INFINITY) : static_cast<long double>(NAN);
  const long double a = std::abs(x), c = 1 - a;
  long double y = a < 0.9L ? a : std::sqrt(-std::log(c));
  for (int i = 0; i < 100; ++i) {
    // In the tail on log(erfc), which Newton's method finds gentle.
    const long double ec = std::erfc(y), d = 2 / std::sqrt(M_PIl) * std::exp(-y * y);
    const long double step = a < 0.5L ? (a - std::erf(y)) / d : std::log(ec / c) * ec / d;
    y += step;
    if (std::abs(step) < 1e-19L * y) break;
  }
  return std::copysign(y, x);
}
struct Unary64 {
  PwOp op;
  long double (*reference)(long double);
  double bound;
};
const Unary64 kUnary64[] = {
    {PwOp::Exp, [](long double x) { return std::exp(x); }, 1.1},
    {PwOp::Exp2, [](long double x) { return std::exp2(x); }, 1.1},
    {PwOp::Expm1, [](long double x) { return std::expm1(x); }, 2.0},
    {PwOp::Log, [](long double x) { return std::log(x); }, 1.0},
    {PwOp::Log2, [](long double x) { return std::log2(x); }, 1.5},
    {PwOp::Log1p, [](long double x) { return std::log1p(x); }, 1.5},
    {PwOp::Sin, [](long double x) { return std::sin(x); }, 1.0},
    {PwOp::Cos, [](long double x) { return std::cos(x); }, 1.0},
    {PwOp::Tan, [](long double x) { return std::tan(x); }, 2.5},
    {PwOp::Arcsin, [](long double x) { return std::asin(x); }, 1.5},
    {PwOp::Arccos, [](long double x) { return std::acos(x); }, 1.5},
    {PwOp::Arctan, [](long double x) { return std::atan(x); }, 2.0},
    {PwOp::Sinh, [](long double x) { return std::sinh(x); }, 3.0},
    {PwOp::Cosh, [](long double x) { return std::cosh(x); }, 2.0},
    {PwOp::Tanh, [](long double x) { return std::tanh(x); }, 3.0},
    {PwOp::Erf, [](long double x) { return std::erf(x); }, 1.5},
    {PwOp::Erfinv, erfinv_ref, 4.0},
    {PwOp::Sigmoid, sigmoid_ref64, 2.5},
    {PwOp::Silu, [](long double x) { return std::isinf(x) && x < 0 ? -0.0L : x * sigmoid_ref64(x); }, 3.0},
    {PwOp::Gelu,
     [](long double x) { return std::isinf(x) && x < 0 ? -0.0L : x / 2 * std::erfc(-x / std::sqrt(2.0L)); },
     6.0},
};

TEST_F(UsesIsa, Float64AccuracyOverTheWholeRange) {
  const std::vector<double>& x = sweep64();
  std::vector<double> got(x.size());
  for (const Unary64& f : kUnary64) {
    tile_fn(f.op, Dtype::F64)(x.data(), nullptr, nullptr, got.data(), static_cast<int64_t>(x.size()));
    double worst = 0, at = 0, value = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const long double want = f.reference(static_cast<long double>(x[i]));
      const double u = ulps64(got[i], want);
      if (u > worst) worst = u, at = x[i], value = got[i];
      if (want == 0 && got[i] == 0) {
        ASSERT_EQ(std::signbit(want), std::signbit(got[i])) << pw_name(f.op) << " at " << x[i];
      }
    }
    std::printf("float64 %-8s %.3f ulp at %.17g (%.17g)\n", pw_name(f.op), worst, at, value);
    EXPECT_LE(worst, f.bound) << pw_name(f.op) << " at " << at;
  }
}

TEST_F(UsesIsa, RareFloat32FunctionsAreNearlyCorrectlyRounded) {
  const std::vector<float>& all = sweep();
  std::vector<float> x, got;
  for (size_t i = 0; i < all.size(); i += i < 64 ? 1 : 11) x.push_back(all[i]);
  got.resize(x.size());
  for (const Unary64& f : kUnary64) {
    if (f.op != PwOp::Expm1 && f.op != PwOp::Exp2 && f.op != PwOp::Log1p && f.op != PwOp::Log2 &&
        f.op != PwOp::Tan && f.op != PwOp::Arcsin && f.op != PwOp::Arccos && f.op != PwOp::Arctan &&
        f.op != PwOp::Sinh && f.op != PwOp::Cosh && f.op != PwOp::Erfinv)
      continue;
    tile_fn(f.op, Dtype::F32)(x.data(), nullptr, nullptr, got.data(), static_cast<int64_t>(x.size()));
    double worst = 0;
    float at = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double u = ulps(got[i], static_cast<double>(f.reference(static_cast<long double>(x[i]))));
      if (u > worst) worst = u, at = x[i];
    }
    std::printf("float32 %-8s %.3f ulp at %.9g\n", pw_name(f.op), worst, static_cast<double>(at));
    EXPECT_LE(worst, 0.51) << pw_name(f.op) << " at " << at;
  }
}

TEST_F(UsesIsa, PowersAndArctan2) {
  std::mt19937_64 g(9);
  const double special[] = {0.0,
                            -0.0,
                            1,
                            -1,
                            2,
                            -2,
                            3,
                            -3,
                            0.5,
                            -0.5,
                            INFINITY,
                            -INFINITY,
                            NAN,
                            1e300,
                            -1e300,
                            1e-300,
                            5e-324,
                            9007199254740993.0,
                            4503599627370497.5,
                            -7,
                            1e19,
                            1e20};
  std::vector<double> x, y;
  for (double a : special)
    for (double b : special) x.push_back(a), y.push_back(b);
  for (int i = 0; i < 400000; ++i) {
    const double u = static_cast<double>(g() >> 11) * 0x1p-53,
                 w = static_cast<double>(g() >> 11) * 0x1p-52 - 1;
    if (i % 3 == 0)
      x.push_back(std::exp((u - 0.5) * 600)), y.push_back(w * 3);
    else if (i % 3 == 1)
      x.push_back(1 + (u - 0.5) * 1e-3), y.push_back(w * 7e5);
    else
      x.push_back(u * 4), y.push_back(w * 500);
  }
  const size_t n = x.size();
  std::vector<double> p(n), t(n);
  tile_fn(PwOp::Power, Dtype::F64)(x.data(), y.data(), nullptr, p.data(), static_cast<int64_t>(n));
  tile_fn(PwOp::Arctan2, Dtype::F64)(x.data(), y.data(), nullptr, t.data(), static_cast<int64_t>(n));
  std::vector<float> xf(n), yf(n), pf(n), tf(n);
  for (size_t i = 0; i < n; ++i) xf[i] = static_cast<float>(x[i]), yf[i] = static_cast<float>(y[i]);
  tile_fn(PwOp::Power, Dtype::F32)(xf.data(), yf.data(), nullptr, pf.data(), static_cast<int64_t>(n));
  tile_fn(PwOp::Arctan2, Dtype::F32)(xf.data(), yf.data(), nullptr, tf.data(), static_cast<int64_t>(n));
  double worst[4] = {};
  for (size_t i = 0; i < n; ++i) {
    const double u[4] = {
        ulps64(p[i], std::pow(static_cast<long double>(x[i]), static_cast<long double>(y[i]))),
        ulps64(t[i], std::atan2(static_cast<long double>(x[i]), static_cast<long double>(y[i]))),
        ulps(pf[i], std::pow(static_cast<double>(xf[i]), static_cast<double>(yf[i]))),
        ulps(tf[i], std::atan2(static_cast<double>(xf[i]), static_cast<double>(yf[i])))};
    const double bound[4] = {1.5, 2.0, 0.51, 0.51};
    for (int k = 0; k < 4; ++k) {
      worst[k] = std::max(worst[k], u[k]);
      ASSERT_LE(u[k], bound[k]) << "case " << k << ": " << x[i] << " " << y[i] << " got " << p[i] << " "
                                << t[i] << " " << pf[i] << " " << tf[i];
    }
  }
  std::printf("pow %.3f, arctan2 %.3f ulp; float32 %.3f %.3f\n", worst[0], worst[1], worst[2], worst[3]);
}

// Every op and dtype: the same bytes on every instruction set (any NaN equals any NaN).
TEST_F(UsesIsa, EveryOpHasTheSameBitsOnEveryInstructionSet) {
  std::mt19937_64 g(3);
  constexpr size_t n = 3000;
  int checked = 0;
  for (int d = 0; d < kDtypeCount; ++d) {
    const Dtype dtype = static_cast<Dtype>(d);
    const size_t item = itemsize(dtype);
    std::vector<uint8_t> in[3], flags(n);
    for (int k = 0; k < 3; ++k) {
      in[k].resize(n * item);
      for (uint8_t& b : in[k]) b = static_cast<uint8_t>(g());
      const auto put = [&](size_t i, double v) {
        const double pair[2] = {v, v / 3};
        if (dtype == Dtype::C128)
          std::memcpy(&in[k][i * item], pair, 16);
        else if (dtype == Dtype::C64) {
          const float f[2] = {static_cast<float>(v), static_cast<float>(v / 3)};
          std::memcpy(&in[k][i * item], f, 8);
        } else
          cast_fn(Dtype::F64, dtype)(&v, nullptr, nullptr, &in[k][i * item], 1);
      };
      const double special[] = {0.0, -0.0, 1, -1, 2, -2, 0.5, 3, 7, INFINITY, -INFINITY, NAN};
      for (size_t i = 0; i < n / 2; ++i)
        put(i, i < 144 ? special[k ? i / 12 : i % 12] : (static_cast<double>(g() % 20001) - 10000) / 500);
    }
    if (dtype == Dtype::Bool)
      for (auto& v : in)
        for (uint8_t& b : v) b &= 1;
    for (uint8_t& b : flags) b = g() & 1;
    for (int o = 0; o < kPwOpCount; ++o) {
      const PwOp op = static_cast<PwOp>(o);
      const Dtype result = tile_result(op, dtype);
      std::vector<std::vector<uint8_t>> out;
      for (Isa isa : isas()) {
        simd::set_isa(isa);
        const TileFn fn = tile_fn(op, dtype);
        if (!fn) continue;
        const bool where = op == PwOp::Where;
        // Lengths of 1 to 40 as well, so that tails are seen.
        out.emplace_back(n * itemsize(result));
        for (size_t at = 0, len = 1; at < n; at += len, len = len < 40 ? len + 1 : n - at)
          fn(where ? flags.data() + at : in[0].data() + at * item,
             pw_inputs(op) < 2 ? nullptr : in[where ? 0 : 1].data() + at * item,
             where ? in[1].data() + at * item : nullptr, out.back().data() + at * itemsize(result),
             static_cast<int64_t>(len));
        if (is_inexact(result)) {
          // One pattern for every NaN of a part.
          const size_t part = itemsize(real_dtype(result));
          for (size_t i = 0; i < out.back().size(); i += part) {
            double v = 0;
            cast_fn(real_dtype(result), Dtype::F64)(&out.back()[i], nullptr, nullptr, &v, 1);
            if (std::isnan(v)) std::memset(&out.back()[i], 0xff, part);
          }
        }
      }
      for (size_t k = 1; k < out.size(); ++k)
        for (size_t i = 0; i < out[k].size(); ++i)
          ASSERT_EQ(out[0][i], out[k][i])
              << pw_name(op) << " of " << dtype_name(dtype) << ", element " << i / itemsize(result);
      checked += out.size() > 1;
    }
  }
  std::printf("%d pairs of op and dtype\n", checked);
  if (isas().size() > 1) {
    EXPECT_GT(checked, 400);
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
