#include "backends/numpy/quant/qmatmul.h"

#include <algorithm>
#include <cstring>

#include "backends/numpy/quant/drivers.h"
#include "backends/numpy/quant/kernels.h"
#include "backends/numpy/quant/scratch.h"
#include "backends/numpy/simd/ukernel.h"
#include "base/thread_pool.h"
#include "mc/detail/str.h"
#include "mc/error.h"

namespace mc::numpy::quant {
namespace {

constexpr int64_t kBlockK = simd::kBlockK;
constexpr int64_t kSmallStrip = 32;  // rows of a strip of Kernels::small
constexpr int64_t kChunkM =
    512;  // tokens that share one packed x: bounds working memory, and x stays in cache

// From here on a packed x and full tiles beat reading x row by row.
constexpr int64_t kTiledM = 9;

void zero_rows(const Product& p, int64_t m) {
  for (int64_t i = 0; i < m; ++i) std::fill_n(p.y + i * p.y_stride, p.weight.n, 0.0f);
}

void one_token(const float* x, std::span<const Product> products) {
  const Kernels& kn = kernels();
  parallel_region([&](int t, int threads) {
    for (const Product& p : products) {
      const Layout l = layout_of(p.weight.format, p.weight.k);
      const int64_t panels = panels_of(p.weight.n), begin = share(panels, t, threads),
                    end = share(panels, t + 1, threads);
      const int64_t whole = std::min(end, p.weight.n / kPanel);
      const auto* w = static_cast<const uint8_t*>(p.weight.packed);
      const GemvFn gemv = p.weight.lifts && kn.lifted[l.form] ? kn.lifted[l.form] : kn.gemv[l.form];
      if (begin < whole) gemv(l, w + begin * l.panel_bytes, whole - begin, x, p.y + begin * kPanel);
      if (whole < end && begin < end) {
        float tail[kPanel];
        gemv(l, w + (end - 1) * l.panel_bytes, 1, x, tail);
        std::copy_n(tail, p.weight.n - (end - 1) * kPanel, p.y + (end - 1) * kPanel);
      }
    }
  });
}

// Columns [k0, k0 + kc) of `panels` panels from `first` on, as dst [kc][16 * panels].
void expand_strip(const Kernels& kn, const Layout& l, const Weight& w, int64_t first, int64_t panels,
                  int64_t k0, int64_t kc, float* dst) {
  const int64_t ld = panels * kPanel, have = std::min(panels, panels_of(w.n) - first);
  for (int64_t p = 0; p < have; ++p)
    kn.expand[l.form](l, static_cast<const uint8_t*>(w.packed) + (first + p) * l.panel_bytes, k0, kc,
                      dst + p * kPanel, ld);
  if (have < panels)
    for (int64_t k = 0; k < kc; ++k)
      std::memset(dst + k * ld + have * kPanel, 0, static_cast<size_t>((panels - have) * kPanel) * 4);
}

void few_tokens(int64_t m, const float* x, int64_t x_stride, std::span<const Product> products) {
  const Kernels& kn = kernels();
  parallel_region([&](int t, int threads) {
    alignas(64) float strip[kBlockK * kSmallStrip], tile[kSmallM * kSmallStrip];
    for (const Product& p : products) {
      const Layout l = layout_of(p.weight.format, p.weight.k);
      const int64_t n = p.weight.n, k = p.weight.k, strips = (n + kSmallStrip - 1) / kSmallStrip;
      for (int64_t s = share(strips, t, threads); s < share(strips, t + 1, threads); ++s) {
        for (int64_t k0 = 0; k0 < k; k0 += kBlockK) {
          const int64_t kc = std::min(kBlockK, k - k0);
          expand_strip(kn, l, p.weight, s * (kSmallStrip / kPanel), kSmallStrip / kPanel, k0, kc, strip);
          kn.small(static_cast<int>(m), kc, x + k0, x_stride, strip, tile, kSmallStrip, k0 > 0);
        }
        const int64_t columns = std::min(kSmallStrip, n - s * kSmallStrip);
        for (int64_t i = 0; i < m; ++i)
          std::copy_n(tile + i * kSmallStrip, columns, p.y + i * p.y_stride + s * kSmallStrip);
      }
    }
  });
}

// x as [k block][tile of mr tokens][kc][mr]; tokens past m are zero.
void pack_tokens(int64_t m, const float* x, int64_t x_stride, int64_t k, int mr, int64_t tile_begin,
                 int64_t tile_end, int64_t tiles, float* dst) {
  for (int64_t k0 = 0; k0 < k; k0 += kBlockK) {
    const int64_t kc = std::min(kBlockK, k - k0);
    for (int64_t tile = tile_begin; tile < tile_end; ++tile) {
      float* out = dst + k0 * tiles * mr + tile * kc * mr;
      const int64_t rows = std::min<int64_t>(mr, m - tile * mr);
      for (int64_t r = 0; r < rows; ++r) {
        const float* in = x + (tile * mr + r) * x_stride + k0;
        for (int64_t j = 0; j < kc; ++j) out[j * mr + r] = in[j];
      }
      for (int64_t r = rows; r < mr; ++r)
        for (int64_t j = 0; j < kc; ++j) out[j * mr + r] = 0;
    }
  }
}

void many_tokens(int64_t m, const float* x, int64_t x_stride, std::span<const Product> products,
                 int64_t y_row) {
  static thread_local Scratch tokens;
  const Kernels& kn = kernels();
  const simd::F32Ukernel& uk = simd::f32_ukernel();
  const int64_t k = products[0].weight.k, tiles = (m + uk.mr - 1) / uk.mr;
  auto* packed = static_cast<float*>(tokens.get(tiles * uk.mr * k * 4));
  parallel_for(tiles, 4, [&](int64_t begin, int64_t end) {
    pack_tokens(m, x, x_stride, k, uk.mr, begin, end, tiles, packed);
  });
  parallel_region([&](int t, int threads) {
    static thread_local Scratch strips_of_thread;
    auto* strip = static_cast<float*>(strips_of_thread.get(kBlockK * uk.nr * 4));
    for (const Product& p : products) {
      const Layout l = layout_of(p.weight.format, k);
      const int64_t n = p.weight.n, strips = (n + uk.nr - 1) / uk.nr;
      float* y = p.y + y_row * p.y_stride;
      for (int64_t s = share(strips, t, threads); s < share(strips, t + 1, threads); ++s) {
        const int columns = static_cast<int>(std::min<int64_t>(uk.nr, n - s * uk.nr));
        for (int64_t k0 = 0; k0 < k; k0 += kBlockK) {
          const int64_t kc = std::min(kBlockK, k - k0);
          expand_strip(kn, l, p.weight, s * (uk.nr / kPanel), uk.nr / kPanel, k0, kc, strip);
          for (int64_t tile = 0; tile < tiles; ++tile) {
            const int rows = static_cast<int>(std::min<int64_t>(uk.mr, m - tile * uk.mr));
            uk.run(rows, columns, kc, packed + k0 * tiles * uk.mr + tile * kc * uk.mr, strip,
                   y + tile * uk.mr * p.y_stride + s * uk.nr, p.y_stride, k0 > 0);
          }
        }
      }
    }
  });
}

void check(int64_t m, const float* x, int64_t x_stride, std::span<const Product> products) {
  const auto fail = [](ErrorCode code, std::string what) {
    throw Error(code, std::move(what), "quantized matmul");
  };
  if (m < 0) fail(ErrorCode::InvalidArgument, cat("the number of tokens is ", m));
  for (const Product& p : products) {
    check_format(p.weight.format, p.weight.k);
    if (p.weight.k != products[0].weight.k)
      fail(ErrorCode::ShapeMismatch,
           cat("weights of ", p.weight.k, " and ", products[0].weight.k, " columns can't share one input"));
    if (m == 0 || p.weight.n == 0) continue;
    if (p.weight.k > 0 && (!x || !p.weight.packed)) fail(ErrorCode::InvalidArgument, "an operand is missing");
    if (m > 1 && (x_stride < p.weight.k || p.y_stride < p.weight.n))
      fail(ErrorCode::InvalidArgument, cat("rows of ", p.weight.k, " and ", p.weight.n,
                                           " elements overlap at strides ", x_stride, " and ", p.y_stride));
  }
}

}  // namespace

void qmatmul(int64_t m, const float* x, int64_t x_stride, std::span<const Product> products,
             Precision precision) {
  check(m, x, x_stride, products);
  if (m == 0 || products.empty()) return;
  if (products[0].weight.k == 0) {
    for (const Product& p : products) zero_rows(p, m);
    return;
  }
  if (precision == Precision::Fast) {
    // Dense weights have no integer codes: for them fast is highest.
    const auto dense = [](const Product& p) {
      return kFormRows[form_of(p.weight.format)].scheme == Scheme::Dense;
    };
    if (std::any_of(products.begin(), products.end(), dense)) {
      for (const Product& p : products)
        qmatmul(m, x, x_stride, {&p, 1}, dense(p) ? Precision::Highest : Precision::Fast);
      return;
    }
    return fast_qmatmul(m, x, x_stride, products);
  }
  if (m == 1) return one_token(x, products);
  if (m < kTiledM) return few_tokens(m, x, x_stride, products);
  const int64_t chunks = (m + kChunkM - 1) / kChunkM;
  for (int64_t c = 0; c < chunks; ++c) {
    const int64_t begin = share(m, static_cast<int>(c), static_cast<int>(chunks)),
                  end = share(m, static_cast<int>(c) + 1, static_cast<int>(chunks));
    many_tokens(end - begin, x + begin * x_stride, x_stride, products, begin);
  }
}

}  // namespace mc::numpy::quant
