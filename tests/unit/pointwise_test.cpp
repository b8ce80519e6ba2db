// Integer and cast tiles against plain arithmetic, and the interpreter of fused groups.
#include "backends/numpy/kernels/pointwise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <complex>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "backends/numpy/simd/convert.h"
#include "backends/numpy/simd/dispatch.h"
#include "mc/device.h"
#include "mc/error.h"

using namespace mc;
using namespace mc::kernels;
using simd::Isa;

namespace {

template <class T>
T one(PwOp op, Dtype d, T a, T b) {
  T out{};
  tile_fn(op, d)(&a, &b, nullptr, &out, 1);
  return out;
}

TEST(IntTiles, AllPairsOfBytesFollowPython) {
  for (Isa isa : {Isa::Scalar, Isa::Avx2}) {
    if (isa > simd::best_isa()) continue;
    simd::set_isa(isa);
    std::vector<int8_t> a, b;
    for (int x = -128; x < 128; ++x)
      for (int y = -128; y < 128; ++y)
        a.push_back(static_cast<int8_t>(x)), b.push_back(static_cast<int8_t>(y));
    const auto run = [&](PwOp op) {
      std::vector<int8_t> out(a.size());
      tile_fn(op, Dtype::I8)(a.data(), b.data(), nullptr, out.data(), static_cast<int64_t>(a.size()));
      return out;
    };
    const auto add = run(PwOp::Add), mul = run(PwOp::Multiply), div = run(PwOp::FloorDivide),
               mod = run(PwOp::Remainder), shl = run(PwOp::LeftShift), shr = run(PwOp::RightShift),
               top = run(PwOp::Maximum), sub = run(PwOp::Subtract);
    for (size_t i = 0; i < a.size(); ++i) {
      const int x = a[i], y = b[i];
      const int q = y == 0 ? 0 : static_cast<int>(std::floor(static_cast<double>(x) / y)),
                r = y == 0 ? 0 : x - q * y;
      ASSERT_EQ(add[i], static_cast<int8_t>(x + y));
      ASSERT_EQ(sub[i], static_cast<int8_t>(x - y));
      ASSERT_EQ(mul[i], static_cast<int8_t>(x * y));
      ASSERT_EQ(div[i], static_cast<int8_t>(q)) << x << " " << y;
      ASSERT_EQ(mod[i], static_cast<int8_t>(r)) << x << " " << y;
      ASSERT_EQ(shl[i], y < 0 || y > 7 ? 0 : static_cast<int8_t>(x << y));
      ASSERT_EQ(shr[i], y < 0 || y > 7 ? (x < 0 ? -1 : 0) : x >> y);
      ASSERT_EQ(top[i], std::max(x, y));
    }
  }
  simd::set_isa(simd::best_isa());
}

TEST(IntTiles, NeverTrapAndWrapAtTheEnds) {
  EXPECT_EQ(one<int64_t>(PwOp::FloorDivide, Dtype::I64, INT64_MIN, -1), INT64_MIN);
  EXPECT_EQ(one<int64_t>(PwOp::Remainder, Dtype::I64, INT64_MIN, -1), 0);
  EXPECT_EQ(one<int32_t>(PwOp::FloorDivide, Dtype::I32, INT32_MIN, 0), 0);
  EXPECT_EQ(one<uint64_t>(PwOp::Remainder, Dtype::U64, 7, 0), 0u);
  EXPECT_EQ(one<int32_t>(PwOp::Negative, Dtype::I32, INT32_MIN, 0), INT32_MIN);
  EXPECT_EQ(one<int32_t>(PwOp::Power, Dtype::I32, 3, 5), 243);
  EXPECT_EQ(one<int32_t>(PwOp::Power, Dtype::I32, 2, 40), 0);
  EXPECT_EQ(one<int32_t>(PwOp::Power, Dtype::I32, -1, -3), -1);
  EXPECT_EQ(one<int32_t>(PwOp::Power, Dtype::I32, 5, -2), 0);
  EXPECT_EQ(one<uint16_t>(PwOp::Multiply, Dtype::U16, 65535, 65535), 1);
  EXPECT_EQ(tile_fn(PwOp::Divide, Dtype::I32), nullptr);
  EXPECT_EQ(tile_fn(PwOp::Subtract, Dtype::Bool), nullptr);
  EXPECT_EQ(tile_fn(PwOp::LeftShift, Dtype::F32), nullptr);
}

// Checked with NumPy: np.floor_divide and np.remainder; quotients of infinities are the array API standard's.
TEST(FloatTiles, FloorDivideAndRemainderFollowTheStandard) {
  struct Case {
    double a, b, div, mod;
  };
  const double inf = INFINITY;
  const Case cases[] = {{7, 3, 2, 1},
                        {-7, 3, -3, 2},
                        {7, -3, -3, -2},
                        {-7, -3, 2, -1},
                        {6, 3, 2, 0.0},
                        {-6, 3, -2, 0.0},
                        {6, -3, -2, -0.0},
                        {5, inf, 0, 5},
                        {-5, inf, -0.0, inf},
                        {1, 0, inf, NAN},
                        {-1, 0, -inf, NAN},
                        {0, 0, NAN, NAN},
                        {1e20, 3, 33333333333333333333.0, 1},
                        {0.5, 0.25, 2, 0.0},
                        {inf, 2, inf, NAN},
                        {-0.5, 2, -1, 1.5}};
  for (const Case& c : cases) {
    const double div = one(PwOp::FloorDivide, Dtype::F64, c.a, c.b),
                 mod = one(PwOp::Remainder, Dtype::F64, c.a, c.b);
    const auto same = [](double x, double y) { return std::isnan(y) ? std::isnan(x) : x == y; };
    EXPECT_TRUE(same(div, c.div)) << c.a << " " << c.b << ": " << div;
    EXPECT_TRUE(same(mod, c.mod)) << c.a << " " << c.b << ": " << mod;
    if (mod == 0) {
      EXPECT_EQ(std::signbit(mod), std::signbit(c.b));
    }
  }
}

TEST(FloatTiles, RoundIsHalfEvenAndExtremaPropagateNan) {
  const float x[] = {0.5f, 1.5f, 2.5f, -0.5f, -1.5f, 8388609.0f, NAN},
              want[] = {0, 2, 2, -0.0f, -2, 8388609.0f, NAN};
  float y[7];
  tile_fn(PwOp::Round, Dtype::F32)(x, nullptr, nullptr, y, 7);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(y[i], want[i]);
  EXPECT_TRUE(std::signbit(y[3]));
  const float a[] = {NAN, 1, NAN, -INFINITY}, b[] = {1, NAN, NAN, 3};
  for (PwOp op : {PwOp::Maximum, PwOp::Minimum}) {
    tile_fn(op, Dtype::F32)(a, b, nullptr, y, 4);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(std::isnan(y[i]));
    EXPECT_EQ(y[3], op == PwOp::Maximum ? 3 : -INFINITY);
  }
}

TEST(ComplexTiles, AgreeWithTheStandardLibraryInLongDouble) {
  using C = std::complex<double>;
  using L = std::complex<long double>;
  std::mt19937_64 g(4);
  const auto next = [&](double top) { return (static_cast<double>(g() >> 11) * 0x1p-52 - 1) * top; };
  struct F {
    PwOp op;
    L (*f)(L);
  };
  const F functions[] = {
      {PwOp::Exp, [](L z) { return std::exp(z); }},     {PwOp::Log, [](L z) { return std::log(z); }},
      {PwOp::Sqrt, [](L z) { return std::sqrt(z); }},   {PwOp::Sin, [](L z) { return std::sin(z); }},
      {PwOp::Cos, [](L z) { return std::cos(z); }},     {PwOp::Tanh, [](L z) { return std::tanh(z); }},
      {PwOp::Reciprocal, [](L z) { return L(1) / z; }}, {PwOp::Tan, [](L z) { return std::tan(z); }},
      {PwOp::Sinh, [](L z) { return std::sinh(z); }},   {PwOp::Cosh, [](L z) { return std::cosh(z); }}};
  for (const F& f : functions)
    for (int i = 0; i < 3000; ++i) {
      const double top = i % 3 == 0 ? 1.0 : i % 3 == 1 ? 5.0 : 30.0;
      const C z(next(top), next(top));
      C got;
      tile_fn(f.op, Dtype::C128)(&z, nullptr, nullptr, &got, 1);
      const L want = f.f(L(z));
      // Normwise: each part to a few units in the last place of the whole.
      ASSERT_LE(std::abs(L(got) - want), 8 * 2.2e-16L * std::abs(want))
          << pw_name(f.op) << " " << z << " " << got;
    }
  for (int i = 0; i < 1000; ++i) {
    const C a(next(10), next(10)), b(next(10), next(10));
    C got;
    tile_fn(PwOp::Divide, Dtype::C128)(&a, &b, nullptr, &got, 1);
    ASSERT_LE(std::abs(L(got) - L(a) / L(b)), 8 * 2.2e-16L * std::abs(L(a) / L(b)));
    double m;
    tile_fn(PwOp::Abs, Dtype::C128)(&a, nullptr, nullptr, &m, 1);
    ASSERT_NEAR(m, std::abs(a), 1e-15 * std::abs(a));
  }
  const C big(1e300, 1e300), q(3e300, -4e300);
  C r;
  tile_fn(PwOp::Divide, Dtype::C128)(&big, &q, nullptr, &r, 1);
  EXPECT_NEAR(r.real(), -0.04, 1e-15);
  EXPECT_NEAR(r.imag(), 0.28, 1e-15);
}

TEST(Cast, FloatsToIntegersTruncateAndSaturate) {
  const float x[] = {1.9f, -1.9f, 300.0f, -300.0f, NAN, INFINITY, -INFINITY, 3e9f, 127.5f, -128.9f};
  int8_t i8[10];
  cast_fn(Dtype::F32, Dtype::I8)(x, nullptr, nullptr, i8, 10);
  const int8_t want8[] = {1, -1, 127, -128, 0, 127, -128, 127, 127, -128};
  EXPECT_EQ(0, std::memcmp(i8, want8, sizeof i8));
  uint32_t u32[10];
  cast_fn(Dtype::F32, Dtype::U32)(x, nullptr, nullptr, u32, 10);
  const uint32_t want32[] = {1, 0, 300, 0, 0, UINT32_MAX, 0, 3000000000u, 127, 0};
  EXPECT_EQ(0, std::memcmp(u32, want32, sizeof u32));
  const double d[] = {9.3e18, -9.3e18, 1.8e19, 9223372036854774784.0};
  int64_t i64[4];
  cast_fn(Dtype::F64, Dtype::I64)(d, nullptr, nullptr, i64, 4);
  EXPECT_EQ(i64[0], INT64_MAX);
  EXPECT_EQ(i64[1], INT64_MIN);
  EXPECT_EQ(i64[2], INT64_MAX);
  EXPECT_EQ(i64[3], 9223372036854774784);
}

TEST(Cast, EveryPairKeepsSmallWholeNumbers) {
  for (int from = 0; from < kDtypeCount; ++from)
    for (int to = 0; to < kDtypeCount; ++to) {
      const double x[] = {0, 1, 2, 100};
      alignas(16) uint8_t a[64], b[64];
      double back[4];
      cast_fn(Dtype::F64, static_cast<Dtype>(from))(x, nullptr, nullptr, a, 4);
      cast_fn(static_cast<Dtype>(from), static_cast<Dtype>(to))(a, nullptr, nullptr, b, 4);
      cast_fn(static_cast<Dtype>(to), Dtype::F64)(b, nullptr, nullptr, back, 4);
      const bool boolean = from == 0 || to == 0;
      for (int i = 0; i < 4; ++i)
        ASSERT_EQ(back[i], boolean && x[i] > 0 ? 1.0 : x[i]) << from << " to " << to;
    }
  const int32_t wide = 0x12345;
  int8_t low;
  cast_fn(Dtype::I32, Dtype::I8)(&wide, nullptr, nullptr, &low, 1);
  EXPECT_EQ(low, 0x45);
}

// ---- the interpreter ----

template <class F>
void everywhere(F f) {
  for (Isa isa : {Isa::Scalar, Isa::Avx2, Isa::Avx512}) {
    if (isa > simd::best_isa()) continue;
    simd::set_isa(isa);
    for (int threads : {1, 3}) {
      set_num_threads(threads);
      f();
    }
  }
  simd::set_isa(simd::best_isa());
  set_num_threads(0);
}

PwProgram chain() {  // max((2x+1)·x - 0.5, 0)
  PwProgram p;
  const float c[] = {2, 1, 0.5f, 0};
  const int x = p.input(Dtype::F32);
  int v = p.op(PwOp::Multiply, x, p.constant(Dtype::F32, &c[0]));
  v = p.op(PwOp::Add, v, p.constant(Dtype::F32, &c[1]));
  v = p.op(PwOp::Multiply, v, x);
  v = p.op(PwOp::Subtract, v, p.constant(Dtype::F32, &c[2]));
  v = p.op(PwOp::Maximum, v, p.constant(Dtype::F32, &c[3]));
  p.output(v);
  p.finish();
  return p;
}

TEST(Program, PairsOfStepsHaveTheBitsOfSingleOnes) {
  const PwOp ops[] = {PwOp::Add, PwOp::Subtract, PwOp::Multiply, PwOp::Maximum, PwOp::Minimum};
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> special{0.0f, -0.0f, 1.0f, -2.5f, inf, -inf, nan, 3e38f, 1e-40f, 0.1f, 7.0f};
  const int64_t n = 1337;
  std::vector<float> a(n), b(n), c(n);
  for (size_t i = 0; i < n; ++i) {
    a[i] = special[i % 11];
    b[i] = special[i / 11 % 11];
    c[i] = special[i / 121 % 11];
  }
  const float number = 1.5f;
  for (PwOp first : ops)
    for (PwOp second : ops)
      for (const bool swapped : {false, true})
        for (const bool constant : {false, true}) {
          auto program = [&](bool pairs) {
            PwProgram p;
            const int x = p.input(Dtype::F32), y = p.input(Dtype::F32), z = p.input(Dtype::F32);
            const int other = constant ? p.constant(Dtype::F32, &number) : z;
            const int v = p.op(first, x, y);
            p.output(swapped ? p.op(second, other, v) : p.op(second, v, other));
            if (pairs) p.finish();
            return p;
          };
          std::vector<float> want;
          for (const bool pairs : {false, true}) {
            const PwProgram p = program(pairs);
            everywhere([&] {
              std::vector<float> out(n);
              const int64_t shape[] = {n}, one[] = {1}, none[] = {0};
              const PwProgram::Operand in[] = {
                  {a.data(), one}, {b.data(), swapped ? none : one}, {c.data(), one}};
              void* outs[] = {out.data()};
              p.run(in, outs, shape);
              if (want.empty()) want = out;
              for (size_t i = 0; i < n; ++i)
                ASSERT_TRUE((std::isnan(out[i]) && std::isnan(want[i])) ||
                            std::memcmp(&out[i], &want[i], 4) == 0)
                    << pw_name(first) << " " << pw_name(second) << " at " << i << ": " << out[i] << " "
                    << want[i];
            });
          }
        }
}

TEST(Program, ChainOfEveryLengthStaysInside) {
  const PwProgram p = chain();
  for (int64_t n : {0, 1, 15, 1023, 1024, 1025, 5000, 300000}) {
    std::vector<float> x(static_cast<size_t>(n));
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 1000) * 0.01f - 5;
    everywhere([&] {
      std::vector<float> out(static_cast<size_t>(n) + 2, -9.0f);
      const int64_t shape[] = {n}, strides[] = {1};
      const PwProgram::Operand in[] = {{x.data(), strides}};
      void* outs[] = {out.data() + 1};
      p.run(in, outs, shape);
      ASSERT_EQ(out.front(), -9.0f);
      ASSERT_EQ(out.back(), -9.0f);
      for (size_t i = 0; i < x.size(); ++i) {
        const float want = (x[i] * 2.0f + 1.0f) * x[i] - 0.5f;
        ASSERT_EQ(out[i + 1], want > 0 ? want : 0.0f);
      }
    });
  }
}

