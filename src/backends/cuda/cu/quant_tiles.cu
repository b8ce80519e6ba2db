// Precision fast for many rows of x: the integer dots of docs/contract-fast.md on the tensor cores. A product
// of 16 × 8 × 32 is one block of 32 of each of its rows, so that the chains of fused multiply-adds over the
// blocks keep their order, and their bits.
#include "backends/cuda/cu/quant_codes.cuh"

namespace mc::cuda {
namespace {

constexpr int kBlocks = 4;                  // of 32 elements, in shared memory at once
constexpr int kStride = kBlocks * 32 + 16;  // bytes: eight rows lie on different banks
constexpr int kMagic = 0x4b400000;          // 1.5·2^23: the dots, below 2^22, are added to its bits
constexpr float kMagicNumber = 12582912.0f;

// 32 rows a warp of x, 32 of the weight.
template <int kWarpsX, int kWarpsW>
struct Stage {
  static constexpr int kX = 32 * kWarpsX, kW = 32 * kWarpsW;
  uint4 x[kX * kStride / 16], w[kW * kStride / 16];
  float dx[kBlocks][kX], xs[kBlocks][kX];  // of x: its scale, that times its sum
  float d0[kBlocks][kW], d1[kBlocks][kW];  // of the weight; d1: its minimum, or the scale of the second half
};

// 16 × 8 dots more in c, of 32 elements or of 16.
template <bool kSigned>
__device__ __forceinline__ void multiply(int (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  if constexpr (kSigned)
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  else
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.u8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void multiply_half(int (&c)[4], uint32_t a0, uint32_t a1, uint32_t b) {
  asm("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a0), "r"(a1), "r"(b));
}
__device__ __forceinline__ float dot_of(int c) { return __int_as_float(c) - kMagicNumber; }

// The rows that the list names, or all m; output rows that it does not name are not written.
template <int F, int kWarpsX, int kWarpsW>
__global__ void __launch_bounds__(32 * kWarpsX * kWarpsW)
    tiles(const __grid_constant__ QuantWeight w, FastX q, int64_t m, const int32_t* list, void* out,
          int dtype) {
  using Part = Stage<kWarpsX, kWarpsW>;
  constexpr Scheme scheme = scheme_of(F);
  constexpr bool w_signed = scheme == Scheme::D || scheme == Scheme::K6;
  constexpr int kThreads = 32 * kWarpsX * kWarpsW;
  extern __shared__ uint4 shared[];
  __shared__ int64_t from[Part::kX];  // the row of x; -1: none
  Part* const parts = reinterpret_cast<Part*>(shared);
  const int64_t blocks = w.cols / 32;
  const int64_t w0 = static_cast<int64_t>(blockIdx.x) * Part::kW, count = list ? list[0] : m;
  for (int64_t x0 = static_cast<int64_t>(blockIdx.y) * Part::kX; x0 < count;
       x0 += static_cast<int64_t>(gridDim.y) * Part::kX) {
    __syncthreads();
    for (int i = threadIdx.x; i < Part::kX; i += kThreads)
      from[i] = x0 + i >= count ? -1 : list ? list[1 + x0 + i] : x0 + i;
    __syncthreads();

    auto fill = [&](Part& p, int64_t b0) {
      for (int i = threadIdx.x; i < Part::kX * kBlocks * 2; i += kThreads) {
        const int row = i / (kBlocks * 2), piece = i % (kBlocks * 2);
        const bool there = from[row] >= 0 && b0 + piece / 2 < blocks;
        const int8_t* src = there ? q.codes + from[row] * w.cols + b0 * 32 + piece * 16 : q.codes;
        const uint32_t to =
            static_cast<uint32_t>(__cvta_generic_to_shared(&p.x[row * (kStride / 16) + piece]));
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(src), "r"(there ? 16 : 0)
                     : "memory");
      }
      asm volatile("cp.async.commit_group;" ::: "memory");
      for (int i = threadIdx.x; i < Part::kX * kBlocks; i += kThreads) {
        const int row = i / kBlocks, b = i % kBlocks;
        if (from[row] < 0 || b0 + b >= blocks) continue;
        const int64_t at = from[row] * blocks + b0 + b;
        const float dx = q.scales[at];
        p.dx[b][row] = dx;
        p.xs[b][row] = dx * static_cast<float>(q.sums[at]);
      }
      for (int i = threadIdx.x; i < Part::kW * kBlocks; i += kThreads) {
        const int row = i / kBlocks, b = i % kBlocks;
        if (w0 + row >= w.rows || b0 + b >= blocks) continue;
        const Codes c = block32<F>(w, w0 + row, b0 + b);
        uint4* to = &p.w[row * (kStride / 16) + 2 * b];
        to[0] = make_uint4(c.q[0], c.q[1], c.q[2], c.q[3]);
        to[1] = make_uint4(c.q[4], c.q[5], c.q[6], c.q[7]);
        p.d0[b][row] = c.d0;
        p.d1[b][row] = scheme == Scheme::K6 ? c.d1 : scheme == Scheme::K ? -c.m : c.m;
      }
    };
    auto arrived = [] {
      asm volatile("cp.async.wait_group 0;" ::: "memory");
      __syncthreads();
    };

    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const int xw = warp / kWarpsW * 32, ww = warp % kWarpsW * 32;  // this warp's rows in the part
    float acc[2][4][4] = {};
    fill(parts[0], 0);
    arrived();
    int now = 0;
    for (int64_t b0 = 0; b0 < blocks; b0 += kBlocks) {
      if (b0 + kBlocks < blocks) fill(parts[now ^ 1], b0 + kBlocks);
      const Part& p = parts[now];
      const uint32_t* xc = reinterpret_cast<const uint32_t*>(p.x) + (xw + g) * (kStride / 4) + t;
      const uint32_t* wc = reinterpret_cast<const uint32_t*>(p.w) + (ww + g) * (kStride / 4) + t;
      const int n = blocks - b0 < kBlocks ? static_cast<int>(blocks - b0) : kBlocks;
      for (int b = 0; b < n; ++b) {
        uint32_t a[2][4];
        float dx[2][2], xs[2][2];
#pragma unroll
        for (int i = 0; i < 2; ++i) {
#pragma unroll
          for (int h = 0; h < 2; ++h) {
            const int row = 16 * i + 8 * h;
            a[i][h] = xc[row * (kStride / 4) + 8 * b];
            a[i][h + 2] = xc[row * (kStride / 4) + 8 * b + 4];
            dx[i][h] = p.dx[b][xw + row + g];
            xs[i][h] = p.xs[b][xw + row + g];
          }
        }
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const uint32_t codes[2] = {wc[8 * j * (kStride / 4) + 8 * b],
                                     wc[8 * j * (kStride / 4) + 8 * b + 4]};
          const float2 d0 = *reinterpret_cast<const float2*>(&p.d0[b][ww + 8 * j + 2 * t]);
          const float2 d1 = *reinterpret_cast<const float2*>(&p.d1[b][ww + 8 * j + 2 * t]);
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            int c[4] = {kMagic, kMagic, kMagic, kMagic};
            float(&sum)[4] = acc[i][j];
            if constexpr (scheme == Scheme::K6) {
              int second[4] = {kMagic, kMagic, kMagic, kMagic};
              multiply_half(c, a[i][0], a[i][1], codes[0]);
              multiply_half(second, a[i][2], a[i][3], codes[1]);
#pragma unroll
              for (int k = 0; k < 4; ++k) {
                sum[k] = fmaf((k % 2 ? d0.y : d0.x) * dx[i][k / 2], dot_of(c[k]), sum[k]);
                sum[k] = fmaf((k % 2 ? d1.y : d1.x) * dx[i][k / 2], dot_of(second[k]), sum[k]);
              }
            } else {
              multiply<w_signed>(c, a[i], codes);
#pragma unroll
              for (int k = 0; k < 4; ++k) {
                sum[k] = fmaf((k % 2 ? d0.y : d0.x) * dx[i][k / 2], dot_of(c[k]), sum[k]);
                if constexpr (scheme != Scheme::D) sum[k] = fmaf(k % 2 ? d1.y : d1.x, xs[i][k / 2], sum[k]);
              }
            }
          }
        }
      }
      arrived();
      now ^= 1;
    }
#pragma unroll
    for (int i = 0; i < 2; ++i)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int64_t row = from[xw + 16 * i + 8 * h + g];
        if (row < 0) continue;
#pragma unroll
        for (int j = 0; j < 4; ++j)
#pragma unroll
          for (int k = 0; k < 2; ++k) {
            const int64_t col = w0 + ww + 8 * j + 2 * t + k;
            if (col < w.rows) write_as(out, dtype, row * w.rows + col, acc[i][j][2 * h + k]);
          }
      }
  }
}

// list[0] is the number of true elements of the mask, their places follow in ascending order.
constexpr int kListThreads = 1024;
__global__ void __launch_bounds__(kListThreads) list_rows(const bool* mask, int64_t m, int32_t* list) {
  __shared__ int warps[kListThreads / 32];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  int before = 0;
  for (int64_t base = 0; base < m; base += kListThreads) {
    const int64_t i = base + threadIdx.x;
    const bool named = i < m && mask[i];
    const unsigned votes = __ballot_sync(0xffffffffu, named);
    if (lane == 0) warps[warp] = __popc(votes);
    __syncthreads();
    int at = before, all = 0;
    for (int k = 0; k < kListThreads / 32; ++k) {
      if (k < warp) at += warps[k];
      all += warps[k];
    }
    if (named) list[1 + at + __popc(votes & ((1u << lane) - 1))] = static_cast<int32_t>(i);
    before += all;
    __syncthreads();
  }
  if (threadIdx.x == 0) list[0] = before;
}

}  // namespace

