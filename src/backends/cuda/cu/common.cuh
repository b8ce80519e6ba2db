// What the precompiled kernels share.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <stdexcept>

namespace mc::cuda {

// mc::Dtype's numbers; mc's own headers stay out of device code.
enum : int { kBool, kU8, kU16, kU32, kU64, kI8, kI16, kI32, kI64, kF16, kBF16, kF32, kF64, kC64, kC128 };

struct Half {
  uint16_t v;
};
struct Brain {
  uint16_t v;
};
__device__ __forceinline__ float load(float x) { return x; }
__device__ __forceinline__ float load(Half h) {
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h.v));
  return f;
}
__device__ __forceinline__ float load(Brain h) { return __uint_as_float(static_cast<uint32_t>(h.v) << 16); }
template <class T>
__device__ __forceinline__ T store(float x) {
  return x;
}
template <>
__device__ __forceinline__ Half store<Half>(float x) {
  Half h;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h.v) : "f"(x));
  return h;
}
template <>
__device__ __forceinline__ Brain store<Brain>(float x) {
  Brain h;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(h.v) : "f"(x));
  return h;
}

__device__ __forceinline__ int64_t read_index(const void* p, int dtype, int64_t i) {
  switch (dtype) {
    case kBool:
    case kU8: return static_cast<const uint8_t*>(p)[i];
    case kU16: return static_cast<const uint16_t*>(p)[i];
    case kU32: return static_cast<const uint32_t*>(p)[i];
    case kU64: {
      const uint64_t v = static_cast<const uint64_t*>(p)[i];
      return v > static_cast<uint64_t>(INT64_MAX) ? INT64_MAX : static_cast<int64_t>(v);
    }
    case kI8: return static_cast<const int8_t*>(p)[i];
    case kI16: return static_cast<const int16_t*>(p)[i];
    case kI32: return static_cast<const int32_t*>(p)[i];
    default: return static_cast<const int64_t*>(p)[i];
  }
}

// Element i of 16- or 32-bit floats.
__device__ __forceinline__ float read_float(const void* p, int dtype, int64_t i) {
  switch (dtype) {
    case kF32: return static_cast<const float*>(p)[i];
    case kF16: return load(static_cast<const Half*>(p)[i]);
    default: return load(static_cast<const Brain*>(p)[i]);
  }
}
__device__ __forceinline__ void write_float(void* p, int dtype, int64_t i, float y) {
  if (dtype == kF32)
    static_cast<float*>(p)[i] = y;
  else if (dtype == kF16)
    static_cast<Half*>(p)[i] = store<Half>(y);
  else
    static_cast<Brain*>(p)[i] = store<Brain>(y);
}

// Eight neighbours; `vectors`: they lie on 16 bytes.
template <class T>
__device__ __forceinline__ void read_eight(const T* p, bool vectors, float (&v)[8]) {
  constexpr int kWords = sizeof(T) / 2;
  if (vectors) {
    uint4 raw[kWords];
#pragma unroll
    for (int i = 0; i < kWords; ++i) raw[i] = reinterpret_cast<const uint4*>(p)[i];
    const T* t = reinterpret_cast<const T*>(raw);
#pragma unroll
    for (int i = 0; i < 8; ++i) v[i] = load(t[i]);
  } else {
#pragma unroll
    for (int i = 0; i < 8; ++i) v[i] = load(p[i]);
  }
}

inline unsigned blocks_for(int64_t n, int threads) {
  return static_cast<unsigned>((n + threads - 1) / threads);
}

// Warp-wide sums in a fixed order.
__device__ __forceinline__ float warp_sum(float v) {
  for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(0xffffffffu, v, o);
  return v;
}
__device__ __forceinline__ float warp_max(float v) {
  for (int o = 16; o; o >>= 1) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, o));
  return v;
}

// Calls f with a value of the stored type of a 16- or 32-bit float dtype.
template <class F>
inline bool with_float(int dtype, F f) {
  switch (dtype) {
    case kF32: f(float{}); return true;
    case kF16: f(Half{}); return true;
    case kBF16: f(Brain{}); return true;
    default: return false;
  }
}

}  // namespace mc::cuda
