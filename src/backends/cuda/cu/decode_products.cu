// Products of a vector with quantized or dense weights, in float32. A warp has two rows at a time, so that
// what it reads of x serves twice; for a gated pair these are the same row of both weights.
#include "backends/cuda/cu/decode.h"
#include "backends/cuda/cu/launch_pdl.cuh"
#include "backends/cuda/cu/quant_codes.cuh"

namespace mc::cuda {
namespace {

constexpr int kWarps = 8, kThreads = kWarps * 32, kPad = 36;

// Where element k of x lies in shared memory: lanes that read their parts at once are on different banks.
template <bool kDense>
__device__ __forceinline__ int place(int k, int plane) {
  return kDense ? (k >> 2 & 1) * plane + (k >> 3) * 4 + (k & 3) : k / 32 * kPad + k % 32;
}

struct Row {
  int segment;
  int64_t row;
  bool there;
};

// Eight elements of a dense row.
template <int F>
struct Eight {
  uint4 raw[F == kDenseF32 ? 2 : 1];
  __device__ __forceinline__ void read(const uint8_t* row, int i) {
    const uint4* p = reinterpret_cast<const uint4*>(row) + i * (F == kDenseF32 ? 2 : 1);
    raw[0] = __ldg(p);
    if constexpr (F == kDenseF32) raw[1] = __ldg(p + 1);
  }
  __device__ __forceinline__ float get(int i) const {
    if constexpr (F == kDenseF32) {
      const uint4& v = raw[i / 4];
      return __uint_as_float(i % 4 == 0 ? v.x : i % 4 == 1 ? v.y : i % 4 == 2 ? v.z : v.w);
    } else {
      const uint32_t w = i / 2 == 0 ? raw[0].x : i / 2 == 1 ? raw[0].y : i / 2 == 2 ? raw[0].z : raw[0].w;
      const uint16_t h = static_cast<uint16_t>(i % 2 ? w >> 16 : w);
      return F == kDenseF16 ? load(Half{h}) : load(Brain{h});
    }
  }
};

template <int F>
__device__ __forceinline__ void dense_dots(const QuantWeight& w0, const QuantWeight& w1, const Row& a,
                                           const Row& b, const float* sx, int plane, int first, int step,
                                           float& s0, float& s1) {
  constexpr int kUnroll = F == kDenseF32 ? 2 : 4;
  const int n = static_cast<int>(w0.cols / 8);
  const uint8_t* p0 = static_cast<const uint8_t*>(w0.codes) + a.row * w0.row_bytes;
  const uint8_t* p1 = b.there ? static_cast<const uint8_t*>(w1.codes) + b.row * w1.row_bytes : p0;
  for (int i0 = first; i0 < n; i0 += step * kUnroll) {
    Eight<F> e0[kUnroll], e1[kUnroll];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const int i = i0 + step * u;
      if (i < n) e0[u].read(p0, i), e1[u].read(p1, i);
    }
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const int i = i0 + step * u;
      if (i >= n) continue;
      const float4 lo = *reinterpret_cast<const float4*>(sx + i * 4);
      const float4 hi = *reinterpret_cast<const float4*>(sx + plane + i * 4);
      const float x[8] = {lo.x, lo.y, lo.z, lo.w, hi.x, hi.y, hi.z, hi.w};
#pragma unroll
      for (int k = 0; k < 8; ++k) {
        s0 = fmaf(e0[u].get(k), x[k], s0);
        s1 = fmaf(e1[u].get(k), x[k], s1);
      }
    }
  }
}

// Affine groups of four bits: a lane's 32 codes are one load.
struct Nibbles {
  uint4 word;
  float scale, bias;
  __device__ __forceinline__ void read(const QuantWeight& w, int64_t row, int block, int group_shift) {
    word = __ldg(reinterpret_cast<const uint4*>(static_cast<const uint8_t*>(w.codes) + row * w.row_bytes) +
                 block);
    const int64_t g = row * (w.cols >> (5 + group_shift)) + (block >> group_shift);
    scale = read_as(w.scales, w.scale_dtype, g);
    bias = read_as(w.biases, w.scale_dtype, g);
  }
  __device__ __forceinline__ float get(int i) const {
    const uint32_t v = i / 8 == 0 ? word.x : i / 8 == 1 ? word.y : i / 8 == 2 ? word.z : word.w;
    // The code as the last bits of 2^23: no conversion.
    const float q = __uint_as_float((v >> (4 * (i % 8)) & 15u) | 0x4b000000u) - 8388608.0f;
    return fmaf(scale, q, bias);
  }
};
template <int F>
struct Block {
  Codes c;
  __device__ __forceinline__ void read(const QuantWeight& w, int64_t row, int block, int) {
    c = block32<F>(w, row, block);
  }
  __device__ __forceinline__ float get(int i) const { return number<F>(c, i); }
};
template <int F>
struct BlockOf {
  using type = Block<F>;
};
template <>
struct BlockOf<kAffine + 4> {
  using type = Nibbles;
};

