// Matrix products: against a float64 reference within the rounding bound, and bit for bit against the
// definition of the sum, across instruction sets, threads, and batches.
#include "backends/numpy/gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <complex>
#include <cstring>
#include <random>
#include <vector>

#include "backends/numpy/simd/convert.h"
#include "backends/numpy/simd/dispatch.h"
#include "mc/error.h"

using namespace mc;
using namespace mc::numpy;
using simd::Isa;

namespace {

std::vector<Isa> all_isas() {
  std::vector<Isa> out;
  for (Isa isa : {Isa::Scalar, Isa::Avx2, Isa::Avx512})
    if (isa <= simd::best_isa()) out.push_back(isa);
  return out;
}
// Puts the process's settings back.
struct Settings {
  ~Settings() {
    simd::set_isa(simd::best_isa());
    set_num_threads(0);
  }
};

template <class T>
struct Tag;
template <>
struct Tag<float> {
  static constexpr Dtype d = Dtype::F32;
};
template <>
struct Tag<double> {
  static constexpr Dtype d = Dtype::F64;
};
template <>
struct Tag<bfloat16> {
  static constexpr Dtype d = Dtype::BF16;
};
template <>
struct Tag<float16> {
  static constexpr Dtype d = Dtype::F16;
};

float value(float x) { return x; }
double value(double x) { return x; }
float value(bfloat16 x) { return simd::to_f32(x); }
float value(float16 x) { return simd::to_f32(x); }
void set(float& to, double x) { to = static_cast<float>(x); }
void set(double& to, double x) { to = x; }
void set(bfloat16& to, double x) { to = simd::to_bf16(static_cast<float>(x)); }
void set(float16& to, double x) { to = simd::to_f16(static_cast<float>(x)); }

// A matrix inside a larger buffer whose other bytes must stay as they are.
template <class T>
struct Mat {
  int64_t rows, cols, rs, cs;
  std::vector<T> mem;
  static constexpr int64_t kGuard = 19;

