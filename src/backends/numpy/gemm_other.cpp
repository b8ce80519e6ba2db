// Matrix products of integers and of complex numbers.
#include <cstring>
#include <type_traits>

#include "backends/numpy/gemm_impl.h"

namespace mc::numpy::detail {
namespace {

// Wrapping: sums and products modulo 2^bits are the same for signed and unsigned, and independent of order.
// Narrow types are computed in 32 bits, since C++ would promote them to int, whose overflow is undefined.
template <class U>
void integer_rows(Range rows, int64_t N, int64_t K, const MatIn& a, const U* b, int64_t ldb, U* c,
                  int64_t ldc) {
  using Wide = std::conditional_t<(sizeof(U) < 4), uint32_t, U>;
  constexpr int64_t kCols = 512;
  alignas(64) U sum[kCols];
  for (int64_t j = 0; j < N; j += kCols) {
    const int64_t n = std::min(kCols, N - j);
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      std::fill_n(sum, n, U(0));
      const U* ai = static_cast<const U*>(at(a, i, 0));
      int64_t k = 0;
      for (; k + 4 <= K; k += 4) {
        const Wide x0 = ai[k * a.col_stride], x1 = ai[(k + 1) * a.col_stride],
                   x2 = ai[(k + 2) * a.col_stride], x3 = ai[(k + 3) * a.col_stride];
        const U *b0 = b + k * ldb + j, *b1 = b0 + ldb, *b2 = b1 + ldb, *b3 = b2 + ldb;
        for (int64_t x = 0; x < n; ++x)
          sum[x] = static_cast<U>(sum[x] + x0 * b0[x] + x1 * b1[x] + x2 * b2[x] + x3 * b3[x]);
      }
      for (; k < K; ++k) {
        const Wide x0 = ai[k * a.col_stride];
        const U* b0 = b + k * ldb + j;
        for (int64_t x = 0; x < n; ++x) sum[x] = static_cast<U>(sum[x] + x0 * b0[x]);
      }
      std::copy_n(sum, n, c + i * ldc + j);
    }
  }
}

// Row-major copy of a matrix, [rows][cols], unless its rows are contiguous already.
template <class T>
const T* contiguous_rows(const MatIn& m, int64_t rows, int64_t cols, Use use, int64_t& ld) {
  ld = m.row_stride;
  if (m.col_stride == 1) return static_cast<const T*>(m.data);
  ld = cols;
  T* dst = scratch_of<T>(use, rows * cols);
  constexpr int64_t kTile = 32;  // both sides of a transposition stay in the first-level cache
  for (int64_t i = 0; i < rows; i += kTile)
    for (int64_t j = 0; j < cols; j += kTile)
      for (int64_t x = i; x < std::min(rows, i + kTile); ++x)
        for (int64_t y = j; y < std::min(cols, j + kTile); ++y)
          dst[x * cols + y] = *static_cast<const T*>(at(m, x, y));
  return dst;
}

template <class U>
void integer(int64_t M, int64_t N, int64_t K, const MatIn& a, const MatIn& b, U* c, int64_t ldc) {
  int64_t ldb = 0;
  const U* rows_b = contiguous_rows<U>(b, K, N, Use::PackB, ldb);
  parallel_for(M, ceil_div(kParallelWork, 4 * std::max<int64_t>(1, N * K)), [&](int64_t begin, int64_t end) {
    integer_rows<U>({begin, end}, N, K, a, rows_b, ldb, c, ldc);
  });
}

template <class T>
void complex_product(int64_t M, int64_t N, int64_t K, const MatIn& a, const MatIn& b, T* c, int64_t ldc) {
  struct Pair {
    T re, im;
  };
  constexpr Dtype kReal = sizeof(T) == 4 ? Dtype::F32 : Dtype::F64;
  int64_t lda = 0;
  const Pair* rows_a = contiguous_rows<Pair>(a, M, K, Use::Convert, lda);
  // B as reals, row 2k = (re, im) and row 2k + 1 = (-im, re) of B's row k, a slab of columns at a time: a
  // function of the shape only, and of no consequence for the sums.
  const int64_t slab = std::clamp<int64_t>((1 << 20) / std::max<int64_t>(1, K), 64, 2048);
  T* real_b = scratch_of<T>(Use::Widen, 4 * K * std::min(N, slab));
  for (int64_t j = 0; j < N; j += slab) {
    const int64_t n = std::min(slab, N - j);
    parallel_for(K, std::max<int64_t>(1, (1 << 14) / n), [&](int64_t begin, int64_t end) {
      for (int64_t k = begin; k < end; ++k)
        for (int64_t x = 0; x < n; ++x) {
          const Pair z = *static_cast<const Pair*>(at(b, k, j + x));
          T* even = real_b + 4 * k * n + 2 * x;
          even[0] = z.re;
          even[1] = z.im;
          even[2 * n] = -z.im;
          even[2 * n + 1] = z.re;
        }
    });
    gemm_float<T>(M, 2 * n, 2 * K, {rows_a, kReal, 2 * lda, 1}, {real_b, kReal, 2 * n, 1}, c + 2 * j,
                  2 * ldc);
  }
}

}  // namespace

void gemm_integer(int64_t M, int64_t N, int64_t K, const MatIn& a, const MatIn& b, const MatOut& c) {
  switch (itemsize(a.dtype)) {
    case 1: return integer<uint8_t>(M, N, K, a, b, static_cast<uint8_t*>(c.data), c.row_stride);
    case 2: return integer<uint16_t>(M, N, K, a, b, static_cast<uint16_t*>(c.data), c.row_stride);
    case 4: return integer<uint32_t>(M, N, K, a, b, static_cast<uint32_t*>(c.data), c.row_stride);
    default: return integer<uint64_t>(M, N, K, a, b, static_cast<uint64_t*>(c.data), c.row_stride);
  }
}

void gemm_complex(int64_t M, int64_t N, int64_t K, const MatIn& a, const MatIn& b, const MatOut& c) {
  if (a.dtype == Dtype::C64)
    return complex_product<float>(M, N, K, a, b, static_cast<float*>(c.data), c.row_stride);
  complex_product<double>(M, N, K, a, b, static_cast<double*>(c.data), c.row_stride);
}

}  // namespace mc::numpy::detail
