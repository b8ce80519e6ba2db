#include "ceilings.h"

#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "clock.h"

namespace bench {
namespace {

// Runs f(i) on threads 0..n-1 and waits.
template <class F>
void on_threads(int n, F&& f) {
  std::vector<std::thread> threads;
  for (int i = 1; i < n; ++i) threads.emplace_back([&f, i] { f(i); });
  f(0);
  for (auto& t : threads) t.join();
}

constexpr int64_t kFmaRounds = 20'000'000;
volatile float sink;
volatile uint64_t sink64;

#if defined(__x86_64__)
// Twelve chains hide the latency of every core there is (4-5 cycles, two units).
__attribute__((target("avx2,fma"))) void fma_avx2() {
  __m256 a[12];
  for (auto& v : a) v = _mm256_set1_ps(1.0F);
  const __m256 m = _mm256_set1_ps(0.999F), c = _mm256_set1_ps(0.001F);
  for (int64_t i = 0; i < kFmaRounds; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < 12; ++j) a[j] = _mm256_fmadd_ps(a[j], m, c);
  }
  __m256 s = a[0];
  for (int j = 1; j < 12; ++j) s = _mm256_add_ps(s, a[j]);
  sink = _mm256_cvtss_f32(s);
}

__attribute__((target("avx512f"))) void fma_avx512() {
  __m512 a[12];
  for (auto& v : a) v = _mm512_set1_ps(1.0F);
  const __m512 m = _mm512_set1_ps(0.999F), c = _mm512_set1_ps(0.001F);
  for (int64_t i = 0; i < kFmaRounds; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < 12; ++j) a[j] = _mm512_fmadd_ps(a[j], m, c);
  }
  __m512 s = a[0];
  for (int j = 1; j < 12; ++j) s = _mm512_add_ps(s, a[j]);
  sink = _mm512_cvtss_f32(s);
}
#endif

}  // namespace

double fma_gflops(int threads) {
#if defined(__x86_64__)
  void (*kernel)() = nullptr;
  int lanes = 0;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) kernel = fma_avx2, lanes = 8;
  if (__builtin_cpu_supports("avx512f")) kernel = fma_avx512, lanes = 16;
  if (!kernel) return 0;
  const double seconds = shortest(3, [&] { on_threads(threads, [&](int) { kernel(); }); });
  return 2.0 * 12 * lanes * static_cast<double>(kFmaRounds) * threads / seconds / 1e9;
#else
  (void)threads;
  return 0;
#endif
}

double read_gb_s(int threads) {
  const size_t words = (size_t{512} << 20) / sizeof(uint64_t);
  std::vector<uint64_t> data(words, 1);
  const size_t part = words / static_cast<size_t>(threads) / 8 * 8;
  const double seconds = shortest(5, [&] {
    on_threads(threads, [&](int t) {
      const uint64_t* p = data.data() + part * static_cast<size_t>(t);
      uint64_t sum[8] = {};
      for (size_t i = 0; i < part; i += 8) {
        for (size_t j = 0; j < 8; ++j) sum[j] += p[i + j];
      }
      sink64 = sum[0] + sum[1] + sum[2] + sum[3] + sum[4] + sum[5] + sum[6] + sum[7];
    });
  });
  return static_cast<double>(part * sizeof(uint64_t)) * threads / seconds / 1e9;
}

double copy_gb_s(int threads) {
  const size_t bytes = size_t{256} << 20;
  std::vector<char> from(bytes, 1), to(bytes, 2);
  const size_t part = bytes / static_cast<size_t>(threads);
  const double seconds = shortest(5, [&] {
    on_threads(threads, [&](int t) {
      const size_t at = part * static_cast<size_t>(t);
      std::memcpy(to.data() + at, from.data() + at, part);
    });
  });
  return 2.0 * static_cast<double>(part) * threads / seconds / 1e9;
}

}  // namespace bench
