// Row kernels and rope against float64, and the same bits on every instruction set and thread count.
#include "backends/numpy/kernels/fused.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
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

constexpr double kEps = 1.1920929e-7;

std::vector<float> random_floats(size_t n, uint64_t seed, float scale = 1.0f) {
  std::mt19937_64 g(seed);
  std::vector<float> v(n);
  for (float& x : v) x = scale * (static_cast<float>(g() >> 40) * 0x1p-23f - 1.0f);
  return v;
}

// Runs f for every instruction set with 1 and 3 threads; all outputs must have the same bytes. Returns the
// last.
template <class T>
std::vector<T> same_everywhere(size_t n, const std::function<void(T*)>& f) {
  std::vector<T> first;
  for (Isa isa : {Isa::Scalar, Isa::Avx2, Isa::Avx512}) {
    if (isa > simd::best_isa()) continue;
    simd::set_isa(isa);
    for (int threads : {1, 3}) {
      set_num_threads(threads);
      std::vector<T> out(n + 64);
      std::memset(static_cast<void*>(out.data()), 0x5a, out.size() * sizeof(T));
      f(out.data() + 32);
      for (size_t i = 0; i < 32; ++i) {
        T guard;
        std::memset(static_cast<void*>(&guard), 0x5a, sizeof guard);
        EXPECT_EQ(0, std::memcmp(&guard, &out[i], sizeof(T)));
        EXPECT_EQ(0, std::memcmp(&guard, &out[n + 32 + i], sizeof(T)));
      }
      std::vector<T> mid(out.begin() + 32, out.begin() + 32 + static_cast<std::ptrdiff_t>(n));
      if (first.empty())
        first = mid;
      else
        EXPECT_EQ(0, std::memcmp(first.data(), mid.data(), n * sizeof(T)))
            << simd::isa_name(isa) << " threads " << threads;
    }
  }
  simd::set_isa(simd::best_isa());
  set_num_threads(0);
  return first;
}

void expect_close(float got, double want, double tolerance, const char* what, size_t i) {
  ASSERT_LE(std::abs(static_cast<double>(got) - want), tolerance)
      << what << " " << i << ": " << got << " and " << want;
}

constexpr int64_t kSizes[] = {1, 5, 15, 16, 17, 63, 64, 65, 130, 576, 1000};

TEST(Fused, SoftmaxAndLogSoftmax) {
  for (int64_t n : kSizes) {
    const int64_t rows = 7, stride = n + 3;
    auto x = random_floats(static_cast<size_t>(rows * stride), 1, 20.0f);
    x[0] = -INFINITY;  // one masked entry
    for (int64_t i = 0; i < n; ++i) x[static_cast<size_t>(2 * stride + i)] = -INFINITY;
    for (bool log : {false, true}) {
      RowsArgs a{x.data(), stride, nullptr, n, rows, n};
      const auto got = same_everywhere<float>(static_cast<size_t>(rows * n), [&](float* o) {
        RowsArgs b = a;
        b.out = o;
        softmax(b, log);
      });
      for (int64_t r = 0; r < rows; ++r) {
        const float* row = x.data() + r * stride;
        double m = -INFINITY, s = 0;
        for (int64_t i = 0; i < n; ++i) m = std::max(m, static_cast<double>(row[i]));
        for (int64_t i = 0; i < n; ++i) s += m == -INFINITY ? 0 : std::exp(row[i] - m);
        for (int64_t i = 0; i < n; ++i) {
          const size_t k = static_cast<size_t>(r * n + i);
          if (m == -INFINITY || (n == 1 && r == 0))
            EXPECT_EQ(got[k], log ? -INFINITY : 0.0f);
          else if (row[i] == -INFINITY)
            EXPECT_EQ(got[k], log ? -INFINITY : 0.0f);
          else if (log)
            expect_close(got[k], row[i] - m - std::log(s),
                         4 * kEps * (std::abs(row[i] - m) + std::log(s)) + kEps, "log_softmax", k);
          else
            expect_close(got[k], std::exp(row[i] - m) / s,
                         8 * kEps * std::exp(row[i] - m) / s * (1 + std::abs(row[i] - m) / 8), "softmax", k);
        }
      }
    }
  }
}

