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

// Time of building and enqueueing one sum of eight floats, and waiting for its turn if `wait`, else only the
// host's. Results are dropped at once, or all kept: then each has an address of its own.
double lone_op_us(bool wait, bool keep) {
  constexpr int kOps = 500;
  const Array x = mc::ones({8}).eval(), y = mc::ones({8}).eval();
  double best = 1e300;
  for (int run = 0; run < 20; ++run) {
    Arrays kept;
    kept.reserve(kOps);
    mc::synchronize();
    best = std::min(best, bench::shortest(1, [&] {
                      for (int i = 0; i < kOps; ++i) {
                        const Array z = (x + y).eval();
                        if (keep) kept.push_back(z);
                      }
                      if (wait) mc::synchronize();
                    }));
  }
  return best * 1e6 / kOps;
}

}  // namespace

int main() try {
  const double copy = tb_s([](const Arrays& a) { return Arrays{-a[0]}; });
  const double chain =
      tb_s([](const Arrays& a) { return Arrays{mc::maximum((2 * a[0] + 1) * a[0] - 0.5, 0)}; });
  std::printf(
      "{\"one_op_TB_s\": %.3f, \"chain_TB_s\": %.3f, \"lone_op_us\": %.2f, "
      "\"lone_op_kept_us\": %.2f, \"lone_op_waited_for_us\": %.2f}\n",
      copy, chain, lone_op_us(false, false), lone_op_us(false, true), lone_op_us(true, false));
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "gpu_micro: %s\n", e.what());
  return 1;
}