  // order: 'r' row-major, 't' column-major, 'p' padded rows, 's' both strides above one
  Mat(int64_t r, int64_t c, char order, unsigned seed) : rows(r), cols(c) {
    rs = order == 't' ? 1 : order == 'p' ? c + 5 : order == 's' ? 2 * c + 3 : c;
    cs = order == 't' ? r : order == 's' ? 2 : 1;
    mem.resize(static_cast<size_t>(kGuard * 2 + std::max<int64_t>(1, std::max(r * rs, c * cs) + 1)));
    std::mt19937 gen(seed);
    std::normal_distribution<double> d;
    for (T& x : mem) set(x, d(gen));
  }
  T* data() { return mem.data() + kGuard; }
  const T* data() const { return mem.data() + kGuard; }
  T& operator()(int64_t i, int64_t j) { return data()[i * rs + j * cs]; }
  const T& operator()(int64_t i, int64_t j) const { return data()[i * rs + j * cs]; }
  MatIn in() const { return {data(), Tag<T>::d, rs, cs}; }
  MatOut out() { return {data(), Tag<T>::d, rs}; }
  bool same_bits(const Mat& o) const {
    return std::memcmp(mem.data(), o.mem.data(), mem.size() * sizeof(T)) == 0;
  }
};

// The definition: blocks of 256, one chain each, added in ascending order, one rounding into C's type.
template <class A, class B, class C>
void define(const Mat<A>& a, const Mat<B>& b, Mat<C>& c) {
  using T = decltype(value(A{}));
  for (int64_t i = 0; i < c.rows; ++i)
    for (int64_t j = 0; j < c.cols; ++j) {
      T sum = 0;
      for (int64_t k0 = 0; k0 < a.cols; k0 += 256) {
        T p = 0;
        for (int64_t k = k0; k < std::min(k0 + 256, a.cols); ++k)
          p = std::fma(value(a(i, k)), value(b(k, j)), p);
        sum = k0 == 0 ? p : sum + p;
      }
      if constexpr (std::is_same_v<C, T>)
        c(i, j) = sum;
      else
        set(c(i, j), sum);
    }
}

// |c - exact| <= eps * (K + 4) * sum|a||b| for a chain of K roundings and K/256 adds, + one rounding into C's
// type.
template <class A, class B, class C>
void expect_near_reference(const Mat<A>& a, const Mat<B>& b, const Mat<C>& c, const char* what) {
  const double eps = sizeof(A) == 8 ? 0x1p-53 : 0x1p-24;
  const double store = sizeof(C) >= 4 ? 0 : std::is_same_v<C, bfloat16> ? 0x1p-8 : 0x1p-11;
  for (int64_t i = 0; i < c.rows; ++i)
    for (int64_t j = 0; j < c.cols; ++j) {
      long double sum = 0, mag = 0;
      for (int64_t k = 0; k < a.cols; ++k) {
        const long double p = static_cast<long double>(value(a(i, k))) * value(b(k, j));
        sum += p;
        mag += std::fabs(p);
      }
      const long double bound = eps * (a.cols + 4) * mag;
      ASSERT_LE(std::fabs(value(c(i, j)) - sum), bound + store * (std::fabs(sum) + bound))
          << what << " " << c.rows << "x" << c.cols << "x" << a.cols << " at " << i << "," << j;
    }
}

template <class A, class B, class C>
void check(int64_t M, int64_t N, int64_t K, char oa, char ob, char oc) {
  const Mat<A> a(M, K, oa, 1);
  const Mat<B> b(K, N, ob, 2);
  const Mat<C> fresh(M, N, oc, 3);
  Mat<C> want = fresh;
  define(a, b, want);
  for (Isa isa : all_isas())
    for (int threads : {1, 2}) {
      simd::set_isa(isa);
      set_num_threads(threads);
      Mat<C> c = fresh;
      gemm(M, N, K, a.in(), b.in(), c.out());
      ASSERT_TRUE(c.same_bits(want)) << simd::isa_name(isa) << " threads " << threads << " " << M << "x" << N
                                     << "x" << K << " " << oa << ob << oc;
    }
  expect_near_reference(a, b, want, "gemm");
}

template <class W, class A, class C>
void check_packed(int64_t M, int64_t N, int64_t K, char oa, char ow) {
  const Mat<A> a(M, K, oa, 1);
  const Mat<W> w(N, K, ow, 2);
  Mat<W> wt(K, N, 'r', 0);
  for (int64_t k = 0; k < K; ++k)
    for (int64_t j = 0; j < N; ++j) wt(k, j) = w(j, k);
  const Mat<C> fresh(M, N, 'p', 3);
  Mat<C> want = fresh;
  define(a, wt, want);
  expect_near_reference(a, wt, want, "packed");
  for (Isa packer : all_isas()) {
    simd::set_isa(packer);
    set_num_threads(1);
    std::vector<std::byte> store(packed_bytes(N, K, Tag<W>::d) + 64, std::byte{0x5a});
    const PackedB p = pack_b(N, K, w.in(), store.data());
    for (size_t i = store.size() - 64; i < store.size(); ++i)
      ASSERT_EQ(store[i], std::byte{0x5a}) << "written past the end";
    for (Isa isa : all_isas())
      for (int threads : {1, 2}) {
        simd::set_isa(isa);
        set_num_threads(threads);
        Mat<C> c = fresh;
        gemm_packed(M, a.in(), p, c.out());
        ASSERT_TRUE(c.same_bits(want))
            << "packed by " << simd::isa_name(packer) << " run by " << simd::isa_name(isa) << " threads "
            << threads << " " << M << "x" << N << "x" << K;
      }
  }
}

}  // namespace

