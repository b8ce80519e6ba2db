#include "backends/numpy/gemm.h"

#include <atomic>
#include <cstring>
#include <exception>

#include "backends/numpy/gemm_impl.h"
#include "backends/numpy/simd/convert.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace mc::numpy {
namespace detail {

namespace {
struct Block {
  void* data = nullptr;
  size_t bytes = 0;
  ~Block() { std::free(data); }
};
constexpr int kUses = 5;
}  // namespace

void* scratch(Use use, size_t bytes) {
  static thread_local Block blocks[kUses];
  Block& b = blocks[static_cast<int>(use)];
  if (b.bytes < bytes) {
    std::free(b.data);
    b = {};
    // Panels are read in long strides of pages: large ones in huge pages spare the address translation.
    constexpr size_t kHuge = size_t{2} << 20;
    const size_t unit = bytes >= kHuge / 2 ? kHuge : 4096, size = (bytes + unit - 1) / unit * unit;
    b.data = std::aligned_alloc(unit, size);
    if (!b.data)
      throw Error(ErrorCode::OutOfMemory, cat("a matrix product needs ", size, " bytes of scratch"),
                  "matmul");
    b.bytes = size;
#if defined(__linux__)
    if (unit == kHuge) madvise(b.data, size, MADV_HUGEPAGE);  // advice only: refused is as good
#endif
  }
  return b.data;
}

void store_row(const float* src, const MatOut& c, int64_t row, int64_t col, int64_t n) {
  void* dst = from(c, row, col).data;
  if (c.dtype == Dtype::BF16)
    simd::narrow(src, static_cast<bfloat16*>(dst), n);
  else if (c.dtype == Dtype::F16)
    simd::narrow(src, static_cast<float16*>(dst), n);
  else
    std::memcpy(dst, src, static_cast<size_t>(n) * sizeof(float));
}

namespace {

template <class T>
constexpr Dtype kDtypeOf = sizeof(T) == 4 ? Dtype::F32 : Dtype::F64;

// One operand's panels [panel][kc][width] of `used` <= width lanes each, for lanes [0, lanes) along
// lane_stride.
template <class T>
void pack_panels(const simd::FloatKernels<T>& kernels, T* dst, int width, int64_t used, int64_t lanes,
                 int64_t kc, const void* src, Dtype dtype, int64_t lane_stride, int64_t k_stride) {
  const int64_t size = static_cast<int64_t>(itemsize(dtype));
  for (int64_t i = 0; i < lanes; i += used, dst += kc * width)
    kernels.pack(dst, width, static_cast<int>(std::min(used, lanes - i)), kc,
                 static_cast<const std::byte*>(src) + i * lane_stride * size, dtype, lane_stride, k_stride);
}

// Up to one tile of rows: B is read in place where its rows are contiguous, else a strip at a time goes
// through the first-level cache. Threads share out the columns.
template <class T>
void gemm_thin(int64_t M, int64_t N, int64_t K, const MatIn& a, const MatIn& b, T* c, int64_t ldc) {
  const auto& kernels = simd::float_kernels<T>();
  const int m = static_cast<int>(M), nr = kernels.tile.nr, mr = kernels.tile.mr;
  const bool in_place = b.dtype == kDtypeOf<T> && b.col_stride == 1;

  // A as [K][a_step], or itself when it is a contiguous row already.
  const int width = in_place ? m : mr;
  T small[256];
  const T* packed_a = small;
  if (m == 1 && in_place && a.dtype == kDtypeOf<T> && a.col_stride == 1) {
    packed_a = static_cast<const T*>(a.data);
  } else {
    const int64_t count = K * width + simd::kPackSlack;
    T* dst = count <= 256 ? small : scratch_of<T>(Use::PackA, count);
    kernels.pack(dst, width, m, K, a.data, a.dtype, a.row_stride, a.col_stride);
    packed_a = dst;
  }

  region(M * N * K, [&](int t, int threads) {
    const Range r = part(N, nr, t, threads);
    if (r.begin == r.end) return;
    if (in_place) {
      for (int64_t k0 = 0; k0 < K; k0 += kBlockK)
        kernels.direct(m, r.end - r.begin, std::min(kBlockK, K - k0), packed_a + k0 * width, width,
                       static_cast<const T*>(b.data) + k0 * b.row_stride + r.begin, b.row_stride, c + r.begin,
                       ldc, k0 > 0);
      return;
    }
    alignas(64) T tiny[1024];
    const int64_t strip_size = std::min(K, kBlockK) * nr + simd::kPackSlack;
    T* strip = strip_size <= 1024 ? tiny : scratch_of<T>(Use::PackB, strip_size);
    for (int64_t j = r.begin; j < r.end; j += nr) {
      const int n = static_cast<int>(std::min<int64_t>(nr, r.end - j));
      for (int64_t k0 = 0; k0 < K; k0 += kBlockK) {
        const int64_t kc = std::min(kBlockK, K - k0);
        kernels.pack(strip, nr, n, kc, at(b, k0, j), b.dtype, b.col_stride, b.row_stride);
        kernels.tile.run(m, n, kc, packed_a + k0 * width, strip, c + j, ldc, k0 > 0);
      }
    }
  });
}

// All tiles of packed rows [0, rows) with packed columns [0, cols). A panel of B passes once over every panel
// of A, which wait in the second-level cache.
template <class T>
void multiply(const simd::Ukernel<T>& tile, int64_t rows, int64_t cols, int64_t kc, const T* pa, const T* pb,
              T* c, int64_t ldc, bool add) {
  const int64_t height = even_height(rows, tile.mr);
  for (int64_t j = 0; j < cols; j += tile.nr) {
    const T* panel = pa;
    for (int64_t i = 0; i < rows; i += height, panel += tile.mr * kc)
      run_blocks(tile, std::min(height, rows - i), std::min<int64_t>(tile.nr, cols - j), kc, panel,
                 pb + j * kc, c + i * ldc + j, ldc, add);
  }
}

// Rows [r.begin, r.end) of A against packed columns, a block of rows at a time.
template <class T>
void multiply_rows(const simd::FloatKernels<T>& kernels, Range r, int64_t cols, int64_t k0, int64_t kc,
                   const MatIn& a, const T* pb, T* c, int64_t ldc) {
  const int mr = kernels.tile.mr;
  const int64_t rows = r.end - r.begin;
  if (rows <= 0) return;
  const int64_t block = round_up(ceil_div(rows, ceil_div(rows, kBlockM)), mr);
  T* pa = scratch_of<T>(Use::PackA, block * kc + simd::kPackSlack);
  for (int64_t i = r.begin; i < r.end; i += block) {
    const int64_t take = std::min(block, r.end - i);
    pack_panels(kernels, pa, mr, even_height(take, mr), take, kc, at(a, i, k0), a.dtype, a.row_stride,
                a.col_stride);
    multiply(kernels.tile, take, cols, kc, pa, pb, c + i * ldc, ldc, k0 > 0);
  }
}

template <class T>
void gemm_blocked(int64_t M, int64_t N, int64_t K, const MatIn& a, const MatIn& b, T* c, int64_t ldc) {
  const auto& kernels = simd::float_kernels<T>();
  const int mr = kernels.tile.mr, nr = kernels.tile.nr;
  // Columns that are packed together: 2 MB for float, the share of a third-level cache that may be counted
  // on.
  const int64_t block_n = sizeof(T) == 4 ? 2048 : 1024;
  const int threads = M * N * K < kParallelWork ? 1 : num_threads();
  const int64_t row_panels = ceil_div(M, mr), col_panels = ceil_div(N, nr);
  const bool split_rows =
      ceil_div(row_panels, threads) * col_panels <= row_panels * ceil_div(col_panels, threads);

  if (threads == 1 || !split_rows) {
    // Each thread packs its own columns, and all of A once more: no waiting for one another.
    region(M * N * K, [&](int t, int count) {
      const Range mine = part(N, nr, t, count);
      for (int64_t j = mine.begin; j < mine.end; j += block_n) {
        const int64_t cols = std::min(block_n, mine.end - j);
        T* pb = scratch_of<T>(Use::PackB, round_up(cols, nr) * std::min(K, kPackK) + simd::kPackSlack);
        for (int64_t k0 = 0; k0 < K; k0 += kPackK) {
          const int64_t kc = std::min(kPackK, K - k0);
          pack_panels(kernels, pb, nr, nr, cols, kc, at(b, k0, j), b.dtype, b.col_stride, b.row_stride);
          multiply_rows(kernels, {0, M}, cols, k0, kc, a, pb, c + j, ldc);
        }
      }
    });
    return;
  }

  // The threads pack a block of B together into one of two buffers; meeting once per block is enough, because
  // a buffer is written again only after the next meeting.
  const int64_t size = round_up(std::min(N, block_n), nr) * std::min(K, kPackK) + simd::kPackSlack;
  T* buffers = scratch_of<T>(Use::PackB, 2 * size);
  SpinBarrier barrier(threads);
  std::atomic<bool> failed{false};
  parallel_region([&](int t, int count) {
    // Nested in another region, or the number of threads was just changed: thread 0 does it all.
    const bool together = count == threads;
    if (!together && t > 0) return;
    if (!together) count = 1;
    const Range mine = part(M, mr, t, count);
    // A thread that fails must not leave the others waiting: all memory is taken before the first meeting.
    std::exception_ptr error;
    try {
      scratch_of<T>(Use::PackA, kBlockM * kPackK + simd::kPackSlack);
    } catch (...) {
      error = std::current_exception();
      failed = true;
    }
    if (together) barrier.wait();
    if (error) std::rethrow_exception(error);
    if (failed) return;
    int turn = 0;
    for (int64_t j = 0; j < N; j += block_n) {
      const int64_t cols = std::min(block_n, N - j);
      const Range my_cols = part(cols, nr, t, count);
      for (int64_t k0 = 0; k0 < K; k0 += kPackK, turn ^= 1) {
        const int64_t kc = std::min(kPackK, K - k0);
        T* pb = buffers + turn * size;
        if (my_cols.begin < my_cols.end)
          pack_panels(kernels, pb + my_cols.begin * kc, nr, nr, my_cols.end - my_cols.begin, kc,
                      at(b, k0, j + my_cols.begin), b.dtype, b.col_stride, b.row_stride);
        if (together) barrier.wait();
        multiply_rows(kernels, mine, cols, k0, kc, a, pb, c + j, ldc);
      }
    }
  });
}

// Few columns and many rows: the transpose is the thin case, where a vector's lanes are rows of A.
template <class T>
void gemm_narrow(int64_t M, int64_t N, int64_t K, const MatIn& a, const MatIn& b, T* c, int64_t ldc) {
  if (N == 1 && ldc == 1) return gemm_thin<T>(1, M, K, transposed(b), transposed(a), c, M);
  T* ct = scratch_of<T>(Use::Out, M * N);
  gemm_thin<T>(N, M, K, transposed(b), transposed(a), ct, M);
  for (int64_t i = 0; i < M; ++i)
    for (int64_t j = 0; j < N; ++j) c[i * ldc + j] = ct[j * M + i];
}

}  // namespace

template <class T>
void gemm_float(int64_t M, int64_t N, int64_t K, const MatIn& a, const MatIn& b, T* c, int64_t ldc) {
  if (K <= 0) {
    for (int64_t i = 0; i < M; ++i) std::fill_n(c + i * ldc, N, T(0));
    return;
  }
  if (N <= 4 && M > 2 * N) return gemm_narrow<T>(M, N, K, a, b, c, ldc);
  if (M <= std::min(8, simd::float_kernels<T>().tile.mr)) return gemm_thin<T>(M, N, K, a, b, c, ldc);
  gemm_blocked<T>(M, N, K, a, b, c, ldc);
}
template void gemm_float<float>(int64_t, int64_t, int64_t, const MatIn&, const MatIn&, float*, int64_t);
template void gemm_float<double>(int64_t, int64_t, int64_t, const MatIn&, const MatIn&, double*, int64_t);

namespace {

// 16-bit outputs: float32 sums of a slab, then one rounding.
void gemm_rounded(int64_t M, int64_t N, int64_t K, const MatIn& a, const MatIn& b, const MatOut& c) {
  constexpr int64_t kRows = 1024, kCols = 2048;
  alignas(64) float tiny[1024];
  const int64_t size = std::min(M, kRows) * std::min(N, kCols);
  float* sums = size <= 1024 ? tiny : scratch_of<float>(Use::Convert, size);
  for (int64_t i = 0; i < M; i += kRows)
    for (int64_t j = 0; j < N; j += kCols) {
      const int64_t m = std::min(kRows, M - i), n = std::min(kCols, N - j);
      gemm_float<float>(m, n, K, from(a, i, 0), from(b, 0, j), sums, n);
      parallel_for(m, std::max<int64_t>(1, (1 << 15) / n), [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) store_row(sums + r * n, c, i + r, j, n);
      });
    }
}

}  // namespace
}  // namespace detail