TEST(Program, LargeOutputsAreStreamedWhole) {
  const PwProgram p = chain();
  const int64_t n = (int64_t{9} << 20) * 4 + 77;  // past any cache of 128 MiB
  std::vector<float> x(static_cast<size_t>(n)), out(static_cast<size_t>(n) + 3, -9.0f);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 4096) * 0.001f;
  const int64_t shape[] = {n}, strides[] = {1};
  const PwProgram::Operand in[] = {{x.data(), strides}};
  // Straight past the caches where the output begins on a line, else by way of a buffer.
  std::unique_ptr<float, decltype(&std::free)> lines(
      static_cast<float*>(std::aligned_alloc(64, (static_cast<size_t>(n) + 32) / 16 * 64)), &std::free);
  lines.get()[n] = -9.0f;
  void* aligned[] = {lines.get()};
  p.run(in, aligned, shape);
  EXPECT_EQ(lines.get()[n], -9.0f);
  void* outs[] = {out.data() + 1};  // not aligned for vectors
  p.run(in, outs, shape);
  EXPECT_EQ(std::memcmp(lines.get(), out.data() + 1, static_cast<size_t>(n) * 4), 0);
  EXPECT_EQ(out.front(), -9.0f);
  EXPECT_EQ(out.back(), -9.0f);
  for (size_t i = 0; i < x.size(); ++i) {
    const float want = (x[i] * 2.0f + 1.0f) * x[i] - 0.5f;
    ASSERT_EQ(out[i + 1], want > 0 ? want : 0.0f) << i;
  }
}