TEST(Gemm, OddShapesInEveryLayout) {
  Settings settings;
  for (auto [m, n, k] : {std::array<int64_t, 3>{1, 1, 1},
                         {1, 1, 257},
                         {4, 4, 4},
                         {1, 33, 255},
                         {3, 70, 300},
                         {7, 31, 256},
                         {8, 129, 40},
                         {9, 5, 17},
                         {14, 32, 64},
                         {15, 33, 65},
                         {29, 97, 513},
                         {64, 3, 100},
                         {100, 1, 600},
                         {170, 67, 257},
                         {33, 2, 31},
                         {2, 600, 576},
                         {6, 16, 7}})
    for (char oa : {'r', 't', 's'})
      for (char ob : {'r', 't', 's'}) {
        check<float, float, float>(m, n, k, oa, ob, oa == 'r' ? 'r' : 'p');
        check<double, double, double>(m, n, k, oa, ob, ob == 'r' ? 'r' : 'p');
        if (HasFatalFailure()) return;
      }
}

// Large enough that two threads share the work, both ways of splitting.
TEST(Gemm, SharedByThreads) {
  Settings settings;
  check<float, float, float>(230, 131, 300, 'r', 'r', 'p');
  check<float, float, float>(130, 270, 300, 't', 't', 'p');
  check<float, float, float>(37, 2100, 260, 'r', 't', 'r');
  check<double, double, double>(230, 131, 300, 'r', 't', 'p');
  check<float, float, float>(2, 2500, 513, 'r', 'r', 'r');
  check<float, float, float>(2, 2500, 513, 'r', 't', 'r');
}

TEST(Gemm, LengthsOfK) {
  Settings settings;
  for (int64_t k : {1, 255, 256, 257, 576, 1000}) {
    check<float, float, float>(5, 40, k, 'r', 't', 'r');
    check<float, float, float>(21, 40, k, 'r', 'r', 'r');
    check<double, double, double>(21, 40, k, 't', 'r', 'r');
  }
}

TEST(Gemm, SixteenBitOperands) {
  Settings settings;
  for (auto [m, n, k] : {std::array<int64_t, 3>{1, 50, 300}, {5, 33, 600}, {20, 70, 257}, {70, 2, 100}}) {
    check<bfloat16, bfloat16, bfloat16>(m, n, k, 'r', 't', 'p');
    check<float16, float16, float16>(m, n, k, 't', 'r', 'p');
    check<float, bfloat16, float>(m, n, k, 'r', 't', 'r');
    check<float16, float, float>(m, n, k, 's', 's', 'r');
    check<bfloat16, float16, float>(m, n, k, 'r', 'r', 'p');
    check<float, float, bfloat16>(m, n, k, 'r', 'r', 'p');
  }
}

TEST(Gemm, ZeroSizes) {
  Settings settings;
  for (Isa isa : all_isas()) {
    simd::set_isa(isa);
    Mat<float> a(3, 0, 'r', 1), b(0, 5, 'r', 2), c(3, 5, 'p', 3);
    const Mat<float> before = c;
    gemm(0, 5, 4, a.in(), b.in(), c.out());
    gemm(3, 0, 4, a.in(), b.in(), c.out());
    EXPECT_TRUE(c.same_bits(before));
    gemm(3, 5, 0, a.in(), b.in(), c.out());
    Mat<float> want = before;
    for (int64_t i = 0; i < 3; ++i)
      for (int64_t j = 0; j < 5; ++j) want(i, j) = 0;
    EXPECT_TRUE(c.same_bits(want));
    Mat<bfloat16> h(3, 5, 'p', 3), hw = h;
    for (int64_t i = 0; i < 3; ++i)
      for (int64_t j = 0; j < 5; ++j) hw(i, j).bits = 0;
    const PackedB none = pack_b(5, 0, a.in(), nullptr);
    gemm_packed(3, a.in(), none, h.out());
    EXPECT_TRUE(h.same_bits(hw));
  }
}

