// Products of one to eight bfloat16 vectors with bfloat16 or 4-bit weights on the tensor cores. A block has a
// run of rows; its warps share their columns. Each lane copies ahead into its own part of shared memory what
// it multiplies later, and begins before the predecessor has ended: the memory never rests.
#include "backends/cuda/cu/decode.h"
#include "backends/cuda/cu/launch_pdl.cuh"
#include "backends/cuda/cu/stream.cuh"

namespace mc::cuda {
namespace {

// A big weight's block takes a multiprocessor's shared memory for itself: its successor's blocks begin as it
// ends, one on each. Blocks of small weights lie beside their predecessor's.
constexpr int64_t kBig = int64_t{6} << 20, kAlone = int64_t{110} << 10;
constexpr int kAhead = 96 << 10;  // bytes of a block's rows on their way to the cache early
constexpr int kColumns = 8;       // of the tensor cores' product: vectors at most
constexpr int64_t kMaxShared = int64_t{220} << 10;

// Steps in flight: 64 KiB a block of dense weights.
__host__ __device__ constexpr int depth(int f, int pairs) { return 16 / pairs; }
// 4-byte words that a lane copies besides 16 bytes of codes.
__host__ __device__ constexpr int extra_words(int f) { return f == kQ4_1 ? 1 : 0; }

struct Work {
  int tiles[kMaxProducts];  // of each weight; of both for a gated pair in the first
  int whole[kMaxProducts];  // of them, whole ones
  int all;
  int steps;        // of a row
  int warp_steps;   // of a warp
  int m;            // vectors
  int64_t x_bytes;  // of one in shared memory
};

__device__ __forceinline__ void copy16(uint32_t to, const void* from, bool there) {
  asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
               "r"(there ? 16 : 0)
               : "memory");
}
__device__ __forceinline__ void copy4(uint32_t to, const void* from, bool there) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from), "r"(there ? 4 : 0)
               : "memory");
}
__device__ __forceinline__ void end_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N>
__device__ __forceinline__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}
struct Place {
  int segment;
  int64_t row;
  bool there;
};
template <int kPairs>
__device__ __forceinline__ Place place_of(const VectorProducts& a, const Work& work, int tile, int j) {
  constexpr int kRows = 8 * kPairs;
  if (a.swiglu) {
    const int64_t row = static_cast<int64_t>(tile) * (kRows / 2) + j % (kRows / 2);
    return {j / (kRows / 2), row, row < a.weight[0].rows};
  }
  int s = 0;
  while (s + 1 < a.count && tile >= work.tiles[s]) tile -= work.tiles[s++];
  const int64_t row = static_cast<int64_t>(tile) * kRows + j;
  return {s, row, row < a.weight[s].rows};
}

// The bytes of a lane's rows in one array, tile after tile.
template <int kPairs>
struct Rows {
  const uint8_t* at[kPairs];
  int left;  // tiles that follow in the same weight, whole

  // `of` gives the array of a weight.
  template <class Of>
  __device__ __forceinline__ void enter(const VectorProducts& a, const Work& work, int tile,
                                        int64_t row_bytes, Of of) {
#pragma unroll
    for (int p = 0; p < kPairs; ++p) {
      const Place r = place_of<kPairs>(a, work, tile, threadIdx.x % 32 / 4 + 8 * p);
      const QuantWeight& w = a.weight[r.segment];
      at[p] = static_cast<const uint8_t*>(of(w)) + (r.there ? r.row : w.rows - 1) * row_bytes;
      if (p) continue;
      int s = 0, local = tile;
      while (!a.swiglu && s + 1 < a.count && local >= work.tiles[s]) local -= work.tiles[s++];
      left = work.whole[s] - local - 1;
    }
  }
  template <class Of>
  __device__ __forceinline__ void next(const VectorProducts& a, const Work& work, int tile, int64_t row_bytes,
                                       Of of) {
    if (left > 0) {
      --left;
#pragma unroll
      for (int p = 0; p < kPairs; ++p) at[p] += row_bytes * (a.swiglu ? 4 * kPairs : 8 * kPairs);
    } else {
      enter(a, work, tile, row_bytes, of);
    }
  }
};