// Strides of every kind: row, column, scalar, transposed, reversed.
TEST(Program, BroadcastTransposedAndReversedInputs) {
  for (const auto& [R, C] :
       {std::pair<int64_t, int64_t>{3, 5}, {40, 700}, {700, 3}, {1, 2000}, {2000, 1}, {33, 1030}}) {
    std::vector<float> m(static_cast<size_t>(R * C)), t(m.size()), row(static_cast<size_t>(C)),
        col(static_cast<size_t>(R));
    std::iota(m.begin(), m.end(), 1.0f), std::iota(t.begin(), t.end(), 0.5f),
        std::iota(row.begin(), row.end(), 3.0f), std::iota(col.begin(), col.end(), -2.0f);
    const float scalar = 0.25f;
    PwProgram p;
    int v = p.op(PwOp::Add, p.input(Dtype::F32), p.input(Dtype::F32));
    v = p.op(PwOp::Multiply, v, p.input(Dtype::F32));
    v = p.op(PwOp::Subtract, v, p.input(Dtype::F32));
    v = p.op(PwOp::Add, v, p.input(Dtype::F32));
    v = p.op(PwOp::Add, v, p.input(Dtype::F32));
    p.output(v);
    everywhere([&] {
      std::vector<float> out(m.size());
      const int64_t shape[] = {R, C}, sm[] = {C, 1}, st[] = {1, R}, srow[] = {0, 1}, scol[] = {1, 0},
                    s0[] = {0, 0}, srev[] = {C, -1};
      const PwProgram::Operand in[] = {{m.data(), sm},     {t.data(), st}, {row.data(), srow},
                                       {col.data(), scol}, {&scalar, s0},  {m.data() + C - 1, srev}};
      void* outs[] = {out.data()};
      p.run(in, outs, shape);
      for (int64_t i = 0; i < R; ++i)
        for (int64_t j = 0; j < C; ++j) {
          const size_t k = static_cast<size_t>(i * C + j);
          const float want = ((m[k] + t[static_cast<size_t>(j * R + i)]) * row[static_cast<size_t>(j)] -
                              col[static_cast<size_t>(i)]) +
                             scalar + m[static_cast<size_t>(i * C + C - 1 - j)];
          ASSERT_EQ(out[k], want) << i << " " << j;
        }
    });
  }
}

