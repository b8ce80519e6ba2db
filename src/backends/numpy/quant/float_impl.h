// Float32 kernels: products of one token, and strips of weights expanded for many.
#pragma once

#include "backends/numpy/quant/decode_impl.h"
#include "backends/numpy/quant/kernels.h"

namespace mc::numpy::quant {

// Layout figures, known at compile time except for affine groups.
template <int FORM>
struct Step {
  static constexpr Scheme S = kFormRows[FORM].scheme;
  static constexpr bool kStatic = S != Scheme::Affine;
  static constexpr int64_t kRecordK = S == Scheme::K || S == Scheme::K6 ? 256 : 32;
  static constexpr int64_t kHead = S == Scheme::D || S == Scheme::K6 ? 32 : 64;
  static constexpr int64_t kBlock = kBlockHead<FORM> + 64 * kFormRows[FORM].bits;
  MC_Q int64_t record_k(const Layout& l) { return kStatic ? kRecordK : l.record_k; }
  MC_Q int64_t head(const Layout& l) { return kStatic ? kHead : l.head_bytes; }
  MC_Q int64_t record_bytes(const Layout& l) {
    return kStatic ? kHead + kRecordK / 32 * kBlock : l.record_bytes;
  }
};

template <class V, int FORM, int NV, int K, int O>
MC_Q void gemv_one(const Octet<V, kFormRows[FORM].bits, kFormRows[FORM].bias, O>* o, const Scales<V>* s,
                   const float* x, typename V::F* p) {
  const auto xk = V::set1(x[8 * O + K]);
#pragma GCC unroll 16
  for (int v = 0; v < NV; ++v)
    p[v] = V::fma(xk, weight_of<V, FORM>(o[v].template code<K>(), s[v].d[O / 2], s[v].m), p[v]);
}

template <class V, int FORM, int NV, int O>
MC_Q void gemv_octet(const uint8_t* codes, int64_t panel_bytes, const Scales<V>* s, const float* x,
                     typename V::F* p) {
  using Oct = Octet<V, kFormRows[FORM].bits, kFormRows[FORM].bias, O>;
  Oct o[NV];
#pragma GCC unroll 16
  for (int v = 0; v < NV; ++v)
    o[v] = Oct::load(codes + v / kParts<V> * panel_bytes + v % kParts<V> * 4 * V::kLanes);
  gemv_one<V, FORM, NV, 0, O>(o, s, x, p);
  gemv_one<V, FORM, NV, 1, O>(o, s, x, p);
  gemv_one<V, FORM, NV, 2, O>(o, s, x, p);
  gemv_one<V, FORM, NV, 3, O>(o, s, x, p);
  gemv_one<V, FORM, NV, 4, O>(o, s, x, p);
  gemv_one<V, FORM, NV, 5, O>(o, s, x, p);
  gemv_one<V, FORM, NV, 6, O>(o, s, x, p);
  gemv_one<V, FORM, NV, 7, O>(o, s, x, p);
}

// P panels at once: P * kParts chains of fma, enough to hide their latency.
template <class V, int FORM, int P>
void gemv_panels(const Layout& l, const uint8_t* panel, const float* x, float* y) {
  constexpr int NV = P * kParts<V>;
  using St = Step<FORM>;
  const int64_t k = l.k, pb = l.panel_bytes;
  typename V::F acc[NV], p[NV];
#pragma GCC unroll 16
  for (int v = 0; v < NV; ++v) acc[v] = V::zero();
  const uint8_t *record = panel, *next = panel + P * pb;
  for (int64_t k0 = 0; k0 < k; k0 += 256) {
    const int64_t kc = k - k0 < 256 ? k - k0 : 256;
#pragma GCC unroll 16
    for (int v = 0; v < NV; ++v) p[v] = V::zero();
    for (int64_t kr = 0; kr < kc; kr += St::record_k(l), record += St::record_bytes(l)) {
      const uint8_t* block = record + St::head(l);
      for (int64_t kb = 0; kb < St::record_k(l); kb += 32, block += St::kBlock) {
        const float* xb = x + k0 + kr + kb;
        Scales<V> s[NV];
#pragma GCC unroll 16
        for (int v = 0; v < NV; ++v)
          s[v] =
              load_scales<V, FORM>(l, record + v / kParts<V> * pb, block + v / kParts<V> * pb, v % kParts<V>);
        prefetch_next<V, FORM, P>(next);
        const uint8_t* codes = block + kBlockHead<FORM>;
        gemv_octet<V, FORM, NV, 0>(codes, pb, s, xb, p);
        gemv_octet<V, FORM, NV, 1>(codes, pb, s, xb, p);
        gemv_octet<V, FORM, NV, 2>(codes, pb, s, xb, p);
        gemv_octet<V, FORM, NV, 3>(codes, pb, s, xb, p);
      }
    }
#pragma GCC unroll 16
    for (int v = 0; v < NV; ++v) acc[v] = k0 ? V::add(acc[v], p[v]) : p[v];
  }
#pragma GCC unroll 16
  for (int v = 0; v < NV; ++v) V::store(y + v * V::kLanes, acc[v]);
}

template <class V, int FORM, int P>
void gemv_panels_dense(const Layout& l, const uint8_t* panel, const float* x, float* y) {
  constexpr int NV = P * kParts<V>;
  constexpr int kElement = 2 * kFormRows[FORM].bits;
  const int64_t k = l.k, pb = l.panel_bytes;
  typename V::F acc[NV], p[NV];
#pragma GCC unroll 16
  for (int v = 0; v < NV; ++v) acc[v] = V::zero();
  for (int64_t k0 = 0; k0 < k; k0 += 256) {
    const int64_t kc = k - k0 < 256 ? k - k0 : 256;
#pragma GCC unroll 16
    for (int v = 0; v < NV; ++v) p[v] = V::zero();
    for (int64_t i = k0; i < k0 + kc; ++i) {
      const auto xk = V::set1(x[i]);
      const uint8_t* e = panel + i * kElement;
#pragma GCC unroll 16
      for (int v = 0; v < NV; ++v) {
        if (v % kParts<V> == 0) V::prefetch(e + v / kParts<V> * pb + 2048);
        p[v] = V::fma(xk, load_dense<V, FORM>(e + v / kParts<V> * pb, v % kParts<V>), p[v]);
      }
    }
#pragma GCC unroll 16
    for (int v = 0; v < NV; ++v) acc[v] = k0 ? V::add(acc[v], p[v]) : p[v];
  }
#pragma GCC unroll 16
  for (int v = 0; v < NV; ++v) V::store(y + v * V::kLanes, acc[v]);
}

template <class V, int FORM, int P>
MC_Q void gemv_some(const Layout& l, const uint8_t* panel, const float* x, float* y) {
  if constexpr (kFormRows[FORM].scheme == Scheme::Dense)
    gemv_panels_dense<V, FORM, P>(l, panel, x, y);
  else
    gemv_panels<V, FORM, P>(l, panel, x, y);
}

template <class V, int FORM>
void gemv(const Layout& l, const uint8_t* panels, int64_t count, const float* x, float* y) {
  if (l.k == 0) {
    for (int64_t i = 0; i < count * kPanel; ++i) y[i] = 0;
    return;
  }
  int64_t i = 0;
  const auto run = [&]<int P>() {
    for (; i + P <= count; i += P) gemv_some<V, FORM, P>(l, panels + i * l.panel_bytes, x, y + i * kPanel);
  };
  if constexpr (kParts<V> == 1) run.template operator()<4>();
  if constexpr (kParts<V> <= 2) run.template operator()<2>();
  run.template operator()<1>();
}

template <class V, int FORM, int O>
MC_Q void expand_octet(const uint8_t* codes, const Scales<V>& s, float* dst, int64_t ld) {
  const auto o = Octet<V, kFormRows[FORM].bits, kFormRows[FORM].bias, O>::load(codes);
  const auto put = [&](int k, typename V::F q) {
    V::store(dst + (8 * O + k) * ld, weight_of<V, FORM>(q, s.d[O / 2], s.m));
  };
  put(0, o.template code<0>());
  put(1, o.template code<1>());
  put(2, o.template code<2>());
  put(3, o.template code<3>());
  put(4, o.template code<4>());
  put(5, o.template code<5>());
  put(6, o.template code<6>());
  put(7, o.template code<7>());
}

template <class V, int FORM>
void expand(const Layout& l, const uint8_t* panel, int64_t k0, int64_t kc, float* dst, int64_t ld) {
  if constexpr (kFormRows[FORM].scheme == Scheme::Dense) {
    for (int64_t k = 0; k < kc; ++k)
      for (int part = 0; part < kParts<V>; ++part)
        V::store(dst + k * ld + part * V::kLanes,
                 load_dense<V, FORM>(panel + (k0 + k) * 2 * kFormRows[FORM].bits, part));
  } else {
    using St = Step<FORM>;
    const uint8_t* record = panel + k0 / St::record_k(l) * St::record_bytes(l);
    for (int64_t kr = 0; kr < kc; kr += St::record_k(l), record += St::record_bytes(l)) {
      const uint8_t* block = record + St::head(l);
      for (int64_t kb = 0; kb < St::record_k(l); kb += 32, block += St::kBlock)
        for (int part = 0; part < kParts<V>; ++part) {
          const Scales<V> s = load_scales<V, FORM>(l, record, block, part);
          const uint8_t* codes = block + kBlockHead<FORM> + part * 4 * V::kLanes;
          float* out = dst + (kr + kb) * ld + part * V::kLanes;
          expand_octet<V, FORM, 0>(codes, s, out, ld);
          expand_octet<V, FORM, 1>(codes, s, out, ld);
          expand_octet<V, FORM, 2>(codes, s, out, ld);
          expand_octet<V, FORM, 3>(codes, s, out, ld);
        }
    }
  }
}

// A few tokens against an expanded strip of 32 rows, x straight from its rows.
template <class V, int M, int NV>
MC_Q void small_tile(int64_t kc, const float* x, int64_t x_stride, const float* w, float* c, int64_t ldc,
                     bool add) {
  typename V::F p[M][NV];
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 16
    for (int v = 0; v < NV; ++v) p[m][v] = V::zero();
  for (int64_t k = 0; k < kc; ++k) {
    typename V::F wk[NV];
#pragma GCC unroll 16
    for (int v = 0; v < NV; ++v) wk[v] = V::load(w + k * 32 + v * V::kLanes);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      const auto xk = V::set1(x[m * x_stride + k]);
#pragma GCC unroll 16
      for (int v = 0; v < NV; ++v) p[m][v] = V::fma(xk, wk[v], p[m][v]);
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 16
    for (int v = 0; v < NV; ++v) {
      float* at = c + m * ldc + v * V::kLanes;
      V::store(at, add ? V::add(V::load(at), p[m][v]) : p[m][v]);
    }
}

template <class V, int M>
void small_rows(int64_t kc, const float* x, int64_t x_stride, const float* w, float* c, int64_t ldc,
                bool add) {
  constexpr int NV = V::kLanes == 16 ? 2 : M <= 3 ? 4 : 2;
  for (int r = 0; r < 32; r += NV * V::kLanes) small_tile<V, M, NV>(kc, x, x_stride, w + r, c + r, ldc, add);
}

template <class V>
void small(int m, int64_t kc, const float* x, int64_t x_stride, const float* w, float* c, int64_t ldc,
           bool add) {
  switch (m) {
    case 1: return small_rows<V, 1>(kc, x, x_stride, w, c, ldc, add);
    case 2: return small_rows<V, 2>(kc, x, x_stride, w, c, ldc, add);
    case 3: return small_rows<V, 3>(kc, x, x_stride, w, c, ldc, add);
    case 4: return small_rows<V, 4>(kc, x, x_stride, w, c, ldc, add);
    case 5: return small_rows<V, 5>(kc, x, x_stride, w, c, ldc, add);
    default: break;
  }
  // Six and more: two halves keep the accumulators in registers.
  const int half = m / 2;
  small<V>(half, kc, x, x_stride, w, c, ldc, add);
  small<V>(m - half, kc, x + half * x_stride, x_stride, w, c + half * ldc, ldc, add);
}

}  // namespace mc::numpy::quant
