// Philox4x32-10, a counter-based generator (Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy
// as 1, 2, 3", SC 2011). Plain integer arithmetic, for host and device code alike.
#pragma once

#include <cstdint>

#if defined(__NVCC__)
#define MC_HD __host__ __device__
#else
#define MC_HD
#endif

namespace mc {

struct Philox4 {
  uint32_t v[4];
};

MC_HD inline Philox4 philox4x32(Philox4 counter, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = static_cast<uint64_t>(0xD2511F53u) * counter.v[0];
    const uint64_t p1 = static_cast<uint64_t>(0xCD9E8D57u) * counter.v[2];
    const Philox4 next = {{static_cast<uint32_t>(p1 >> 32) ^ counter.v[1] ^ key0, static_cast<uint32_t>(p1),
                           static_cast<uint32_t>(p0 >> 32) ^ counter.v[3] ^ key1, static_cast<uint32_t>(p0)}};
    counter = next;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

// The stream of a key: word i is word i mod 4 of block i / 4, whose counter is (low word of the block's
// number, high word, 0, 0).
MC_HD inline Philox4 philox_block(uint64_t block, uint32_t key0, uint32_t key1) {
  return philox4x32({{static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), 0, 0}}, key0, key1);
}

}  // namespace mc
