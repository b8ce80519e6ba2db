// Attention against float64, and the same bits on every instruction set, thread count, chunking and batch
// mix.
#include "backends/numpy/kernels/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
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

struct Case {
  int64_t B = 1, H = 1, Hkv = 1, T = 1, S = 1, D = 16, Dv = 16;
  bool causal = false;
  int64_t window = 0;
  float softcap = 0;
  std::vector<int32_t> q_start, kv_len;
  std::vector<float> mask;
  int64_t mask_stride[4] = {};
};

std::vector<float> random_floats(size_t n, uint64_t seed, float scale = 1.0f) {
  std::mt19937_64 g(seed);
  std::vector<float> v(n);
  for (float& x : v) x = scale * (static_cast<float>(g() >> 40) * 0x1p-23f - 1.0f);
  return v;
}

struct Data {
  std::vector<float> q, k, v;
  explicit Data(const Case& c)
      : q(random_floats(static_cast<size_t>(c.B * c.H * c.T * c.D), 1, 2.0f)),
        k(random_floats(static_cast<size_t>(c.B * c.Hkv * c.S * c.D), 2, 2.0f)),
        v(random_floats(static_cast<size_t>(c.B * c.Hkv * c.S * c.Dv), 3)) {}
};

AttentionArgs args(const Case& c, const Data& d, float* out) {
  AttentionArgs a;
  a.q = d.q.data(), a.k = d.k.data(), a.v = d.v.data(), a.out = out;
  a.batch = c.B, a.heads = c.H, a.kv_heads = c.Hkv, a.q_len = c.T, a.kv_size = c.S, a.dim = c.D,
  a.v_dim = c.Dv;
  const auto set = [](int64_t(&s)[3], int64_t heads, int64_t len, int64_t dim) {
    s[0] = heads * len * dim, s[1] = len * dim, s[2] = dim;
  };
  set(a.q_stride, c.H, c.T, c.D), set(a.k_stride, c.Hkv, c.S, c.D), set(a.v_stride, c.Hkv, c.S, c.Dv),
      set(a.out_stride, c.H, c.T, c.Dv);
  a.scale = 1.0f / std::sqrt(static_cast<float>(c.D));
  a.causal = c.causal, a.window = c.window, a.softcap = c.softcap;
  if (!c.q_start.empty()) a.q_start = c.q_start.data();
  if (!c.kv_len.empty()) a.kv_len = c.kv_len.data();
  if (!c.mask.empty()) a.mask = c.mask.data();
  std::copy(c.mask_stride, c.mask_stride + 4, a.mask_stride);
  return a;
}

