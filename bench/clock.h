#pragma once

#include <algorithm>
#include <chrono>

namespace bench {

// The shortest of at least `runs` runs, in seconds.
template <class F>
double shortest(int runs, F&& f) {
  double best = 1e300;
  for (int i = 0; i < runs; ++i) {
    const auto start = std::chrono::steady_clock::now();
    f();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

}  // namespace bench
