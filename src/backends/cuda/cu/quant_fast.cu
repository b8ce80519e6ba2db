// Precision fast, bit for bit as docs/contract-fast.md: exact integer dots of blocks of 32, added in
// ascending order by one chain of fused multiply-adds. quant_tiles.cu has many rows of x.
#include "backends/cuda/cu/quant_codes.cuh"

namespace mc::cuda {
namespace {

constexpr int kThreads = 128;

// A warp has a block of 32 elements.
__global__ void quantize(const void* x, int dtype, int64_t blocks, FastX q) {
  const int64_t b = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) / 32;
  const int lane = threadIdx.x % 32;
  if (b >= blocks) return;
  const float v = read_as(x, dtype, b * 32 + lane);
  const bool bad = __any_sync(0xffffffffu, !isfinite(v));
  const float amax = warp_max(fabsf(v));
  float dx = 0;
  int code = 0;
  if (bad) {
    dx = __int_as_float(0x7fc00000);
  } else if (!(amax < 0x1p-119f)) {
    dx = amax / 127.0f;
    code = static_cast<int>(rintf(v * (1.0f / dx)));
  }
  q.codes[b * 32 + lane] = static_cast<int8_t>(code);
  int sum = code;
  for (int o = 16; o; o >>= 1) sum += __shfl_xor_sync(0xffffffffu, sum, o);
  if (lane == 0) {
    q.scales[b] = dx;
    q.sums[b] = sum;
  }
}

__device__ __forceinline__ int dot4(uint32_t w, int x, int acc, bool w_signed) {
  int r;
  if (w_signed)
    asm("dp4a.s32.s32 %0, %1, %2, %3;" : "=r"(r) : "r"(w), "r"(x), "r"(acc));
  else
    asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(r) : "r"(w), "r"(x), "r"(acc));
  return r;
}

// What a block of 32 adds: acc = fma(p, dot, acc), for Q6_K then fma(p1, dot1, acc), with a minimum then
// fma(m, xs, acc).
struct Terms {
  float p, dot, p1, dot1;
};
template <int F>
__device__ __forceinline__ Terms terms(const Codes& c, const FastX& q, int64_t at) {
  constexpr Scheme scheme = scheme_of(F);
  constexpr bool w_signed = scheme == Scheme::D || scheme == Scheme::K6;
  const int4* xq = reinterpret_cast<const int4*>(q.codes + at * 32);
  const int4 x0 = xq[0], x1 = xq[1];
  const float dx = q.scales[at];
  int dot = 0;
  dot = dot4(c.q[0], x0.x, dot, w_signed), dot = dot4(c.q[1], x0.y, dot, w_signed);
  dot = dot4(c.q[2], x0.z, dot, w_signed), dot = dot4(c.q[3], x0.w, dot, w_signed);
  int second = scheme == Scheme::K6 ? 0 : dot;
  second = dot4(c.q[4], x1.x, second, w_signed), second = dot4(c.q[5], x1.y, second, w_signed);
  second = dot4(c.q[6], x1.z, second, w_signed), second = dot4(c.q[7], x1.w, second, w_signed);
  Terms t{c.d0 * dx, static_cast<float>(scheme == Scheme::K6 ? dot : second), 0, 0};
  if (scheme == Scheme::K6) {
    t.p1 = c.d1 * dx;
    t.dot1 = static_cast<float>(second);
  } else if (scheme != Scheme::D) {
    t.p1 = scheme == Scheme::K ? -c.m : c.m;
    t.dot1 = dx * static_cast<float>(q.sums[at]);
  }
  return t;
}
template <int F>
__device__ __forceinline__ float add(const Terms& t, float acc) {
  acc = fmaf(t.p, t.dot, acc);
  return scheme_of(F) == Scheme::D ? acc : fmaf(t.p1, t.dot1, acc);
}

// One row of x: a warp has a row of the weight, its lanes a block each; every lane then adds all of them in
// order.
template <int F>
__global__ void __launch_bounds__(kThreads) product_row(const __grid_constant__ QuantWeight w, FastX q,
                                                        int64_t m0, const bool* rows, void* out, int dtype) {
  const int64_t row = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) / 32;
  const int lane = threadIdx.x % 32;
  if (row >= w.rows) return;
  const int64_t blocks = rows && !rows[m0] ? 0 : w.cols / 32;
  float acc = 0;
  for (int64_t b = 0; b < blocks; b += 32) {
    Terms t{0, 0, 0, 0};
    if (b + lane < blocks) t = terms<F>(block32<F>(w, row, b + lane), q, m0 * blocks + b + lane);
    const int n = blocks - b < 32 ? static_cast<int>(blocks - b) : 32;
    for (int l = 0; l < n; ++l) {
      Terms o;
      o.p = __shfl_sync(0xffffffffu, t.p, l);
      o.dot = __shfl_sync(0xffffffffu, t.dot, l);
      if (scheme_of(F) != Scheme::D) {
        o.p1 = __shfl_sync(0xffffffffu, t.p1, l);
        o.dot1 = __shfl_sync(0xffffffffu, t.dot1, l);
      }
      acc = add<F>(o, acc);
    }
  }
  if (lane == 0) write_as(out, dtype, m0 * w.rows + row, acc);
}

}  // namespace

bool fast_format(int format) { return scheme_of(format) != Scheme::Dense; }

void launch_fast_quantize(const void* x, int dtype, int64_t m, int64_t cols, const FastX& q,
                          cudaStream_t stream) {
  const int64_t blocks = m * cols / 32;
  if (blocks) quantize<<<blocks_for(blocks * 32, kThreads), kThreads, 0, stream>>>(x, dtype, blocks, q);
}
void launch_fast_rows(const QuantWeight& w, const FastX& q, int64_t m, const bool* rows, void* out, int dtype,
                      cudaStream_t stream) {
  if (w.rows == 0) return;
  with_format(w.format, [&](auto f) {
    constexpr int F = decltype(f)::value;
    if constexpr (scheme_of(F) != Scheme::Dense)
      for (int64_t r = 0; r < m; ++r)
        product_row<F><<<blocks_for(w.rows * 32, kThreads), kThreads, 0, stream>>>(w, q, r, rows, out, dtype);
  });
}

}  // namespace mc::cuda