void gemm(int64_t M, int64_t N, int64_t K, const MatIn& a, const MatIn& b, const MatOut& c) {
  using namespace detail;
  if (M <= 0 || N <= 0) return;
  if (narrow_float(a.dtype) && narrow_float(b.dtype) && narrow_float(c.dtype)) {
    if (c.dtype == Dtype::F32)
      return gemm_float<float>(M, N, K, a, b, static_cast<float*>(c.data), c.row_stride);
    return gemm_rounded(M, N, K, a, b, c);
  }
  if (a.dtype == b.dtype && a.dtype == c.dtype) {
    if (a.dtype == Dtype::F64)
      return gemm_float<double>(M, N, K, a, b, static_cast<double*>(c.data), c.row_stride);
    if (is_integer(a.dtype)) return gemm_integer(M, N, K, a, b, c);
    if (is_complex(a.dtype)) return gemm_complex(M, N, K, a, b, c);
  }
  throw Error(ErrorCode::DtypeMismatch,
              cat("no matrix product of ", dtype_name(a.dtype), " and ", dtype_name(b.dtype), " into ",
                  dtype_name(c.dtype)),
              "matmul");
}

void gemm_batched(int64_t batch, int64_t M, int64_t N, int64_t K, const MatIn& a, const MatIn& b,
                  const MatOut& c, FunctionRef<BatchOffsets(int64_t)> offsets) {
  using namespace detail;
  auto one = [&](int64_t i) {
    const BatchOffsets o = offsets(i);
    const auto bytes = [](Dtype d, int64_t n) { return n * static_cast<int64_t>(itemsize(d)); };
    gemm(M, N, K,
         {static_cast<const std::byte*>(a.data) + bytes(a.dtype, o.a), a.dtype, a.row_stride, a.col_stride},
         {static_cast<const std::byte*>(b.data) + bytes(b.dtype, o.b), b.dtype, b.row_stride, b.col_stride},
         {static_cast<std::byte*>(c.data) + bytes(c.dtype, o.c), c.dtype, c.row_stride});
  };
  const int64_t work = std::max<int64_t>(1, M * N * K);
  // Large items are split inside; a parallel loop over small ones leaves each whole on its thread.
  if (batch < 2 || (work >= 8 * kParallelWork && batch < 4 * num_threads())) {
    for (int64_t i = 0; i < batch; ++i) one(i);
    return;
  }
  parallel_for(batch, ceil_div(kParallelWork, 4 * work), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) one(i);
  });
}

void gemm_batched(int64_t batch, int64_t M, int64_t N, int64_t K, const MatIn& a, const MatIn& b,
                  const MatOut& c, BatchOffsets s) {
  gemm_batched(batch, M, N, K, a, b, c, [&](int64_t i) { return BatchOffsets{i * s.a, i * s.b, i * s.c}; });
}

}  // namespace mc::numpy