TEST(Gemm, BroadcastAndReversedStrides) {
  Settings settings;
  const int64_t M = 20, N = 40, K = 300;
  const Mat<float> a(M, K, 'r', 1), b(K, N, 'r', 2);
  for (Isa isa : all_isas()) {
    simd::set_isa(isa);
    Mat<float> flipped(M, N, 'r', 3), broadcast = flipped;
    gemm(M, N, K, {a.data() + (M - 1) * K + K - 1, Dtype::F32, -K, -1},
         {b.data() + (K - 1) * N + N - 1, Dtype::F32, -N, -1}, flipped.out());
    gemm(M, N, K, {a.data(), Dtype::F32, 0, 1}, {b.data(), Dtype::F32, N, 0}, broadcast.out());
    Mat<float> ra(M, K, 'r', 0), rb(K, N, 'r', 0), wf = flipped, wb = broadcast;
    for (int64_t i = 0; i < M; ++i)
      for (int64_t k = 0; k < K; ++k) ra(i, k) = a(M - 1 - i, K - 1 - k);
    for (int64_t k = 0; k < K; ++k)
      for (int64_t j = 0; j < N; ++j) rb(k, j) = b(K - 1 - k, N - 1 - j);
    define(ra, rb, wf);
    EXPECT_TRUE(flipped.same_bits(wf)) << simd::isa_name(isa);
    for (int64_t i = 0; i < M; ++i)
      for (int64_t k = 0; k < K; ++k) ra(i, k) = a(0, k);
    for (int64_t k = 0; k < K; ++k)
      for (int64_t j = 0; j < N; ++j) rb(k, j) = b(k, 0);
    define(ra, rb, wb);
    EXPECT_TRUE(broadcast.same_bits(wb)) << simd::isa_name(isa);
  }
}

// The promise that the models rest on: a row's result does not know which other rows were there.
TEST(Gemm, ARowAloneAndInABatchIsTheSame) {
  Settings settings;
  for (int64_t K : {1, 255, 256, 257, 576, 1000}) {
    const int64_t N = 100;
    const Mat<float> x(64, K, 'r', 1), w(N, K, 'r', 2);
    const Mat<bfloat16> w16(N, K, 'r', 2);
    for (Isa isa : all_isas())
      for (int threads : {1, 2}) {
        simd::set_isa(isa);
        set_num_threads(threads);
        std::vector<std::byte> m32(packed_bytes(N, K, Dtype::F32)), m16(packed_bytes(N, K, Dtype::BF16));
        const PackedB p32 = pack_b(N, K, w.in(), m32.data()), p16 = pack_b(N, K, w16.in(), m16.data());
        auto run = [&](int kind, int64_t rows, int64_t from) {
          std::vector<float> y(rows * N);
          const MatIn a{x.data() + from * K, Dtype::F32, K, 1};
          const MatOut c{y.data(), Dtype::F32, N};
          if (kind == 0) gemm(rows, N, K, a, {w.data(), Dtype::F32, 1, K}, c);
          if (kind == 1) gemm_packed(rows, a, p32, c);
          if (kind == 2) gemm_packed(rows, a, p16, c);
          return y;
        };
        const auto plain = run(0, 64, 0);
        for (int kind : {0, 1, 2}) {
          const auto all = run(kind, 64, 0);
          if (kind == 1) {
            ASSERT_EQ(0, std::memcmp(all.data(), plain.data(), all.size() * 4)) << "packed and not packed";
          }
          const auto seven = run(kind, 7, 10), one = run(kind, 1, 13), four = run(kind, 4, 13);
          ASSERT_EQ(0, std::memcmp(seven.data(), &all[10 * N], seven.size() * 4)) << kind << " K " << K;
          ASSERT_EQ(0, std::memcmp(one.data(), &all[13 * N], one.size() * 4)) << kind << " K " << K;
          ASSERT_EQ(0, std::memcmp(four.data(), &all[13 * N], four.size() * 4)) << kind << " K " << K;
        }
      }
  }
}

TEST(GemmPacked, EveryDtypeRowsAndPacker) {
  Settings settings;
  for (int64_t m : {1, 2, 3, 4, 5, 20})
    for (auto [n, k] : {std::pair<int64_t, int64_t>{1, 3}, {16, 256}, {33, 257}, {70, 40}, {200, 600}}) {
      check_packed<float, float, float>(m, n, k, 'r', 'r');
      check_packed<bfloat16, float, float>(m, n, k, 'r', 'r');
      check_packed<float16, float16, float16>(m, n, k, 'p', 't');
      check_packed<bfloat16, bfloat16, bfloat16>(m, n, k, 't', 'r');
      if (HasFatalFailure()) return;
    }
}

