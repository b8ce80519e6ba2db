// Attention of many queries over 16-bit caches on the tensor cores: scores and sums in float32, probabilities
// rounded to 16 bits for the second product. A block has 64 queries of a head, a warp 16 of them.
#include <type_traits>

#include "backends/cuda/cu/attention.h"
#include "backends/cuda/cu/common.cuh"

namespace mc::cuda {
namespace {

constexpr int kWarps = 4, kRows = 16 * kWarps, kKeys = 64, kPad = 8;

template <class T>
__device__ __forceinline__ void multiply(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  if constexpr (sizeof(T) == 2 && std::is_same_v<T, Brain>)
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  else
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <bool kTrans>
__device__ __forceinline__ void load_matrices(uint32_t (&r)[4], const uint16_t* p) {
  const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(p));
  if (kTrans)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at));
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at));
}
template <class T>
__device__ __forceinline__ uint32_t pack(float lo, float hi) {
  return static_cast<uint32_t>(store<T>(lo).v) | static_cast<uint32_t>(store<T>(hi).v) << 16;
}
template <class T>
__device__ __forceinline__ bool endless(uint32_t two) {
  constexpr uint32_t e = std::is_same_v<T, Brain> ? 0x7f80u : 0x7c00u;
  return (two & e) == e || (two >> 16 & e) == e;
}

struct Range {
  int64_t lo, hi;
};
__device__ __forceinline__ Range seen_by(const AttentionLaunch& a, int64_t b, int64_t t) {
  if (t >= a.q_len) return {0, 0};
  const int64_t at = (a.q_start ? a.q_start[b * a.start_stride] : a.kv_size - a.q_len) + t;
  int64_t hi = a.kv_len ? a.kv_len[b * a.len_stride] : a.kv_size;
  hi = hi < 0 ? 0 : hi > a.kv_size ? a.kv_size : hi;
  if (a.causal && hi > at + 1) hi = at + 1 < 0 ? 0 : at + 1;
  int64_t lo = a.window > 0 && at - a.window + 1 > 0 ? at - a.window + 1 : 0;
  return {lo < hi ? lo : hi, hi};
}
__device__ __forceinline__ float softened(const AttentionLaunch& a, float s) {
  s *= a.scale;
  return a.softcap > 0 ? tanhf(s / a.softcap) * a.softcap : s;
}

// One query by a warp, its keys one after the other: for values that must not be multiplied by zero.
template <class T, int D>
__device__ void slow_row(const AttentionLaunch& a, const T* q, const T* k, const T* v, T* out, Range r,
                         int lane) {
  float m = -INFINITY, sum = 0, acc[D / 32];
#pragma unroll
  for (int i = 0; i < D / 32; ++i) acc[i] = 0;
  for (int64_t key = r.lo; key < r.hi; ++key) {
    float s = 0;
    for (int d = lane; d < D; d += 32) s = fmaf(load(q[d]), load(k[key * a.k_stride[2] + d]), s);
    s = softened(a, warp_sum(s));
    const float now = fmaxf(m, s), c = m == -INFINITY ? 0.0f : expf(m - now);
    const float p = s == -INFINITY ? 0.0f : expf(s - (now == -INFINITY ? 0.0f : now));
    m = now;
    sum = sum * c + p;
#pragma unroll
    for (int i = 0; i < D / 32; ++i)
      acc[i] = fmaf(p, load(v[key * a.v_stride[2] + lane + 32 * i]), acc[i] * c);
  }
  const float scale = sum == 0 ? 0.0f : 1.0f / sum;
#pragma unroll
  for (int i = 0; i < D / 32; ++i) out[lane + 32 * i] = store<T>(acc[i] * scale);
}