// The definition in float64; error bound per element beside it.
void reference(const Case& c, const Data& d, std::vector<double>& out, std::vector<double>& bound) {
  out.assign(static_cast<size_t>(c.B * c.H * c.T * c.Dv), 0);
  bound = out;
  for (int64_t b = 0; b < c.B; ++b)
    for (int64_t h = 0; h < c.H; ++h)
      for (int64_t t = 0; t < c.T; ++t) {
        const int64_t g = h / (c.H / c.Hkv),
                      pos = (c.q_start.empty() ? c.S - c.T : c.q_start[static_cast<size_t>(b)]) + t;
        const int64_t len = c.kv_len.empty() ? c.S : c.kv_len[static_cast<size_t>(b)];
        std::vector<double> s(static_cast<size_t>(c.S), -INFINITY);
        double top = -INFINITY, big = 0;
        for (int64_t j = 0; j < std::min(len, c.S); ++j) {
          if (c.causal && j > pos) continue;
          if (c.window > 0 && j <= pos - c.window) continue;
          double dot = 0, mag = 0;
          for (int64_t i = 0; i < c.D; ++i) {
            const double p =
                static_cast<double>(d.q[static_cast<size_t>(((b * c.H + h) * c.T + t) * c.D + i)]) *
                d.k[static_cast<size_t>(((b * c.Hkv + g) * c.S + j) * c.D + i)];
            dot += p, mag += std::abs(p);
          }
          const double scale = 1.0f / std::sqrt(static_cast<float>(c.D));
          dot *= scale;
          if (c.softcap > 0) dot = c.softcap * std::tanh(dot / c.softcap);
          if (!c.mask.empty())
            dot += c.mask[static_cast<size_t>(b * c.mask_stride[0] + h * c.mask_stride[1] +
                                              t * c.mask_stride[2] + j * c.mask_stride[3])];
          s[static_cast<size_t>(j)] = dot;
          if (dot != -INFINITY) top = std::max(top, dot), big = std::max(big, mag * scale);
        }
        if (top == -INFINITY) continue;
        double sum = 0;
        for (double x : s) sum += std::exp(x - top);
        for (int64_t i = 0; i < c.Dv; ++i) {
          double o = 0, mag = 0;
          for (int64_t j = 0; j < c.S; ++j) {
            if (s[static_cast<size_t>(j)] == -INFINITY) continue;
            const double p = std::exp(s[static_cast<size_t>(j)] - top) / sum *
                             d.v[static_cast<size_t>(((b * c.Hkv + g) * c.S + j) * c.Dv + i)];
            o += p, mag += std::abs(p);
          }
          const size_t k = static_cast<size_t>(((b * c.H + h) * c.T + t) * c.Dv + i);
          out[k] = o;
          // Scores are off by eps·log2(D)·sum|q·k|, which scales every probability; sums add their own
          // rounding.
          bound[k] = 1.2e-7 * mag * (8 + 2 * big + std::sqrt(static_cast<double>(c.S)));
        }
      }
}

std::vector<float> run(const Case& c, const Data& d) {
  std::vector<float> out(static_cast<size_t>(c.B * c.H * c.T * c.Dv) + 64, -77.0f);
  attention(args(c, d, out.data() + 32));
  for (size_t i = 0; i < 32; ++i) {
    EXPECT_EQ(out[i], -77.0f);
    EXPECT_EQ(out[out.size() - 1 - i], -77.0f);
  }
  return {out.begin() + 32, out.end() - 32};
}

void check(const Case& c) {
  const Data d(c);
  std::vector<double> want, bound;
  reference(c, d, want, bound);
  std::vector<float> first;
  for (Isa isa : {Isa::Avx512, Isa::Avx2, Isa::Scalar}) {
    if (isa > simd::best_isa()) continue;
    simd::set_isa(isa);
    for (int threads : {1, 3}) {
      set_num_threads(threads);
      const auto got = run(c, d);
      if (first.empty()) {
        first = got;
        for (size_t i = 0; i < got.size(); ++i)
          ASSERT_LE(std::abs(static_cast<double>(got[i]) - want[i]), bound[i])
              << i << ": " << got[i] << " " << want[i];
      }
      ASSERT_EQ(0, std::memcmp(first.data(), got.data(), got.size() * 4))
          << simd::isa_name(isa) << " threads " << threads;
    }
  }
  simd::set_isa(simd::best_isa());
  set_num_threads(0);
}

TEST(Attention, ShapesAgainstFloat64) {
  check({.S = 1});
  check({.H = 3, .T = 5, .S = 5, .D = 64, .Dv = 64, .causal = true});
  check({.B = 2, .H = 6, .Hkv = 2, .T = 70, .S = 130, .D = 64, .Dv = 64, .causal = true});
  check({.H = 4, .Hkv = 1, .T = 3, .S = 200, .D = 256, .Dv = 256, .causal = true});
  check({.H = 2, .Hkv = 2, .T = 9, .S = 65, .D = 300, .Dv = 24});
  check({.H = 2, .Hkv = 1, .T = 33, .S = 64, .D = 7, .Dv = 5, .causal = true});
  check({.H = 9, .Hkv = 3, .T = 1, .S = 700, .D = 64, .Dv = 64, .causal = true});
}