__device__ __forceinline__ const void* codes_of(const QuantWeight& w) { return w.codes; }
__device__ __forceinline__ const void* scales_of(const QuantWeight& w) { return w.scales; }
__device__ __forceinline__ const void* biases_of(const QuantWeight& w) { return w.biases; }

// What a lane copies: its part of each step of its rows.
template <int F, int kPairs>
struct Copier {
  static constexpr int kBytes = F == kQ4_1 ? 20 : 16;  // of a lane
  const VectorProducts& a;
  const Work& work;
  uint32_t codes, words;  // this lane's part of slot 0
  int tile, last, step, begin, end, lane_block;
  uint32_t offset;  // of the step in a row
  Rows<kPairs> rows;

  __device__ __forceinline__ void start() {
    offset = (begin * 4 + lane_block) * kBytes;
    rows.enter(a, work, tile, a.weight[0].row_bytes, codes_of);
    look_ahead();
  }
  // The scales of a tile are read later, from the cache.
  __device__ __forceinline__ void look_ahead() {
    if constexpr (F == kAffine + 4) {
      const int64_t row_bytes =
          (a.weight[0].cols >> (5 + a.group_shift)) * (a.weight[0].scale_dtype == kF32 ? 4 : 2);
      const int at =
          ((begin * 4) >> a.group_shift) * (a.weight[0].scale_dtype == kF32 ? 4 : 2) + (lane_block >> 1) * 64;
      if (at >= row_bytes) return;
#pragma unroll
      for (int p = 0; p < kPairs; ++p) {
        const Place r = place_of<kPairs>(a, work, tile, threadIdx.x % 32 / 4 + 8 * p);
        const QuantWeight& w = a.weight[r.segment];
        if (r.there)
          prefetch_l2(static_cast<const uint8_t*>(lane_block & 1 ? w.biases : w.scales) + r.row * row_bytes +
                      at);
      }
    }
  }
  __device__ __forceinline__ void copy(int slot, int blocks) {
    constexpr int kStride = kThreads * 16;
    if (tile < last) {
      const bool there = is_dense(F) || step * 4 + lane_block < blocks;
#pragma unroll
      for (int p = 0; p < kPairs; ++p) {
        const uint32_t to = codes + (slot * kPairs + p) * kStride;
        const uint8_t* from = there ? rows.at[p] + offset : rows.at[p];
        if constexpr (F == kQ4_1) {
          copy4(words + (slot * kPairs + p) * kThreads * 4, from, there);
#pragma unroll
          for (int i = 0; i < 4; ++i) copy4(to + 4 * i, from + 4 + 4 * i, there);
        } else {
          copy16(to, from, there);
        }
      }
      offset += 4 * kBytes;
      if (++step == end) {
        step = begin;
        offset = (begin * 4 + lane_block) * kBytes;
        if (++tile < last) {
          rows.next(a, work, tile, a.weight[0].row_bytes, codes_of);
          look_ahead();
        }
      }
    }
    end_copies();
  }
};

// The scales of a lane's groups, a step ahead of their use.
template <int kPairs, bool kWide>
struct Scales {
  Rows<kPairs> scales, biases;
  uint32_t s[kPairs], b[kPairs];
  __device__ __forceinline__ void read(int block, int shift) {
    const uint32_t g = static_cast<uint32_t>(block) >> shift;
#pragma unroll
    for (int p = 0; p < kPairs; ++p) {
      if (kWide) {
        s[p] = __ldg(reinterpret_cast<const uint32_t*>(scales.at[p]) + g);
        b[p] = __ldg(reinterpret_cast<const uint32_t*>(biases.at[p]) + g);
      } else {
        s[p] = __ldg(reinterpret_cast<const uint16_t*>(scales.at[p]) + g);
        b[p] = __ldg(reinterpret_cast<const uint16_t*>(biases.at[p]) + g);
      }
    }
  }
  static __device__ __forceinline__ float number(uint32_t v, int dtype) {
    if (kWide) return __uint_as_float(v);
    return dtype == kBF16 ? __uint_as_float(v << 16) : load(Half{static_cast<uint16_t>(v)});
  }
};

