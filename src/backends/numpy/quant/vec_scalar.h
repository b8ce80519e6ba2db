// One lane: the same kernels without wide registers.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "prims/block_formats.h"

namespace mc::numpy::quant {

struct VecScalar {
  static constexpr int kLanes = 1;
  using F = float;
  using I = uint32_t;
#define MC_V static inline __attribute__((always_inline))
  MC_V I load_i(const void* p) {
    I v;
    std::memcpy(&v, p, 4);
    return v;
  }
  MC_V void store_i(void* p, I v) { std::memcpy(p, &v, 4); }
  MC_V F load(const float* p) { return *p; }
  MC_V void store(float* p, F v) { *p = v; }
  MC_V F zero() { return 0; }
  MC_V F set1(float x) { return x; }
  MC_V I set1_i(uint32_t x) { return x; }
  MC_V I and_or(I v, uint32_t mask, uint32_t bits) { return (v & mask) | bits; }
  MC_V I and_i(I v, uint32_t mask) { return v & mask; }
  MC_V I select(uint32_t mask, I a, I b) { return (a & mask) | (b & ~mask); }
  template <int N>
  MC_V I shr(I v) {
    return v >> N;
  }
  template <int N>
  MC_V I shl(I v) {
    return v << N;
  }
  MC_V F as_f(I v) { return std::bit_cast<float>(v); }
  MC_V F sub(F a, F b) { return a - b; }
  MC_V F add(F a, F b) { return a + b; }
  MC_V F mul(F a, F b) { return a * b; }
  MC_V F fma(F a, F b, F c) { return std::fma(a, b, c); }
  MC_V F neg(F a) { return -a; }
  MC_V F load_half(const void* p) {
    uint16_t h;
    std::memcpy(&h, p, 2);
    return blocks::half_to_float(h);
  }
  MC_V F load_bfloat(const void* p) {
    uint16_t h;
    std::memcpy(&h, p, 2);
    return std::bit_cast<float>(static_cast<uint32_t>(h) << 16);
  }
  MC_V F load_u8(const void* p) { return static_cast<float>(*static_cast<const uint8_t*>(p)); }
  MC_V F load_i8(const void* p) { return static_cast<float>(*static_cast<const int8_t*>(p)); }
  MC_V I broadcast4(const int8_t* p) { return load_i(p); }
  MC_V F to_float(I v) { return static_cast<float>(static_cast<int32_t>(v)); }
  static constexpr bool kPicksBytes = false;
  static constexpr bool kExactDot = true;
  MC_V I dot4(I acc, I u, I s) {
    for (int i = 0; i < 32; i += 8)
      acc += (u >> i & 255) * static_cast<uint32_t>(static_cast<int32_t>(static_cast<int8_t>(s >> i & 255)));
    return acc;
  }
  MC_V void prefetch(const void*) {}
  MC_V void prefetch_l2(const void*) {}
#undef MC_V
};

}  // namespace mc::numpy::quant
