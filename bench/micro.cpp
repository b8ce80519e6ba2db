// Small benchmarks of the host engine through the public API, beside the machine's ceilings: one line of
// JSON.
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "ceilings.h"
#include "clock.h"
#include "mc/mc.h"

namespace {

using mc::Array;
using mc::Arrays;

constexpr int kChain = 1000;

double matmul_gflops() {
  const int64_t n = 2048;
  const Array a = mc::random::normal({n, n}).eval(), b = mc::random::normal({n, n}).eval();
  const double seconds = bench::shortest(8, [&] { mc::matmul(a, b).eval(); });
  return 2.0 * static_cast<double>(n * n * n) / seconds / 1e9;
}

// Bytes read and written a second by an elementwise function of 64 Mi floats; the outputs reuse memory that
// is warm.
double elementwise_gb_s(const mc::Function& f) {
  const Array x = mc::random::normal({int64_t{64} << 20}).eval();
  const mc::Function fused = mc::compile(f);
  const double seconds = bench::shortest(6, [&] { fused({x})[0].eval(); });
  return 2.0 * static_cast<double>(x.nbytes()) / seconds / 1e9;
}

struct OpTimes {
  double build_us, run_us;
};

// Building and running a chain of kChain small ops, each run a cached program.
template <class F>
OpTimes chain_us(F&& step) {
  const Array x = mc::ones({8}).eval(), y = mc::ones({8}).eval();
  OpTimes best{1e300, 1e300};
  for (int run = 0; run < 50; ++run) {
    Array z = x;
    best.build_us = std::min(best.build_us, bench::shortest(1,
                                                            [&] {
                                                              for (int i = 0; i < kChain; ++i)
                                                                z = step(z, y, i);
                                                            }) *
                                                1e6 / kChain);
    best.run_us = std::min(best.run_us, bench::shortest(1, [&] { z.eval(); }) * 1e6 / kChain);
  }
  return best;
}

// Gigabytes a second of one evaluated expression that touches `bytes`.
template <class F>
double gb_s(int64_t bytes, F&& f) {
  f().eval();
  return static_cast<double>(bytes) / bench::shortest(4, [&] { f().eval(); }) / 1e9;
}

// Reductions and movements of 64 Mi floats, sorting of 1 Mi: bytes read, or read and written, a second.
void memory_bound() {
  const int64_t side = 8192, n = side * side, bytes = 4 * n;
  const Array x = mc::random::normal({side, side}).eval();
  std::printf("\"sum_last_gb_s\": %.2f, ", gb_s(bytes, [&] { return mc::sum(x, {1}); }));
  std::printf("\"sum_first_gb_s\": %.2f, ", gb_s(bytes, [&] { return mc::sum(x, {0}); }));
  std::printf("\"sum_all_gb_s\": %.2f, ", gb_s(bytes, [&] { return mc::sum(x); }));
  std::printf("\"max_last_gb_s\": %.2f, ", gb_s(bytes, [&] { return mc::max(x, {1}); }));
  std::printf("\"argmax_last_gb_s\": %.2f, ", gb_s(bytes, [&] { return mc::argmax(x, 1); }));
  std::printf("\"transpose_gb_s\": %.2f, ",
              gb_s(2 * bytes, [&] { return mc::concatenate({mc::transpose(x)}, 0); }));
  {
    const Array half = mc::random::normal({side / 2, side}).eval();
    std::printf("\"concatenate_gb_s\": %.2f, ", gb_s(2 * bytes, [&] {
                  return mc::concatenate({half, half}, 1);
                }));
    std::printf("\"pad_gb_s\": %.2f, ", gb_s(bytes, [&] { return mc::pad(half, {{1, 1}, {1, 1}}); }));
    const Array rows = mc::random::randint(0, side / 2, {side}).eval();
    std::printf("\"take_rows_gb_s\": %.2f, ", gb_s(2 * bytes, [&] { return mc::take(half, rows, 0); }));
    const Array along = mc::random::randint(0, side, {side / 2, side}).eval();
    std::printf("\"take_along_gb_s\": %.2f, ",
                gb_s(3 * bytes / 2, [&] { return mc::take_along_axis(half, along, 1); }));
  }
  const Array few = mc::random::normal({int64_t{1} << 20}).eval();
  const auto million_s = [&](auto f) { return 1.048576 / bench::shortest(4, [&] { f().eval(); }); };
  std::printf("\"sort_melements_s\": %.2f, ", million_s([&] { return mc::sort(few, 0); }));
  std::printf("\"argsort_melements_s\": %.2f, ", million_s([&] { return mc::argsort(few, 0); }));
}

double lone_eval_us() {
  const Array x = mc::ones({8}).eval(), y = mc::ones({8}).eval();
  return bench::shortest(20,
                         [&] {
                           for (int i = 0; i < 100; ++i) (x + y).eval();
                         }) *
         1e6 / 100;
}

}  // namespace

int main(int argc, char** argv) try {
  bool only_memory = false;
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--memory") only_memory = true;
    if (std::string_view(argv[i]) == "--threads" && i + 1 < argc) mc::set_num_threads(std::atoi(argv[i + 1]));
  }
  const int threads = mc::num_threads();
  std::printf("{");
  memory_bound();
  if (!only_memory) {
    const OpTimes adds = chain_us([](const Array& z, const Array& y, int) { return z + y; });
    const OpTimes mixed =
        chain_us([](const Array& z, const Array& y, int i) { return i % 2 ? mc::cumsum(z, 0) : z - y; });
    std::printf(
        "\"build_op_us\": %.4f, \"run_fused_op_us\": %.4f, \"run_op_us\": %.4f, \"lone_eval_us\": %.4f, ",
        adds.build_us, adds.run_us, mixed.run_us, lone_eval_us());
    std::printf("\"matmul_gflops\": %.2f, \"fma_gflops\": %.1f, ", matmul_gflops(),
                bench::fma_gflops(threads));
  }
  std::printf("\"chain_gb_s\": %.2f, ", elementwise_gb_s([](const Arrays& a) {
                return Arrays{mc::maximum((2 * a[0] + 1) * a[0] - 0.5, 0)};
              }));
  std::printf("\"tanh_exp_gb_s\": %.2f, ",
              elementwise_gb_s([](const Arrays& a) { return Arrays{mc::tanh(mc::exp(-a[0] * a[0]))}; }));
  std::printf("\"read_gb_s\": %.2f, \"copy_gb_s\": %.2f}\n", bench::read_gb_s(threads),
              bench::copy_gb_s(threads));
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "mc_micro: %s\n", e.what());
  return 1;
}