// kMany: up to eight vectors, else one.
template <int F, int kPairs, bool kMany, bool kWide>
__global__ void __launch_bounds__(kThreads, 1)
    stream_products(const __grid_constant__ VectorProducts a, const __grid_constant__ Work work) {
  constexpr int kDepth = depth(F, kPairs), kRows = 8 * kPairs, kWords = extra_words(F);
  constexpr int kSets = is_dense(F) ? 1 : kMany ? kColumns / 2 : 1;  // of products with two vectors each
  extern __shared__ uint4 shared[];
  __shared__ float parts[2][kWarps][kColumns][kRows];
  __shared__ float squares_of[kWarps];
  __shared__ uint4 zeros[4];
  if (threadIdx.x < 4) zeros[threadIdx.x] = make_uint4(0, 0, 0, 0);
  uint4* ring = shared;  // [slot][pair][thread]
  uint32_t* words =
      reinterpret_cast<uint32_t*>(ring + kDepth * kPairs * kThreads);  // [slot][pair][word][thread]
  unsigned char* xs = reinterpret_cast<unsigned char*>(words + kDepth * kPairs * kWords * kThreads);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  const int n = static_cast<int>(a.weight[0].cols), blocks = n / 32;
  const int m_all = kMany ? work.m : 1;

  const int first_tile = static_cast<int>(blockIdx.x * static_cast<uint32_t>(work.all) / gridDim.x);
  const int last_tile = static_cast<int>((blockIdx.x + 1) * static_cast<uint32_t>(work.all) / gridDim.x);
  const int begin = min(warp * work.warp_steps, work.steps), end = min(begin + work.warp_steps, work.steps);
  start_successor();
  if (!a.early) wait_for_predecessor();
  const int out_rows = a.swiglu ? kRows / 2 : kRows;
  if (a.rows) {
    bool asked = false;
    for (int i = 0; i < m_all; ++i) asked = asked || a.rows[i];
    if (!asked) {
      for (int tile = first_tile; tile < last_tile; ++tile)
        if (static_cast<int>(threadIdx.x) < out_rows * m_all) {
          const Place r = place_of<kPairs>(a, work, tile, threadIdx.x % out_rows);
          if (r.there)
            static_cast<Brain*>(a.out[r.segment])[threadIdx.x / out_rows * a.weight[r.segment].rows + r.row] =
                Brain{0};
        }
      return;
    }
  }
  Copier<F, kPairs> in{a, work};
  in.codes = shared_address(ring + threadIdx.x);
  in.words = shared_address(words + threadIdx.x);
  in.tile = first_tile;
  in.last = begin < end ? last_tile : first_tile;
  in.step = in.begin = begin;
  in.end = end;
  in.lane_block = t;
  in.start();
#pragma unroll
  for (int i = 0; i < kDepth - 1; ++i) in.copy(i, blocks);
  // More of its rows than that to the cache, and the norm's weight: nothing of it depends on the predecessor.
  for (int half = 0; half < (a.swiglu ? 2 : 1); ++half) {
    const Place r = place_of<kPairs>(a, work, first_tile, half * kRows / 2);
    if (!r.there || first_tile == last_tile) continue;
    const QuantWeight& w = a.weight[r.segment];
    const int64_t rows =
        min(static_cast<int64_t>(last_tile - first_tile) * (a.swiglu ? kRows / 2 : kRows), w.rows - r.row);
    const char* from = static_cast<const char*>(w.codes) + r.row * w.row_bytes;
    const int64_t bytes = min(rows * w.row_bytes, static_cast<int64_t>(kAhead) / (a.swiglu ? 2 : 1));
    for (int64_t i = threadIdx.x * 128; i < bytes; i += kThreads * 128) prefetch_l2(from + i);
  }
  [[maybe_unused]] Scales<kPairs, kWide> scales;
  [[maybe_unused]] const int scale_dtype = a.weight[0].scale_dtype;
  [[maybe_unused]] const int64_t scale_bytes =
      static_cast<int64_t>(n >> (5 + a.group_shift)) * (scale_dtype == kF32 ? 4 : 2);
  if constexpr (F == kAffine + 4) {
    scales.scales.enter(a, work, first_tile, scale_bytes, scales_of);
    scales.biases.enter(a, work, first_tile, scale_bytes, biases_of);
    scales.read(min(begin * 4 + t, blocks - 1), a.group_shift);
  }
  LaidX<F, kMany> laid(a, work.m, work.steps * step_elements(F), work.x_bytes);
  wait_for_predecessor();
  laid.lay(xs, squares_of, [] { __syncthreads(); });

  // The lanes whose column of x this is; all others multiply by zero. A block of 32 has a scale of its own,
  // so the four lanes of a row keep their sums in columns of their own.
  const int vector = is_dense(F) ? g : g & 1;
  const bool own = is_dense(F) ? g < m_all : g >> 1 == t && (kMany || g % 2 == 0);
  const int whole = work.steps * step_elements(F);
  const unsigned char* const x_of = own ? xs + vector * work.x_bytes + t * (is_dense(F) ? 16 : 64)
                                        : reinterpret_cast<const unsigned char*>(zeros);
  const int x_step = own ? (is_dense(F) ? 64 : 256) : 0;
  [[maybe_unused]] const int64_t x_set = own ? 2 * work.x_bytes : 0;
  int slot = 0;
  for (int tile = first_tile; tile < last_tile; ++tile) {
    float sum[kSets][4] = {};
    for (int step = begin; step < end; ++step) {
      const int free = slot == 0 ? kDepth - 1 : slot - 1;
      in.copy(free, blocks);
      wait_copies<kDepth - 1>();
      uint4 raw[2] = {};
#pragma unroll
      for (int p = 0; p < kPairs; ++p) raw[p] = ring[(slot * kPairs + p) * kThreads + threadIdx.x];
      if constexpr (is_dense(F)) {
        const uint4 x = *reinterpret_cast<const uint4*>(x_of + step * x_step);
        multiply(sum[0], raw[0].x, raw[1].x, raw[0].y, raw[1].y, x.x, x.y);
        multiply(sum[0], raw[0].z, raw[1].z, raw[0].w, raw[1].w, x.z, x.w);
      } else {
        const int b = step * 4 + t;
        float s[kPairs], bi[kPairs];
#pragma unroll
        for (int p = 0; p < kPairs; ++p) {
          [[maybe_unused]] const uint32_t* word =
              words + (slot * kPairs + p) * kWords * kThreads + threadIdx.x;
          if constexpr (F == kQ4_1) {
            s[p] = load(Half{static_cast<uint16_t>(word[0])});
            bi[p] = load(Half{static_cast<uint16_t>(word[0] >> 16)});
          } else {
            s[p] = scales.number(scales.s[p], scale_dtype);
            bi[p] = scales.number(scales.b[p], scale_dtype);
          }
          bi[p] = fmaf(-128.0f, s[p], bi[p]);  // what was added to the codes
        }
        if constexpr (F == kAffine + 4) {
          const bool on = step + 1 < end;
          if (!on && tile + 1 < last_tile) {
            scales.scales.next(a, work, tile + 1, scale_bytes, scales_of);
            scales.biases.next(a, work, tile + 1, scale_bytes, biases_of);
          }
          scales.read(min((on ? step + 1 : begin) * 4 + t, blocks - 1), a.group_shift);
        }
        float dot[kSets][2][4] = {};
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          uint32_t lo[4], hi[4];
          const uint32_t w0 = j == 0 ? raw[0].x : j == 1 ? raw[0].y : j == 2 ? raw[0].z : raw[0].w;
          const uint32_t w1 = j == 0 ? raw[1].x : j == 1 ? raw[1].y : j == 2 ? raw[1].z : raw[1].w;
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            lo[i] = raised(w0, i);
            hi[i] = kPairs == 2 ? raised(w1, i) : 0;
          }
#pragma unroll
          for (int v = 0; v < kSets; ++v) {
            if (kMany && 2 * v >= m_all) continue;
            const uint4 x = *reinterpret_cast<const uint4*>(x_of + step * x_step + v * x_set + j * 16);
            multiply(dot[v][j & 1], lo[0], hi[0], lo[1], hi[1], x.x, x.y);
            multiply(dot[v][j & 1], lo[2], hi[2], lo[3], hi[3], x.z, x.w);
          }
        }
#pragma unroll
        for (int v = 0; v < kSets; ++v)
#pragma unroll
          for (int c = 0; c < 2; ++c) {
            if (!kMany && c) continue;
            float total = 0;
            if (2 * v + c < m_all)
              total = reinterpret_cast<const float*>(xs + (2 * v + c) * work.x_bytes + whole * 2)[b];
#pragma unroll
            for (int p = 0; p < kPairs; ++p) {
              const float d = dot[v][0][2 * p + c] + dot[v][1][2 * p + c];
              sum[v][2 * p + c] = fmaf(d, s[p], fmaf(total, bi[p], sum[v][2 * p + c]));
            }
          }
      }
      slot = slot + 1 == kDepth ? 0 : slot + 1;
    }
    float(*part)[kRows] = parts[(tile - first_tile) & 1][warp];
    if constexpr (is_dense(F)) {
#pragma unroll
      for (int c = 0; c < 2; ++c)
#pragma unroll
        for (int p = 0; p < kPairs; ++p)
          if (2 * t + c < m_all) part[2 * t + c][g + 8 * p] = sum[0][2 * p + c];
    } else {
#pragma unroll
      for (int v = 0; v < kSets; ++v)
#pragma unroll
        for (int c = 0; c < 2; ++c)
#pragma unroll
          for (int p = 0; p < kPairs; ++p) {
            if (!kMany && c) continue;
            float s = sum[v][2 * p + c];
            s += __shfl_xor_sync(0xffffffffu, s, 1);
            s += __shfl_xor_sync(0xffffffffu, s, 2);
            if (t == 0 && 2 * v + c < m_all) part[2 * v + c][g + 8 * p] = s;
          }
    }
    __syncthreads();
    // Roundings are those of the operations one by one.
    float(*all)[kColumns][kRows] = parts[(tile - first_tile) & 1];
    auto dot = [&](int m, int j) {
      float s = 0;
#pragma unroll
      for (int w = 0; w < kWarps; ++w) s += all[w][m][j];
      return s;
    };
    if (static_cast<int>(threadIdx.x) < out_rows * m_all) {
      const int m = threadIdx.x / out_rows, j = threadIdx.x % out_rows;
      const Place r = place_of<kPairs>(a, work, tile, j);
      if (r.there) {
        const int64_t at = m * a.weight[r.segment].rows + r.row;
        static_cast<Brain*>(a.out[r.segment])[at] =
            a.rows && !a.rows[m] ? Brain{0} : finished(a, at, dot(m, j), a.swiglu ? dot(m, j + out_rows) : 0);
      }
    }
  }
  wait_copies<0>();
}