TEST(Program, DtypesWhereAndSeveralOutputs) {
  PwProgram p;
  const int a = p.input(Dtype::I32), h = p.input(Dtype::BF16);
  const int f = p.cast(a, Dtype::F32), g = p.cast(h, Dtype::F32);
  const int less = p.op(PwOp::Less, f, g);
  const int pick = p.op(PwOp::Where, less, f, g);
  const int wide = p.cast(pick, Dtype::F64);
  p.output(less), p.output(pick), p.output(wide), p.output(a), p.output(pick);
  EXPECT_EQ(p.dtype(less), Dtype::Bool);
  const int64_t n = 5000;
  std::vector<int32_t> x(n);
  std::vector<bfloat16> y(n);
  for (size_t i = 0; i < n; ++i)
    x[i] = static_cast<int32_t>(i % 97) - 48, y[i] = simd::to_bf16(static_cast<float>(i % 31) - 15);
  everywhere([&] {
    std::vector<uint8_t> o0(n);
    std::vector<float> o1(n), o4(n);
    std::vector<double> o2(n);
    std::vector<int32_t> o3(n);
    const int64_t shape[] = {n}, s[] = {1};
    const PwProgram::Operand in[] = {{x.data(), s}, {y.data(), s}};
    void* outs[] = {o0.data(), o1.data(), o2.data(), o3.data(), o4.data()};
    p.run(in, outs, shape);
    for (size_t i = 0; i < n; ++i) {
      const float u = static_cast<float>(x[i]), w = simd::to_f32(y[i]), want = u < w ? u : w;
      ASSERT_EQ(o0[i], u < w);
      ASSERT_EQ(o1[i], want);
      ASSERT_EQ(o2[i], static_cast<double>(want));
      ASSERT_EQ(o3[i], x[i]);
      ASSERT_EQ(o4[i], want);
    }
  });
}

