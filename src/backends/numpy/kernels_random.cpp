// Philox words.
#include "backends/numpy/kernel.h"
#include "base/thread_pool.h"
#include "prims/attrs.h"
#include "prims/philox.h"

namespace mc::numpy {
namespace {

void random_bits(const Call& c) {
  const int64_t n = c.attr<RandomBitsAttrs>().shape.numel(), keys = c.in[0].numel() / 2;
  for (int64_t k = 0; k < keys; ++k) {
    const uint32_t key0 = c.in[0].as<uint32_t>()[2 * k], key1 = c.in[0].as<uint32_t>()[2 * k + 1];
    uint32_t* out = c.out[0].as<uint32_t>() + k * n;
    parallel_for((n + 3) / 4, 4096, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        const Philox4 block = philox_block(static_cast<uint64_t>(b), key0, key1);
        for (int64_t i = 4 * b; i < std::min(n, 4 * b + 4); ++i) out[i] = block.v[i & 3];
      }
    });
  }
}

constexpr KernelRow kRows[] = {{Op::RandomBits, random_bits}};

}  // namespace

std::span<const KernelRow> random_kernels() { return kRows; }

}  // namespace mc::numpy
