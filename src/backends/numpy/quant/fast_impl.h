// Kernels of Precision::Fast: exact integer dots of blocks of 32, joined by fma in ascending order
// (docs/contract-fast.md).
#pragma once

#include <bit>
#include <cstring>
#include <utility>

#include "backends/numpy/quant/decode_impl.h"
#include "backends/numpy/quant/kernels.h"

namespace mc::numpy::quant {

#define MC_INLINE_LAMBDA __attribute__((always_inline))

// Halved until one lane is left: a loop becomes sixteen moves to scalar registers.
static inline int32_t sum16(const int32_t* p) {
  using Eight = int32_t __attribute__((vector_size(32)));
  Eight a, b;
  std::memcpy(&a, p, 32);
  std::memcpy(&b, p + 8, 32);
  a += b;
  a += __builtin_shufflevector(a, a, 4, 5, 6, 7, 0, 1, 2, 3);
  a += __builtin_shufflevector(a, a, 2, 3, 0, 1, 6, 7, 4, 5);
  return a[0] + a[1];
}

// x in blocks of 32: scale amax / 127, codes to nearest even. A block with a NaN or an infinity has scale
// NaN; one whose amax is below 2^-119 (whose reciprocal scale could overflow) counts as zero.
template <class V>
void quantize_tokens(int64_t k, const float* x, const QuantizedRow& out) {
  constexpr float kMagic = 0x1.8p23f;  // adding it rounds to a whole number, ties to even
  for (int64_t b = 0; b < k / 32; ++b) {
    const float* in = x + 32 * b;
    int8_t* q = out.codes + 32 * b;
    int32_t top = 0;
    for (int i = 0; i < 32; ++i) {
      const int32_t bits = std::bit_cast<int32_t>(in[i]) & 0x7fffffff;
      top = bits > top ? bits : top;
    }
    const float amax = std::bit_cast<float>(top);
    float d = 0, inverse = 0;
    if (top < 0x7f800000 && amax >= 0x1p-119f) {
      d = amax / 127.0f;
      inverse = 1.0f / d;
    }
    int32_t sum[2] = {0, 0};
    if (top >= 0x7f800000 || inverse == 0) {
      if (top >= 0x7f800000) d = std::bit_cast<float>(0x7fc00000);
      for (int i = 0; i < 32; ++i) q[i] = 0;
    } else {
      int32_t whole[32];
      for (int i = 0; i < 32; ++i)
        whole[i] = std::bit_cast<int32_t>(in[i] * inverse + kMagic) - std::bit_cast<int32_t>(kMagic);
      for (int i = 0; i < 32; ++i) q[i] = static_cast<int8_t>(whole[i]);
      sum[0] = sum16(whole);
      sum[1] = sum16(whole + 16);
    }
    out.scales[b] = d;
    out.sums16[2 * b] = sum[0];
    out.sums16[2 * b + 1] = sum[1];
    out.scaled_sums[b] = d * static_cast<float>(sum[0] + sum[1]);
  }
}

// Integer dots of NV row vectors with M tokens over groups [G0, G1) of a block. acc comes in with a start
// value. BITS bounds the codes: sums of 16 bits are emptied before they could overflow.
template <class V, int BITS, int NV, int M, int G0, int G1, class Codes>
MC_Q void block_dots(typename V::I (&acc)[NV][M], const int8_t* const* x, const Codes& codes) {
  const auto groups = [&]<int... G>(std::integer_sequence<int, G...>, const auto& f) MC_INLINE_LAMBDA {
    (f.template operator()<G>(), ...);
  };
  constexpr auto kSequence = std::make_integer_sequence<int, G1 - G0>{};
  if constexpr (V::kExactDot) {
    groups(kSequence, [&]<int I>() MC_INLINE_LAMBDA {
      constexpr int G = G0 + I;
      typename V::I w[NV];
#pragma GCC unroll 16
      for (int v = 0; v < NV; ++v) w[v] = codes.template operator()<G>(v);
#pragma GCC unroll 16
      for (int m = 0; m < M; ++m) {
        const auto xm = V::broadcast4(x[m] + 4 * G);
#pragma GCC unroll 16
        for (int v = 0; v < NV; ++v) acc[v][m] = V::dot4(acc[v][m], w[v], xm);
      }
    });
  } else {
    // 2 * 127 * code per group: eight groups of nibbles, four of 5 bits, two of 6. Bytes go as two planes of
    // nibbles.
    constexpr int kFlush = BITS == 6 ? 2 : BITS == 5 ? 4 : 8;
    constexpr int kPlanes = BITS == 8 ? 2 : 1;
    const auto plane = [&]<int PLANE>() MC_INLINE_LAMBDA {
      typename V::I part[NV][M];
      groups(kSequence, [&]<int I>() MC_INLINE_LAMBDA {
        constexpr int G = G0 + I;
        typename V::I w[NV];
#pragma GCC unroll 16
        for (int v = 0; v < NV; ++v) {
          w[v] = codes.template operator()<G>(v);
          if constexpr (kPlanes == 2) w[v] = V::and_i(shift<V, -4 * PLANE>(w[v]), bytes_of(15));
        }
#pragma GCC unroll 16
        for (int m = 0; m < M; ++m) {
          const auto xm = V::broadcast4(x[m] + 4 * G);
#pragma GCC unroll 16
          for (int v = 0; v < NV; ++v) {
            const auto pairs = V::pairs16(w[v], xm);
            part[v][m] = I % kFlush == 0 ? pairs : V::add16(part[v][m], pairs);
          }
        }
        if constexpr ((I + 1) % kFlush == 0 || I + 1 == G1 - G0) {
#pragma GCC unroll 16
          for (int v = 0; v < NV; ++v)
#pragma GCC unroll 16
            for (int m = 0; m < M; ++m)
              acc[v][m] = V::add_i(acc[v][m], shift<V, 4 * PLANE>(V::pairs32(part[v][m])));
        }
      });
    };
    plane.template operator()<0>();
    if constexpr (kPlanes == 2) plane.template operator()<1>();
  }
}

template <class V>
MC_Q typename V::I start_value(const int32_t* p) {
  return V::broadcast4(reinterpret_cast<const int8_t*>(p));
}

// P panels, one token, straight from packed codes.
template <class V, int FORM, int P>
void fast_panels(const Layout& l, const uint8_t* panel, const QuantizedRow& x, float* y) {
  constexpr int NV = P * kParts<V>, kBits = kFormRows[FORM].bits;
  constexpr bool kHalves = kFormRows[FORM].scheme == Scheme::K6;
  const int64_t pb = l.panel_bytes;
  typename V::F sum[NV];
#pragma GCC unroll 16
  for (int v = 0; v < NV; ++v) sum[v] = V::zero();
  const uint8_t *record = panel, *next = panel + P * pb;
  int64_t b = 0;
  for (int64_t r = 0; r < l.k; r += l.record_k, record += l.record_bytes) {
    const uint8_t* block = record + l.head_bytes;
    for (int64_t kb = 0; kb < l.record_k; kb += 32, block += l.block_bytes, ++b) {
      prefetch_next<V, FORM, P>(next);
      const int8_t* xb[1] = {x.codes + 32 * b};
      const auto codes = [&]<int G>(int v) MC_INLINE_LAMBDA {
        return clean_bytes<V, kBits, G>(block + kBlockHead<FORM> + v / kParts<V> * pb +
                                        v % kParts<V> * 4 * V::kLanes);
      };
      typename V::I acc[NV][1], acc1[NV][1];
      const auto dx = V::set1(x.scales[b]);
#pragma GCC unroll 16
      for (int v = 0; v < NV; ++v) {
        acc[v][0] = start_value<V>(kHalves ? x.starts + 2 * b : x.starts + b);
        if constexpr (kHalves) acc1[v][0] = start_value<V>(x.starts + 2 * b + 1);
      }
      if constexpr (kHalves) {
        block_dots<V, kBits, NV, 1, 0, 4>(acc, xb, codes);
        block_dots<V, kBits, NV, 1, 4, 8>(acc1, xb, codes);
      } else {
        block_dots<V, kBits, NV, 1, 0, 8>(acc, xb, codes);
      }
#pragma GCC unroll 16
      for (int v = 0; v < NV; ++v) {
        const Scales<V> s =
            load_scales<V, FORM>(l, record + v / kParts<V> * pb, block + v / kParts<V> * pb, v % kParts<V>);
        sum[v] = V::fma(V::mul(s.d[0], dx), V::to_float(acc[v][0]), sum[v]);
        if constexpr (kHalves) sum[v] = V::fma(V::mul(s.d[1], dx), V::to_float(acc1[v][0]), sum[v]);
        if constexpr (kHasMin<FORM>) sum[v] = V::fma(s.m, V::set1(x.scaled_sums[b]), sum[v]);
      }
    }
  }
#pragma GCC unroll 16
  for (int v = 0; v < NV; ++v) V::store(y + v * V::kLanes, sum[v]);
}

template <class V, int FORM>
void fast_gemv(const Layout& l, const uint8_t* panels, int64_t count, const QuantizedRow& x, float* y) {
  int64_t i = 0;
  const auto run = [&]<int P>() {
    for (; i + P <= count; i += P) fast_panels<V, FORM, P>(l, panels + i * l.panel_bytes, x, y + i * kPanel);
  };
  if constexpr (kParts<V> == 1) run.template operator()<4>();
  if constexpr (kParts<V> <= 2) run.template operator()<2>();
  run.template operator()<1>();
}

// A panel as bytes [block][group][16 rows][4] with float scales [block][halves][16] and minima [block][16].
template <class V, int FORM>
void fast_expand(const Layout& l, const uint8_t* panel, uint8_t* bytes, float* scales, float* minima) {
  constexpr int kBits = kFormRows[FORM].bits;
  constexpr int kHalves = kFormRows[FORM].scheme == Scheme::K6 ? 2 : 1;
  const uint8_t* record = panel;
  for (int64_t r = 0; r < l.k; r += l.record_k, record += l.record_bytes) {
    const uint8_t* block = record + l.head_bytes;
    for (int64_t kb = 0; kb < l.record_k;
         kb += 32, block += l.block_bytes, bytes += 32 * kPanel, scales += kHalves * kPanel, minima += kPanel)
      for (int part = 0; part < kParts<V>; ++part) {
        const int lane = part * V::kLanes;
        const uint8_t* codes = block + kBlockHead<FORM> + 4 * lane;
        uint8_t* out = bytes + 4 * lane;
        const auto put = [&]<int... G>(std::integer_sequence<int, G...>) MC_INLINE_LAMBDA {
          (V::store_i(out + G * 4 * kPanel, clean_bytes<V, kBits, G>(codes)), ...);
        };
        put(std::make_integer_sequence<int, 8>{});
        const Scales<V> s = load_scales<V, FORM>(l, record, block, part);
        V::store(scales + lane, s.d[0]);
        if constexpr (kHalves == 2) V::store(scales + kPanel + lane, s.d[1]);
        if constexpr (kHasMin<FORM>) V::store(minima + lane, s.m);
      }
  }
}

// NV vectors of rows (of expanded panels) times M tokens over all blocks.
template <class V, int BITS, bool MIN, bool HALVES, int NV, int M>
MC_Q void fast_tile(const FastStrip& w, int first, const FastTokens& x, float* c, int64_t ldc) {
  constexpr int H = HALVES ? 2 : 1;
  typename V::F sum[NV][M];
#pragma GCC unroll 16
  for (int v = 0; v < NV; ++v)
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) sum[v][m] = V::zero();
  // Vector v lies `kLane` lanes into panel v / kInPanel: constants where one panel holds the tile.
  constexpr int kInPanel = kPanel / V::kLanes;
  const int64_t nb = w.blocks, panel = first / kPanel, lane = first % kPanel;
  const uint8_t* wb = w.bytes + panel * nb * 32 * kPanel + 4 * lane;
  const float *ws = w.scales + panel * nb * H * kPanel + lane, *wm = w.minima + panel * nb * kPanel + lane;
  const auto at = [&](int v, int64_t per_block) MC_INLINE_LAMBDA {
    return v / kInPanel * nb * per_block * kPanel + v % kInPanel * V::kLanes * (per_block == 32 ? 4 : 1);
  };
  for (int64_t b = 0; b < nb; ++b, wb += 32 * kPanel, ws += H * kPanel, wm += kPanel) {
    const int8_t* xb[M];
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) xb[m] = x.codes + m * x.code_stride + 32 * b;
    const auto codes = [&]<int G>(int v)
                           MC_INLINE_LAMBDA { return V::load_i(wb + at(v, 32) + G * 4 * kPanel); };
    const auto half = [&]<int PART>() MC_INLINE_LAMBDA {
      typename V::I acc[NV][M];
#pragma GCC unroll 16
      for (int m = 0; m < M; ++m) {
        // Codes of formats with a minimum have no bias.
        const auto start = MIN ? V::set1_i(0) : start_value<V>(x.starts + m * x.start_stride + b * H + PART);
#pragma GCC unroll 16
        for (int v = 0; v < NV; ++v) acc[v][m] = start;
      }
      if constexpr (HALVES)
        block_dots<V, BITS, NV, M, 4 * PART, 4 * PART + 4>(acc, xb, codes);
      else
        block_dots<V, BITS, NV, M, 0, 8>(acc, xb, codes);
#pragma GCC unroll 16
      for (int v = 0; v < NV; ++v) {
        const auto d = V::load(ws + at(v, H) + PART * kPanel);
#pragma GCC unroll 16
        for (int m = 0; m < M; ++m)
          sum[v][m] =
              V::fma(V::mul(d, V::set1(x.scales[m * x.scale_stride + b])), V::to_float(acc[v][m]), sum[v][m]);
      }
    };
    half.template operator()<0>();
    if constexpr (HALVES) half.template operator()<1>();
    if constexpr (MIN) {
#pragma GCC unroll 16
      for (int v = 0; v < NV; ++v) {
        const auto low = V::load(wm + at(v, 1));
#pragma GCC unroll 16
        for (int m = 0; m < M; ++m)
          sum[v][m] = V::fma(low, V::set1(x.scaled_sums[m * x.scale_stride + b]), sum[v][m]);
      }
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 16
    for (int v = 0; v < NV; ++v) V::store(c + m * ldc + v * V::kLanes, sum[v][m]);
}

// c (m, 32) for m <= kFastTokens tokens against a strip of 32 rows.
template <class V, int BITS, bool MIN, bool HALVES>
void fast_strip(int m, const FastStrip& w, const FastTokens& x, float* c, int64_t ldc) {
  constexpr int NV = V::kLanes == 1 ? 1 : 2;
  // As many tokens as the registers hold sums for; a tile's rows stay in the first-level cache for all
  // tokens.
  constexpr int kRows = V::kLanes == 16 ? 6 : V::kLanes == 8 ? 3 : 1;
  for (int r = 0; r < 32; r += NV * V::kLanes) {
    int i = 0;
    for (; i + kRows <= m; i += kRows)
      fast_tile<V, BITS, MIN, HALVES, NV, kRows>(w, r, x.from(i), c + i * ldc + r, ldc);
    const auto rest = [&]<int... M>(std::integer_sequence<int, M...>) MC_INLINE_LAMBDA {
      ((m - i == M + 1 ? fast_tile<V, BITS, MIN, HALVES, NV, M + 1>(w, r, x.from(i), c + i * ldc + r, ldc)
                       : void()),
       ...);
    };
    rest(std::make_integer_sequence<int, kRows - 1>{});
  }
}

}  // namespace mc::numpy::quant
