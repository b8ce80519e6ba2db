// Products with weights that were packed when the model was loaded.
#include <cstring>

#include "backends/numpy/gemm_impl.h"
#include "backends/numpy/simd/convert.h"

namespace mc::numpy {
namespace {

using namespace detail;
using simd::FloatKernels;

// Rows and values of k of A that are packed together, 344 KB: more rows than in the plain product, because
// every weight that is fetched (and widened) then serves more of them, and less depth.
constexpr int64_t kRows = 168, kDepth = 2 * kBlockK;

void check_weight(Dtype dtype) {
  if (!narrow_float(dtype))
    throw Error(ErrorCode::DtypeMismatch, cat("weights of ", dtype_name(dtype), " can't be packed"), "pack_b",
                "use float32, bfloat16 or float16");
}

const std::byte* panel_at(const PackedB& w, int64_t panel, int64_t k0) {
  return static_cast<const std::byte*>(w.data) +
         (panel * w.k + k0) * w.nr * static_cast<int64_t>(itemsize(w.dtype));
}

// Columns [j, j + nr) of the weight's transpose, [kc][nr] in float32: in place if that is how they are
// stored.
const float* columns(const FloatKernels<float>& kernels, const PackedB& w, int64_t j, int64_t k0, int64_t kc,
                     float* strip) {
  const int nr = kernels.tile.nr;
  if (w.nr == nr && w.dtype == Dtype::F32) return reinterpret_cast<const float*>(panel_at(w, j / nr, k0));
  const int64_t stored = round_up(w.n, w.nr);
  for (int g = 0; g < nr && j + g < stored; g += 16) {
    const int64_t col = j + g;
    kernels.widen16(strip + g, nr,
                    panel_at(w, col / w.nr, k0) + col % w.nr * static_cast<int64_t>(itemsize(w.dtype)),
                    w.dtype, w.nr, kc);
  }
  return strip;
}

// Few rows: weights stream past once. x is float32 with contiguous rows.
void decode(const FloatKernels<float>& kernels, int64_t M, const float* x, int64_t ldx, const PackedB& w,
            const MatOut& c) {
  const bool straight = c.dtype == Dtype::F32;
  // More rows than the kernel takes go by a group of panels at a time, which then come from a cache.
  const int64_t chunk = straight && M <= simd::kGemvRows ? w.n : 4 * w.nr,
                height = even_height(M, simd::kGemvRows);
  region(M * w.n * w.k, [&](int t, int threads) {
    const Range r = part(w.n, w.nr, t, threads);
    alignas(64) float y[simd::kGemvRows * 4 * 64];
    for (int64_t j = r.begin; j < r.end; j += chunk) {
      const int64_t n = std::min(chunk, r.end - j);
      for (int64_t i = 0; i < M; i += height) {
        const int m = static_cast<int>(std::min(height, M - i));
        float* out = straight ? static_cast<float*>(c.data) + i * c.row_stride + j : y;
        kernels.gemv_packed(m, n, w.k, x + i * ldx, ldx, panel_at(w, j / w.nr, 0), w.dtype, out,
                            straight ? c.row_stride : chunk);
        if (!straight)
          for (int64_t row = 0; row < m; ++row) store_row(y + row * chunk, c, i + row, j, n);
      }
    }
  });
}

// Rows [rows.begin, rows.end) by columns [cols.begin, cols.end) into float32.
void rectangle(const FloatKernels<float>& kernels, Range rows, Range cols, const MatIn& a, const PackedB& w,
               float* c, int64_t ldc) {
  const auto& tile = kernels.tile;
  if (rows.begin >= rows.end || cols.begin >= cols.end) return;
  const int64_t count = rows.end - rows.begin;
  const int64_t block = round_up(ceil_div(count, ceil_div(count, kRows)), tile.mr);
  const int64_t kmax = std::min(w.k, kDepth);
  float* pa = scratch_of<float>(Use::PackA, block * kmax + simd::kPackSlack);
  float* strip = scratch_of<float>(Use::Widen, kmax * tile.nr);
  for (int64_t i = rows.begin; i < rows.end; i += block) {
    const int64_t m = std::min(block, rows.end - i), height = even_height(m, tile.mr);
    for (int64_t k0 = 0; k0 < w.k; k0 += kDepth) {
      const int64_t kc = std::min(kDepth, w.k - k0);
      float* panel = pa;
      for (int64_t p = 0; p < m; p += height, panel += tile.mr * kc)
        kernels.pack(panel, tile.mr, static_cast<int>(std::min(height, m - p)), kc, at(a, i + p, k0), a.dtype,
                     a.row_stride, a.col_stride);
      for (int64_t j = cols.begin; j < cols.end; j += tile.nr) {
        const float* b = columns(kernels, w, j, k0, kc, strip);
        const int64_t n = std::min<int64_t>(tile.nr, cols.end - j);
        panel = pa;
        for (int64_t p = 0; p < m; p += height, panel += tile.mr * kc)
          run_blocks(tile, std::min(height, m - p), n, kc, panel, b, c + (i + p) * ldc + j, ldc, k0 > 0);
      }
    }
  }
}

void many_rows(const FloatKernels<float>& kernels, int64_t M, const MatIn& a, const PackedB& w, float* c,
               int64_t ldc) {
  const int mr = kernels.tile.mr, nr = kernels.tile.nr;
  region(M * w.n * w.k, [&](int t, int threads) {
    // Rows are split when there are enough for good blocks: then no thread packs another's rows of A.
    if (M >= 8 * mr * threads)
      rectangle(kernels, part(M, mr, t, threads), {0, w.n}, a, w, c, ldc);
    else
      rectangle(kernels, {0, M}, part(w.n, nr, t, threads), a, w, c, ldc);
  });
}

}  // namespace

size_t packed_bytes(int64_t n, int64_t k, Dtype dtype) {
  check_weight(dtype);
  return static_cast<size_t>(round_up(n, simd::f32_ukernel().nr) * k) * itemsize(dtype);
}

PackedB pack_b(int64_t n, int64_t k, const MatIn& w, void* dst) {
  check_weight(w.dtype);
  const auto& kernels = simd::float_kernels<float>();
  const int nr = kernels.tile.nr;
  const PackedB out{dst, n, k, w.dtype, nr};
  const int64_t size = static_cast<int64_t>(itemsize(w.dtype));
  parallel_for(
      ceil_div(n, nr), ceil_div(1 << 16, std::max<int64_t>(1, k * nr)), [&](int64_t begin, int64_t end) {
        for (int64_t p = begin; p < end; ++p) {
          const int lanes = static_cast<int>(std::min<int64_t>(nr, n - p * nr));
          std::byte* panel = static_cast<std::byte*>(dst) + p * k * nr * size;
          if (w.dtype == Dtype::F32) {
            // nr is a multiple of the vector's lanes, so that nothing is written past the panel.
            kernels.pack(reinterpret_cast<float*>(panel), nr, lanes, k, at(w, p * nr, 0), w.dtype,
                         w.row_stride, w.col_stride);
            continue;
          }
          // Through float32, which is exact both ways.
          float* strip = scratch_of<float>(Use::Widen, kBlockK * nr + simd::kPackSlack);
          for (int64_t k0 = 0; k0 < k; k0 += kBlockK) {
            const int64_t kc = std::min(kBlockK, k - k0);
            kernels.pack(strip, nr, lanes, kc, at(w, p * nr, k0), w.dtype, w.row_stride, w.col_stride);
            if (w.dtype == Dtype::BF16)
              simd::narrow(strip, reinterpret_cast<bfloat16*>(panel) + k0 * nr, kc * nr);
            else
              simd::narrow(strip, reinterpret_cast<float16*>(panel) + k0 * nr, kc * nr);
          }
        }
      });
  return out;
}

void gemm_packed(int64_t M, const MatIn& a, const PackedB& w, const MatOut& c) {
  if (M <= 0 || w.n <= 0) return;
  if (!narrow_float(a.dtype) || !narrow_float(c.dtype))
    throw Error(ErrorCode::DtypeMismatch,
                cat("no product of ", dtype_name(a.dtype), " with packed ", dtype_name(w.dtype), " into ",
                    dtype_name(c.dtype)),
                "matmul");
  const auto& kernels = simd::float_kernels<float>();
  if (w.k <= 0) {
    const float zero[64] = {};
    for (int64_t i = 0; i < M; ++i)
      for (int64_t j = 0; j < w.n; j += 64) store_row(zero, c, i, j, std::min<int64_t>(64, w.n - j));
    return;
  }
  if (M <= 3 * simd::kGemvRows && w.nr == kernels.tile.nr) {
    const float* x = static_cast<const float*>(a.data);
    int64_t ldx = a.row_stride;
    if (a.dtype != Dtype::F32 || a.col_stride != 1) {
      float* rows = scratch_of<float>(Use::PackA, M * w.k + simd::kPackSlack);
      for (int64_t i = 0; i < M; ++i) {
        const void* row = at(a, i, 0);
        if (a.col_stride == 1 && a.dtype == Dtype::BF16)
          simd::widen(static_cast<const bfloat16*>(row), rows + i * w.k, w.k);
        else if (a.col_stride == 1 && a.dtype == Dtype::F16)
          simd::widen(static_cast<const float16*>(row), rows + i * w.k, w.k);
        else  // a panel of one lane is that row
          kernels.pack(rows + i * w.k, 1, 1, w.k, row, a.dtype, a.row_stride, a.col_stride);
      }
      x = rows;
      ldx = w.k;
    }
    return decode(kernels, M, x, ldx, w, c);
  }
  if (c.dtype == Dtype::F32) return many_rows(kernels, M, a, w, static_cast<float*>(c.data), c.row_stride);
  // 16-bit outputs: float32 sums of a slab of rows, then one rounding.
  const int64_t slab = std::clamp<int64_t>((4 << 20) / w.n, 4 * kernels.tile.mr, 1024);
  float* sums = scratch_of<float>(Use::Convert, std::min(M, slab) * w.n);
  for (int64_t i = 0; i < M; i += slab) {
    const int64_t m = std::min(slab, M - i);
    many_rows(kernels, m, from(a, i, 0), w, sums, w.n);
    parallel_for(m, std::max<int64_t>(1, (1 << 15) / w.n), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) store_row(sums + r * w.n, c, i + r, 0, w.n);
    });
  }
}

}  // namespace mc::numpy
