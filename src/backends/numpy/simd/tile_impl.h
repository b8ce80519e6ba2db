// The float kernels written once over a vector type V; included by one file per instruction set and element
// type. Everything here has internal linkage on purpose: a copy built for wide vectors must never serve a
// baseline machine.
//
// V: T, Reg, Mask, kLanes, kMr (tile rows), kDirectSmall/kDirectTwo (vectors a direct pass holds for 1 and
// for 2..4 rows), zero, set1, load, store, mask, load_mask, store_mask, fma, add, transpose and
// load_as<Src>(const Src*), loads of kLanes elements widened to T.
#pragma once

#include <utility>

#include "backends/numpy/simd/convert.h"
#include "backends/numpy/simd/float_kernels.h"

namespace mc::simd {
namespace {

// Not the intrinsic: GCC takes a lambda of nothing but prefetches for one without effect, and drops the call.
MC_INLINE void prefetch_line(const void* p) {
  asm volatile("prefetcht0 %0" : : "m"(*static_cast<const char*>(p)));
}

template <int N, class F>
MC_INLINE void unroll(F&& f) {
  [&]<int... I>(std::integer_sequence<int, I...>) __attribute__((always_inline)) {
    (f(std::integral_constant<int, I>{}), ...);
  }
  (std::make_integer_sequence<int, N>{});
}

template <class V>
struct Kernels {
  using T = typename V::T;
  using Reg = typename V::Reg;
  using Mask = typename V::Mask;
  static constexpr int L = V::kLanes, MR = V::kMr, NR = 2 * L;

  // M rows by NV vectors. With Tail the last vector is masked, on B (in place) and on C.
  template <int M, int NV, bool Tail, bool InPlace>
  MC_INLINE void tile(int64_t kc, const T* a, int64_t a_step, const T* b, int64_t b_step, T* c, int64_t ldc,
                      Mask last, bool add) {
    Reg acc[M][NV];
    unroll<M>([&](auto i) { unroll<NV>([&](auto v) { acc[i][v] = V::zero(); }); });
    if constexpr (!InPlace) {
      // C is not needed before the end of the chain, which is long enough to fetch it.
      unroll<M>([&](auto i) {
        prefetch_line(c + i * ldc);
        prefetch_line(c + i * ldc + NV * L - 1);
      });
    }
    auto step = [&](const T* ak, const T* bk) __attribute__((always_inline)) {
      Reg bv[NV];
      unroll<NV>([&](auto v) {
        if constexpr (Tail && InPlace && v == NV - 1)
          bv[v] = V::load_mask(bk + v * L, last);
        else
          bv[v] = V::load(bk + v * L);
      });
      unroll<M>([&](auto i) {
        const Reg av = V::set1(ak + i);
        unroll<NV>([&](auto v) { acc[i][v] = V::fma(av, bv[v], acc[i][v]); });
      });
    };
    int64_t k = 0;
    for (; k + 4 <= kc; k += 4) {
      if constexpr (InPlace) {
        // Rows of B lie far apart, where the hardware does not look ahead.
        unroll<4>([&](auto u) {
          unroll<(NV * L * static_cast<int>(sizeof(T)) + 63) / 64>([&](auto line) {
            prefetch_line(b + (8 + u) * b_step + line * (64 / static_cast<int>(sizeof(T))));
          });
        });
      }
      step(a, b);
      step(a + a_step, b + b_step);
      step(a + 2 * a_step, b + 2 * b_step);
      step(a + 3 * a_step, b + 3 * b_step);
      a += 4 * a_step;
      b += 4 * b_step;
    }
    for (; k < kc; ++k, a += a_step, b += b_step) step(a, b);
    unroll<M>([&](auto i) {
      unroll<NV>([&](auto v) {
        T* p = c + i * ldc + v * L;
        if constexpr (Tail && v == NV - 1)
          V::store_mask(p, last, add ? V::add(V::load_mask(p, last), acc[i][v]) : acc[i][v]);
        else
          V::store(p, add ? V::add(V::load(p), acc[i][v]) : acc[i][v]);
      });
    });
  }