TEST(Fused, SoftmaxPropagatesNan) {
  std::vector<float> x = {1, NAN, 2, 3, INFINITY, 1}, y(6);
  softmax({x.data(), 3, y.data(), 3, 2, 3}, false);
  for (float v : y) EXPECT_TRUE(std::isnan(v));
}

TEST(Fused, SoftmaxInHalfPrecisionIsTheRoundedFloat32One) {
  const int64_t n = 77, rows = 3;
  const auto x = random_floats(static_cast<size_t>(n * rows), 2, 5.0f);
  std::vector<bfloat16> h(x.size());
  std::vector<float> wide(x.size()), want(x.size());
  simd::narrow(x.data(), h.data(), n * rows);
  simd::widen(h.data(), wide.data(), n * rows);
  softmax({wide.data(), n, want.data(), n, rows, n}, false);
  const auto got = same_everywhere<bfloat16>(x.size(), [&](bfloat16* o) {
    softmax({h.data(), n, o, n, rows, n, Dtype::BF16}, false);
  });
  for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(got[i].bits, simd::to_bf16(want[i]).bits);
}

TEST(Fused, Norms) {
  for (int64_t n : kSizes) {
    const int64_t rows = 5;
    const auto x = random_floats(static_cast<size_t>(rows * n), 3, 3.0f),
               w = random_floats(static_cast<size_t>(n), 4), b = random_floats(static_cast<size_t>(n), 5);
    for (bool weighted : {false, true}) {
      const auto rms = same_everywhere<float>(x.size(), [&](float* o) {
        rms_norm({x.data(), n, o, n, rows, n}, weighted ? w.data() : nullptr, 1e-5f);
      });
      const auto ln = same_everywhere<float>(x.size(), [&](float* o) {
        layer_norm({x.data(), n, o, n, rows, n}, weighted ? w.data() : nullptr, weighted ? b.data() : nullptr,
                   1e-5f);
      });
      for (int64_t r = 0; r < rows; ++r) {
        double ss = 0, mean = 0, var = 0, top = 0;
        for (int64_t i = 0; i < n; ++i)
          ss += std::pow(x[static_cast<size_t>(r * n + i)], 2), mean += x[static_cast<size_t>(r * n + i)];
        mean /= static_cast<double>(n);
        for (int64_t i = 0; i < n; ++i) {
          const double d = x[static_cast<size_t>(r * n + i)] - mean;
          var += d * d, top = std::max(top, std::abs(static_cast<double>(x[static_cast<size_t>(r * n + i)])));
        }
        const double sr = 1 / std::sqrt(ss / static_cast<double>(n) + 1e-5),
                     sl = 1 / std::sqrt(var / static_cast<double>(n) + 1e-5);
        for (int64_t i = 0; i < n; ++i) {
          const size_t k = static_cast<size_t>(r * n + i);
          const double wi = weighted ? w[static_cast<size_t>(i)] : 1,
                       bi = weighted ? b[static_cast<size_t>(i)] : 0;
          const double want = x[k] * sr * wi;
          expect_close(rms[k], want, 8 * kEps * std::abs(want), "rms", k);
          // The mean's rounding error is scaled like the data.
          expect_close(ln[k], (x[k] - mean) * sl * wi + bi,
                       16 * kEps * ((std::abs(x[k]) + top) * sl * std::abs(wi) + std::abs(bi)), "layer", k);
        }
      }
    }
  }
}