template <class T, int D>
__global__ void __launch_bounds__(kWarps * 32) prefill(const __grid_constant__ AttentionLaunch a) {
  constexpr int kStride = D + kPad;
  extern __shared__ uint4 shared[];
  uint16_t* sk = reinterpret_cast<uint16_t*>(shared);
  uint16_t* sv = sk + kKeys * kStride;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, c = lane % 4 * 2;
  const int64_t b = blockIdx.z, h = blockIdx.y, kh = h / (a.heads / a.kv_heads);
  const int64_t q0 = static_cast<int64_t>(gridDim.x - 1 - blockIdx.x) * kRows;  // the longest first
  const int64_t row0 = q0 + warp * 16 + g;
  const T* q = static_cast<const T*>(a.q) + b * a.q_stride[0] + h * a.q_stride[1];
  const T* k = static_cast<const T*>(a.k) + b * a.k_stride[0] + kh * a.k_stride[1];
  const T* v = static_cast<const T*>(a.v) + b * a.v_stride[0] + kh * a.v_stride[1];
  T* out = static_cast<T*>(a.out) + b * a.out_stride[0] + h * a.out_stride[1];

  uint32_t qf[D / 16][4];
#pragma unroll
  for (int i = 0; i < D / 16; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int64_t t = row0 + (j % 2) * 8;
      qf[i][j] = t < a.q_len
                     ? *reinterpret_cast<const uint32_t*>(q + t * a.q_stride[2] + i * 16 + c + (j / 2) * 8)
                     : 0;
    }
  const Range r[2] = {seen_by(a, b, row0), seen_by(a, b, row0 + 8)};
  // Of all rows of the block: bounds grow with the row.
  const int64_t last_row = q0 + kRows - 1 < a.q_len ? q0 + kRows - 1 : a.q_len - 1;
  const Range first = seen_by(a, b, q0), last = seen_by(a, b, last_row);
  const int64_t from = first.lo / kKeys * kKeys, to = last.hi;

  float m[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0}, o[D / 8][4];
#pragma unroll
  for (int i = 0; i < D / 8; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) o[i][j] = 0;
  bool bad = false;
  for (int64_t base = from; base < to; base += kKeys) {
    const bool partly = base < last.lo || base + kKeys > first.hi;
    bool endless_value = false;
    __syncthreads();
    for (int i = threadIdx.x; i < kKeys * (D / 8); i += kWarps * 32) {
      const int row = i / (D / 8), d = i % (D / 8) * 8;
      const int64_t key = base + row;
      uint4 x = make_uint4(0, 0, 0, 0), y = x;
      if (key < to) {
        x = *reinterpret_cast<const uint4*>(k + key * a.k_stride[2] + d);
        y = *reinterpret_cast<const uint4*>(v + key * a.v_stride[2] + d);
      }
      if (partly)
        endless_value =
            endless_value || endless<T>(y.x) || endless<T>(y.y) || endless<T>(y.z) || endless<T>(y.w);
      *reinterpret_cast<uint4*>(sk + row * kStride + d) = x;
      *reinterpret_cast<uint4*>(sv + row * kStride + d) = y;
    }
    if (__syncthreads_or(endless_value)) {
      bad = true;
      break;
    }
    float s[kKeys / 8][4];
#pragma unroll
    for (int n = 0; n < kKeys / 16; ++n) {
#pragma unroll
      for (int j = 0; j < 4; ++j) s[2 * n][j] = s[2 * n + 1][j] = 0;
#pragma unroll
      for (int i = 0; i < D / 16; ++i) {
        uint32_t f[4];
        load_matrices<false>(f,
                             sk + (n * 16 + lane / 16 * 8 + lane % 8) * kStride + i * 16 + lane / 8 % 2 * 8);
        multiply<T>(s[2 * n], qf[i], f[0], f[1]);
        multiply<T>(s[2 * n + 1], qf[i], f[2], f[3]);
      }
    }
#pragma unroll
    for (int w = 0; w < 2; ++w) {
      float top = m[w];
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          const int64_t key = base + n * 8 + c + j;
          float& x = s[n][2 * w + j];
          x = key >= r[w].lo && key < r[w].hi ? softened(a, x) : -INFINITY;
          top = fmaxf(top, x);
        }
      top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
      top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
      const float shift = top == -INFINITY ? 0.0f : top,
                  scale = m[w] == -INFINITY ? 0.0f : expf(m[w] - shift);
      m[w] = top;
      float t = 0;
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          float& x = s[n][2 * w + j];
          x = x == -INFINITY ? 0.0f : expf(x - shift);
          t += x;
        }
      sum[w] = sum[w] * scale + t;
#pragma unroll
      for (int i = 0; i < D / 8; ++i) {
        o[i][2 * w] *= scale;
        o[i][2 * w + 1] *= scale;
      }
    }
