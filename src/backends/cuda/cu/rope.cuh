// One rotation, for the kernels that turn.
#pragma once

#include "backends/cuda/cu/common.cuh"
#include "backends/cuda/cu/fused.h"

namespace mc::cuda {

// Of pair e; 0 for the elements that are not turned, which a table has no frequencies of.
__device__ __forceinline__ double frequency(const RopeLaunch& a, int64_t e) {
  if (e >= a.dims / 2) return 0;
  return a.inv_freq ? static_cast<double>(a.inv_freq[e * a.freq_stride])
                    : exp2(a.log2_base * (-2.0 * static_cast<double>(e) / a.dims));
}

// Pair e of a row at `position`; e from dims / 2 on: the elements that are not turned, as they are.
template <class T>
__device__ __forceinline__ void turn(const RopeLaunch& a, const T* x, T* out, int64_t e, double position,
                                     double freq) {
  const int half = a.dims / 2;
  if (e >= half) {
    out[a.dims + e - half] = x[a.dims + e - half];
    return;
  }
  const double angle = position * a.scale * freq;
  // Reduced in float64, so that far positions keep the bits of their angle.
  constexpr double kTwoPi = 6.283185307179586476925;
  const float r = static_cast<float>(fma(-rint(angle / kTwoPi), kTwoPi, angle));
  float s, c;
  sincosf(r, &s, &c);
  const int64_t i0 = a.traditional ? 2 * e : e, i1 = a.traditional ? 2 * e + 1 : e + half;
  const float p = load(x[i0]), q = load(x[i1]);
  out[i0] = store<T>(p * c - q * s);
  out[i1] = store<T>(p * s + q * c);
}

}  // namespace mc::cuda
