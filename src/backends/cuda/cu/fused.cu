// A block works on a row; sums are float32, joined in a fixed order.
#include "backends/cuda/cu/common.cuh"
#include "backends/cuda/cu/fused.h"
#include "backends/cuda/cu/rope.cuh"

namespace mc::cuda {
namespace {

constexpr int kThreads = 256;

__device__ __forceinline__ float block_sum(float v) {
  __shared__ float part[33];
  v = warp_sum(v);
  const int warp = threadIdx.x / 32, warps = (blockDim.x + 31) / 32;
  if (threadIdx.x % 32 == 0) part[warp] = v;
  __syncthreads();
  if (threadIdx.x < 32) {
    float t = static_cast<int>(threadIdx.x) < warps ? part[threadIdx.x] : 0.0f;
    t = warp_sum(t);
    if (threadIdx.x == 0) part[32] = t;
  }
  __syncthreads();
  const float r = part[32];
  __syncthreads();
  return r;
}
__device__ __forceinline__ float block_max(float v) {
  __shared__ float part[33];
  v = warp_max(v);
  const int warp = threadIdx.x / 32, warps = (blockDim.x + 31) / 32;
  if (threadIdx.x % 32 == 0) part[warp] = v;
  __syncthreads();
  if (threadIdx.x < 32) {
    float t = static_cast<int>(threadIdx.x) < warps ? part[threadIdx.x] : -INFINITY;
    t = warp_max(t);
    if (threadIdx.x == 0) part[32] = t;
  }
  __syncthreads();
  const float r = part[32];
  __syncthreads();
  return r;
}

struct MaxSum {
  float max, sum;
};
// Maximum of a row and the sum of exp(x - max); a NaN makes the sum NaN. All -inf: every term is 0.
template <class T>
__device__ MaxSum max_sum(const T* x, int64_t n) {
  float m = -INFINITY;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) m = fmaxf(m, load(x[i]));
  m = block_max(m);
  const float shift = m == -INFINITY ? 0.0f : m;
  float s = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) s += expf(load(x[i]) - shift);
  return {m, block_sum(s)};
}

template <class T>
__global__ void softmax(const T* x, T* out, int64_t n, bool log) {
  x += blockIdx.x * n;
  out += blockIdx.x * n;
  const MaxSum r = max_sum(x, n);
  if (log) {
    const bool empty = r.max == -INFINITY && r.sum == 0;
    const float m = empty ? 0.0f : r.max, l = empty ? 0.0f : logf(r.sum);
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) out[i] = store<T>(load(x[i]) - m - l);
    return;
  }
  const float shift = r.max == -INFINITY ? 0.0f : r.max, scale = r.sum == 0 ? 0.0f : 1.0f / r.sum;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) out[i] = store<T>(expf(load(x[i]) - shift) * scale);
}

template <class T>
__global__ void rms_norm(const T* x, T* out, int64_t n, const float* weight, float eps) {
  x += blockIdx.x * n;
  out += blockIdx.x * n;
  float ss = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) {
    const float v = load(x[i]);
    ss = fmaf(v, v, ss);
  }
  const float scale = 1.0f / sqrtf(block_sum(ss) / static_cast<float>(n) + eps);
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) {
    const float v = load(x[i]) * scale;
    out[i] = store<T>(weight ? v * weight[i] : v);
  }
}

template <class T>
__global__ void layer_norm(const T* x, T* out, int64_t n, const float* weight, const float* bias, float eps) {
  x += blockIdx.x * n;
  out += blockIdx.x * n;
  float s = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) s += load(x[i]);
  const float mean = block_sum(s) / static_cast<float>(n);
  float ss = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) {
    const float d = load(x[i]) - mean;
    ss = fmaf(d, d, ss);
  }
  const float scale = 1.0f / sqrtf(block_sum(ss) / static_cast<float>(n) + eps);
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) {
    float y = (load(x[i]) - mean) * scale;
    if (weight) y *= weight[i];
    if (bias) y += bias[i];
    out[i] = store<T>(y);
  }
}