  template <int M, int NV, bool Tail>
  [[gnu::flatten]] static void packed(int64_t kc, const T* a, const T* b, T* c, int64_t ldc, Mask last,
                                      bool add) {
    tile<M, NV, Tail, false>(kc, a, MR, b, NR, c, ldc, last, add);
  }
  template <int M, int NV, bool Tail>
  [[gnu::flatten]] static void in_place(int64_t kc, const T* a, int64_t a_step, const T* b, int64_t ldb, T* c,
                                        int64_t ldc, Mask last, bool add) {
    tile<M, NV, Tail, true>(kc, a, a_step, b, ldb, c, ldc, last, add);
  }

  using Packed = void (*)(int64_t, const T*, const T*, T*, int64_t, Mask, bool);
  struct PackedRow {
    Packed full2, tail2, full1, tail1;
  };
  template <int... I>
  static constexpr auto packed_table(std::integer_sequence<int, I...>) {
    struct Table {
      PackedRow row[sizeof...(I)];
    };
    return Table{{{packed<I + 1, 2, false>, packed<I + 1, 2, true>, packed<I + 1, 1, false>,
                   packed<I + 1, 1, true>}...}};
  }

  static void run(int m, int n, int64_t kc, const T* a, const T* b, T* c, int64_t ldc, bool add) {
    static constexpr auto table = packed_table(std::make_integer_sequence<int, MR>{});
    const PackedRow& r = table.row[m - 1];
    const Mask all = V::mask(L);
    if (n == NR) return r.full2(kc, a, b, c, ldc, all, add);
    if (n > L) return r.tail2(kc, a, b, c, ldc, V::mask(n - L), add);
    if (n == L) return r.full1(kc, a, b, c, ldc, all, add);
    r.tail1(kc, a, b, c, ldc, V::mask(n), add);
  }

  // Widest passes first: each row of B is then read in long pieces.
  template <int M>
  static void direct_rows(int64_t n, int64_t kc, const T* a, int64_t a_step, const T* b, int64_t ldb, T* c,
                          int64_t ldc, bool add) {
    constexpr int kWide = M == 1 ? V::kDirectSmall : M <= 4 ? V::kDirectTwo : 2;
    const Mask all = V::mask(L);
    auto take = [&](int64_t width) {
      b += width;
      c += width;
      n -= width;
    };
    if constexpr (kWide > 2) {
      for (; n >= kWide * L; take(kWide * L))
        in_place<M, kWide, false>(kc, a, a_step, b, ldb, c, ldc, all, add);
    }
    for (; n >= 2 * L; take(2 * L)) in_place<M, 2, false>(kc, a, a_step, b, ldb, c, ldc, all, add);
    if (n > L)
      in_place<M, 2, true>(kc, a, a_step, b, ldb, c, ldc, V::mask(static_cast<int>(n - L)), add);
    else if (n > 0)
      in_place<M, 1, true>(kc, a, a_step, b, ldb, c, ldc, V::mask(static_cast<int>(n)), add);
  }
  using Direct = void (*)(int64_t, int64_t, const T*, int64_t, const T*, int64_t, T*, int64_t, bool);
  template <int... I>
  static constexpr auto direct_table(std::integer_sequence<int, I...>) {
    struct Table {
      Direct row[sizeof...(I)];
    };
    return Table{{direct_rows<I + 1>...}};
  }
  static void direct(int m, int64_t n, int64_t kc, const T* a, int64_t a_step, const T* b, int64_t ldb, T* c,
                     int64_t ldc, bool add) {
    static constexpr auto table = direct_table(std::make_integer_sequence<int, MR>{});
    table.row[m - 1](n, kc, a, a_step, b, ldb, c, ldc, add);
  }

  // ---- packing ----

  template <class Src>
  static T widened(Src x) {
    if constexpr (sizeof(Src) == 2)
      return to_f32(x);
    else
      return x;
  }

  template <class Src>
  static void pack_from(T* dst, int width, int lanes, int64_t kc, const Src* src, int64_t lane_stride,
                        int64_t k_stride) {
    if (k_stride == 1 && lanes > 1) return pack_transposing(dst, width, lanes, kc, src, lane_stride);
    for (int64_t k = 0; k < kc; ++k, dst += width, src += k_stride) {
      int j = 0;
      if (lane_stride == 1) {
        for (; j + L <= lanes; j += L) V::store(dst + j, V::template load_as<Src>(src + j));
      }
      for (; j < lanes; ++j) dst[j] = widened(src[j * lane_stride]);
      for (; j < width; ++j) dst[j] = 0;
    }
  }