#pragma unroll
    for (int n = 0; n < kKeys / 16; ++n) {
      const uint32_t p[4] = {pack<T>(s[2 * n][0], s[2 * n][1]), pack<T>(s[2 * n][2], s[2 * n][3]),
                             pack<T>(s[2 * n + 1][0], s[2 * n + 1][1]),
                             pack<T>(s[2 * n + 1][2], s[2 * n + 1][3])};
#pragma unroll
      for (int i = 0; i < D / 16; ++i) {
        uint32_t f[4];
        load_matrices<true>(f,
                            sv + (n * 16 + lane / 8 % 2 * 8 + lane % 8) * kStride + i * 16 + lane / 16 * 8);
        multiply<T>(o[2 * i], p, f[0], f[1]);
        multiply<T>(o[2 * i + 1], p, f[2], f[3]);
      }
    }
  }
  if (bad) {
    for (int i = 0; i < 16; ++i) {
      const int64_t t = q0 + warp * 16 + i;
      if (t < a.q_len)
        slow_row<T, D>(a, q + t * a.q_stride[2], k, v, out + t * a.out_stride[2], seen_by(a, b, t), lane);
    }
    return;
  }
#pragma unroll
  for (int w = 0; w < 2; ++w) {
    float t = sum[w];
    t += __shfl_xor_sync(0xffffffffu, t, 1);
    t += __shfl_xor_sync(0xffffffffu, t, 2);
    const float scale = t == 0 ? 0.0f : 1.0f / t;
    const int64_t row = row0 + 8 * w;
    if (row >= a.q_len) continue;
#pragma unroll
    for (int i = 0; i < D / 8; ++i)
      *reinterpret_cast<uint32_t*>(out + row * a.out_stride[2] + i * 8 + c) =
          pack<T>(o[i][2 * w] * scale, o[i][2 * w + 1] * scale);
  }
}

}  // namespace

bool launch_prefill_attention(const AttentionLaunch& a, cudaStream_t stream) {
  if (a.q_len < 16 || a.mask || a.dim != a.v_dim || a.dtype != a.kv_dtype || a.dtype == kF32) return false;
  if (a.dim != 64 && a.dim != 128) return false;
  auto even = [](const void* p, const int64_t* s, int64_t n) {
    return reinterpret_cast<uintptr_t>(p) % static_cast<uintptr_t>(2 * n) == 0 && s[0] % n == 0 &&
           s[1] % n == 0 && s[2] % n == 0;
  };
  if (!even(a.k, a.k_stride, 8) || !even(a.v, a.v_stride, 8) || !even(a.q, a.q_stride, 2) ||
      !even(a.out, a.out_stride, 2) || a.heads > 65535 || a.batch > 65535)
    return false;
  const dim3 grid(blocks_for(a.q_len, kRows), static_cast<unsigned>(a.heads), static_cast<unsigned>(a.batch));
  const size_t shared = static_cast<size_t>(2 * kKeys) * static_cast<size_t>(a.dim + kPad) * 2;
  auto start = [&](auto kernel) { kernel<<<grid, kWarps * 32, shared, stream>>>(a); };
  if (a.dtype == kBF16)
    a.dim == 64 ? start(prefill<Brain, 64>) : start(prefill<Brain, 128>);
  else
    a.dim == 64 ? start(prefill<Half, 64>) : start(prefill<Half, 128>);
  return true;
}

}  // namespace mc::cuda
