// Matrix kernels against the machine's ceilings, measured beside them in the same run:
//   gemm_bench [gemm|packed|gemv|small|all]
// Threads from MC_NUM_THREADS, instruction set from MC_SIMD.
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "backends/numpy/gemm.h"
#include "backends/numpy/simd/convert.h"
#include "backends/numpy/simd/dispatch.h"
#include "base/thread_pool.h"
#include "ceilings.h"
#include "clock.h"

using namespace mc;
using namespace mc::numpy;

namespace {

template <class T>
std::vector<T> noise(int64_t n) {
  std::mt19937 gen(1);
  std::uniform_real_distribution<float> d(-1, 1);
  std::vector<T> out(static_cast<size_t>(n));
  for (T& x : out) {
    if constexpr (std::is_same_v<T, bfloat16>)
      x = simd::to_bf16(d(gen));
    else
      x = d(gen);
  }
  return out;
}

double peak(int threads) {
  return bench::fma_gflops(threads) * (simd::active_isa() == simd::best_isa() ? 1.0 : 0.0);
}

void report(const char* what, int64_t M, int64_t N, int64_t K, double seconds, double ceiling) {
  const double g =
      2.0 * static_cast<double>(M) * static_cast<double>(N) * static_cast<double>(K) / seconds / 1e9;
  std::printf("%-22s %5lld x %5lld x %5lld  %8.1f GFLOP/s", what, static_cast<long long>(M),
              static_cast<long long>(N), static_cast<long long>(K), g);
  if (ceiling > 0) std::printf("  %5.1f %% of the peak of fma", 100 * g / ceiling);
  std::printf("\n");
}

template <class T>
void plain(const char* what, Dtype dtype, int64_t M, int64_t N, int64_t K, bool ta, bool tb, double ceiling) {
  const auto a = noise<T>(M * K), b = noise<T>(K * N);
  std::vector<T> c(static_cast<size_t>(M * N));
  const MatIn ma{a.data(), dtype, ta ? 1 : K, ta ? M : 1}, mb{b.data(), dtype, tb ? 1 : N, tb ? K : 1};
  const int runs = std::max(3, static_cast<int>(2e10 / (2.0 * M * N * K)));
  report(what, M, N, K,
         bench::shortest(std::min(runs, 2000),
                         [&] {
                           gemm(M, N, K, ma, mb, {c.data(), dtype, N});
                         }),
         ceiling);
}

template <class T>
void packed(const char* what, Dtype dtype, int64_t M, int64_t N, int64_t K, double ceiling) {
  const auto a = noise<float>(M * K);
  const auto w = noise<T>(N * K);
  std::vector<float> c(static_cast<size_t>(M * N));
  std::vector<std::byte> store(packed_bytes(N, K, dtype) + 64);
  void* aligned = reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(store.data()) + 63) / 64 * 64);
  const PackedB p = pack_b(N, K, {w.data(), dtype, K, 1}, aligned);
  const int runs = std::clamp(static_cast<int>(2e10 / (2.0 * M * N * K)), 3, 2000);
  report(what, M, N, K,
         bench::shortest(runs,
                         [&] {
                           gemm_packed(M, {a.data(), Dtype::F32, K, 1}, p, {c.data(), Dtype::F32, N});
                         }),
         ceiling);
}