  template <class Src>
  [[gnu::flatten]] static void pack_transposing(T* dst, int width, int lanes, int64_t kc, const Src* src,
                                                int64_t lane_stride) {
    int64_t k = 0;
    for (; k + L <= kc; k += L, dst += L * width) {
      // Groups of lanes from the last to the first: a group's stores may run over into the next row of the
      // panel, whose first group is then written after them.
      for (int g = (width - 1) / L * L; g >= 0; g -= L) {
        Reg r[L];
        const Src* s = src + k + g * lane_stride;
        if (g + L <= lanes) {
          unroll<L>([&](auto i) { r[i] = V::template load_as<Src>(s + i * lane_stride); });
        } else {
          unroll<L>([&](auto i) {
            r[i] = g + i < lanes ? V::template load_as<Src>(s + i * lane_stride) : V::zero();
          });
        }
        V::transpose(r);
        unroll<L>([&](auto i) { V::store(dst + i * width + g, r[i]); });
      }
    }
    for (; k < kc; ++k, dst += width) {
      for (int j = 0; j < lanes; ++j) dst[j] = widened(src[j * lane_stride + k]);
      for (int j = lanes; j < width; ++j) dst[j] = 0;
    }
  }

  static void pack(T* dst, int width, int lanes, int64_t kc, const void* src, Dtype dtype,
                   int64_t lane_stride, int64_t k_stride) {
    if constexpr (sizeof(T) == 8) {
      pack_from(dst, width, lanes, kc, static_cast<const double*>(src), lane_stride, k_stride);
    } else if (dtype == Dtype::F32) {
      pack_from(dst, width, lanes, kc, static_cast<const float*>(src), lane_stride, k_stride);
    } else if (dtype == Dtype::BF16) {
      pack_from(dst, width, lanes, kc, static_cast<const bfloat16*>(src), lane_stride, k_stride);
    } else {
      pack_from(dst, width, lanes, kc, static_cast<const float16*>(src), lane_stride, k_stride);
    }
  }

  template <class Src>
  [[gnu::flatten]] static void widen16_from(T* dst, int64_t dst_stride, const Src* src, int64_t src_stride,
                                            int64_t rows) {
    for (int64_t k = 0; k < rows; ++k, dst += dst_stride, src += src_stride)
      unroll<16 / L>([&](auto v) { V::store(dst + v * L, V::template load_as<Src>(src + v * L)); });
  }
  static void widen16(T* dst, int64_t dst_stride, const void* src, Dtype dtype, int64_t src_stride,
                      int64_t rows) {
    if constexpr (sizeof(T) == 8) {
      widen16_from(dst, dst_stride, static_cast<const double*>(src), src_stride, rows);
    } else if (dtype == Dtype::F32) {
      widen16_from(dst, dst_stride, static_cast<const float*>(src), src_stride, rows);
    } else if (dtype == Dtype::BF16) {
      widen16_from(dst, dst_stride, static_cast<const bfloat16*>(src), src_stride, rows);
    } else {
      widen16_from(dst, dst_stride, static_cast<const float16*>(src), src_stride, rows);
    }
  }

  // ---- decoding: few rows against packed weights, at the speed of memory ----