// out0 = x + 1 lies in x's memory and is written before x is read again.
TEST(Program, AnOutputMayTakeAnInputsMemory) {
  PwProgram p;
  const float c1 = 1, c2 = 2;
  const int x = p.input(Dtype::F32);
  const int a = p.op(PwOp::Add, x, p.constant(Dtype::F32, &c1));
  const int b = p.op(PwOp::Multiply, x, p.constant(Dtype::F32, &c2));
  p.output(a), p.output(b);
  std::vector<float> m(9000), o(9000);
  std::iota(m.begin(), m.end(), 0.0f);
  const int64_t shape[] = {90, 100}, s[] = {100, 1};
  const PwProgram::Operand in[] = {{m.data(), s}};
  void* outs[] = {m.data(), o.data()};
  p.run(in, outs, shape);
  for (size_t i = 0; i < m.size(); ++i) {
    ASSERT_EQ(m[i], static_cast<float>(i) + 1);
    ASSERT_EQ(o[i], 2 * static_cast<float>(i));
  }
}

TEST(Program, ManyLiveValuesAndLongChains) {
  PwProgram p;
  const int x = p.input(Dtype::F64);
  std::vector<int> v = {x};
  for (int i = 0; i < 60; ++i) v.push_back(p.op(PwOp::Add, v.back(), x));
  int sum = v[1];
  for (size_t i = 2; i < v.size(); ++i) sum = p.op(PwOp::Add, sum, v[i]);
  p.output(sum);
  std::vector<double> in(3000), out(3000);
  std::iota(in.begin(), in.end(), 0.0);
  const int64_t shape[] = {3000}, s[] = {1};
  const PwProgram::Operand operand[] = {{in.data(), s}};
  void* outs[] = {out.data()};
  p.run(operand, outs, shape);
  for (size_t i = 0; i < in.size(); ++i) ASSERT_EQ(out[i], in[i] * (61 * 62 / 2 - 1));
}

TEST(Program, RefusesWhatHasNoMeaning) {
  PwProgram p;
  const int a = p.input(Dtype::F32), b = p.input(Dtype::I32);
  EXPECT_THROW(p.op(PwOp::Add, a, b), Error);
  EXPECT_THROW(p.op(PwOp::LeftShift, a, a), Error);
  EXPECT_THROW(p.op(PwOp::Add, a), Error);
  EXPECT_THROW(p.op(PwOp::Where, a, a, a), Error);
  EXPECT_THROW(p.cast(17, Dtype::F32), Error);
  EXPECT_THROW(p.output(-1), Error);
}

TEST(Program, AScalarHasNoDimensions) {
  const PwProgram p = chain();
  float x = 3, y = 0;
  const PwProgram::Operand in[] = {{&x, nullptr}};
  void* outs[] = {&y};
  p.run(in, outs, {});
  EXPECT_EQ(y, 20.5f);
}

}  // namespace
