// The float micro-kernels and 16-bit conversions of every instruction set against the scalar definition, bit
// for bit.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "backends/numpy/simd/convert.h"
#include "backends/numpy/simd/float_kernels.h"

using namespace mc;
using namespace mc::simd;

namespace {

std::vector<Isa> all_isas() {
  std::vector<Isa> out;
  for (Isa isa : {Isa::Scalar, Isa::Avx2, Isa::Avx512})
    if (isa <= best_isa()) out.push_back(isa);
  return out;
}
struct RestoreIsa {
  ~RestoreIsa() { set_isa(best_isa()); }
};

template <class T>
std::vector<T> noise(size_t n, unsigned seed) {
  std::mt19937 gen(seed);
  std::normal_distribution<double> d;
  std::vector<T> out(n);
  for (T& x : out) x = static_cast<T>(d(gen));
  return out;
}

template <class T>
void check_tiles() {
  RestoreIsa restore;
  const T guard = static_cast<T>(-7777);
  for (Isa isa : all_isas()) {
    set_isa(isa);
    const auto& kernels = float_kernels<T>();
    const int mr = kernels.tile.mr, nr = kernels.tile.nr;
    for (int64_t kc : {1, 2, 3, 5, 64, 255, 256}) {
      const auto a = noise<T>(kc * mr, 1), b = noise<T>(kc * nr, 2);
      const int64_t ldc = nr + 3;
      for (int m = 1; m <= mr; ++m)
        for (int n = 1; n <= nr; ++n)
          for (bool add : {false, true}) {
            if (kc > 5 && n % 5 != 0 && n != nr) continue;
            auto c = noise<T>((m + 1) * ldc, 3);
            for (int i = 0; i <= m; ++i)
              for (int64_t j = i == m ? 0 : n; j < ldc; ++j) c[i * ldc + j] = guard;
            auto want = c, direct = c;
            for (int i = 0; i < m; ++i)
              for (int j = 0; j < n; ++j) {
                T p = 0;
                for (int64_t k = 0; k < kc; ++k) p = std::fma(a[k * mr + i], b[k * nr + j], p);
                want[i * ldc + j] = add ? want[i * ldc + j] + p : p;
              }
            kernels.tile.run(m, n, kc, a.data(), b.data(), c.data(), ldc, add);
            ASSERT_EQ(0, std::memcmp(c.data(), want.data(), c.size() * sizeof(T)))
                << isa_name(isa) << " m " << m << " n " << n << " kc " << kc << " add " << add;
            kernels.direct(m, n, kc, a.data(), mr, b.data(), nr, direct.data(), ldc, add);
            ASSERT_EQ(0, std::memcmp(direct.data(), want.data(), c.size() * sizeof(T)))
                << isa_name(isa) << " direct m " << m << " n " << n << " kc " << kc << " add " << add;
          }
    }
  }
}

}  // namespace

TEST(Ukernel, F32MatchesTheDefinition) { check_tiles<float>(); }
TEST(Ukernel, F64MatchesTheDefinition) { check_tiles<double>(); }

TEST(Pack, EveryStrideGivesTheSamePanel) {
  RestoreIsa restore;
  for (Isa isa : all_isas()) {
    set_isa(isa);
    const auto& kernels = float_kernels<float>();
    for (int width : {kernels.tile.mr, kernels.tile.nr})
      for (int lanes = 1; lanes <= width; ++lanes)
        for (int64_t kc : {1, 7, 16, 33}) {
          const int64_t big = 70;
          const auto src = noise<float>(big * big, 4);
          for (auto [ls, ks] : {std::pair<int64_t, int64_t>{1, big},
                                {big, 1},
                                {2, big},
                                {-1, big},
                                {big, -1},
                                {0, 1},
                                {1, 0}}) {
            const float* s = src.data() + (ls < 0 ? -ls * (width - 1) : 0) + (ks < 0 ? -ks * (kc - 1) : 0);
            std::vector<float> dst(width * kc + kPackSlack, 5.0f);
            kernels.pack(dst.data(), width, lanes, kc, s, Dtype::F32, ls, ks);
            for (int64_t k = 0; k < kc; ++k)
              for (int j = 0; j < width; ++j)
                ASSERT_EQ(dst[k * width + j], j < lanes ? s[j * ls + k * ks] : 0.0f)
                    << isa_name(isa) << " width " << width << " lanes " << lanes << " k " << k << " lane "
                    << j;
          }
        }
  }
}