TEST(Attention, WindowSoftcapPositionsAndLengths) {
  check({.H = 2, .Hkv = 1, .T = 100, .S = 100, .D = 32, .Dv = 32, .causal = true, .window = 17});
  check({.H = 2, .Hkv = 1, .T = 100, .S = 100, .D = 32, .Dv = 32, .causal = true, .window = 64});
  check({.H = 2, .Hkv = 2, .T = 20, .S = 90, .D = 32, .Dv = 32, .softcap = 3.0f});
  check({.B = 3,
         .H = 2,
         .Hkv = 1,
         .T = 4,
         .S = 128,
         .D = 32,
         .Dv = 32,
         .causal = true,
         .q_start = {0, 60, 124},
         .kv_len = {4, 64, 128}});
  check({.B = 2, .H = 2, .Hkv = 1, .T = 4, .S = 80, .D = 16, .Dv = 16, .kv_len = {0, 79}});
}

TEST(Attention, AdditiveMasksBroadcast) {
  Case c{.B = 2, .H = 4, .Hkv = 2, .T = 10, .S = 150, .D = 32, .Dv = 32};
  c.mask = random_floats(static_cast<size_t>(c.T * c.S), 5, 3.0f);
  for (size_t i = 0; i < c.mask.size(); i += 3) c.mask[i] = -INFINITY;
  for (int64_t j = 0; j < c.S; ++j)
    c.mask[static_cast<size_t>(2 * c.S + j)] = -INFINITY;  // query 2 sees nothing
  for (int64_t j = 0; j < 64; ++j)
    c.mask[static_cast<size_t>(3 * c.S + j)] = -INFINITY;  // query 3 not the first tile
  c.mask_stride[2] = c.S, c.mask_stride[3] = 1;
  check(c);
  const Data d(c);
  const auto got = run(c, d);
  for (int64_t h = 0; h < c.H; ++h)
    for (int64_t i = 0; i < c.Dv; ++i) EXPECT_EQ(got[static_cast<size_t>((h * c.T + 2) * c.Dv + i)], 0.0f);
  c.mask = random_floats(static_cast<size_t>(c.B * c.S), 6);
  c.mask_stride[0] = c.S, c.mask_stride[2] = 0;
  check(c);
}

TEST(Attention, BoolMaskHidesAsMinusInfinityDoes) {
  Case c{.H = 2, .Hkv = 1, .T = 6, .S = 70, .D = 16, .Dv = 16};
  c.mask.resize(static_cast<size_t>(c.T * c.S));
  std::vector<uint8_t> flags(c.mask.size());
  std::mt19937 g(1);
  for (size_t i = 0; i < flags.size(); ++i) flags[i] = g() % 3 != 0, c.mask[i] = flags[i] ? 0.0f : -INFINITY;
  c.mask_stride[2] = c.S, c.mask_stride[3] = 1;
  const Data d(c);
  const auto want = run(c, d);
  std::vector<float> out(want.size());
  AttentionArgs a = args(c, d, out.data());
  a.mask = flags.data(), a.mask_dtype = Dtype::Bool;
  attention(a);
  EXPECT_EQ(0, std::memcmp(out.data(), want.data(), out.size() * 4));
}