template <bool kValue>
struct Flag {
  static constexpr bool value = kValue;
};

template <int F>
struct Shape {
  static int64_t x_bytes(int64_t cols) {
    const int64_t whole = (cols + step_elements(F) - 1) / step_elements(F) * step_elements(F);
    return whole * 2 + (is_dense(F) ? 0 : whole / 8);
  }
  static int64_t shared(int pairs, int64_t cols, int m) {
    return int64_t{depth(F, pairs)} * pairs * kThreads * (16 + 4 * extra_words(F)) +
           (is_dense(F) || m == 1 ? m : (m + 1) / 2 * 2) * x_bytes(cols);
  }
};

template <class G>
bool with_streamed(int format, G f) {
  switch (format) {
    case kDenseBF16: f(FormatTag<kDenseBF16>{}); return true;
    case kQ4_1: f(FormatTag<kQ4_1>{}); return true;
    case kAffine + 4: f(FormatTag<kAffine + 4>{}); return true;
    default: return false;
  }
}

}  // namespace

bool takes_stream_products(int dtype, int format, int64_t cols, int group, int64_t m) {
  if (dtype != kBF16 || m < 1 || m > kColumns || cols <= 0 || cols % 32 || cols > (int64_t{1} << 20))
    return false;
  if (format == kAffine + 4 && (group < 32 || (group & (group - 1)))) return false;
  bool takes = false;
  with_streamed(format, [&](auto f) {
    takes = Shape<decltype(f)::value>::shared(2, cols, static_cast<int>(m)) <= kMaxShared - (20 << 10);
  });
  return takes;
}

