// Shared by gemm*.cpp.
#pragma once

#include <algorithm>
#include <cstdlib>

#include "backends/numpy/gemm.h"
#include "backends/numpy/simd/float_kernels.h"
#include "mc/detail/str.h"
#include "mc/error.h"

namespace mc::numpy::detail {

using simd::kBlockK;

// Values of k that are packed together: several blocks of the contract, so that a tile of C, which is read
// and written once a block, stays in the first-level cache meanwhile.
inline constexpr int64_t kPackK = 4 * kBlockK;
// Rows of A that are packed together: a multiple of every tile's rows (14, 6, 4). 84 x 1024 floats are 344
// KB, which a second-level cache of 512 KB and more holds beside the panel of B in use (128 KB).
inline constexpr int64_t kBlockM = 84;
// Multiply-adds below which waking other threads costs more than it brings.
inline constexpr int64_t kParallelWork = 1 << 20;

// Memory of this thread that is kept between calls, one block per use.
enum class Use { PackA, PackB, Widen, Out, Convert };
// 64-byte aligned, contents undefined, valid until the thread's next call for the same use. Throws
// OutOfMemory.
void* scratch(Use use, size_t bytes);
template <class T>
T* scratch_of(Use use, int64_t count) {
  return static_cast<T*>(scratch(use, static_cast<size_t>(count) * sizeof(T)));
}

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

inline const void* at(const MatIn& m, int64_t row, int64_t col) {
  return static_cast<const std::byte*>(m.data) +
         (row * m.row_stride + col * m.col_stride) * static_cast<int64_t>(itemsize(m.dtype));
}
inline MatIn from(const MatIn& m, int64_t row, int64_t col) {
  return {at(m, row, col), m.dtype, m.row_stride, m.col_stride};
}
inline MatIn transposed(const MatIn& m) { return {m.data, m.dtype, m.col_stride, m.row_stride}; }
inline MatOut from(const MatOut& m, int64_t row, int64_t col) {
  return {
      static_cast<std::byte*>(m.data) + (row * m.row_stride + col) * static_cast<int64_t>(itemsize(m.dtype)),
      m.dtype, m.row_stride};
}

// Rows of a tile when `rows` are shared out evenly: 16 rows are 8 + 8, not 14 + 2, since low tiles wait for
// their chains.
inline int64_t even_height(int64_t rows, int64_t mr) { return ceil_div(rows, ceil_div(rows, mr)); }

// Writes n float32 values as C's dtype (F32, BF16 or F16).
void store_row(const float* src, const MatOut& c, int64_t row, int64_t col, int64_t n);

inline bool narrow_float(Dtype d) { return d == Dtype::F32 || d == Dtype::BF16 || d == Dtype::F16; }

// Runs fn(thread, threads) over the pool when `work` multiply-adds are worth it, else alone.
template <class F>
void region(int64_t work, F&& fn) {
  if (work < kParallelWork || num_threads() == 1)
    fn(0, 1);
  else
    parallel_region(fn);
}
// C tile = or += the chains over kc values of k, a block of the contract at a time; panels are [kc][mr] and
// [kc][nr].
template <class T>
inline void run_blocks(const simd::Ukernel<T>& tile, int64_t m, int64_t n, int64_t kc, const T* pa,
                       const T* pb, T* c, int64_t ldc, bool add) {
  for (int64_t k = 0; k < kc; k += kBlockK)
    tile.run(static_cast<int>(m), static_cast<int>(n), std::min(kBlockK, kc - k), pa + k * tile.mr,
             pb + k * tile.nr, c, ldc, add || k > 0);
}
// The part of [0, n) that thread t of `threads` takes, in whole units.
struct Range {
  int64_t begin, end;
};
inline Range part(int64_t n, int64_t unit, int t, int threads) {
  const int64_t units = ceil_div(n, unit);
  return {std::min(n, units * t / threads * unit), std::min(n, units * (t + 1) / threads * unit)};
}

// M, N > 0. C is of type T.
template <class T>
void gemm_float(int64_t M, int64_t N, int64_t K, const MatIn& a, const MatIn& b, T* c, int64_t ldc);
void gemm_integer(int64_t M, int64_t N, int64_t K, const MatIn& a, const MatIn& b, const MatOut& c);
void gemm_complex(int64_t M, int64_t N, int64_t K, const MatIn& a, const MatIn& b, const MatOut& c);

}  // namespace mc::numpy::detail
