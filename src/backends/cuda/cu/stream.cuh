// What the kernels of streamed products share: x in shared memory in the order in which codes are decoded,
// and the tensor cores' product.
#pragma once

#include "backends/cuda/cu/decode.h"
#include "backends/cuda/cu/quant_codes.cuh"

namespace mc::cuda {
namespace {

constexpr int kWarps = 8, kThreads = kWarps * 32;  // that multiply
constexpr int kKeep = 4, kKeepWeights = 2;         // times eight elements of x and of its weight in registers

__host__ __device__ constexpr bool is_dense(int f) { return f == kDenseBF16; }
// Elements of a row that the four lanes of a row take in a step.
__host__ __device__ constexpr int step_elements(int f) { return is_dense(f) ? 32 : 128; }
__device__ __forceinline__ uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}
__device__ __forceinline__ void multiply(float (&c)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                                         uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
// Codes i and i + 4 of eight, plus 128, as bfloat16 numbers: exact.
__device__ __forceinline__ uint32_t raised(uint32_t word, int i) {
  uint32_t r;
  asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(r) : "r"(word >> (4 * i)), "r"(0x000f000fu), "r"(0x43004300u));
  return r;
}

// Where element k of x lies in shared memory: in the order in which the codes of a block of 32 become pairs.
template <int F>
__device__ __forceinline__ int place(int k) {
  if constexpr (is_dense(F)) {
    return k;
  } else if constexpr (F == kQ4_1) {
    const int e = k & 31, half = e >> 4, byte = e & 15, j = byte >> 2, b = byte & 3;
    return (k & ~31) + 8 * j + 2 * (half + 2 * (b & 1)) + (b >> 1);
  } else {
    const int e = k & 7;
    return (k & ~7) + 2 * (e & 3) + (e >> 2);
  }
}

// Element `at` of an output, rounded as the operations one by one would be. `second`: of what is gated.
__device__ __forceinline__ Brain finished(const VectorProducts& a, int64_t at, float first, float second) {
  const Brain y = store<Brain>(first);
  if (a.swiglu) {
    const float gate = load(y), up = load(store<Brain>(second));
    const float e = expf(-fabsf(gate)), s = gate >= 0 ? 1.0f / (1.0f + e) : e / (1.0f + e);
    return store<Brain>(gate * s * up);
  }
  return a.residual ? store<Brain>(load(y) + load(static_cast<const Brain*>(a.residual)[at])) : y;
}

// x in shared memory, normalized and rounded as the operation alone would be; zeros up to a whole step. Of
// 4-bit weights the sums of its blocks of 32 lie behind each vector. kMany: a warp a vector, else the
// kThreads threads that multiply share one.
template <int F, bool kMany>
struct LaidX {
  static constexpr int per = kMany ? 32 : kThreads;
  const VectorProducts& a;
  const int m, n, whole;
  const int64_t x_bytes;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int mine = kMany ? warp : 0, at = kMany ? lane : threadIdx.x;
  float weights[kKeepWeights][8];

