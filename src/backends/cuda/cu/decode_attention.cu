// One token: its keys and values into the caches, and attention of its query.
#include <type_traits>

#include "backends/cuda/cu/common.cuh"
#include "backends/cuda/cu/decode.h"
#include "backends/cuda/cu/launch_pdl.cuh"
#include "backends/cuda/cu/rope.cuh"

namespace mc::cuda {
namespace {

constexpr int kThreads = 128;

// What head h of item b has for its one token.
template <class T>
__device__ __forceinline__ const T* input_row(const RopeLaunch& a, int64_t b, int64_t h) {
  return static_cast<const T*>(a.x) + b * a.x_stride[0] + h * a.x_stride[1];
}

template <class T>
__device__ __forceinline__ T* row_of(const RopeLaunch& a, int64_t b, int64_t h, int64_t row) {
  return static_cast<T*>(a.out) + b * a.out_stride[0] + h * a.out_stride[1] + row * a.out_stride[2];
}

// The first, turned, to the second.
template <class T>
__device__ __forceinline__ void turn_row(const RopeLaunch& a, int64_t b, int64_t h, int64_t row) {
  const T* x = input_row<T>(a, b, h);
  T* out = row_of<T>(a, b, h, row);
  const int per = a.dims / 2 + static_cast<int>(a.dim - a.dims);
  for (int e = threadIdx.x; e < per; e += kThreads)
    turn(a, x, out, e, a.positions[b * a.position_stride[0]], frequency(a, e));
}

// A block has a head of the queries, then of the keys, then of the values.
template <class T>
__global__ void rope_and_cache(const __grid_constant__ RopeAndCache a) {
  start_successor();
  wait_for_predecessor();
  const int64_t b = blockIdx.y;
  int64_t h = blockIdx.x;
  const int64_t row = read_index(a.start, a.start_dtype, b * a.start_stride);
  if (h < a.q.heads) return turn_row<T>(a.q, b, h, 0);
  if (row < 0 || row >= a.rows) return;
  h -= a.q.heads;
  if (h < a.k.heads) return turn_row<T>(a.k, b, h, row);
  h -= a.k.heads;
  const T* v = static_cast<const T*>(a.v) + b * a.v_stride[0] + h * a.v_stride[1];
  T* out = static_cast<T*>(a.v_out) + b * a.v_out_stride[0] + h * a.v_out_stride[1] + row * a.v_out_stride[2];
  for (int64_t e = threadIdx.x; e < a.v_dim; e += kThreads) out[e] = v[e];
}

// Sixteen bytes of a cache.
template <class T>
struct Pack {
  static constexpr int n = 16 / sizeof(T);
  uint4 raw;
  __device__ __forceinline__ void read(const T* p) { raw = *reinterpret_cast<const uint4*>(p); }
  __device__ __forceinline__ float get(int i) const {
    if constexpr (n == 4) {
      return __uint_as_float(i == 0 ? raw.x : i == 1 ? raw.y : i == 2 ? raw.z : raw.w);
    } else {
      const uint32_t w = i / 2 == 0 ? raw.x : i / 2 == 1 ? raw.y : i / 2 == 2 ? raw.z : raw.w;
      return load(T{static_cast<uint16_t>(i % 2 ? w >> 16 : w)});
    }
  }
};
__device__ __forceinline__ float read_query(const void* p, int dtype, int64_t i) {
  return dtype == kF32   ? static_cast<const float*>(p)[i]
         : dtype == kF16 ? load(static_cast<const Half*>(p)[i])
                         : load(static_cast<const Brain*>(p)[i]);
}

// A block has a head. L lanes share a key, each with 16 bytes of it; kAhead keys of each are on their way at
// once. The parts of the keys that lanes saw are joined in a fixed order.
constexpr int kWarps = 16, kAhead = 4;
constexpr unsigned kMaxTurns = 8;  // what every chip with clusters takes
// More than half of an H100's multiprocessors wait for each other when the next products are there already.
constexpr int64_t kMaxBlocks = 66;
struct Nothing {};
// With a RopeAndCache the query, the key and the value are this token's own: their row of the caches is
// written by one head of those that share it and read by none.
template <class T, int L, class Turn>
__global__ void __launch_bounds__(kWarps * 32)
    decode_attention(const __grid_constant__ AttentionLaunch a, const __grid_constant__ Turn r) {
  constexpr bool kTurn = !std::is_same_v<Turn, Nothing>;
  constexpr int N = Pack<T>::n, D = L * N, kTeams = kWarps * 32 / L;
  __shared__ uint4 fresh[kTurn ? 3 : 1][kTurn ? L : 1];
  __shared__ float sm[kWarps], ss[kWarps], sq[D];
  __shared__ float sa[kWarps][D];
  __shared__ float cluster_sums[2], cluster_values[D];
  constexpr int kHalf = kWarps * 16;
  start_successor();
  // The blocks of a cluster have the keys in turns.
  const int turn_of = static_cast<int>(blockIdx.y), turns = static_cast<int>(gridDim.y);
  const int64_t h = blockIdx.x % a.heads, b = blockIdx.x / a.heads, sharers = a.heads / a.kv_heads,
                kh = h / sharers;
  if (kTurn && a.q_start) {
    // The caches come nearer. The place may be stale: it decides nothing else.
    const int64_t guess = *static_cast<const volatile int32_t*>(a.q_start + b * a.start_stride);
    const int64_t rows = guess < 0 ? 0 : guess < a.kv_size ? guess : a.kv_size;
    for (int64_t i = ((h % sharers) * turns + turn_of) * kWarps * 32 + threadIdx.x; i < rows;
         i += sharers * turns * kWarps * 32) {
      prefetch_l2(static_cast<const T*>(a.k) + b * a.k_stride[0] + kh * a.k_stride[1] + i * a.k_stride[2]);
      prefetch_l2(static_cast<const T*>(a.v) + b * a.v_stride[0] + kh * a.v_stride[1] + i * a.v_stride[2]);
      if (sizeof(T) * D > 128) {
        prefetch_l2(static_cast<const T*>(a.k) + b * a.k_stride[0] + kh * a.k_stride[1] + i * a.k_stride[2] +
                    128 / sizeof(T));
        prefetch_l2(static_cast<const T*>(a.v) + b * a.v_stride[0] + kh * a.v_stride[1] + i * a.v_stride[2] +
                    128 / sizeof(T));
      }
    }
  }
  [[maybe_unused]] double freq = 0;
  if constexpr (kTurn) {
    const RopeLaunch& of = threadIdx.x < kHalf ? r.q : r.k;
    if (!of.inv_freq) freq = frequency(of, threadIdx.x % kHalf);
  }
  wait_for_predecessor();
  const int team = threadIdx.x / L, part = threadIdx.x % L, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const T* k = static_cast<const T*>(a.k) + b * a.k_stride[0] + kh * a.k_stride[1] + part * N;
  const T* v = static_cast<const T*>(a.v) + b * a.v_stride[0] + kh * a.v_stride[1] + part * N;
  Pack<T> ks[kAhead], vs[kAhead];
  // Any row of the caches may be read; which of them count is known later.
  auto fetch = [&](int64_t base) {
#pragma unroll
    for (int u = 0; u < kAhead; ++u) {
      const int64_t key = base + team + u * kTeams;
      if (key < a.kv_size) ks[u].read(k + key * a.k_stride[2]), vs[u].read(v + key * a.v_stride[2]);
    }
  };
  const int64_t mine = static_cast<int64_t>(turn_of) * kTeams * kAhead;
  if (a.window <= 0) fetch(mine);
  int64_t own_row = -1;
  if constexpr (kTurn) {
    T *q_own = reinterpret_cast<T*>(fresh[0]), *k_own = reinterpret_cast<T*>(fresh[1]),
      *v_own = reinterpret_cast<T*>(fresh[2]);
    own_row = read_index(r.start, r.start_dtype, b * r.start_stride);
    // As many threads as elements: kHalf is no less than D.
    const int e = threadIdx.x % kHalf;
    if (threadIdx.x < kHalf) {
      if (e < r.q.dims / 2 + static_cast<int>(r.q.dim - r.q.dims))
        turn(r.q, input_row<T>(r.q, b, h), q_own, e, r.q.positions[b * r.q.position_stride[0]],
             r.q.inv_freq ? frequency(r.q, e) : freq);
    } else {
      if (e < r.k.dims / 2 + static_cast<int>(r.k.dim - r.k.dims))
        turn(r.k, input_row<T>(r.k, b, kh), k_own, e, r.k.positions[b * r.k.position_stride[0]],
             r.k.inv_freq ? frequency(r.k, e) : freq);
    }
    if (threadIdx.x < D)
      v_own[threadIdx.x] = static_cast<const T*>(r.v)[b * r.v_stride[0] + kh * r.v_stride[1] + threadIdx.x];
    __syncthreads();
    if (threadIdx.x < D) {
      sq[threadIdx.x] = load(q_own[threadIdx.x]);
      if (turn_of == 0 && h % sharers == 0 && own_row >= 0 && own_row < r.rows) {
        row_of<T>(r.k, b, kh, own_row)[threadIdx.x] = k_own[threadIdx.x];
        (static_cast<T*>(r.v_out) + b * r.v_out_stride[0] + kh * r.v_out_stride[1] +
         own_row * r.v_out_stride[2])[threadIdx.x] = v_own[threadIdx.x];
      }
    }
    if (own_row >= r.rows) own_row = -1;
  } else if (threadIdx.x < D) {
    sq[threadIdx.x] = read_query(a.q, a.dtype, b * a.q_stride[0] + h * a.q_stride[1] + threadIdx.x);
  }
  const int64_t start = a.q_start ? a.q_start[b * a.start_stride] : a.kv_size - 1;
  int64_t hi = a.kv_len ? a.kv_len[b * a.len_stride] : a.kv_size;
  hi = hi < 0 ? 0 : hi > a.kv_size ? a.kv_size : hi;
  if (a.causal && hi > start + 1) hi = start + 1 < 0 ? 0 : start + 1;
  const int64_t lo = a.window > 0 && start - a.window + 1 > 0 ? start - a.window + 1 : 0;
  if (a.window > 0) fetch(lo + mine);
  __syncthreads();
  float q[N];
#pragma unroll
  for (int i = 0; i < N; ++i) q[i] = sq[part * N + i];
  float m = -INFINITY, sum = 0, acc[N];
#pragma unroll
  for (int i = 0; i < N; ++i) acc[i] = 0;
  for (int64_t base = lo + mine; base < hi; base += static_cast<int64_t>(turns) * kTeams * kAhead) {
    if (base > lo + mine) fetch(base);
    float s[kAhead];
#pragma unroll
    for (int u = 0; u < kAhead; ++u) {
      if (kTurn && base + team + u * kTeams == own_row)
        ks[u].raw = fresh[kTurn ? 1 : 0][part], vs[u].raw = fresh[kTurn ? 2 : 0][part];
      s[u] = 0;
#pragma unroll
      for (int i = 0; i < N; ++i) s[u] = fmaf(q[i], ks[u].get(i), s[u]);
    }
#pragma unroll
    for (int o = L / 2; o; o >>= 1)
#pragma unroll
      for (int u = 0; u < kAhead; ++u) s[u] += __shfl_xor_sync(0xffffffffu, s[u], o);
    // A hidden key may be anything.
    float now = m;
#pragma unroll
    for (int u = 0; u < kAhead; ++u) {
      s[u] *= a.scale;
      if (a.softcap > 0) s[u] = tanhf(s[u] / a.softcap) * a.softcap;
      if (base + team + u * kTeams < hi) now = fmaxf(now, s[u]);
    }
    const float shift = now == -INFINITY ? 0.0f : now, c = m == -INFINITY ? 0.0f : expf(m - shift);
    m = now;
    sum *= c;
#pragma unroll
    for (int i = 0; i < N; ++i) acc[i] *= c;
#pragma unroll
    for (int u = 0; u < kAhead; ++u) {
      if (base + team + u * kTeams >= hi) continue;
      const float p = s[u] == -INFINITY ? 0.0f : expf(s[u] - shift);
      sum += p;
#pragma unroll
      for (int i = 0; i < N; ++i) acc[i] = fmaf(p, vs[u].get(i), acc[i]);
    }
  }
  // The teams of a warp, then the warps. A team that saw only NaN has a sum of NaN and no maximum.
  auto part_of = [](float x, float c) { return x != x ? x : x * c; };
  float top = m;
#pragma unroll
  for (int o = L; o < 32; o <<= 1) top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, o));
  const float own = m == -INFINITY ? 0.0f : expf(m - top);
  sum = part_of(sum, own);
#pragma unroll
  for (int i = 0; i < N; ++i) acc[i] *= own;
#pragma unroll
  for (int o = L; o < 32; o <<= 1) {
    sum += __shfl_xor_sync(0xffffffffu, sum, o);
#pragma unroll
    for (int i = 0; i < N; ++i) acc[i] += __shfl_xor_sync(0xffffffffu, acc[i], o);
  }
  if (lane == 0) sm[warp] = top, ss[warp] = sum;
  if (lane < L) {
#pragma unroll
    for (int i = 0; i < N; ++i) sa[warp][part * N + i] = acc[i];
  }
  __syncthreads();
  const int d = threadIdx.x;
  if (d >= D && turns == 1) return;
  float all = -INFINITY, total = 0, value = 0;
  if (d < D) {
#pragma unroll
    for (int w = 0; w < kWarps; ++w) all = fmaxf(all, sm[w]);
#pragma unroll
    for (int w = 0; w < kWarps; ++w) {
      const float c = sm[w] == -INFINITY ? 0.0f : expf(sm[w] - all);
      total += part_of(ss[w], c);
      value = fmaf(sa[w][d], c, value);
    }
  }
  if (turns > 1) {
    if (d == 0) cluster_sums[0] = all, cluster_sums[1] = total;
    if (d < D) cluster_values[d] = value;
    meet_cluster();
    if (turn_of == 0 && d < D) {
      float top_of = -INFINITY;
      for (int i = 0; i < turns; ++i) top_of = fmaxf(top_of, read_of(&cluster_sums[0], i));
      total = value = 0;
      for (int i = 0; i < turns; ++i) {
        const float its = read_of(&cluster_sums[0], i), c = its == -INFINITY ? 0.0f : expf(its - top_of);
        total += part_of(read_of(&cluster_sums[1], i), c);
        value = fmaf(read_of(&cluster_values[d], i), c, value);
      }
    }
    meet_cluster();  // nobody's memory goes before it has been read
    if (turn_of || d >= D) return;
  }
  const float y = value * (total == 0 ? 0.0f : 1.0f / total);
  const int64_t o = b * a.out_stride[0] + h * a.out_stride[1] + d;
  write_float(a.out, a.dtype, o, y);
}

}  // namespace

