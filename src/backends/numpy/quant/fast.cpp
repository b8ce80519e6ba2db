// Precision::Fast: x is quantized once, then integer dots against packed weights.
#include <algorithm>
#include <cstring>

#include "backends/numpy/quant/drivers.h"
#include "backends/numpy/quant/kernels.h"
#include "backends/numpy/quant/scratch.h"
#include "base/thread_pool.h"

namespace mc::numpy::quant {
namespace {

constexpr int64_t kStrip = 2 * kPanel;
constexpr int64_t kChunkM = 512;  // tokens quantized at a time

int64_t round_up(int64_t bytes) { return (bytes + 63) / 64 * 64; }

// Quantized tokens and the start values of the forms at hand.
struct Tokens {
  int64_t m, k, blocks;
  int8_t* codes;
  float *scales, *scaled_sums;
  int32_t *sums16, *starts;

  Tokens(Scratch& scratch, int64_t m_, int64_t k_) : m(m_), k(k_), blocks(k_ / 32) {
    const int64_t code_bytes = round_up(m * k), word_bytes = round_up(m * blocks * 4);
    auto* p = static_cast<uint8_t*>(scratch.get(code_bytes + 6 * word_bytes));
    codes = reinterpret_cast<int8_t*>(p);
    scales = reinterpret_cast<float*>(p + code_bytes);
    scaled_sums = reinterpret_cast<float*>(p + code_bytes + word_bytes);
    sums16 = reinterpret_cast<int32_t*>(p + code_bytes + 2 * word_bytes);
    starts = reinterpret_cast<int32_t*>(p + code_bytes + 4 * word_bytes);
  }
  QuantizedRow row(int64_t i) const {
    return {codes + i * k, scales + i * blocks, sums16 + 2 * i * blocks, scaled_sums + i * blocks, starts};
  }
  void quantize(const Kernels& kn, const float* x, int64_t x_stride) {
    parallel_for(m, 16, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) kn.quantize(k, x + i * x_stride, row(i));
    });
  }
  // Integer dots start at -bias * sum, since codes are stored as q + bias.
  void prepare(const FormRow& form) {
    if (form.scheme == Scheme::K6) {
      for (int64_t i = 0; i < 2 * m * blocks; ++i) starts[i] = -form.bias * sums16[i];
    } else {
      for (int64_t i = 0; i < m * blocks; ++i) starts[i] = -form.bias * (sums16[2 * i] + sums16[2 * i + 1]);
    }
  }
};

void one_token(const Kernels& kn, const Product& p, const Tokens& x) {
  const Layout l = layout_of(p.weight.format, p.weight.k);
  parallel_region([&](int t, int threads) {
    const int64_t panels = panels_of(p.weight.n), begin = share(panels, t, threads),
                  end = share(panels, t + 1, threads);
    const int64_t whole = std::min(end, p.weight.n / kPanel);
    const auto* w = static_cast<const uint8_t*>(p.weight.packed);
    if (begin < whole)
      kn.fast[l.form].gemv(l, w + begin * l.panel_bytes, whole - begin, x.row(0), p.y + begin * kPanel);
    if (whole < end && begin < end) {
      float tail[kPanel];
      kn.fast[l.form].gemv(l, w + (end - 1) * l.panel_bytes, 1, x.row(0), tail);
      std::copy_n(tail, p.weight.n - (end - 1) * kPanel, p.y + (end - 1) * kPanel);
    }
  });
}

void many_tokens(const Kernels& kn, const Product& p, float* y, const Tokens& x) {
  const Layout l = layout_of(p.weight.format, p.weight.k);
  const FastRow& f = kn.fast[l.form];
  const int64_t halves = kFormRows[l.form].scheme == Scheme::K6 ? 2 : 1, panels = panels_of(p.weight.n);
  const int64_t panel_bytes = x.k * kPanel, panel_floats = x.blocks * kPanel;
  const int64_t strips = (p.weight.n + kStrip - 1) / kStrip;
  parallel_region([&](int t, int threads) {
    static thread_local Scratch scratch;
    auto* bytes = static_cast<uint8_t*>(scratch.get(2 * panel_bytes + 2 * (halves + 1) * panel_floats * 4));
    auto* scales = reinterpret_cast<float*>(bytes + 2 * panel_bytes);
    float* minima = scales + 2 * halves * panel_floats;
    alignas(64) float tile[kFastTokens * kStrip];
    for (int64_t s = share(strips, t, threads); s < share(strips, t + 1, threads); ++s) {
      for (int64_t q = 0; q < 2; ++q) {
        // A missing second panel repeats the first; its columns are not stored.
        const int64_t panel = std::min(2 * s + q, panels - 1);
        f.expand(l, static_cast<const uint8_t*>(p.weight.packed) + panel * l.panel_bytes,
                 bytes + q * panel_bytes, scales + q * halves * panel_floats, minima + q * panel_floats);
      }
      const FastStrip strip{x.blocks, bytes, scales, minima};
      const FastTokens all{x.codes, x.scales, x.scaled_sums, x.starts, x.k, x.blocks, halves * x.blocks};
      const int64_t columns = std::min(kStrip, p.weight.n - s * kStrip);
      for (int64_t i = 0; i < x.m; i += kFastTokens) {
        const int rows = static_cast<int>(std::min<int64_t>(kFastTokens, x.m - i));
        float* out = y + i * p.y_stride + s * kStrip;
        if (columns == kStrip) {
          f.strip(rows, strip, all.from(i), out, p.y_stride);
        } else {
          f.strip(rows, strip, all.from(i), tile, kStrip);
          for (int r = 0; r < rows; ++r) std::copy_n(tile + r * kStrip, columns, out + r * p.y_stride);
        }
      }
    }
  });
}

}  // namespace

void fast_qmatmul(int64_t m, const float* x, int64_t x_stride, std::span<const Product> products) {
  static thread_local Scratch scratch;
  const Kernels& kn = kernels();
  const int64_t chunks = (m + kChunkM - 1) / kChunkM;
  for (int64_t c = 0; c < chunks; ++c) {
    const int64_t begin = share(m, c, chunks), end = share(m, c + 1, chunks);
    Tokens tokens(scratch, end - begin, products[0].weight.k);
    tokens.quantize(kn, x + begin * x_stride, x_stride);
    const FormRow* ready = nullptr;
    for (const Product& p : products) {
      if (p.weight.n == 0) continue;
      const FormRow& form = kFormRows[form_of(p.weight.format)];
      if (!ready || ready->bias != form.bias || ready->scheme != form.scheme) tokens.prepare(form);
      ready = &form;
      if (end - begin == 1)
        one_token(kn, p, tokens);
      else
        many_tokens(kn, p, p.y + begin * p.y_stride, tokens);
    }
  }
}

}  // namespace mc::numpy::quant
