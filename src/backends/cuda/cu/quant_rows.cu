// Quantized weights to numbers: whole, by rows, and the way back for affine groups.
#include "backends/cuda/cu/quant_codes.cuh"

namespace mc::cuda {
namespace {

constexpr int kThreads = 128;

// Eight numbers as bfloat16.
__device__ __forceinline__ uint4 eight(const float* v) {
  uint32_t r[4];
#pragma unroll
  for (int i = 0; i < 4; ++i)
    r[i] = static_cast<uint32_t>(store<Brain>(v[2 * i]).v) |
           static_cast<uint32_t>(store<Brain>(v[2 * i + 1]).v) << 16;
  return make_uint4(r[0], r[1], r[2], r[3]);
}

// A thread has a block of 32 elements of a row.
template <int F, bool kTake>
__global__ void dequantize(const __grid_constant__ QuantWeight w, int64_t first, int64_t count,
                           const void* ids, int id_dtype, void* out, int dtype) {
  const int64_t blocks = (w.cols + 31) / 32, i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count * blocks) return;
  const int64_t r = i / blocks, b = i % blocks;
  int64_t row = first + r;
  bool ok = true;
  if (kTake) {
    row = read_index(ids, id_dtype, r);
    if (row < 0) row += w.rows;
    ok = row >= 0 && row < w.rows;
  }
  float v[32];
  if (ok) {
    numbers<F>(w, row, b, v);
  } else {
#pragma unroll
    for (int k = 0; k < 32; ++k) v[k] = NAN;
  }
  const int64_t at = r * w.cols + b * 32;
  const int n = w.cols - b * 32 < 32 ? static_cast<int>(w.cols - b * 32) : 32;
  if (dtype == kF32 && n == 32 && w.cols % 4 == 0) {
    float4* p = reinterpret_cast<float4*>(static_cast<float*>(out) + at);
#pragma unroll
    for (int k = 0; k < 8; ++k) p[k] = make_float4(v[4 * k], v[4 * k + 1], v[4 * k + 2], v[4 * k + 3]);
    return;
  }
  if (dtype == kBF16 && n == 32 && w.cols % 8 == 0) {
    uint4* p = reinterpret_cast<uint4*>(static_cast<Brain*>(out) + at);
#pragma unroll
    for (int k = 0; k < 4; ++k) p[k] = eight(v + 8 * k);
    return;
  }
#pragma unroll
  for (int k = 0; k < 32; ++k)
    if (k < n) write_as(out, dtype, at + k, v[k]);
}

// Affine groups of four bits to bfloat16: a thread has eight codes, so that a warp's writes are one run.
__global__ void dequantize_nibbles(const __grid_constant__ QuantWeight w, int64_t first, int64_t count,
                                   uint4* out) {
  const int64_t eights = w.cols / 8, i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count * eights) return;
  const int64_t row = first + i / eights, e = i % eights;
  const uint32_t word =
      __ldg(reinterpret_cast<const uint32_t*>(static_cast<const uint8_t*>(w.codes) + row * w.row_bytes) + e);
  const int64_t g = row * (w.cols / w.group) + e * 8 / w.group;
  const float s = read_as(w.scales, w.scale_dtype, g), b = read_as(w.biases, w.scale_dtype, g);
  float v[8];
#pragma unroll
  for (int k = 0; k < 8; ++k) v[k] = fmaf(s, static_cast<float>(word >> (4 * k) & 15u), b);
  out[i] = eight(v);
}

// MLX's choice of scale and bias, operation by operation as the host's definition.
__global__ void affine_quantize(AffineQuantizeLaunch a) {
  const int64_t g = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (g >= a.groups) return;
  const float top = static_cast<float>((1 << a.bits) - 1);
  bool finite = true;
  float lo = INFINITY, hi = -INFINITY;
  for (int i = 0; i < a.group; ++i) {
    const float x = read_as(a.x, a.dtype, g * a.group + i);
    finite = finite && isfinite(x);
    lo = x < lo ? x : lo;
    hi = x > hi ? x : hi;
  }
  uint8_t* out = a.packed + g * a.group / 8 * a.bits;
  float scale = NAN, bias = NAN;
  if (finite) {
    const bool low_side = fabsf(lo) > fabsf(hi);
    scale = fmaxf((hi - lo) / top, 1e-7f);
    bias = 0;
    if (!low_side) scale = -scale;
    const float edge = low_side ? lo : hi, at = rintf(edge / scale);
    if (at != 0) {
      scale = edge / at;
      bias = edge;
    }
  }
  write_as(a.scales, a.dtype, g, scale);
  write_as(a.biases, a.dtype, g, bias);
  uint32_t window = 0;
  int have = 0;
  for (int i = 0; i < a.group; ++i) {
    uint32_t code = 0;
    if (finite) {
      const float x = read_as(a.x, a.dtype, g * a.group + i);
      code = static_cast<uint32_t>(fminf(fmaxf(rintf((x - bias) / scale), 0.0f), top));
    }
    window |= code << have;
    have += a.bits;
    while (have >= 8) {
      *out++ = static_cast<uint8_t>(window);
      window >>= 8;
      have -= 8;
    }
  }
}

__global__ void convert(const void* src, int from, void* dst, int to, int64_t n) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < n) write_as(dst, to, i, read_as(src, from, i));
}

}  // namespace

void launch_dequantize(const QuantWeight& w, int64_t first, int64_t count, void* out, int dtype,
                       cudaStream_t stream) {
  const int64_t n = count * ((w.cols + 31) / 32);
  if (n == 0) return;
  if (w.format == kAffine + 4 && dtype == kBF16 && w.cols % 8 == 0 && w.group % 8 == 0 &&
      reinterpret_cast<uintptr_t>(out) % 16 == 0 && reinterpret_cast<uintptr_t>(w.codes) % 4 == 0) {
    dequantize_nibbles<<<blocks_for(count * (w.cols / 8), kThreads), kThreads, 0, stream>>>(
        w, first, count, static_cast<uint4*>(out));
    return;
  }
  with_format(w.format, [&](auto f) {
    dequantize<decltype(f)::value, false>
        <<<blocks_for(n, kThreads), kThreads, 0, stream>>>(w, first, count, nullptr, 0, out, dtype);
  });
}
void launch_quant_take(const QuantWeight& w, const void* ids, int id_dtype, int64_t count, void* out,
                       int dtype, cudaStream_t stream) {
  const int64_t n = count * ((w.cols + 31) / 32);
  if (n == 0) return;
  with_format(w.format, [&](auto f) {
    dequantize<decltype(f)::value, true>
        <<<blocks_for(n, kThreads), kThreads, 0, stream>>>(w, 0, count, ids, id_dtype, out, dtype);
  });
}
void launch_affine_quantize(const AffineQuantizeLaunch& a, cudaStream_t stream) {
  if (a.groups) affine_quantize<<<blocks_for(a.groups, kThreads), kThreads, 0, stream>>>(a);
}
void launch_convert(const void* src, int from, void* dst, int to, int64_t n, cudaStream_t stream) {
  if (n) convert<<<blocks_for(n, kThreads), kThreads, 0, stream>>>(src, from, dst, to, n);
}

}  // namespace mc::cuda
