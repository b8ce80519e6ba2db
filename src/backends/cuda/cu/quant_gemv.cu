// Few rows of x times a quantized weight, in float32: a warp has a row of the weight, its lanes blocks of 32
// elements.
#include "backends/cuda/cu/quant_codes.cuh"

namespace mc::cuda {
namespace {

constexpr int kWarps = 8, kChunk = 2048;
constexpr int kPad = 36;  // floats from block to block of x in shared memory: lanes on different banks

template <int F, int M>
__global__ void __launch_bounds__(kWarps * 32)
    gemv(const __grid_constant__ QuantWeight w, const void* x, int64_t m0, void* out, int dtype) {
  __shared__ float4 shared[M * kChunk / 32 * kPad / 4];
  float* sx = reinterpret_cast<float*>(shared);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + warp;
  float acc[M];
#pragma unroll
  for (int r = 0; r < M; ++r) acc[r] = 0;
  for (int64_t k0 = 0; k0 < w.cols; k0 += kChunk) {
    const int n = w.cols - k0 < kChunk ? static_cast<int>(w.cols - k0) : kChunk, blocks = (n + 31) / 32;
    __syncthreads();
    for (int i = threadIdx.x; i < M * blocks * 32; i += kWarps * 32) {
      const int r = i / (blocks * 32), k = i % (blocks * 32);
      sx[r * (kChunk / 32 * kPad) + k / 32 * kPad + k % 32] =
          k < n ? read_as(x, dtype, (m0 + r) * w.cols + k0 + k) : 0.0f;
    }
    __syncthreads();
    if (row >= w.rows) continue;
    for (int b = lane; b < blocks; b += 32) {
      float v[32];
      numbers<F>(w, row, k0 / 32 + b, v);
#pragma unroll
      for (int r = 0; r < M; ++r) {
        const float4* p = reinterpret_cast<const float4*>(sx + r * (kChunk / 32 * kPad) + b * kPad);
        float s = 0;
#pragma unroll
        for (int i = 0; i < 8; ++i) {
          const float4 y = p[i];
          s = fmaf(v[4 * i], y.x, s);
          s = fmaf(v[4 * i + 1], y.y, s);
          s = fmaf(v[4 * i + 2], y.z, s);
          s = fmaf(v[4 * i + 3], y.w, s);
        }
        acc[r] += s;
      }
    }
  }
#pragma unroll
  for (int r = 0; r < M; ++r) {
    const float s = warp_sum(acc[r]);
    if (lane == 0 && row < w.rows) write_as(out, dtype, (m0 + r) * w.rows + row, s);
  }
}

}  // namespace

void launch_quant_gemv(const QuantWeight& w, const void* x, int64_t m, void* out, int dtype,
                       cudaStream_t stream) {
  if (w.rows == 0) return;
  const unsigned blocks = blocks_for(w.rows, kWarps);
  with_format(w.format, [&](auto f) {
    constexpr int F = decltype(f)::value;
    int64_t r = 0;
    for (; r + 4 <= m; r += 4) gemv<F, 4><<<blocks, kWarps * 32, 0, stream>>>(w, x, r, out, dtype);
    for (; r < m; ++r) gemv<F, 1><<<blocks, kWarps * 32, 0, stream>>>(w, x, r, out, dtype);
  });
}

}  // namespace mc::cuda
