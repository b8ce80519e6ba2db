// What an engine on a GPU makes of a pointwise chain, and what a lone small op costs the host: one line of
// JSON.
//
// usage: MODELCYPHER_BACKEND=cuda gpu_micro
#include <cstdio>

#include "clock.h"
#include "mc/mc.h"

namespace {

using mc::Array;
using mc::Arrays;

// Terabytes read and written a second by a compiled function of 64 Mi floats, one run after another.
double tb_s(const mc::Function& f) {
  constexpr int kRuns = 40;
  const Array x = mc::random::normal({int64_t{64} << 20}).eval();
  const mc::Function fused = mc::compile(f);
  const double seconds = bench::shortest(5, [&] {
    for (int i = 0; i < kRuns; ++i) fused({x})[0].eval();
    mc::synchronize();
  });
  return 2.0 * static_cast<double>(x.nbytes()) * kRuns / seconds / 1e12;
}

// Host time of building and enqueueing one sum of eight floats; the device's work is not waited for.
double lone_op_us() {
  constexpr int kOps = 500;
  const Array x = mc::ones({8}).eval(), y = mc::ones({8}).eval();
  double best = 1e300;
  for (int run = 0; run < 20; ++run) {
    mc::synchronize();
    best = std::min(best, bench::shortest(1, [&] {
                      for (int i = 0; i < kOps; ++i) (x + y).eval();
                    }));
  }
  return best * 1e6 / kOps;
}

}  // namespace

int main() try {
  const double copy = tb_s([](const Arrays& a) { return Arrays{-a[0]}; });
  const double chain =
      tb_s([](const Arrays& a) { return Arrays{mc::maximum((2 * a[0] + 1) * a[0] - 0.5, 0)}; });
  std::printf("{\"one_op_TB_s\": %.3f, \"chain_TB_s\": %.3f, \"lone_op_us\": %.2f}\n", copy, chain,
              lone_op_us());
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "gpu_micro: %s\n", e.what());
  return 1;
}
