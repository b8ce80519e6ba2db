// What the machine can do at most: the yardsticks that kernels are measured by.
#pragma once

namespace bench {

// Float32 multiply-adds from registers on all threads, GFLOP/s (2 per fma); 0 where no vector unit is known.
double fma_gflops(int threads);
// Reading 512 MiB in `threads` parts, GB/s.
double read_gb_s(int threads);
// Copying 256 MiB in `threads` parts, bytes read and written, GB/s.
double copy_gb_s(int threads);

}  // namespace bench
