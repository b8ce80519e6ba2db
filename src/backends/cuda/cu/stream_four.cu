// Products of one bfloat16 vector with 4-bit affine weights in groups of 64 on the tensor cores, where the
// rows allow bulk copies: one warp of a block only copies, eight multiply. Few and large copies: each costs
// the copy engine about 50 cycles whatever its size.
#include <type_traits>

#include "backends/cuda/cu/launch_pdl.cuh"
#include "backends/cuda/cu/stream.cuh"

namespace mc::cuda {
namespace {

constexpr int kFour = kAffine + 4;
constexpr int kRows = 16, kMostStages = 4;
// Bytes of a row's codes in a stage: the whole row if it is that short, else this part of it.
constexpr int kShort = 2048, kPart = 1024;
constexpr int kStepBytes = step_elements(kFour) / 2, kStepScales = step_elements(kFour) / 64 * 2;
// So that two blocks find room on a multiprocessor, one of them its successor's at times.
constexpr size_t kMostShared = (size_t{113} << 10) - 2048;

struct Work {
  int tiles[kMaxProducts];  // of each weight; of both of a gated pair in the first
  int all;
  int chunks, steps, chunk_bytes;  // of a row; bytes of its part in a stage
  int stages, stage;               // bytes of a stage
  int scale_row;                   // bytes; 16 rows of scales, then of biases are a slot, one of two
  int64_t x_row;                   // bytes of x in shared memory
};

__device__ __forceinline__ void begin_barrier(uint64_t* b, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(b)), "r"(arrivals) : "memory");
}
__device__ __forceinline__ void arrive(uint64_t* b) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(b)) : "memory");
}
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
__device__ __forceinline__ void expect(uint64_t* b, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(b)), "r"(bytes)
               : "memory");
}
__device__ __forceinline__ void await(uint64_t* b, uint32_t parity) {
  uint32_t done = 0;
  while (!done)
    asm volatile(
        "{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
        : "=r"(done)
        : "r"(shared_address(b)), "r"(parity)
        : "memory");
}
__device__ __forceinline__ void copy_bulk(uint32_t to, const void* from, int bytes, uint64_t* b) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to),
      "l"(from), "r"(bytes), "r"(shared_address(b))
      : "memory");
}
#endif
__device__ __forceinline__ void meet() { asm volatile("bar.sync 1, %0;" ::"n"(kThreads) : "memory"); }

struct Segment {
  int index, tile;  // tile: in the weight
};
__device__ __forceinline__ Segment segment_of(const VectorProducts& a, const Work& work, int tile) {
  int s = 0;
  while (!a.swiglu && s + 1 < a.count && tile >= work.tiles[s]) tile -= work.tiles[s++];
  return {s, tile};
}