void launch_list_rows(const bool* mask, int64_t m, int32_t* list, cudaStream_t stream) {
  list_rows<<<1, kListThreads, 0, stream>>>(mask, m, list);
}

void launch_fast_tiles(const QuantWeight& w, const FastX& q, int64_t m, const int32_t* list, void* out,
                       int dtype, cudaStream_t stream) {
  if (w.rows == 0 || m == 0) return;
  with_format(w.format, [&](auto f) {
    constexpr int F = decltype(f)::value;
    if constexpr (scheme_of(F) != Scheme::Dense) {
      auto start = [&](auto kernel, auto part) {
        using Part = decltype(part);
        constexpr auto bytes = 2 * sizeof(Part);
        if (bytes > 48 * 1024)
          cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
        constexpr int threads = Part::kX * Part::kW / 32;
        const unsigned most = 65535,
                       parts = blocks_for(m, Part::kX);  // where the grid's second dimension ends
        kernel<<<dim3(blocks_for(w.rows, Part::kW), parts < most ? parts : most), threads, bytes, stream>>>(
            w, q, m, list, out, dtype);
      };
      m > 32 ? start(tiles<F, 4, 2>, Stage<4, 2>{}) : start(tiles<F, 1, 2>, Stage<1, 2>{});
    }
  });
}

}  // namespace mc::cuda
