// Stable sorting: elements become unsigned integers in the same order, which a radix sort of whole lines puts
// in order together with their positions.
#include <thrust/iterator/counting_iterator.h>
#include <thrust/iterator/transform_iterator.h>
#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_segmented_radix_sort.cuh>

#include "backends/cuda/cu/common.cuh"
#include "backends/cuda/cu/sort.h"

namespace mc::cuda {
namespace {

constexpr int kThreads = 256;

template <class U, class F>
__device__ __forceinline__ U float_key(F bits, bool nan) {
  constexpr int n = 8 * sizeof(F);
  constexpr U sign = U{1} << (n - 1);
  U u = bits;
  if (nan) return sizeof(U) == sizeof(F) ? ~U{0} : (U{1} << n) - 1;
  if (u == sign) u = 0;  // both zeros are equal
  return u & sign ? (~u & (sign | (sign - 1))) : u | sign;
}

__device__ uint64_t key_of(const void* p, int dtype, int64_t i) {
  switch (dtype) {
    case kBool:
    case kU8: return static_cast<const uint8_t*>(p)[i];
    case kU16: return static_cast<const uint16_t*>(p)[i];
    case kU32: return static_cast<const uint32_t*>(p)[i];
    case kU64: return static_cast<const uint64_t*>(p)[i];
    case kI8: return static_cast<uint8_t>(static_cast<const int8_t*>(p)[i]) ^ 0x80u;
    case kI16: return static_cast<uint16_t>(static_cast<const int16_t*>(p)[i]) ^ 0x8000u;
    case kI32: return static_cast<uint32_t>(static_cast<const int32_t*>(p)[i]) ^ 0x80000000u;
    case kI64: return static_cast<uint64_t>(static_cast<const int64_t*>(p)[i]) ^ (uint64_t{1} << 63);
    case kF16: {
      const uint16_t u = static_cast<const uint16_t*>(p)[i];
      return float_key<uint32_t>(u, (u & 0x7fff) > 0x7c00);
    }
    case kBF16: {
      const uint16_t u = static_cast<const uint16_t*>(p)[i];
      return float_key<uint32_t>(u, (u & 0x7fff) > 0x7f80);
    }
    case kF32: {
      const uint32_t u = static_cast<const uint32_t*>(p)[i];
      return float_key<uint32_t>(u, (u & 0x7fffffffu) > 0x7f800000u);
    }
    default: {
      const uint64_t u = static_cast<const uint64_t*>(p)[i];
      return float_key<uint64_t>(u, (u & ~(uint64_t{1} << 63)) > 0x7ff0000000000000ull);
    }
  }
}
int key_bits(int dtype) {
  switch (dtype) {
    case kBool:
    case kU8:
    case kI8: return 8;
    case kU16:
    case kI16:
    case kF16:
    case kBF16: return 16;
    case kU64:
    case kI64:
    case kF64: return 64;
    default: return 32;
  }
}

template <class K>
__global__ void make_keys(SortLaunch a, K* keys, int32_t* places) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x,
                total = a.outer * a.n * a.inner;
  if (i >= total) return;
  const int64_t line = i / a.n, k = i % a.n;
  keys[i] = static_cast<K>(key_of(a.x, a.dtype, (line / a.inner * a.n + k) * a.inner + line % a.inner));
  places[i] = static_cast<int32_t>(k);
}
__global__ void put_order(SortLaunch a, const int32_t* places) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x,
                total = a.outer * a.n * a.inner;
  if (i >= total) return;
  const int64_t line = i / a.n, k = i % a.n;
  a.order[(line / a.inner * a.n + k) * a.inner + line % a.inner] = places[i];
}

struct LineStart {
  int64_t n;
  __host__ __device__ int64_t operator()(int64_t line) const { return line * n; }
};

size_t aligned(size_t n) { return (n + 255) / 256 * 256; }

// Keys and places twice each, then the library's own scratch. With null scratch: how much that is.
template <class K>
size_t run(const SortLaunch& a, std::byte* scratch, cudaStream_t stream) {
  const int64_t total = a.outer * a.n * a.inner, lines = a.outer * a.inner;
  const size_t keys = aligned(static_cast<size_t>(total) * sizeof(K)),
               places = aligned(static_cast<size_t>(total) * 4);
  K* k0 = reinterpret_cast<K*>(scratch);
  K* k1 = reinterpret_cast<K*>(scratch + keys);
  int32_t* p0 = reinterpret_cast<int32_t*>(scratch + 2 * keys);
  int32_t* p1 = reinterpret_cast<int32_t*>(scratch + 2 * keys + places);
  void* rest = scratch ? scratch + 2 * keys + 2 * places : nullptr;
  size_t bytes = SIZE_MAX / 2;
  const int end = key_bits(a.dtype);
  if (scratch) make_keys<K><<<blocks_for(total, kThreads), kThreads, 0, stream>>>(a, k0, p0);
  if (lines == 1) {
    cub::DeviceRadixSort::SortPairs(rest, bytes, k0, k1, p0, p1, total, 0, end, stream);
  } else {
    const auto starts =
        thrust::make_transform_iterator(thrust::counting_iterator<int64_t>(0), LineStart{a.n});
    cub::DeviceSegmentedRadixSort::SortPairs(rest, bytes, k0, k1, p0, p1, total, lines, starts, starts + 1, 0,
                                             end, stream);
  }
  if (scratch) put_order<<<blocks_for(total, kThreads), kThreads, 0, stream>>>(a, p1);
  return 2 * keys + 2 * places + bytes;
}

}  // namespace

size_t sort_scratch(const SortLaunch& a) {
  return key_bits(a.dtype) == 64 ? run<uint64_t>(a, nullptr, nullptr) : run<uint32_t>(a, nullptr, nullptr);
}
void launch_argsort(const SortLaunch& a, void* scratch, cudaStream_t stream) {
  if (key_bits(a.dtype) == 64)
    run<uint64_t>(a, static_cast<std::byte*>(scratch), stream);
  else
    run<uint32_t>(a, static_cast<std::byte*>(scratch), stream);
}

}  // namespace mc::cuda