template <int kSteps, bool kHalf>
__global__ void __launch_bounds__(kThreads + 32, 2)
    four_bit_products(const __grid_constant__ VectorProducts a, const __grid_constant__ Work work) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  constexpr int kChunkSteps = kSteps * kWarps;
  extern __shared__ uint4 shared[];
  __shared__ float parts[2][kWarps][kRows];
  __shared__ float squares_of[kWarps];
  __shared__ uint4 zeros[4];
  __shared__ uint64_t full[kMostStages], empty[kMostStages], read[2];  // read: a slot of scales
  unsigned char* const ring = reinterpret_cast<unsigned char*>(shared);
  unsigned char* const slots = ring + work.stages * work.stage;
  const int half_slot = kRows * work.scale_row;
  unsigned char* const xs = slots + 4 * half_slot;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int n = static_cast<int>(a.weight[0].cols);
  const int first_tile = static_cast<int>(blockIdx.x * static_cast<uint32_t>(work.all) / gridDim.x);
  const int last_tile = static_cast<int>((blockIdx.x + 1) * static_cast<uint32_t>(work.all) / gridDim.x);
  if (threadIdx.x < kMostStages) {
    begin_barrier(full + threadIdx.x, 1);
    begin_barrier(empty + threadIdx.x, kThreads);
    if (threadIdx.x < 2) begin_barrier(read + threadIdx.x, kThreads);
    zeros[threadIdx.x] = make_uint4(0, 0, 0, 0);
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
  __syncthreads();
  start_successor();
  if (!a.early) wait_for_predecessor();
  if (a.rows && !*a.rows) {
    for (int tile = first_tile; tile < last_tile; ++tile) {
      const Segment at = segment_of(a, work, tile);
      const int rows = a.swiglu ? kRows / 2 : kRows;
      if (static_cast<int>(threadIdx.x) < rows)
        static_cast<Brain*>(a.out[at.index])[int64_t{at.tile} * rows + threadIdx.x] = Brain{0};
    }
    return;
  }
  int stage = 0;
  uint32_t phase = 0;
  auto next_stage = [&] {
    if (++stage == work.stages) {
      stage = 0;
      phase ^= 1;
    }
  };

  if (warp == kWarps) {
    const int row_bytes = n / 2, pieces = a.swiglu ? 2 : 1, piece = kRows / pieces;
    for (int tile = first_tile; tile < last_tile; ++tile) {
      const Segment at = segment_of(a, work, tile);
      const int slot = (tile - first_tile) & 1;
      for (int chunk = 0; chunk < work.chunks; ++chunk) {
        const int bytes = min(work.chunk_bytes, row_bytes - chunk * work.chunk_bytes);
        await(empty + stage, phase ^ 1);
        if (chunk == 0) await(read + slot, ((tile - first_tile) >> 1 & 1) ^ 1);
        if (lane == 0) expect(full + stage, kRows * bytes + (chunk == 0 ? 2 * half_slot : 0));
        __syncwarp();
        const uint32_t to = shared_address(ring + stage * work.stage);
        const bool whole = work.chunks == 1;
        const int parts_of = whole ? 2 : kRows, part_rows = kRows / parts_of;
        if (lane < parts_of) {
          const int r = lane * part_rows;
          const QuantWeight& w = a.weight[a.swiglu ? r / piece : at.index];
          const int64_t row = int64_t{at.tile} * piece + r % piece;
          copy_bulk(to + r * work.chunk_bytes,
                    static_cast<const char*>(w.codes) + row * row_bytes + chunk * work.chunk_bytes,
                    part_rows * bytes, full + stage);
        }
        if (chunk == 0 && lane < pieces) {
          const QuantWeight& w = a.weight[a.swiglu ? lane : at.index];
          const int64_t from = int64_t{at.tile} * piece * work.scale_row;
          const uint32_t slot_at =
              shared_address(slots + slot * 2 * half_slot) + lane * piece * work.scale_row;
          copy_bulk(slot_at, static_cast<const char*>(w.scales) + from, piece * work.scale_row, full + stage);
          copy_bulk(slot_at + half_slot, static_cast<const char*>(w.biases) + from, piece * work.scale_row,
                    full + stage);
        }
        next_stage();
      }
    }
    return;
  }

  LaidX<kFour, false> laid(a, 1, n, work.x_row);
  wait_for_predecessor();
  laid.lay(xs, squares_of, [] { meet(); });
  // The lanes whose column of x this is; all others multiply by zero. A block of 32 has a sum of x of its
  // own, so the four lanes of a row keep their sums in columns of their own.
  const int g = lane / 4, t = lane % 4;
  const bool own = g >> 1 == t && g % 2 == 0;
  const unsigned char* const x_of = own ? xs + t * 64 : reinterpret_cast<const unsigned char*>(zeros);
  const int x_step = own ? 256 : 0;
  const float* const sums = reinterpret_cast<const float*>(xs + n * 2) + t;
  // Of a step's two groups the one of this lane's block.
  const uint32_t half = t / 2 ? 0x3244u : 0x1044u;
  auto number = [&](uint32_t word) {
    const uint32_t high = __byte_perm(word, 0, half);
    return kHalf ? load(Half{static_cast<uint16_t>(high >> 16)}) : __uint_as_float(high);
  };
  for (int tile = first_tile; tile < last_tile; ++tile) {
    float sum[2] = {};
    const int slot = (tile - first_tile) & 1;
    const unsigned char* const scales = slots + slot * 2 * half_slot + g * work.scale_row;
    for (int chunk = 0; chunk < work.chunks; ++chunk) {
      const int first = warp * kSteps, before = chunk * kChunkSteps;
      await(full + stage, phase);
      if (first + before < work.steps) {
        const unsigned char* const from =
            ring + stage * work.stage + g * work.chunk_bytes + first * kStepBytes + t * 16;
        uint32_t s[2][kSteps], b[2][kSteps];
#pragma unroll
        for (int p = 0; p < 2; ++p) {
          const unsigned char* const at = scales + 8 * p * work.scale_row + (first + before) * kStepScales;
          using Words = std::conditional_t<kSteps == 4, uint4, uint2>;
          *reinterpret_cast<Words*>(s[p]) = *reinterpret_cast<const Words*>(at);
          *reinterpret_cast<Words*>(b[p]) = *reinterpret_cast<const Words*>(at + half_slot);
        }
#pragma unroll
        for (int u = 0; u < kSteps; ++u) {
          const uint4 raw[2] = {
              *reinterpret_cast<const uint4*>(from + u * kStepBytes),
              *reinterpret_cast<const uint4*>(from + 8 * work.chunk_bytes + u * kStepBytes)};
          const unsigned char* const x_at = x_of + (before + first + u) * x_step;
          float dot[2][4] = {};
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            const uint4 x = *reinterpret_cast<const uint4*>(x_at + j * 16);
            const uint32_t w0 = j == 0 ? raw[0].x : j == 1 ? raw[0].y : j == 2 ? raw[0].z : raw[0].w;
            const uint32_t w1 = j == 0 ? raw[1].x : j == 1 ? raw[1].y : j == 2 ? raw[1].z : raw[1].w;
            multiply(dot[j & 1], raised(w0, 0), raised(w1, 0), raised(w0, 1), raised(w1, 1), x.x, x.y);
            multiply(dot[j & 1], raised(w0, 2), raised(w1, 2), raised(w0, 3), raised(w1, 3), x.z, x.w);
          }
          const float total = sums[(before + first + u) * 4];
#pragma unroll
          for (int p = 0; p < 2; ++p) {
            const float scale = number(s[p][u]), bias = fmaf(-128.0f, scale, number(b[p][u]));
            sum[p] = fmaf(dot[0][2 * p] + dot[1][2 * p], scale, fmaf(total, bias, sum[p]));
          }
        }
      }
      arrive(empty + stage);
      next_stage();
    }
    arrive(read + slot);
    float(*part)[kRows] = parts[slot];
#pragma unroll
    for (int p = 0; p < 2; ++p) {
      float s = sum[p];
      s += __shfl_xor_sync(0xffffffffu, s, 1);
      s += __shfl_xor_sync(0xffffffffu, s, 2);
      if (t == 0) part[warp][g + 8 * p] = s;
    }
    meet();
    if (warp == (tile & (kWarps - 1))) {
      float s = 0;
#pragma unroll
      for (int i = 0; i < kWarps; ++i) s += part[i][lane % kRows];
      const float gated = __shfl_down_sync(0xffffffffu, s, kRows / 2);
      const Segment at = segment_of(a, work, tile);
      const int rows = a.swiglu ? kRows / 2 : kRows;
      const int64_t row = int64_t{at.tile} * rows + lane;
      if (lane < rows) static_cast<Brain*>(a.out[at.index])[row] = finished(a, row, s, gated);
    }
  }