  // M rows against P neighbouring panels; totals stay in registers, each block's chain is added when it ends.
  template <int M, int P, class Src>
  MC_INLINE void gemv_panels(int64_t n, int64_t K, const T* x, int64_t ldx, const Src* w, T* y, int64_t ldy) {
    constexpr int NV = 2 * P;
    // Bytes ahead of use: past the longest latency of memory at this rate, short of what fills the
    // first-level cache.
    constexpr int kAhead = 2048 / static_cast<int>(NR * sizeof(Src));
    constexpr int kLines = (NR * static_cast<int>(sizeof(Src)) + 63) / 64;
    const int64_t panel = K * NR;
    Reg total[M][NV];
    unroll<M>([&](auto i) { unroll<NV>([&](auto v) { total[i][v] = V::zero(); }); });
    for (int64_t k0 = 0; k0 < K; k0 += kBlockK) {
      const int64_t kc = K - k0 < kBlockK ? K - k0 : kBlockK;
      Reg acc[M][NV];
      unroll<M>([&](auto i) { unroll<NV>([&](auto v) { acc[i][v] = V::zero(); }); });
      const Src* wk = w + k0 * NR;
      const T* xk = x + k0;
      auto step = [&](int64_t k) __attribute__((always_inline)) {
        Reg bv[NV];
        unroll<P>([&](auto p) {
          const Src* row = wk + p * panel + k * NR;
          unroll<kLines>(
              [&](auto l) { prefetch_line(row + kAhead * NR + l * (64 / static_cast<int>(sizeof(Src)))); });
          bv[2 * p] = V::template load_as<Src>(row);
          bv[2 * p + 1] = V::template load_as<Src>(row + L);
        });
        unroll<M>([&](auto i) {
          const Reg xv = V::set1(xk + i * ldx + k);
          unroll<NV>([&](auto v) { acc[i][v] = V::fma(xv, bv[v], acc[i][v]); });
        });
      };
      int64_t k = 0;
      for (; k + 4 <= kc; k += 4) {
        step(k);
        step(k + 1);
        step(k + 2);
        step(k + 3);
      }
      for (; k < kc; ++k) step(k);
      if (k0 == 0)
        unroll<M>([&](auto i) { unroll<NV>([&](auto v) { total[i][v] = acc[i][v]; }); });
      else
        unroll<M>([&](auto i) { unroll<NV>([&](auto v) { total[i][v] = V::add(total[i][v], acc[i][v]); }); });
    }
    unroll<M>([&](auto i) {
      unroll<NV>([&](auto v) {
        const int64_t left = n - v * L;
        if (left >= L)
          V::store(y + i * ldy + v * L, total[i][v]);
        else if (left > 0)
          V::store_mask(y + i * ldy + v * L, V::mask(static_cast<int>(left)), total[i][v]);
      });
    });
  }

  template <int M, class Src>
  [[gnu::flatten]] static void gemv_rows(int64_t n, int64_t K, const T* x, int64_t ldx, const Src* w, T* y,
                                         int64_t ldy) {
    constexpr int P = M == 1 ? V::kGemvPanels : M == 2 && V::kGemvPanels > 2 ? V::kGemvPanels / 2 : 1;
    for (; n > (P - 1) * NR; n -= P * NR, w += P * NR * K, y += P * NR)
      gemv_panels<M, P>(n, K, x, ldx, w, y, ldy);
    if constexpr (P > 1)
      for (; n > 0; n -= NR, w += NR * K, y += NR) gemv_panels<M, 1>(n, K, x, ldx, w, y, ldy);
  }
  template <class Src>
  static void gemv_from(int m, int64_t n, int64_t K, const T* x, int64_t ldx, const Src* w, T* y,
                        int64_t ldy) {
    switch (m) {
      case 1: return gemv_rows<1>(n, K, x, ldx, w, y, ldy);
      case 2: return gemv_rows<2>(n, K, x, ldx, w, y, ldy);
      case 3: return gemv_rows<3>(n, K, x, ldx, w, y, ldy);
      default: return gemv_rows<4>(n, K, x, ldx, w, y, ldy);
    }
  }
  static void gemv_packed(int m, int64_t n, int64_t K, const T* x, int64_t ldx, const void* w, Dtype dtype,
                          T* y, int64_t ldy) {
    if constexpr (sizeof(T) == 8) {
      gemv_from(m, n, K, x, ldx, static_cast<const double*>(w), y, ldy);
    } else if (dtype == Dtype::F32) {
      gemv_from(m, n, K, x, ldx, static_cast<const float*>(w), y, ldy);
    } else if (dtype == Dtype::BF16) {
      gemv_from(m, n, K, x, ldx, static_cast<const bfloat16*>(w), y, ldy);
    } else {
      gemv_from(m, n, K, x, ldx, static_cast<const float16*>(w), y, ldy);
    }
  }

  static constexpr FloatKernels<T> table() { return {{MR, NR, run}, pack, direct, gemv_packed, widen16}; }
};

}  // namespace
}  // namespace mc::simd