TEST(GemmPacked, SharedByThreads) {
  Settings settings;
  check_packed<bfloat16, float, float>(1, 3000, 400, 'r', 'r');
  check_packed<float, float, bfloat16>(2, 3000, 400, 'r', 'r');
  check_packed<bfloat16, float, float>(240, 70, 300, 'r', 'r');
  check_packed<float, float, float>(40, 700, 300, 'r', 'r');
}

TEST(GemmBatched, StridesAndBroadcast) {
  Settings settings;
  for (auto [batch, M, N, K] :
       {std::array<int64_t, 4>{37, 5, 9, 20}, {3, 150, 140, 400}, {200, 17, 33, 64}}) {
    const Mat<float> a(batch * M, K, 'r', 1), b(K, N, 'r', 2);
    Mat<float> want(batch * M, N, 'r', 3);
    const Mat<float> fresh = want;
    define(a, b, want);
    for (Isa isa : all_isas())
      for (int threads : {1, 2}) {
        simd::set_isa(isa);
        set_num_threads(threads);
        Mat<float> c = fresh;
        gemm_batched(batch, M, N, K, a.in(), b.in(), c.out(), BatchOffsets{M * K, 0, M * N});
        ASSERT_TRUE(c.same_bits(want)) << simd::isa_name(isa) << " batch " << batch;
        c = fresh;
        gemm_batched(batch, M, N, K, a.in(), b.in(), c.out(), [&](int64_t i) {
          return BatchOffsets{i * M * K, 0, i * M * N};
        });
        ASSERT_TRUE(c.same_bits(want)) << simd::isa_name(isa) << " batch " << batch;
      }
  }
}

template <class T>
void check_integers(Dtype dtype) {
  for (auto [M, N, K] : {std::array<int64_t, 3>{1, 1, 1}, {3, 5, 7}, {33, 700, 41}, {120, 130, 150}}) {
    std::mt19937_64 gen(5);
    std::vector<T> a(M * K), b(K * N), c(M * (N + 2), T(9));
    for (T& x : a) x = static_cast<T>(gen());
    for (T& x : b) x = static_cast<T>(gen());
    auto want = c;
    for (int64_t i = 0; i < M; ++i)
      for (int64_t j = 0; j < N; ++j) {
        uint64_t sum = 0;  // the low bits of a 64-bit sum are the wrapped sum
        for (int64_t k = 0; k < K; ++k)
          sum += static_cast<uint64_t>(a[k * M + i]) * static_cast<uint64_t>(b[j * K + k]);
        want[i * (N + 2) + j] = static_cast<T>(sum);
      }
    gemm(M, N, K, {a.data(), dtype, 1, M}, {b.data(), dtype, 1, K}, {c.data(), dtype, N + 2});
    ASSERT_EQ(c, want) << dtype_name(dtype) << " " << M << "x" << N << "x" << K;
  }
}

TEST(GemmInteger, Wraps) {
  check_integers<int8_t>(Dtype::I8);
  check_integers<uint8_t>(Dtype::U8);
  check_integers<int16_t>(Dtype::I16);
  check_integers<uint16_t>(Dtype::U16);
  check_integers<int32_t>(Dtype::I32);
  check_integers<uint32_t>(Dtype::U32);
  check_integers<int64_t>(Dtype::I64);
  check_integers<uint64_t>(Dtype::U64);
}