  // The norm's weights: nothing of them depends on the predecessor.
  __device__ __forceinline__ LaidX(const VectorProducts& products, int vectors, int padded, int64_t bytes)
      : a(products),
        m(kMany ? vectors : 1),
        n(static_cast<int>(a.weight[0].cols)),
        whole(padded),
        x_bytes(bytes) {
#pragma unroll
    for (int u = 0; u < kKeepWeights; ++u) {
#pragma unroll
      for (int k = 0; k < 8; ++k) weights[u][k] = 1;
      if (a.norm && a.norm_weight && at + u * per < n / 8)
        read_eight(a.norm_weight + 8 * (at + u * per), a.weight_vectors, weights[u]);
    }
  }
  // `meet` is the barrier of the threads that multiply.
  template <class Meet>
  __device__ __forceinline__ void lay(unsigned char* xs, float* squares_of, Meet meet) {
    if (mine < m) {
      Brain* to = reinterpret_cast<Brain*>(xs + mine * x_bytes);
      const uint4* x =
          reinterpret_cast<const uint4*>(static_cast<const Brain*>(a.x) + static_cast<int64_t>(mine) * n);
      auto numbers_of = [](const uint4& raw, float(&v)[8]) {
        const uint32_t w[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          v[2 * k] = __uint_as_float(w[k] << 16);
          v[2 * k + 1] = __uint_as_float(w[k] & 0xffff0000u);
        }
      };
      uint4 kept[kKeep];
      float scale = 1, squares = 0;
#pragma unroll
      for (int u = 0; u < kKeep; ++u) {
        kept[u] = make_uint4(0, 0, 0, 0);
        if (at + u * per < n / 8) kept[u] = x[at + u * per];
      }
      if (a.norm) {
#pragma unroll
        for (int u = 0; u < kKeep; ++u) {
          float v[8];
          numbers_of(kept[u], v);
#pragma unroll
          for (int k = 0; k < 8; ++k) squares = fmaf(v[k], v[k], squares);
        }
        for (int i = at + kKeep * per; i < n / 8; i += per) {
          float v[8];
          numbers_of(x[i], v);
#pragma unroll
          for (int k = 0; k < 8; ++k) squares = fmaf(v[k], v[k], squares);
        }
        squares = warp_sum(squares);
        if (!kMany) {
          if (lane == 0) squares_of[warp] = squares;
          meet();
          squares = 0;
#pragma unroll
          for (int i = 0; i < kWarps; ++i) squares += squares_of[i];
        }
        scale = 1.0f / sqrtf(squares / static_cast<float>(n) + a.eps);
      }
      auto keep = [&](int i, float(&v)[8], const float(&w)[8]) {
        if (a.norm)
#pragma unroll
          for (int k = 0; k < 8; ++k) v[k] = v[k] * scale * w[k];
        if constexpr (F == kQ4_1) {
#pragma unroll
          for (int k = 0; k < 8; ++k) to[place<F>(8 * i + k)] = store<Brain>(v[k]);
        } else {
          uint32_t packed[4];
#pragma unroll
          for (int k = 0; k < 4; ++k) {
            const int lo = is_dense(F) ? 2 * k : k, hi = is_dense(F) ? 2 * k + 1 : k + 4;
            packed[k] = static_cast<uint32_t>(store<Brain>(v[lo]).v) |
                        static_cast<uint32_t>(store<Brain>(v[hi]).v) << 16;
          }
          *reinterpret_cast<uint4*>(to + 8 * i) = make_uint4(packed[0], packed[1], packed[2], packed[3]);
        }
      };
#pragma unroll
      for (int u = 0; u < kKeep; ++u)
        if (at + u * per < whole / 8) {
          float v[8], w[8] = {1, 1, 1, 1, 1, 1, 1, 1};
          numbers_of(kept[u], v);
          if (u < kKeepWeights)
#pragma unroll
            for (int k = 0; k < 8; ++k) w[k] = weights[u < kKeepWeights ? u : 0][k];
          else if (a.norm && a.norm_weight && at + u * per < n / 8)
            read_eight(a.norm_weight + 8 * (at + u * per), a.weight_vectors, w);
          keep(at + u * per, v, w);
        }
      for (int i0 = at + kKeep * per; i0 < whole / 8; i0 += kKeep * per) {
#pragma unroll
        for (int u = 0; u < kKeep; ++u) {
          kept[u] = make_uint4(0, 0, 0, 0);
          if (i0 + u * per < n / 8) kept[u] = x[i0 + u * per];
        }
#pragma unroll
        for (int u = 0; u < kKeep; ++u) {
          const int i = i0 + u * per;
          if (i >= whole / 8) continue;
          float v[8], w[8] = {1, 1, 1, 1, 1, 1, 1, 1};
          numbers_of(kept[u], v);
          if (a.norm && a.norm_weight && i < n / 8) read_eight(a.norm_weight + 8 * i, a.weight_vectors, w);
          keep(i, v, w);
        }
      }
      if constexpr (!is_dense(F)) {
        // Sums of blocks of 32, behind the vector.
        if (kMany)
          __syncwarp();
        else
          meet();
        float* sums = reinterpret_cast<float*>(to + whole);
        for (int b = at; b < whole / 32; b += per) {
          float s = 0;
#pragma unroll
          for (int k = 0; k < 4; ++k) {
            float v[8];
            read_eight(to + 32 * b + 8 * k, true, v);
#pragma unroll
            for (int i = 0; i < 8; ++i) s += v[i];
          }
          sums[b] = s;
        }
      }
    }
    if (kMany && !is_dense(F) && mine == m && m % 2)
      for (int i = lane; i < whole / 8; i += 32)
        reinterpret_cast<uint4*>(xs + mine * x_bytes)[i] = make_uint4(0, 0, 0, 0);
    meet();
  }
};

}  // namespace
}  // namespace mc::cuda