template <int F>
__device__ __forceinline__ void block_dots(const QuantWeight& w0, const QuantWeight& w1, const Row& a,
                                           const Row& b, const float* sx, int group_shift, int first,
                                           int step, float& s0, float& s1) {
  const int blocks = static_cast<int>(w0.cols / 32);
  const QuantWeight& other = b.there ? w1 : w0;
  const int64_t other_row = b.there ? b.row : a.row;
  for (int i = first; i < blocks; i += step) {
    typename BlockOf<F>::type c0, c1;
    c0.read(w0, a.row, i, group_shift);
    c1.read(other, other_row, i, group_shift);
    const float4* p = reinterpret_cast<const float4*>(sx + i * kPad);
    float t0 = 0, t1 = 0;
#pragma unroll
    for (int k = 0; k < 8; ++k) {
      const float4 y = p[k];
      const float x[4] = {y.x, y.y, y.z, y.w};
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        t0 = fmaf(c0.get(4 * k + j), x[j], t0);
        t1 = fmaf(c1.get(4 * k + j), x[j], t1);
      }
    }
    s0 += t0;
    s1 += t1;
  }
}

template <int F, class T>
__global__ void __launch_bounds__(kThreads) products(const __grid_constant__ VectorProducts a) {
  constexpr bool kDense = scheme_of(F) == Scheme::Dense;
  extern __shared__ float4 shared[];
  __shared__ float parts[kWarps];
  __shared__ float2 pairs[kWarps];
  float* sx = reinterpret_cast<float*>(shared);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int n = static_cast<int>(a.weight[0].cols), plane = n / 8 * 4;
  start_successor();

  // `split` warps share a task.
  const int split = a.split, part = warp % split;
  int64_t task = static_cast<int64_t>(blockIdx.x) * (kWarps / split) + warp / split;
  Row r0{0, 0, false}, r1{0, 0, false};
  if (a.swiglu) {
    r0 = {0, task, task < a.weight[0].rows};
    r1 = {1, task, r0.there};
  } else {
    for (int s = 0; s < a.count; ++s) {
      const int64_t rows = a.weight[s].rows, tasks = (rows + 1) / 2;
      if (task < tasks) {
        r0 = {s, 2 * task, true};
        r1 = {s, 2 * task + 1, 2 * task + 1 < rows};
        break;
      }
      task -= tasks;
    }
  }
  const QuantWeight& w0 = a.weight[r0.segment];
  const QuantWeight& w1 = a.weight[r1.segment];
  // Weights don't depend on the predecessor: they are on their way while it ends. Which are asked for does.
  if (r0.there && !a.rows) {
    const char* p0 = static_cast<const char*>(w0.codes) + r0.row * w0.row_bytes;
    for (int64_t at = (part * 32 + lane) * 128; at < w0.row_bytes; at += 4096 * split) prefetch_l2(p0 + at);
  }
  if (r1.there && !a.rows) {
    const char* p1 = static_cast<const char*>(w1.codes) + r1.row * w1.row_bytes;
    for (int64_t at = (part * 32 + lane) * 128; at < w1.row_bytes; at += 4096 * split) prefetch_l2(p1 + at);
  }
  wait_for_predecessor();
  if (a.rows && !*a.rows) {
    if (part || lane > 1) return;
    const Row& r = lane ? r1 : r0;
    if (r.there && !(a.swiglu && lane)) static_cast<T*>(a.out[r.segment])[r.row] = store<T>(0.0f);
    return;
  }

  const T* x = static_cast<const T*>(a.x);
  float squares = 0;
  for (int i = threadIdx.x; i < n / 8; i += kThreads) {
    float v[8];
    read_eight(x + 8 * i, a.vectors, v);
#pragma unroll
    for (int k = 0; k < 8; ++k) squares = fmaf(v[k], v[k], squares);
    *reinterpret_cast<float4*>(sx + place<kDense>(8 * i, plane)) = make_float4(v[0], v[1], v[2], v[3]);
    *reinterpret_cast<float4*>(sx + place<kDense>(8 * i + 4, plane)) = make_float4(v[4], v[5], v[6], v[7]);
  }
  if (a.norm) {
    squares = warp_sum(squares);
    if (lane == 0) parts[warp] = squares;
    __syncthreads();
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kWarps; ++i) sum += parts[i];
    const float scale = 1.0f / sqrtf(sum / static_cast<float>(n) + a.eps);
    for (int i = threadIdx.x; i < n / 8; i += kThreads) {
      float w[8] = {1, 1, 1, 1, 1, 1, 1, 1};
      if (a.norm_weight) read_eight(a.norm_weight + 8 * i, a.weight_vectors, w);
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        float4& v = *reinterpret_cast<float4*>(sx + place<kDense>(8 * i + 4 * h, plane));
        v.x = load(store<T>(v.x * scale * w[4 * h]));
        v.y = load(store<T>(v.y * scale * w[4 * h + 1]));
        v.z = load(store<T>(v.z * scale * w[4 * h + 2]));
        v.w = load(store<T>(v.w * scale * w[4 * h + 3]));
      }
    }
  }
  __syncthreads();

  float s0 = 0, s1 = 0;
  const int first = part * 32 + lane, step = 32 * split;
  if (r0.there) {
    if constexpr (kDense)
      dense_dots<F>(w0, w1, r0, r1, sx, plane, first, step, s0, s1);
    else
      block_dots<F>(w0, w1, r0, r1, sx, a.group_shift, first, step, s0, s1);
  }
  s0 = warp_sum(s0);
  s1 = warp_sum(s1);
  if (split > 1) {
    if (lane == 0) pairs[warp] = make_float2(s0, s1);
    __syncthreads();
    if (part) return;
    for (int i = 1; i < split; ++i) {
      s0 += pairs[warp + i].x;
      s1 += pairs[warp + i].y;
    }
  }
  if (!r0.there) return;
  // Lane 0 writes the first row, lane 1 the second; roundings are those of the operations one by one.
  if (a.swiglu) {
    if (lane) return;
    const float g = load(store<T>(s0)), u = load(store<T>(s1));
    const float e = expf(-fabsf(g)), s = g >= 0 ? 1.0f / (1.0f + e) : e / (1.0f + e);
    static_cast<T*>(a.out[0])[r0.row] = store<T>(g * s * u);
    return;
  }
  if (lane > 1 || (lane == 1 && !r1.there)) return;
  const int64_t at = r0.row + lane;
  T y = store<T>(lane ? s1 : s0);
  if (a.residual) y = store<T>(load(y) + load(static_cast<const T*>(a.residual)[at]));
  static_cast<T*>(a.out[r0.segment])[at] = y;
}

}  // namespace