bool launch_stream_products(VectorProducts a, int multiprocessors, cudaStream_t stream) {
  const int64_t cols = a.weight[0].cols;
  if (!takes_stream_products(a.dtype, a.weight[0].format, cols, a.weight[0].group, a.m)) return false;
  for (int s = 0; s < a.count; ++s)
    if (reinterpret_cast<uintptr_t>(a.weight[s].codes) % (a.weight[s].format == kQ4_1 ? 4 : 16) ||
        a.weight[s].rows > (int64_t{1} << 30) || a.weight[s].scale_dtype != a.weight[0].scale_dtype)
      return false;
  auto tiles_of = [&](int rows_a_tile, Work& w) {
    w.all = 0;
    for (int s = 0; s < a.count; ++s) {
      const int64_t rows = a.weight[s].rows, each = a.swiglu ? rows_a_tile / 2 : rows_a_tile;
      w.tiles[s] = static_cast<int>((rows + each - 1) / each);
      w.whole[s] = static_cast<int>(rows / each);
      if (!a.swiglu || s == 0) w.all += w.tiles[s];
    }
  };
  Work one{}, two{};
  tiles_of(8, one);
  tiles_of(16, two);
  if (one.all == 0) return true;
  // The tile that keeps the multiprocessors more evenly busy.
  auto rounds = [&](const Work& w) { return (w.all + multiprocessors - 1) / multiprocessors; };
  const bool wide = 2 * rounds(two) <= rounds(one);
  int64_t weight_bytes = 0;
  for (int s = 0; s < a.count; ++s) weight_bytes += a.weight[s].rows * a.weight[s].row_bytes;
  Work work = wide ? two : one;
  work.m = a.m;
  if (reinterpret_cast<uintptr_t>(a.x) % 16) return false;
  if (launch_four_bit_products(a, multiprocessors, stream)) return true;
  a.weight_vectors = reinterpret_cast<uintptr_t>(a.norm_weight) % 16 == 0;
  a.group_shift = 0;
  while (32 << a.group_shift < a.weight[0].group) ++a.group_shift;
  with_streamed(a.weight[0].format, [&](auto f) {
    constexpr int F = decltype(f)::value;
    work.steps = static_cast<int>((cols + step_elements(F) - 1) / step_elements(F));
    work.warp_steps = (work.steps + kWarps - 1) / kWarps;
    work.x_bytes = Shape<F>::x_bytes(cols);
    const unsigned grid = static_cast<unsigned>(work.all < multiprocessors ? work.all : multiprocessors);
    auto start = [&](auto kernel, int pairs) {
      auto bytes = static_cast<size_t>(Shape<F>::shared(pairs, cols, a.m));
      if (is_dense(F) && weight_bytes >= kBig && bytes < kAlone) bytes = kAlone;
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
      launch_early(kernel, grid, kThreads, bytes, stream, a, work);
    };
    auto choose = [&](auto scale) {
      constexpr bool kWide = decltype(scale)::value;
      if (a.m > 1)
        wide ? start(stream_products<F, 2, true, kWide>, 2) : start(stream_products<F, 1, true, kWide>, 1);
      else
        wide ? start(stream_products<F, 2, false, kWide>, 2) : start(stream_products<F, 1, false, kWide>, 1);
    };
    if constexpr (F == kAffine + 4)
      if (a.weight[0].scale_dtype == kF32) return choose(Flag<true>{});
    choose(Flag<false>{});
  });
  return true;
}

}  // namespace mc::cuda
