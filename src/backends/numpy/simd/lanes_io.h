// Loads and stores of 16 elements of float, float16 or bfloat16 as F32, whole or the first n, and the order
// in which every reduction adds: element i of a run goes to accumulator (i/16)%4, lane i%16; accumulators are
// combined as (a0+a1)+(a2+a3) and lanes by the tree of sum_lanes.
#pragma once

#include <type_traits>

#include "backends/numpy/simd/lanes.h"
#include "mc/dtype.h"

namespace mc::simd::MC_SIMD_NS {

MC_INL F32 vload(const float* p) { return F32::load(p); }
MC_INL F32 vload(const float16* p) { return load_f16(reinterpret_cast<const uint16_t*>(p)); }
MC_INL F32 vload(const bfloat16* p) { return load_bf16(reinterpret_cast<const uint16_t*>(p)); }
MC_INL F32 vload(const float* p, int n) { return F32::load(p, n); }
template <class T>
MC_INL F32 vload(const T* p, int n) {
  T tmp[16] = {};
  std::memcpy(tmp, p, static_cast<size_t>(n) * sizeof(T));
  return vload(tmp);
}
MC_INL void vstore(float* p, F32 a) { F32::store(p, a); }
MC_INL void vstore(float16* p, F32 a) { store_f16(reinterpret_cast<uint16_t*>(p), a); }
MC_INL void vstore(bfloat16* p, F32 a) {
  const I32 u = as_i32(a), top = shr<16>(u);
  const I32 rounded = shr<16>(u + I32::set(0x7fff) + (top & I32::set(1)));
  store_u16(reinterpret_cast<uint16_t*>(p), select(is_nan(a), top | I32::set(0x40), rounded));
}
MC_INL void vstore(float* p, F32 a, int n) { F32::store(p, a, n); }
template <class T>
MC_INL void vstore(T* p, F32 a, int n) {
  T tmp[16];
  vstore(tmp, a);
  std::memcpy(p, tmp, static_cast<size_t>(n) * sizeof(T));
}

// f(pointer type tag) for the three float dtypes.
template <class F>
MC_INL void with_float_type(Dtype dtype, F f) {
  if (dtype == Dtype::F32)
    f(static_cast<float*>(nullptr));
  else if (dtype == Dtype::BF16)
    f(static_cast<bfloat16*>(nullptr));
  else
    f(static_cast<float16*>(nullptr));
}

// f(i, n) for the vectors of [0, count): n is 16 but for the last.
template <class F>
MC_INL void for_vectors(int64_t count, F f) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) f(i, 16);
  if (i < count) f(i, static_cast<int>(count - i));
}
// load / store that keep the whole-vector form where n is a constant 16
template <class T>
MC_INL F32 vload_n(const T* p, int n) {
  return n == 16 ? vload(p) : vload(p, n);
}
template <class T>
MC_INL void vstore_n(T* p, F32 a, int n) {
  n == 16 ? vstore(p, a) : vstore(p, a, n);
}

// The contract's sum of f(i, n) over a run; f must return 0 in lanes from n on.
template <class F>
MC_INL float reduce_sum(int64_t count, F f) {
  F32 a0 = F32::zero(), a1 = a0, a2 = a0, a3 = a0;
  int64_t i = 0;
  for (; i + 64 <= count; i += 64) {
    a0 = a0 + f(i, 16);
    a1 = a1 + f(i + 16, 16);
    a2 = a2 + f(i + 32, 16);
    a3 = a3 + f(i + 48, 16);
  }
  const int left = static_cast<int>(count - i);
  if (left > 0) a0 = a0 + f(i, left < 16 ? left : 16);
  if (left > 16) a1 = a1 + f(i + 16, left < 32 ? left - 16 : 16);
  if (left > 32) a2 = a2 + f(i + 32, left < 48 ? left - 32 : 16);
  if (left > 48) a3 = a3 + f(i + 48, left - 48);
  return sum_lanes((a0 + a1) + (a2 + a3));
}
// The largest of f(i, n), -inf for none; NaN is not seen. f's lanes from n on are ignored.
template <class F>
MC_INL float reduce_max(int64_t count, F f) {
  const F32 low = F32::set(-__builtin_inff());
  F32 a0 = low, a1 = low, a2 = low, a3 = low;
  int64_t i = 0;
  for (; i + 64 <= count; i += 64) {
    a0 = max(f(i, 16), a0);
    a1 = max(f(i + 16, 16), a1);
    a2 = max(f(i + 32, 16), a2);
    a3 = max(f(i + 48, 16), a3);
  }
  for (; i + 16 <= count; i += 16) a0 = max(f(i, 16), a0);
  if (i < count) {
    const int n = static_cast<int>(count - i);
    a0 = max(select(first_lanes(n), f(i, n), low), a0);
  }
  return max_lanes(max(max(a0, a1), max(a2, a3)));
}

}  // namespace mc::simd::MC_SIMD_NS