TEST(Fused, RmsNormTakesHalfPrecision) {
  const int64_t n = 100;
  const auto x = random_floats(n, 6);
  std::vector<float16> h(n);
  std::vector<float> wide(n), want(n);
  simd::narrow(x.data(), h.data(), n);
  simd::widen(h.data(), wide.data(), n);
  rms_norm({wide.data(), n, want.data(), n, 1, n}, nullptr, 1e-6f);
  const auto got = same_everywhere<float16>(n, [&](float16* o) {
    rms_norm({h.data(), n, o, n, 1, n, Dtype::F16}, nullptr, 1e-6f);
  });
  for (size_t i = 0; i < n; ++i) EXPECT_EQ(got[i].bits, simd::to_f16(want[i]).bits);
}

TEST(Fused, Gated) {
  for (int64_t n : kSizes) {
    const int64_t rows = 3;
    const auto g = random_floats(static_cast<size_t>(rows * n), 7, 8.0f),
               u = random_floats(static_cast<size_t>(rows * (n + 1)), 8);
    for (Gate act : {Gate::Silu, Gate::Gelu, Gate::GeluTanh}) {
      const auto got = same_everywhere<float>(g.size(), [&](float* o) {
        gated({g.data(), n, o, n, rows, n}, u.data(), n + 1, act);
      });
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t i = 0; i < n; ++i) {
          const double x = g[static_cast<size_t>(r * n + i)];
          const double a = act == Gate::Silu ? x / (1 + std::exp(-x))
                           : act == Gate::Gelu
                               ? x * 0.5 * std::erfc(-x / std::sqrt(2.0))
                               : x / (1 + std::exp(-2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
          const double want = a * u[static_cast<size_t>(r * (n + 1) + i)];
          expect_close(got[static_cast<size_t>(r * n + i)], want, 4 * kEps * std::abs(want) + 1e-44, "gated",
                       static_cast<size_t>(i));
        }
    }
  }
}

TEST(Fused, CrossEntropyAndLogsumexp) {
  const int64_t n = 301, rows = 6;
  auto x = random_floats(static_cast<size_t>(rows * n), 9, 10.0f);
  const std::vector<int32_t> labels = {0, 300, 17, -1, 301, -302};
  const auto loss = same_everywhere<float>(static_cast<size_t>(rows), [&](float* o) {
    cross_entropy({x.data(), n, nullptr, 0, rows, n}, labels.data(), Dtype::I32, o);
  });
  const auto lse = same_everywhere<float>(static_cast<size_t>(rows), [&](float* o) {
    logsumexp({x.data(), n, nullptr, 0, rows, n}, o);
  });
  for (int64_t r = 0; r < rows; ++r) {
    double s = 0;
    for (int64_t i = 0; i < n; ++i) s += std::exp(static_cast<double>(x[static_cast<size_t>(r * n + i)]));
    expect_close(lse[static_cast<size_t>(r)], std::log(s), 8 * kEps * std::log(s), "lse",
                 static_cast<size_t>(r));
    if (r < 4) {
      const int64_t l = labels[static_cast<size_t>(r)] < 0 ? labels[static_cast<size_t>(r)] + n
                                                           : labels[static_cast<size_t>(r)];
      expect_close(loss[static_cast<size_t>(r)], std::log(s) - x[static_cast<size_t>(r * n + l)],
                   8 * kEps * 30, "loss", static_cast<size_t>(r));
    } else {
      EXPECT_TRUE(std::isnan(loss[static_cast<size_t>(r)]));
    }
  }
  std::fill_n(x.begin(), n, -INFINITY);
  x[static_cast<size_t>(n)] = INFINITY;
  float out[2];
  logsumexp({x.data(), n, nullptr, 0, 2, n}, out);
  EXPECT_EQ(out[0], -INFINITY);
  EXPECT_EQ(out[1], INFINITY);
}

TEST(Fused, RopeMatchesFloat64UpToAMillion) {
  const int64_t B = 2, H = 3, T = 4, D = 80;
  const std::vector<int32_t> pos = {0, 1, 17, 1000000, 5, 131071, 999999, 3};
  const auto x = random_floats(static_cast<size_t>(B * H * T * D), 10);
  for (int dims : {80, 64, 2})
    for (bool traditional : {false, true}) {
      std::vector<double> freq(static_cast<size_t>(dims) / 2);
      rope_frequencies(10000.0, dims, freq.data());
      const auto got = same_everywhere<float>(x.size(), [&](float* o) {
        RopeArgs a;
        a.x = x.data(), a.out = o, a.batch = B, a.heads = H, a.time = T, a.dim = D;
        for (int k : {0, 1}) {
          int64_t* s = k ? a.out_stride : a.x_stride;
          s[0] = H * T * D, s[1] = T * D, s[2] = D;
        }
        a.positions = pos.data(), a.position_stride[0] = T;
        a.dims = dims, a.traditional = traditional, a.inv_freq = freq.data(), a.scale = 1.0;
        rope(a);
      });
      for (int64_t b = 0; b < B; ++b)
        for (int64_t h = 0; h < H; ++h)
          for (int64_t t = 0; t < T; ++t)
            for (int64_t d = 0; d < D; ++d) {
              const size_t row = static_cast<size_t>(((b * H + h) * T + t) * D);
              const size_t k = row + static_cast<size_t>(d);
              if (d >= dims) {
                EXPECT_EQ(got[k], x[k]);
                continue;
              }
              const int half = dims / 2;
              const int64_t i = traditional ? d / 2 : d % half;
              const bool second = traditional ? d % 2 : d >= half;
              const size_t other = traditional ? k ^ 1
                                   : second    ? k - static_cast<size_t>(half)
                                               : k + static_cast<size_t>(half);
              const double f = std::pow(10000.0, -2.0 * static_cast<double>(i) / dims);
              EXPECT_NEAR(freq[static_cast<size_t>(i)], f, 1e-14 * f);
              const double angle = pos[static_cast<size_t>(b * T + t)] * f;
              const double want = second ? x[k] * std::cos(angle) + x[other] * std::sin(angle)
                                         : x[k] * std::cos(angle) - x[other] * std::sin(angle);
              // Two products and a sum in float32; the angle's own error is below 1e-9.
              expect_close(got[k], want, 3 * kEps * (std::abs(x[k]) + std::abs(x[other])) + 2e-9, "rope", k);
            }
    }
  RopeArgs odd;
  odd.dim = 8, odd.dims = 3;
  EXPECT_THROW(rope(odd), Error);
}

TEST(Fused, RopeOfOneRowEqualsTheSameRowInABatch) {
  const int64_t T = 37, D = 64;
  const auto x = random_floats(static_cast<size_t>(T * D), 11);
  std::vector<float> all(x.size()), one(x.size());
  std::vector<double> freq(32);
  rope_frequencies(1e6, 64, freq.data());
  std::vector<int32_t> pos(static_cast<size_t>(T));
  for (size_t i = 0; i < pos.size(); ++i) pos[i] = static_cast<int32_t>(1000 + i * 7);
  RopeArgs a;
  a.x = x.data(), a.out = all.data(), a.time = T, a.dim = D, a.dims = 64, a.inv_freq = freq.data(),
  a.positions = pos.data();
  a.x_stride[2] = a.out_stride[2] = D;
  rope(a);
  for (int64_t t = 0; t < T; ++t) {
    RopeArgs s = a;
    s.x = x.data() + t * D, s.out = one.data() + t * D, s.time = 1, s.positions = pos.data() + t;
    rope(s);
  }
  EXPECT_EQ(0, std::memcmp(all.data(), one.data(), all.size() * 4));
}

TEST(Fused, NothingToDoIsNoError) {
  softmax({}, false);
  rms_norm({}, nullptr, 1e-5f);
  layer_norm({}, nullptr, nullptr, 1e-5f);
  gated({}, nullptr, 0, Gate::Silu);
  rope({});
  RowsArgs bad;
  bad.dtype = Dtype::I32;
  EXPECT_THROW(softmax(bad, false), Error);
}

}  // namespace