#endif
}

// Machine code with bulk copies: not what a driver makes of the oldest chip's PTX.
template <class Kernel>
bool has_bulk_copies(Kernel* kernel) {
  cudaFuncAttributes f{};
  return cudaFuncGetAttributes(&f, kernel) == cudaSuccess && f.ptxVersion >= 90;
}
bool aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

}  // namespace

bool launch_four_bit_products(VectorProducts a, int multiprocessors, cudaStream_t stream) {
  const QuantWeight& first = a.weight[0];
  const int64_t bytes = first.cols / 2;
  const bool four = bytes > kPart && bytes <= kShort;
  if (a.m != 1 || a.dtype != kBF16 || first.format != kFour || first.scale_dtype == kF32 ||
      first.group != 64 || first.cols <= 0 || first.cols > (1 << 20) || first.cols % (four ? 512 : 256) ||
      !aligned(a.x))
    return false;
  const int rows = a.swiglu ? kRows / 2 : kRows;
  Work w{};
  for (int s = 0; s < a.count; ++s) {
    const QuantWeight& q = a.weight[s];
    if (q.rows % rows || q.rows > (int64_t{1} << 30) || q.scale_dtype != first.scale_dtype ||
        !aligned(q.codes) || !aligned(q.scales) || !aligned(q.biases))
      return false;
    w.tiles[s] = static_cast<int>(q.rows / rows);
    if (!a.swiglu || s == 0) w.all += w.tiles[s];
  }
  if (w.all < multiprocessors) return false;  // half as many rows a block keep more of them busy
  a.weight_vectors = aligned(a.norm_weight);
  w.chunk_bytes = static_cast<int>(bytes <= kShort ? bytes : kPart);
  w.chunks = static_cast<int>((bytes + w.chunk_bytes - 1) / w.chunk_bytes);
  w.steps = static_cast<int>(first.cols / step_elements(kFour));
  w.stage = kRows * w.chunk_bytes;
  w.scale_row = static_cast<int>(first.cols / 64 * 2);
  w.x_row = first.cols * 2 + first.cols / 8;
  const int64_t left = static_cast<int64_t>(kMostShared) - w.x_row - 4 * kRows * w.scale_row;
  if (left < 2 * w.stage) return false;
  w.stages = static_cast<int>(left / w.stage < kMostStages ? left / w.stage : kMostStages);
  const auto shared = static_cast<size_t>(kMostShared - left + w.stages * w.stage);
  bool launched = false;
  auto start = [&](auto* kernel) {
    if (!has_bulk_copies(kernel)) return;
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared));
    const int most = 2 * multiprocessors;
    launch_early(kernel, static_cast<unsigned>(w.all < most ? w.all : most), kThreads + 32, shared, stream, a,
                 w);
    launched = true;
  };
  auto choose = [&](auto half) {
    constexpr bool kHalf = decltype(half)::value;
    four ? start(&four_bit_products<4, kHalf>) : start(&four_bit_products<2, kHalf>);
  };
  first.scale_dtype == kBF16 ? choose(std::false_type{}) : choose(std::true_type{});
  return launched;
}

}  // namespace mc::cuda
