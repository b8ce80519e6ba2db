// Kernels that move elements, whatever they are: windows, gather, take along an axis; ranges and random
// words.
#include "backends/cuda/cu/common.cuh"
#include "backends/cuda/cu/launch.h"
#include "prims/philox.h"

namespace mc::cuda {
namespace {

constexpr int kThreads = 256;

struct alignas(16) Item16 {
  uint64_t a, b;
};

template <class T>
__global__ void window(const __grid_constant__ WindowArgs a) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= a.n) return;
  int64_t rest = i, from = 0, to = 0, first = 0;
  for (int d = a.nd - 1; d >= 0; --d) {
    const int64_t next =
        a.n < INT32_MAX ? static_cast<int64_t>(static_cast<uint32_t>(rest) / static_cast<uint32_t>(a.dim[d]))
                        : rest / a.dim[d];
    const int64_t c = rest - next * a.dim[d];
    rest = next;
    from += c * a.ss[d];
    to += c * a.ds[d];
    if (d == 0) first = c;
  }
  if (a.mode == WindowArgs::Rows) {
    const int64_t at = read_index(a.starts, a.start_dtype, first * a.start_stride);
    if (at < 0 || at > a.row_room) return;
    to += at * a.row_stride;
  } else if (a.mode != WindowArgs::Fixed) {
    int64_t shift = 0;
    for (int d = 0; d < a.starts_n; ++d) {
      int64_t at = read_index(a.starts, a.start_dtype, d * a.start_stride);
      at = at < 0 ? 0 : at > a.room[d] ? a.room[d] : at;
      shift += at * a.stride[d];
    }
    (a.mode == WindowArgs::ClampSource ? from : to) += shift;
  }
  static_cast<T*>(a.dst)[to] = static_cast<const T*>(a.src)[from];
}

// A window's element i; false where its place is out of range.
template <class T>
__global__ void gather(const __grid_constant__ GatherArgs a) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= a.count * a.size) return;
  const int64_t w = i / a.size;
  int64_t rest = i - w * a.size, from = 0;
  for (int d = a.nd - 1; d >= 0; --d) {
    from += rest % a.sizes[d] * a.stride[d];
    rest /= a.sizes[d];
  }
  bool ok = true;
  for (int k = 0; k < a.n_index; ++k) {
    const int axis = a.axis[k];
    int64_t at = read_index(a.index[k], a.index_dtype[k], w);
    if (at < 0) at += a.dim[axis];
    ok = ok && at >= 0 && a.sizes[axis] <= a.dim[axis] && at <= a.dim[axis] - a.sizes[axis];
    from += at * a.stride[axis];
  }
  T v;
  if (ok)
    v = static_cast<const T*>(a.src)[from];
  else
    v = *reinterpret_cast<const T*>(a.fill);
  static_cast<T*>(a.dst)[i] = v;
}

template <class T>
__global__ void take_along(const __grid_constant__ TakeAlongArgs a) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t line = a.to_dim * a.inner;
  if (i >= a.outer * line) return;
  int64_t at = read_index(a.index, a.index_dtype, i);
  if (at < 0) at += a.from_dim;
  T v;
  if (at >= 0 && at < a.from_dim)
    v = static_cast<const T*>(a.src)[(i / line * a.from_dim + at) * a.inner + i % a.inner];
  else
    v = *reinterpret_cast<const T*>(a.fill);
  static_cast<T*>(a.dst)[i] = v;
}

template <class T>
__global__ void arange_int(ArangeLaunch a) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < a.n)
    static_cast<T*>(a.out)[i] = static_cast<T>(static_cast<uint64_t>(a.istart) +
                                               static_cast<uint64_t>(i) * static_cast<uint64_t>(a.istep));
}
template <class T>
__global__ void arange_float(ArangeLaunch a) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < a.n) static_cast<T*>(a.out)[i] = static_cast<T>(a.start + static_cast<double>(i) * a.step);
}

__global__ void random_bits(const uint32_t* keys, int64_t count, int64_t n, uint32_t* out) {
  const int64_t per = (n + 3) / 4;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count * per) return;
  const int64_t k = i / per, b = i % per;
  const Philox4 block = philox_block(static_cast<uint64_t>(b), keys[2 * k], keys[2 * k + 1]);
  for (int64_t j = 4 * b; j < n && j < 4 * b + 4; ++j) out[k * n + j] = block.v[j & 3];
}

template <class F>
void by_item(int item, F f) {
  switch (item) {
    case 1: return f(uint8_t{});
    case 2: return f(uint16_t{});
    case 4: return f(uint32_t{});
    case 8: return f(uint64_t{});
    default: return f(Item16{});
  }
}

}  // namespace

void launch_window(const WindowArgs& a, int item, cudaStream_t stream) {
  if (a.n == 0) return;
  by_item(item, [&](auto t) { window<decltype(t)><<<blocks_for(a.n, kThreads), kThreads, 0, stream>>>(a); });
}
void launch_gather(const GatherArgs& a, int item, cudaStream_t stream) {
  const int64_t n = a.count * a.size;
  if (n == 0) return;
  by_item(item, [&](auto t) { gather<decltype(t)><<<blocks_for(n, kThreads), kThreads, 0, stream>>>(a); });
}
void launch_take_along(const TakeAlongArgs& a, int item, cudaStream_t stream) {
  const int64_t n = a.outer * a.to_dim * a.inner;
  if (n == 0) return;
  by_item(item,
          [&](auto t) { take_along<decltype(t)><<<blocks_for(n, kThreads), kThreads, 0, stream>>>(a); });
}
void launch_arange(const ArangeLaunch& a, cudaStream_t stream) {
  if (a.n == 0) return;
  const unsigned blocks = blocks_for(a.n, kThreads);
  switch (a.dtype) {
    case kU8:
    case kI8: arange_int<uint8_t><<<blocks, kThreads, 0, stream>>>(a); break;
    case kU16:
    case kI16: arange_int<uint16_t><<<blocks, kThreads, 0, stream>>>(a); break;
    case kU32:
    case kI32: arange_int<uint32_t><<<blocks, kThreads, 0, stream>>>(a); break;
    case kU64:
    case kI64: arange_int<uint64_t><<<blocks, kThreads, 0, stream>>>(a); break;
    case kF32: arange_float<float><<<blocks, kThreads, 0, stream>>>(a); break;
    default: arange_float<double><<<blocks, kThreads, 0, stream>>>(a); break;
  }
}
void launch_random_bits(const uint32_t* keys, int64_t count, int64_t n, uint32_t* out, cudaStream_t stream) {
  const int64_t items = count * ((n + 3) / 4);
  if (items) random_bits<<<blocks_for(items, kThreads), kThreads, 0, stream>>>(keys, count, n, out);
}

}  // namespace mc::cuda