TEST(Convert, Float16RoundTripsEveryValueOnEverySet) {
  RestoreIsa restore;
  std::vector<float16> h(65536), back(65536);
  std::vector<bfloat16> b(65536), bback(65536);
  std::vector<float> f(65536);
  for (int i = 0; i < 65536; ++i) h[i].bits = b[i].bits = static_cast<uint16_t>(i);
  for (Isa isa : all_isas()) {
    set_isa(isa);
    widen(h.data(), f.data(), 65536);
    narrow(f.data(), back.data(), 65536);
    for (int i = 0; i < 65536; ++i) {
      const int e = (i >> 10) & 31, m = i & 1023;
      if (e == 31 && m) {
        ASSERT_TRUE(std::isnan(f[i]));
        ASSERT_EQ(back[i].bits, i | 0x200) << "a NaN keeps its payload and becomes quiet";
        continue;
      }
      // The definition of binary16, not our bit tricks.
      const double mag = e == 31 ? INFINITY : e ? std::ldexp(1024 + m, e - 25) : std::ldexp(m, -24);
      ASSERT_EQ(static_cast<double>(f[i]), i >> 15 ? -mag : mag) << i;
      ASSERT_EQ(std::signbit(f[i]), i >> 15 == 1);
      ASSERT_EQ(back[i].bits, i) << isa_name(isa);
    }
    widen(b.data(), f.data(), 65536);
    narrow(f.data(), bback.data(), 65536);
    for (int i = 0; i < 65536; ++i) {
      ASSERT_EQ(std::bit_cast<uint32_t>(f[i]), static_cast<uint32_t>(i) << 16);
      ASSERT_EQ(bback[i].bits, std::isnan(f[i]) ? i | 0x40 : i) << isa_name(isa);
    }
  }
}

// Nearest even by definition: the neighbour with the smaller exact distance, the even one at equal distance.
template <class H>
void check_nearest(float x, H got, int mantissa_bits) {
  auto value = [](H h) { return static_cast<double>(to_f32(h)); };
  if (std::isnan(x)) {
    ASSERT_TRUE(std::isnan(value(got)));
    return;
  }
  // Overflow counts as the value one step past the largest.
  const double top = mantissa_bits == 10 ? 65536.0 : std::ldexp(1.0, 128);
  auto finite = [&](double v) { return std::isinf(v) ? std::copysign(top, v) : v; };
  const double dx = std::isinf(x) ? finite(x) : x, dg = finite(value(got));
  const double dist = std::abs(dg - dx);
  for (int d : {-1, 1}) {
    const int magnitude = (got.bits & 0x7fff) + d;
    const int inf = mantissa_bits == 10 ? 0x7c00 : 0x7f80;
    if (magnitude < 0 || magnitude > inf) continue;
    const H other{static_cast<uint16_t>((got.bits & 0x8000) | magnitude)};
    const double od = std::abs(finite(value(other)) - dx);
    ASSERT_LE(dist, od) << x;
    if (od == dist) {
      ASSERT_EQ(got.bits & 1, 0) << x;
    }
  }
  ASSERT_EQ(got.bits >> 15, std::signbit(x)) << x;
}

TEST(Convert, NarrowingIsNearestEvenOnEverySet) {
  RestoreIsa restore;
  std::vector<float> x;
  std::mt19937 gen(9);
  for (int i = 0; i < 200000; ++i) x.push_back(std::bit_cast<float>(static_cast<uint32_t>(gen())));
  for (int i = 0; i < 65536; ++i) {  // around every halfway point of float16 and of bfloat16
    const float16 h{static_cast<uint16_t>(i)}, h1{static_cast<uint16_t>(i + 1)};
    const float mid = static_cast<float>((static_cast<double>(to_f32(h)) + to_f32(h1)) / 2);
    for (float m : {mid, std::nextafterf(mid, 1e30f), std::nextafterf(mid, -1e30f)}) x.push_back(m);
    for (uint32_t low : {0x7fffu, 0x8000u, 0x8001u})
      x.push_back(std::bit_cast<float>(static_cast<uint32_t>(i) << 16 | low));
  }
  for (Isa isa : all_isas()) {
    set_isa(isa);
    std::vector<float16> h(x.size());
    std::vector<bfloat16> b(x.size());
    narrow(x.data(), h.data(), x.size());
    narrow(x.data(), b.data(), x.size());
    for (size_t i = 0; i < x.size(); ++i) {
      check_nearest(x[i], h[i], 10);
      check_nearest(x[i], b[i], 7);
      if (HasFatalFailure()) return;
      ASSERT_EQ(h[i].bits, to_f16(x[i]).bits) << isa_name(isa) << " " << x[i];
      ASSERT_EQ(b[i].bits, to_bf16(x[i]).bits) << isa_name(isa) << " " << x[i];
    }
  }
}

TEST(Convert, DoublesAreRoundedOnce) {
  // 1 + 2^-11 + 2^-40 is above the halfway point of float16, but float32 would round it onto that point.
  EXPECT_EQ(to_f16(1.0 + std::ldexp(1.0, -11) + std::ldexp(1.0, -40)).bits, 0x3c01);
  EXPECT_EQ(to_f16(1.0 + std::ldexp(1.0, -11)).bits, 0x3c00);
  EXPECT_EQ(to_f16(1.0 + 3 * std::ldexp(1.0, -11) - std::ldexp(1.0, -40)).bits, 0x3c01);
  EXPECT_EQ(to_bf16(-1.0 - std::ldexp(1.0, -8) - std::ldexp(1.0, -45)).bits, 0xbf81);
  EXPECT_EQ(to_f16(65519.9999999).bits, 0x7bff);
  EXPECT_EQ(to_f16(1e300).bits, 0x7c00);
  EXPECT_EQ(to_f16(1e-300).bits, 0);
  EXPECT_EQ(to_f16(-1e-300).bits, 0x8000);
  EXPECT_EQ(to_bf16(3.4e38).bits, 0x7f80);
}
