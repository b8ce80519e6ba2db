// Attention without the score matrix: a warp takes tiles of 32 keys, one key a lane for the scores, then
// spreads over the value's elements; running maximum and sum a warp, joined in shared memory. A block has R
// rows of one key head, so that rows of a prompt (and heads that share keys) read a key once.
#include "backends/cuda/cu/attention.h"

#include "backends/cuda/cu/common.cuh"

namespace mc::cuda {
namespace {

template <class T>
struct Pack;
template <>
struct Pack<float> {
  static constexpr int n = 4;
  __device__ static void get(const float* p, float* out) {
    const float4 v = *reinterpret_cast<const float4*>(p);
    out[0] = v.x, out[1] = v.y, out[2] = v.z, out[3] = v.w;
  }
};
template <>
struct Pack<Half> {
  static constexpr int n = 8;
  __device__ static void get(const Half* p, float* out) {
    const uint4 v = *reinterpret_cast<const uint4*>(p);
    const uint32_t w[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      out[2 * i] = load(Half{static_cast<uint16_t>(w[i])});
      out[2 * i + 1] = load(Half{static_cast<uint16_t>(w[i] >> 16)});
    }
  }
};
template <>
struct Pack<Brain> {
  static constexpr int n = 8;
  __device__ static void get(const Brain* p, float* out) {
    const uint4 v = *reinterpret_cast<const uint4*>(p);
    const uint32_t w[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      out[2 * i] = __uint_as_float(w[i] << 16);
      out[2 * i + 1] = __uint_as_float(w[i] & 0xffff0000u);
    }
  }
};

template <class T, int NV, int R>
__global__ void attention(const __grid_constant__ AttentionLaunch a, bool vectors) {
  extern __shared__ float shared[];
  const int warps = blockDim.x / 32, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int dim = static_cast<int>(a.dim), vd = static_cast<int>(a.v_dim);
  const int padded = (dim + 7) / 8 * 8;
  float* sq = shared;           // [R][padded]
  float* sm = sq + R * padded;  // [warps][R] maximum
  float* ss = sm + warps * R;   // [warps][R] sum
  float* sa = ss + warps * R;   // [warps][R][vd]
  const int64_t group = a.heads / a.kv_heads, rows = a.q_len * group, tiles = (rows + R - 1) / R;
  const int64_t b = blockIdx.x / (a.kv_heads * tiles), kh = blockIdx.x / tiles % a.kv_heads,
                row0 = blockIdx.x % tiles * R;

  for (int i = threadIdx.x; i < R * padded; i += blockDim.x) {
    const int r = i / padded, d = i % padded;
    float v = 0;
    if (row0 + r < rows && d < dim) {
      const int64_t t = (row0 + r) / group, h = kh * group + (row0 + r) % group;
      v = read_float(a.q, a.dtype, b * a.q_stride[0] + h * a.q_stride[1] + t * a.q_stride[2] + d);
    }
    sq[i] = v;
  }
  __syncthreads();

  int64_t lo[R], hi[R], from = INT64_MAX, to = 0;
#pragma unroll
  for (int r = 0; r < R; ++r) {
    lo[r] = hi[r] = 0;
    if (row0 + r >= rows) continue;
    const int64_t t = (row0 + r) / group;
    const int64_t start = (a.q_start ? a.q_start[b * a.start_stride] : a.kv_size - a.q_len) + t;
    int64_t h = a.kv_len ? a.kv_len[b * a.len_stride] : a.kv_size;
    h = h < 0 ? 0 : h > a.kv_size ? a.kv_size : h;
    if (a.causal && h > start + 1) h = start + 1 < 0 ? 0 : start + 1;
    int64_t l = 0;
    if (a.window > 0 && start - a.window + 1 > 0) l = start - a.window + 1;
    if (l > h) l = h;
    lo[r] = l, hi[r] = h;
    if (l < h) {
      from = l < from ? l : from;
      to = h > to ? h : to;
    }
  }
  const T* k = static_cast<const T*>(a.k) + b * a.k_stride[0] + kh * a.k_stride[1];
  const T* v = static_cast<const T*>(a.v) + b * a.v_stride[0] + kh * a.v_stride[1];
  float m[R], sum[R], acc[R][NV];
#pragma unroll
  for (int r = 0; r < R; ++r) {
    m[r] = -INFINITY, sum[r] = 0;
#pragma unroll
    for (int i = 0; i < NV; ++i) acc[r][i] = 0;
  }
  for (int64_t base = (from == INT64_MAX ? 0 : from / 32 * 32) + 32 * warp; base < to; base += 32 * warps) {
    const int64_t key = base + lane;
    float s[R];
#pragma unroll
    for (int r = 0; r < R; ++r) s[r] = 0;
    if (key >= from && key < to) {
      const T* kr = k + key * a.k_stride[2];
      if (vectors) {
        for (int d = 0; d < dim; d += Pack<T>::n) {
          float x[Pack<T>::n];
          Pack<T>::get(kr + d, x);
#pragma unroll
          for (int r = 0; r < R; ++r)
#pragma unroll
            for (int i = 0; i < Pack<T>::n; ++i) s[r] = fmaf(sq[r * padded + d + i], x[i], s[r]);
        }
      } else {
        for (int d = 0; d < dim; ++d) {
          const float x = load(kr[d]);
#pragma unroll
          for (int r = 0; r < R; ++r) s[r] = fmaf(sq[r * padded + d], x, s[r]);
        }
      }
    }
    float p[R];
#pragma unroll
    for (int r = 0; r < R; ++r) {
      float x = -INFINITY;
      if (key >= lo[r] && key < hi[r]) {
        x = s[r] * a.scale;
        if (a.softcap > 0) x = tanhf(x / a.softcap) * a.softcap;
        if (a.mask) {
          const int64_t t = (row0 + r) / group, h = kh * group + (row0 + r) % group;
          const int64_t at =
              b * a.mask_stride[0] + h * a.mask_stride[1] + t * a.mask_stride[2] + key * a.mask_stride[3];
          if (a.mask_dtype == kBool)
            x = static_cast<const uint8_t*>(a.mask)[at] ? x : -INFINITY + (x != x ? x : 0.0f);
          else
            x += read_float(a.mask, a.mask_dtype, at);
        }
      }
      const float now = fmaxf(m[r], warp_max(x)), shift = now == -INFINITY ? 0.0f : now;
      const float c = m[r] == -INFINITY ? 0.0f : expf(m[r] - shift);
      p[r] = x == -INFINITY ? 0.0f : expf(x - shift);
      sum[r] = sum[r] * c + warp_sum(p[r]);
      m[r] = now;
#pragma unroll
      for (int i = 0; i < NV; ++i) acc[r][i] *= c;
    }
    const int first = from > base ? static_cast<int>(from - base) : 0;
    const int last = to - base < 32 ? static_cast<int>(to - base) : 32;
    for (int j = first; j < last; ++j) {
      const T* vr = v + (base + j) * a.v_stride[2];
      float x[NV];
#pragma unroll
      for (int i = 0; i < NV; ++i) x[i] = lane + 32 * i < vd ? load(vr[lane + 32 * i]) : 0.0f;
#pragma unroll
      for (int r = 0; r < R; ++r) {
        const float w = __shfl_sync(0xffffffffu, p[r], j);
        if (base + j < lo[r] || base + j >= hi[r]) continue;  // a hidden value may be anything
#pragma unroll
        for (int i = 0; i < NV; ++i) acc[r][i] = fmaf(w, x[i], acc[r][i]);
      }
    }
  }
#pragma unroll
  for (int r = 0; r < R; ++r) {
    if (lane == 0) sm[warp * R + r] = m[r], ss[warp * R + r] = sum[r];
#pragma unroll
    for (int i = 0; i < NV; ++i)
      if (lane + 32 * i < vd) sa[(warp * R + r) * vd + lane + 32 * i] = acc[r][i];
  }
  __syncthreads();
  for (int i = threadIdx.x; i < R * vd; i += blockDim.x) {
    const int r = i / vd, d = i % vd;
    if (row0 + r >= rows) continue;
    float top = -INFINITY;
    for (int w = 0; w < warps; ++w) top = fmaxf(top, sm[w * R + r]);
    const float shift = top == -INFINITY ? 0.0f : top;
    float total = 0, value = 0;
    for (int w = 0; w < warps; ++w) {
      const float c = sm[w * R + r] == -INFINITY ? 0.0f : expf(sm[w * R + r] - shift);
      // A warp that saw only NaN has a sum of NaN and no maximum.
      total += ss[w * R + r] != ss[w * R + r] ? ss[w * R + r] : ss[w * R + r] * c;
      value = fmaf(sa[(w * R + r) * vd + d], c, value);
    }
    const float y = value * (total == 0 ? 0.0f : 1.0f / total);
    const int64_t t = (row0 + r) / group, h = kh * group + (row0 + r) % group;
    const int64_t o = b * a.out_stride[0] + h * a.out_stride[1] + t * a.out_stride[2] + d;
    write_float(a.out, a.dtype, o, y);
  }
}

template <class T, int NV, int R>
void start(const AttentionLaunch& a, int threads, cudaStream_t stream) {
  const int64_t rows = a.q_len * (a.heads / a.kv_heads), blocks = a.batch * a.kv_heads * ((rows + R - 1) / R);
  const int warps = threads / 32;
  const size_t shared =
      sizeof(float) * static_cast<size_t>(R * ((a.dim + 7) / 8 * 8) + 2 * warps * R + warps * R * a.v_dim);
  if (shared > 48 * 1024)
    cudaFuncSetAttribute(attention<T, NV, R>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                         static_cast<int>(shared));
  constexpr int64_t n = Pack<T>::n;
  const bool vectors = a.dim % n == 0 && reinterpret_cast<uintptr_t>(a.k) % 16 == 0 &&
                       a.k_stride[0] % n == 0 && a.k_stride[1] % n == 0 && a.k_stride[2] % n == 0;
  attention<T, NV, R><<<static_cast<unsigned>(blocks), threads, shared, stream>>>(a, vectors);
}

template <class T, int NV>
void by_rows(const AttentionLaunch& a, int multiprocessors, cudaStream_t stream) {
  const int64_t rows = a.q_len * (a.heads / a.kv_heads) * a.kv_heads * a.batch;
  if (NV <= 8 && rows >= 16 * multiprocessors)
    start<T, NV, NV <= 4 ? 8 : 4>(a, 128, stream);
  else
    start<T, NV, 1>(a, rows >= 4 * multiprocessors ? 128 : NV <= 4 ? 512 : 256, stream);
}

}  // namespace

void launch_attention(const AttentionLaunch& a, int multiprocessors, cudaStream_t stream) {
  if (a.batch * a.heads * a.q_len * a.v_dim == 0) return;
  with_float(a.kv_dtype, [&](auto t) {
    using T = decltype(t);
    if (a.v_dim <= 64)
      by_rows<T, 2>(a, multiprocessors, stream);
    else if (a.v_dim <= 128)
      by_rows<T, 4>(a, multiprocessors, stream);
    else if (a.v_dim <= 256)
      by_rows<T, 8>(a, multiprocessors, stream);
    else
      by_rows<T, 16>(a, multiprocessors, stream);
  });
}

}  // namespace mc::cuda