// One call of T queries, and the same in chunks that see a growing cache with rubbish beyond kv_len.
TEST(Attention, AnyChunkingOfThePromptGivesTheSameBits) {
  for (int64_t window : {int64_t{0}, int64_t{40}}) {
    Case c{.H = 6, .Hkv = 2, .T = 150, .S = 150, .D = 64, .Dv = 64, .causal = true, .window = window};
    Data d(c);
    const auto whole = run(c, d);
    for (int64_t chunk : {1, 7, 64, 100}) {
      for (int64_t from = 0; from < c.T; from += chunk) {
        const int64_t n = std::min(chunk, c.T - from);
        Data dirty = d;
        for (int64_t h = 0; h < c.Hkv; ++h)
          for (int64_t j = from + n; j < c.S; ++j)
            for (int64_t i = 0; i < c.D; ++i) {
              dirty.k[static_cast<size_t>((h * c.S + j) * c.D + i)] = NAN;
              dirty.v[static_cast<size_t>((h * c.S + j) * c.D + i)] = i % 2 ? NAN : INFINITY;
            }
        std::vector<float> part(static_cast<size_t>(c.H * n * c.Dv));
        AttentionArgs a = args(c, dirty, part.data());
        const int32_t start = static_cast<int32_t>(from), len = static_cast<int32_t>(from + n);
        a.q = d.q.data() + from * c.D, a.q_len = n, a.q_start = &start, a.kv_len = &len;
        a.out_stride[0] = c.H * n * c.Dv, a.out_stride[1] = n * c.Dv;
        attention(a);
        for (int64_t h = 0; h < c.H; ++h)
          ASSERT_EQ(0, std::memcmp(part.data() + h * n * c.Dv, whole.data() + (h * c.T + from) * c.Dv,
                                   static_cast<size_t>(n * c.Dv) * 4))
              << "chunk " << chunk << " from " << from << " head " << h;
      }
    }
  }
}

TEST(Attention, FutureNanDoesNotReachEarlierRows) {
  Case c{.H = 6, .Hkv = 2, .T = 80, .S = 80, .D = 32, .Dv = 32, .causal = true};
  Data d(c);
  const auto clean = run(c, d);
  for (int64_t i = 0; i < c.D; ++i)
    d.k[static_cast<size_t>(50 * c.D + i)] = NAN, d.v[static_cast<size_t>(50 * c.D + i)] = INFINITY;
  const auto got = run(c, d);
  for (int64_t h = 0; h < 3; ++h)
    for (int64_t t = 0; t < 80; ++t) {
      const size_t k = static_cast<size_t>((h * c.T + t) * c.Dv);
      if (t < 50)
        ASSERT_EQ(0, std::memcmp(&got[k], &clean[k], static_cast<size_t>(c.Dv) * 4)) << t;
      else
        ASSERT_TRUE(std::isnan(got[k])) << t;
    }
}

TEST(Attention, HalfPrecisionCacheEqualsTheWidenedOne) {
  Case c{.H = 4, .Hkv = 2, .T = 20, .S = 90, .D = 64, .Dv = 40, .causal = true};
  Data d(c);
  std::vector<bfloat16> kb(d.k.size()), vb(d.v.size());
  std::vector<float16> kh(d.k.size()), vh(d.v.size());
  for (bool bf : {true, false}) {
    const int64_t nk = static_cast<int64_t>(d.k.size()), nv = static_cast<int64_t>(d.v.size());
    if (bf) {
      simd::narrow(d.k.data(), kb.data(), nk), simd::narrow(d.v.data(), vb.data(), nv);
      simd::widen(kb.data(), d.k.data(), nk), simd::widen(vb.data(), d.v.data(), nv);
    } else {
      simd::narrow(d.k.data(), kh.data(), nk), simd::narrow(d.v.data(), vh.data(), nv);
      simd::widen(kh.data(), d.k.data(), nk), simd::widen(vh.data(), d.v.data(), nv);
    }
    const auto want = run(c, d);
    std::vector<float> got(want.size());
    AttentionArgs a = args(c, d, got.data());
    a.k = bf ? static_cast<const void*>(kb.data()) : kh.data(),
    a.v = bf ? static_cast<const void*>(vb.data()) : vh.data();
    a.kv_dtype = bf ? Dtype::BF16 : Dtype::F16;
    attention(a);
    EXPECT_EQ(0, std::memcmp(got.data(), want.data(), got.size() * 4));
  }
}

TEST(Attention, RefusesWhatDoesNotFit) {
  AttentionArgs a;
  a.heads = 4, a.kv_heads = 3;
  EXPECT_THROW(attention(a), Error);
  a.kv_heads = 4, a.dtype = Dtype::F64;
  EXPECT_THROW(attention(a), Error);
  a.dtype = Dtype::F32;
  attention(a);  // no rows
}

}  // namespace