void launch_rope_and_cache(const RopeAndCache& a, cudaStream_t stream) {
  const unsigned heads = static_cast<unsigned>(a.q.heads + 2 * a.k.heads);
  with_float(a.k.dtype, [&](auto t) {
    launch_early(rope_and_cache<decltype(t)>, dim3(heads, static_cast<unsigned>(a.k.batch)), kThreads, 0,
                 stream, a);
  });
}

namespace {

template <class Turn>
bool start_attention(const AttentionLaunch& a, const Turn& r, cudaStream_t stream) {
  if (a.q_len != 1 || a.mask || a.dim != a.v_dim || a.batch * a.heads == 0) return false;
  bool done = false;
  with_float(a.kv_dtype, [&](auto t) {
    using T = decltype(t);
    constexpr int64_t n = Pack<T>::n;
    auto aligned = [](const void* p, const int64_t* s) {
      return reinterpret_cast<uintptr_t>(p) % 16 == 0 && s[0] % n == 0 && s[1] % n == 0 && s[2] % n == 0;
    };
    if (!aligned(a.k, a.k_stride) || !aligned(a.v, a.v_stride)) return;
    auto start = [&](auto kernel) {
      // A round of keys a block, as long as there is room for the blocks.
      const int64_t blocks = a.batch * a.heads, round = kWarps * 32 / (a.dim / n) * kAhead;
      unsigned turns = 1;
      while (turns < kMaxTurns && turns * round < a.kv_size && blocks * turns * 2 <= kMaxBlocks) turns *= 2;
      if (turns > 1 && !has_clusters()) turns = 1;
      launch_early_clusters(kernel, dim3(static_cast<unsigned>(blocks), turns), kWarps * 32, stream, a, r);
      done = true;
    };
    if (a.dim == 32 * n)
      start(decode_attention<T, 32, Turn>);
    else if (a.dim == 16 * n)
      start(decode_attention<T, 16, Turn>);
    else if (a.dim == 8 * n)
      start(decode_attention<T, 8, Turn>);
  });
  return done;
}

}  // namespace

bool launch_decode_attention(const AttentionLaunch& a, cudaStream_t stream) {
  return start_attention(a, Nothing{}, stream);
}

bool launch_turned_attention(const RopeAndCache& r, const AttentionLaunch& a, cudaStream_t stream) {
  if (a.dtype != a.kv_dtype || r.q.dtype != a.kv_dtype || r.k.dtype != a.kv_dtype || r.q.heads != a.heads ||
      r.k.heads != a.kv_heads || r.q.dim != a.dim || r.k.dim != a.dim || r.v_dim != a.dim ||
      r.q.batch != a.batch || r.k.batch != a.batch)
    return false;
  return start_attention(a, r, stream);
}

}  // namespace mc::cuda