template <class T>
__global__ void cross_entropy(const T* x, float* out, int64_t n, const void* labels, int label_dtype) {
  x += blockIdx.x * n;
  int64_t label = read_index(labels, label_dtype, blockIdx.x);
  if (label < 0) label += n;
  if (label < 0 || label >= n) {
    if (threadIdx.x == 0) out[blockIdx.x] = NAN;
    return;
  }
  const MaxSum s = max_sum(x, n);
  if (threadIdx.x == 0) out[blockIdx.x] = logf(s.sum) - (load(x[label]) - s.max);
}

template <class T>
__global__ void swiglu(const T* gate, const T* up, T* out, int64_t n) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= n) return;
  const float g = load(gate[i]);
  // exp of what is not positive: neither side overflows.
  const float e = expf(-fabsf(g)), s = g >= 0 ? 1.0f / (1.0f + e) : e / (1.0f + e);
  out[i] = store<T>(g * s * load(up[i]));
}

template <class T>
__global__ void rope(RopeLaunch a) {
  const int64_t per = a.dims / 2 + (a.dim - a.dims);
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= a.batch * a.heads * a.time * per) return;
  const int64_t e = i % per, t = i / per % a.time, h = i / per / a.time % a.heads,
                b = i / per / a.time / a.heads;
  const T* x = static_cast<const T*>(a.x) + b * a.x_stride[0] + h * a.x_stride[1] + t * a.x_stride[2];
  T* out = static_cast<T*>(a.out) + b * a.out_stride[0] + h * a.out_stride[1] + t * a.out_stride[2];
  turn(a, x, out, e, a.positions[b * a.position_stride[0] + t * a.position_stride[1]], frequency(a, e));
}

int threads_for(int64_t n) { return n <= 128 ? 64 : n <= 1024 ? 128 : n <= 8192 ? 256 : 1024; }

}  // namespace

void launch_softmax(const RowsLaunch& a, bool log, cudaStream_t stream) {
  if (a.rows * a.n == 0) return;
  with_float(a.dtype, [&](auto t) {
    using T = decltype(t);
    softmax<T><<<static_cast<unsigned>(a.rows), threads_for(a.n), 0, stream>>>(
        static_cast<const T*>(a.x), static_cast<T*>(a.out), a.n, log);
  });
}
void launch_rms_norm(const RowsLaunch& a, const float* weight, float eps, cudaStream_t stream) {
  if (a.rows * a.n == 0) return;
  with_float(a.dtype, [&](auto t) {
    using T = decltype(t);
    rms_norm<T><<<static_cast<unsigned>(a.rows), threads_for(a.n), 0, stream>>>(
        static_cast<const T*>(a.x), static_cast<T*>(a.out), a.n, weight, eps);
  });
}
void launch_layer_norm(const RowsLaunch& a, const float* weight, const float* bias, float eps,
                       cudaStream_t stream) {
  if (a.rows * a.n == 0) return;
  with_float(a.dtype, [&](auto t) {
    using T = decltype(t);
    layer_norm<T><<<static_cast<unsigned>(a.rows), threads_for(a.n), 0, stream>>>(
        static_cast<const T*>(a.x), static_cast<T*>(a.out), a.n, weight, bias, eps);
  });
}
void launch_cross_entropy(const RowsLaunch& a, const void* labels, int label_dtype, cudaStream_t stream) {
  if (a.rows == 0) return;
  with_float(a.dtype, [&](auto t) {
    using T = decltype(t);
    cross_entropy<T><<<static_cast<unsigned>(a.rows), threads_for(a.n), 0, stream>>>(
        static_cast<const T*>(a.x), static_cast<float*>(a.out), a.n, labels, label_dtype);
  });
}
void launch_swiglu(const RowsLaunch& a, const void* up, cudaStream_t stream) {
  const int64_t n = a.rows * a.n;
  if (n == 0) return;
  with_float(a.dtype, [&](auto t) {
    using T = decltype(t);
    swiglu<T><<<blocks_for(n, kThreads), kThreads, 0, stream>>>(
        static_cast<const T*>(a.x), static_cast<const T*>(up), static_cast<T*>(a.out), n);
  });
}
void launch_rope(const RopeLaunch& a, cudaStream_t stream) {
  const int64_t n = a.batch * a.heads * a.time * (a.dims / 2 + (a.dim - a.dims));
  if (n == 0) return;
  with_float(a.dtype,
             [&](auto t) { rope<decltype(t)><<<blocks_for(n, kThreads), kThreads, 0, stream>>>(a); });
}

}  // namespace mc::cuda