template <class T>
void check_complex(Dtype dtype) {
  using Z = std::complex<T>;
  for (auto [M, N, K] : {std::array<int64_t, 3>{1, 1, 1}, {3, 5, 7}, {20, 33, 129}, {9, 300, 300}})
    for (bool at : {false, true})
      for (bool bt : {false, true}) {
        std::mt19937 gen(6);
        std::normal_distribution<double> d;
        std::vector<Z> a(M * K), b(K * N), fresh(M * (N + 1), Z(7, 7));
        for (auto* v : {&a, &b})
          for (Z& z : *v) z = Z(static_cast<T>(d(gen)), static_cast<T>(d(gen)));
        const int64_t ars = at ? 1 : K, acs = at ? M : 1, brs = bt ? 1 : N, bcs = bt ? K : 1;
        auto want = fresh;
        for (int64_t i = 0; i < M; ++i)
          for (int64_t j = 0; j < N; ++j) {
            T re = 0, im = 0;
            long double sr = 0, si = 0, mag = 0;
            for (int64_t k0 = 0; k0 < K; k0 += 128) {
              T pr = 0, pi = 0;
              for (int64_t k = k0; k < std::min(K, k0 + 128); ++k) {
                const Z x = a[i * ars + k * acs], y = b[k * brs + j * bcs];
                pr = std::fma(x.imag(), -y.imag(), std::fma(x.real(), y.real(), pr));
                pi = std::fma(x.imag(), y.real(), std::fma(x.real(), y.imag(), pi));
                sr += static_cast<long double>(x.real()) * y.real() -
                      static_cast<long double>(x.imag()) * y.imag();
                si += static_cast<long double>(x.real()) * y.imag() +
                      static_cast<long double>(x.imag()) * y.real();
                mag += static_cast<long double>(std::abs(x)) * std::abs(y);
              }
              re = k0 ? re + pr : pr;
              im = k0 ? im + pi : pi;
            }
            want[i * (N + 1) + j] = Z(re, im);
            const double eps = sizeof(T) == 8 ? 0x1p-53 : 0x1p-24;
            // 2K roundings of terms whose magnitudes sum to at most sqrt(2) times the sum of |x||y|.
            ASSERT_LE(std::fabs(re - sr), eps * 2.9 * (K + 4) * mag);
            ASSERT_LE(std::fabs(im - si), eps * 2.9 * (K + 4) * mag);
          }
        for (Isa isa : all_isas())
          for (int threads : {1, 2}) {
            simd::set_isa(isa);
            set_num_threads(threads);
            auto c = fresh;
            gemm(M, N, K, {a.data(), dtype, ars, acs}, {b.data(), dtype, brs, bcs}, {c.data(), dtype, N + 1});
            ASSERT_EQ(0, std::memcmp(c.data(), want.data(), c.size() * sizeof(Z))) << simd::isa_name(isa);
          }
      }
}

TEST(GemmComplex, MatchesTheDefinition) {
  Settings settings;
  check_complex<float>(Dtype::C64);
  check_complex<double>(Dtype::C128);
}

TEST(Gemm, RefusesMixedDtypes) {
  float f[4] = {};
  double d[4] = {};
  EXPECT_THROW(gemm(2, 2, 2, {f, Dtype::F32, 2, 1}, {d, Dtype::F64, 2, 1}, {d, Dtype::F64, 2}), Error);
  EXPECT_THROW(gemm(2, 2, 2, {f, Dtype::Bool, 2, 1}, {f, Dtype::Bool, 2, 1}, {f, Dtype::Bool, 2}), Error);
  EXPECT_THROW(packed_bytes(2, 2, Dtype::F64), Error);
}

// NaN and infinity travel as they do in the definition; padding must not add any.
TEST(Gemm, SpecialValues) {
  Settings settings;
  const int64_t M = 15, N = 35, K = 20;
  Mat<float> a(M, K, 'r', 1), b(K, N, 'r', 2), want(M, N, 'p', 3);
  a(3, 4) = NAN;
  a(5, 5) = INFINITY;
  b(7, 34) = -INFINITY;
  b(5, 2) = 0.0f;
  const Mat<float> fresh = want;
  define(a, b, want);
  for (Isa isa : all_isas()) {
    simd::set_isa(isa);
    Mat<float> c = fresh;
    gemm(M, N, K, a.in(), b.in(), c.out());
    for (int64_t i = 0; i < M; ++i)
      for (int64_t j = 0; j < N; ++j) {
        if (std::isnan(want(i, j)))
          ASSERT_TRUE(std::isnan(c(i, j))) << i << "," << j;
        else
          ASSERT_EQ(c(i, j), want(i, j)) << i << "," << j;
      }
  }
}
