// Products of one token by the one-fma decoding of lift.h.
#pragma once

#include <utility>

#include "backends/numpy/quant/float_impl.h"
#include "backends/numpy/quant/lift.h"

namespace mc::numpy::quant {

// F of the code at bit B of each word.
template <class V, int FORM, int B>
MC_Q typename V::F lifted_code(typename V::I v) {
  constexpr Spot kSpot = spot_of(kFormRows[FORM], B);
  constexpr int kBits = kFormRows[FORM].bits, P = places_of(kFormRows[FORM]).at[kSpot.place];
  static_assert(P + kBits <= 23 && B + kSpot.shift == P);
  return V::as_f(V::and_or(shift<V, kSpot.shift>(v), ((1u << kBits) - 1) << P,
                           static_cast<uint32_t>(127 + 23 - P) << 23));
}

template <class V, int FORM, int NV, int O, int K>
MC_Q void lifted_one(const typename V::I* a, const typename V::I* b, const typename V::F* d,
                     const typename V::F (*m)[NV], const float* x, typename V::F* p) {
  constexpr int kBits = kFormRows[FORM].bits, B = 8 * (K % 4) + (kBits == 4 && K >= 4 ? 4 : 0);
  constexpr int kPlace = spot_of(kFormRows[FORM], B).place;
  const auto xk = V::set1(x[8 * O + K]);
#pragma GCC unroll 16
  for (int v = 0; v < NV; ++v) {
    if constexpr (V::kPicksBytes)
      p[v] = V::fma(xk, V::fma(V::template pick_byte<K % 4>(K < 4 ? a[v] : b[v]), d[v], m[0][v]), p[v]);
    else
      p[v] = V::fma(xk, V::fma(lifted_code<V, FORM, B>(K < 4 ? a[v] : b[v]), d[v], m[kPlace][v]), p[v]);
  }
}

// Octet O of a block; groups 2 * O and 2 * O + 1, which nibbles have in one word.
template <class V, int FORM, int NV, int O>
MC_Q void lifted_octet(const uint8_t* codes, int64_t panel_bytes, const typename V::F* d,
                       const typename V::F (*m)[NV], const float* x, typename V::F* p) {
  constexpr int kBits = kFormRows[FORM].bits;
  typename V::I a[NV], b[NV];
#pragma GCC unroll 16
  for (int v = 0; v < NV; ++v) {
    const uint8_t* c = codes + v / kParts<V> * panel_bytes + v % kParts<V> * 4 * V::kLanes;
    if constexpr (V::kPicksBytes) {
      a[v] = clean_bytes<V, kBits, 2 * O>(c);
      b[v] = clean_bytes<V, kBits, 2 * O + 1>(c);
    } else if constexpr (kBits == 4) {
      a[v] = b[v] = V::load_i(c + O * 4 * kPanel);
    } else {
      a[v] = dirty_bytes<V, kBits, 2 * O>(c);
      b[v] = dirty_bytes<V, kBits, 2 * O + 1>(c);
    }
  }
  [&]<int... K>(std::integer_sequence<int, K...>) __attribute__((always_inline)) {
    (lifted_one<V, FORM, NV, O, K>(a, b, d, m, x, p), ...);
  }
  (std::make_integer_sequence<int, 8>{});
}

template <class V, int FORM, int P>
void lifted_panels(const Layout& l, const uint8_t* panel, const float* x, float* y) {
  constexpr int NV = P * kParts<V>;
  using St = Step<FORM>;
  // Bytes that are picked are codes as they stand: their addend has no power of two in it.
  constexpr Places kPlaces = V::kPicksBytes ? Places{1, {}} : places_of(kFormRows[FORM]);
  constexpr int kHalves = kFormRows[FORM].scheme == Scheme::K6 ? 2 : 1;
  const int64_t k = l.k, pb = l.panel_bytes;
  typename V::F acc[NV], p[NV];
#pragma GCC unroll 16
  for (int v = 0; v < NV; ++v) acc[v] = V::zero();
  const uint8_t *record = panel, *next = panel + P * pb;
  for (int64_t k0 = 0; k0 < k; k0 += 256) {
    const int64_t kc = k - k0 < 256 ? k - k0 : 256;
#pragma GCC unroll 16
    for (int v = 0; v < NV; ++v) p[v] = V::zero();
    for (int64_t kr = 0; kr < kc; kr += St::kRecordK, record += St::record_bytes(l)) {
      const uint8_t* block = record + St::kHead;
      for (int64_t kb = 0; kb < St::kRecordK; kb += 32, block += St::kBlock) {
        const float* xb = x + k0 + kr + kb;
        typename V::F d[2][NV], m[2][3][NV];
#pragma GCC unroll 16
        for (int v = 0; v < NV; ++v) {
          const Scales<V> s =
              load_scales<V, FORM>(l, record + v / kParts<V> * pb, block + v / kParts<V> * pb, v % kParts<V>);
#pragma GCC unroll 2
          for (int h = 0; h < kHalves; ++h) {
            d[h][v] = s.d[h];
#pragma GCC unroll 4
            for (int i = 0; i < kPlaces.count; ++i) {
              constexpr int kBias = kFormRows[FORM].bias;
              const auto base =
                  V::set1(-static_cast<float>(V::kPicksBytes ? kBias : lift_base(kPlaces.at[i], kBias)));
              m[h][i][v] = kHasMin<FORM> ? V::fma(base, s.d[h], s.m) : V::mul(base, s.d[h]);
            }
          }
        }
        prefetch_next<V, FORM, P>(next);
        const uint8_t* codes = block + kBlockHead<FORM>;
        lifted_octet<V, FORM, NV, 0>(codes, pb, d[0], m[0], xb, p);
        lifted_octet<V, FORM, NV, 1>(codes, pb, d[0], m[0], xb, p);
        lifted_octet<V, FORM, NV, 2>(codes, pb, d[kHalves - 1], m[kHalves - 1], xb, p);
        lifted_octet<V, FORM, NV, 3>(codes, pb, d[kHalves - 1], m[kHalves - 1], xb, p);
      }
    }
#pragma GCC unroll 16
    for (int v = 0; v < NV; ++v) acc[v] = k0 ? V::add(acc[v], p[v]) : p[v];
  }
#pragma GCC unroll 16
  for (int v = 0; v < NV; ++v) V::store(y + v * V::kLanes, acc[v]);
}

template <class V, int FORM>
void lifted_gemv(const Layout& l, const uint8_t* panels, int64_t count, const float* x, float* y) {
  if (l.k == 0) {
    for (int64_t i = 0; i < count * kPanel; ++i) y[i] = 0;
    return;
  }
  int64_t i = 0;
  const auto run = [&]<int P>() {
    for (; i + P <= count; i += P)
      lifted_panels<V, FORM, P>(l, panels + i * l.panel_bytes, x, y + i * kPanel);
  };
  if constexpr (kParts<V> == 1) run.template operator()<4>();
  if constexpr (kParts<V> <= 2) run.template operator()<2>();
  run.template operator()<1>();
}

template <class V, int FORM>
constexpr GemvFn lifted_or_null() {
  if constexpr (can_lift(FORM)) return lifted_gemv<V, FORM>;
  return nullptr;
}

}  // namespace mc::numpy::quant