// Bytes of weights per second, over weights that no cache holds.
template <class T>
void stream(const char* what, Dtype dtype, int64_t M, bool pack, bool rows_of_k, double ceiling) {
  const int64_t K = 4096, N = (int64_t{512} << 20) / K / static_cast<int64_t>(sizeof(T));
  const auto x = noise<float>(M * K);
  std::vector<T> w(static_cast<size_t>(N * K));
  std::memset(static_cast<void*>(w.data()), 0x3c, w.size() * sizeof(T));
  std::vector<float> y(static_cast<size_t>(M * N));
  PackedB p{};
  std::vector<std::byte> store;
  if (pack) {
    store.resize(packed_bytes(N, K, dtype) + 64);
    p = pack_b(N, K, {w.data(), dtype, K, 1},
               reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(store.data()) + 63) / 64 * 64));
  }
  const double s = bench::shortest(7, [&] {
    if (pack)
      gemm_packed(M, {x.data(), Dtype::F32, K, 1}, p, {y.data(), Dtype::F32, N});
    else
      gemm(M, N, K, {x.data(), Dtype::F32, K, 1}, {w.data(), dtype, rows_of_k ? N : 1, rows_of_k ? 1 : K},
           {y.data(), Dtype::F32, N});
  });
  const double rate = static_cast<double>(N * K * static_cast<int64_t>(sizeof(T))) / s / 1e9;
  std::printf("%-22s %2lld rows  %6.1f GB/s  %5.1f %% of reading\n", what, static_cast<long long>(M), rate,
              100 * rate / ceiling);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "all";
  const bool all = what == "all";
  const int threads = num_threads();
  const double top = peak(threads);
  std::printf("%s, %d thread(s), peak of fma %.1f GFLOP/s\n", simd::isa_name(simd::active_isa()), threads,
              top);
  if (all || what == "gemm") {
    plain<float>("f32", Dtype::F32, 2048, 2048, 2048, false, false, top);
    plain<float>("f32 W transposed", Dtype::F32, 2048, 2048, 2048, false, true, top);
    plain<float>("f32 A transposed", Dtype::F32, 2048, 2048, 2048, true, false, top);
    plain<float>("f32", Dtype::F32, 512, 512, 512, false, false, top);
    plain<float>("f32", Dtype::F32, 128, 128, 128, false, false, top);
    plain<float>("f32", Dtype::F32, 512, 1536, 576, false, true, top);
    plain<double>("f64", Dtype::F64, 1024, 1024, 1024, false, false, top / 2);
    std::printf("peak of fma again %.1f GFLOP/s\n", peak(threads));
  }
  if (all || what == "packed") {
    packed<float>("f32 packed", Dtype::F32, 512, 2048, 2048, top);
    packed<bfloat16>("bf16 packed", Dtype::BF16, 512, 2048, 2048, top);
    packed<bfloat16>("bf16 packed", Dtype::BF16, 512, 576, 576, top);
    packed<bfloat16>("bf16 packed", Dtype::BF16, 512, 1536, 576, top);
    packed<float>("f32 packed", Dtype::F32, 16, 2048, 2048, top);
    packed<bfloat16>("bf16 packed", Dtype::BF16, 16, 2048, 2048, top);
    packed<bfloat16>("bf16 packed", Dtype::BF16, 8, 2048, 2048, top);
    std::printf("peak of fma again %.1f GFLOP/s\n", peak(threads));
  }
  if (all || what == "gemv") {
    const double read = bench::read_gb_s(threads);
    std::printf("reading %.1f GB/s\n", read);
    stream<float>("f32 packed", Dtype::F32, 1, true, false, read);
    stream<bfloat16>("bf16 packed", Dtype::BF16, 1, true, false, read);
    stream<bfloat16>("bf16 packed", Dtype::BF16, 4, true, false, read);
    stream<float>("f32 x W^T", Dtype::F32, 1, false, false, read);
    stream<float>("f32 x B", Dtype::F32, 1, false, true, read);
    std::printf("reading again %.1f GB/s\n", bench::read_gb_s(threads));
  }
  if (all || what == "small") {
    for (int64_t n : {1, 4, 8, 16, 32, 64}) {
      const auto a = noise<float>(n * n), b = noise<float>(n * n);
      std::vector<float> c(static_cast<size_t>(n * n));
      const double s = bench::shortest(20, [&] {
        for (int i = 0; i < 1000; ++i)
          gemm(n, n, n, {a.data(), Dtype::F32, n, 1}, {b.data(), Dtype::F32, n, 1},
               {c.data(), Dtype::F32, n});
      });
      std::printf("f32 %lld cubed: %.0f ns\n", static_cast<long long>(n), s * 1e6);
    }
  }
  return 0;
}