bool takes_vector_products(int format, int64_t cols, int group) {
  const bool dense = scheme_of(format) == Scheme::Dense;
  if (scheme_of(format) == Scheme::Affine && (group < 32 || (group & (group - 1)))) return false;
  return cols > 0 && cols <= kMaxVector && cols % (dense ? 8 : 32) == 0;
}

void launch_vector_products(VectorProducts a, int multiprocessors, cudaStream_t stream) {
  int64_t tasks = 0;
  for (int s = 0; s < a.count; ++s) tasks += (a.weight[s].rows + 1) / 2;
  if (a.swiglu) tasks = a.weight[0].rows;
  if (tasks == 0) return;
  const int64_t n = a.weight[0].cols;
  const bool dense = scheme_of(a.weight[0].format) == Scheme::Dense;
  // Enough warps to keep the memory busy, as long as each lane has something to read.
  a.split = 1;
  while (a.split < kWarps && tasks * a.split * 2 <= multiprocessors * 32 &&
         a.split * 2 * 32 <= n / (dense ? 8 : 32))
    a.split *= 2;
  a.vectors = reinterpret_cast<uintptr_t>(a.x) % 16 == 0;
  a.weight_vectors = reinterpret_cast<uintptr_t>(a.norm_weight) % 16 == 0;
  a.group_shift = 0;
  while (32 << a.group_shift < a.weight[0].group) ++a.group_shift;
  with_format(a.weight[0].format, [&](auto f) {
    with_float(a.dtype, [&](auto t) {
      constexpr int F = decltype(f)::value;
      auto kernel = products<F, decltype(t)>;
      const size_t shared = static_cast<size_t>(scheme_of(F) == Scheme::Dense ? n : n / 32 * kPad) * 4;
      if (shared > 48 * 1024)
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared));
      launch_early(kernel, blocks_for(tasks * a.split, kWarps), kThreads, shared, stream, a);
    });
  });
}

}  // namespace mc::cuda
