// How a vector of rows is read from packed blocks: scales, codes as bytes of four elements, codes as floats.
// Shared by all kernels; included only by files that are compiled for one instruction set.
#pragma once

#include "backends/numpy/quant/layout.h"

namespace mc::numpy::quant {

#define MC_Q static inline __attribute__((always_inline))

// Vector `part` of a panel covers rows [part * kLanes, ...).
template <class V>
inline constexpr int kParts = kPanel / V::kLanes;

// Scales of one block of 32 for the rows of a vector: w = d[h] * q (+ m), h the half of the block (only Q6_K
// has two).
template <class V>
struct Scales {
  typename V::F d[2], m;
};

template <class V, int FORM>
MC_Q Scales<V> load_scales(const Layout& l, const uint8_t* record, const uint8_t* block, int part) {
  constexpr Scheme S = kFormRows[FORM].scheme;
  const int lane = part * V::kLanes;
  Scales<V> s{{V::zero(), V::zero()}, V::zero()};
  if constexpr (S == Scheme::D || S == Scheme::DM) {
    s.d[0] = s.d[1] = V::load_half(record + 2 * lane);
    if constexpr (S == Scheme::DM) s.m = V::load_half(record + 32 + 2 * lane);
  } else if constexpr (S == Scheme::K) {
    s.d[0] = s.d[1] = V::mul(V::load_half(record + 2 * lane), V::load_u8(block + lane));
    s.m = V::neg(V::mul(V::load_half(record + 32 + 2 * lane), V::load_u8(block + kPanel + lane)));
  } else if constexpr (S == Scheme::K6) {
    const auto d = V::load_half(record + 2 * lane);
    s.d[0] = V::mul(d, V::load_i8(block + lane));
    s.d[1] = V::mul(d, V::load_i8(block + kPanel + lane));
  } else if constexpr (S == Scheme::Affine) {
    if (l.scale_dtype == Dtype::F32) {
      s.d[0] = V::load(reinterpret_cast<const float*>(record) + lane);
      s.m = V::load(reinterpret_cast<const float*>(record) + kPanel + lane);
    } else if (l.scale_dtype == Dtype::F16) {
      s.d[0] = V::load_half(record + 2 * lane);
      s.m = V::load_half(record + 32 + 2 * lane);
    } else {
      s.d[0] = V::load_bfloat(record + 2 * lane);
      s.m = V::load_bfloat(record + 32 + 2 * lane);
    }
    s.d[1] = s.d[0];
  }
  return s;
}

template <int FORM>
inline constexpr bool kHasMin = kFormRows[FORM].scheme == Scheme::DM || kFormRows[FORM].scheme == Scheme::K ||
                                kFormRows[FORM].scheme == Scheme::Affine;
// Bytes of narrow scales before the codes of a block.
template <int FORM>
inline constexpr int kBlockHead =
    kFormRows[FORM].scheme == Scheme::K || kFormRows[FORM].scheme == Scheme::K6 ? 32 : 0;

// The group of P panels after this one is asked for into the second-level cache while this one is used: one
// stream in the order of addresses, which memory delivers faster than a stream a panel. Called once a block
// of 32; `next` starts at the group's end.
template <class V, int FORM, int P>
MC_Q void prefetch_next(const uint8_t*& next) {
  constexpr Scheme S = kFormRows[FORM].scheme;
  constexpr int kHeadPart = S == Scheme::D ? 32 : S == Scheme::DM ? 64 : S == Scheme::Affine ? 32 : 8;
  constexpr int kBytes = P * (kHeadPart + kBlockHead<FORM> + 64 * kFormRows[FORM].bits);
#pragma GCC unroll 64
  for (int line = 0; line < kBytes; line += 64) V::prefetch_l2(next + line);
  next += kBytes;
}

// Shifts by a signed amount, left when positive.
template <class V, int N>
MC_Q typename V::I shift(typename V::I v) {
  if constexpr (N > 0)
    return V::template shl<N>(v);
  else if constexpr (N < 0)
    return V::template shr<-N>(v);
  else
    return v;
}

inline constexpr uint32_t bytes_of(uint32_t b) { return b * 0x01010101u; }

// Four elements of group G (0..7) of each row, one a byte; bits above the code's own are garbage. `codes` is
// the block's first plane at this part.
template <class V, int BITS, int G>
MC_Q typename V::I dirty_bytes(const uint8_t* codes) {
  constexpr int kVec = 4 * kPanel;
  if constexpr (BITS == 8) {
    return V::load_i(codes + G * kVec);
  } else if constexpr (BITS == 2) {
    return shift<V, -2 * (G % 4)>(V::load_i(codes + G / 4 * kVec));
  } else if constexpr (BITS == 3) {
    const auto low = shift<V, -2 * (G % 4)>(V::load_i(codes + G / 4 * kVec));
    return V::select(bytes_of(3), low, shift<V, 2 - G>(V::load_i(codes + 2 * kVec)));
  } else {
    const auto low = shift<V, -4 * (G % 2)>(V::load_i(codes + G / 2 * kVec));
    if constexpr (BITS == 5)
      return V::select(bytes_of(15), low, shift<V, 4 - G>(V::load_i(codes + 4 * kVec)));
    if constexpr (BITS == 6)
      return V::select(bytes_of(15), low, shift<V, 4 - 2 * (G % 4)>(V::load_i(codes + (4 + G / 4) * kVec)));
    return low;
  }
}

// Codes of group G of a block, clean bytes.
template <class V, int BITS, int G>
MC_Q typename V::I clean_bytes(const uint8_t* codes) {
  const auto b = dirty_bytes<V, BITS, G>(codes);
  if constexpr (BITS == 8)
    return b;
  else
    return V::and_i(b, bytes_of((1u << BITS) - 1));
}

// The code at bit P of each word, minus the format's bias, as an exact float: its bits become the low part of
// a mantissa whose exponent makes them whole numbers.
template <class V, int BITS, int BIAS, int P>
MC_Q typename V::F code_at(typename V::I v) {
  static_assert(P + BITS <= 23);
  constexpr uint32_t kMask = ((1u << BITS) - 1) << P, kOne = static_cast<uint32_t>(127 + 23 - P) << 23;
  constexpr float kBase = static_cast<float>((1 << (23 - P)) + BIAS);
  return V::sub(V::as_f(V::and_or(v, kMask, kOne)), V::set1(kBase));
}

// Eight consecutive elements (octet O of a block) of the rows of a vector, taken one at a time by
// code<0..7>().
template <class V, int BITS, int BIAS, int O>
struct Octet {
  typename V::I a, a_high, b, b_high;
  static constexpr int kDown =
      BITS == 8 ? 16 : 12;  // brings bytes 2 and 3 (of 8-bit codes) or byte 3 within the mantissa
  MC_Q Octet load(const uint8_t* codes) {
    Octet o;
    o.a = dirty_bytes<V, BITS, 2 * O>(codes);
    o.b = dirty_bytes<V, BITS, 2 * O + 1>(codes);
    o.a_high = V::template shr<kDown>(o.a);
    o.b_high = V::template shr<kDown>(o.b);
    return o;
  }
  template <int K>
  inline __attribute__((always_inline)) typename V::F code() const {
    constexpr int B = K % 4;
    constexpr bool kHigh = 8 * B + BITS > 23;
    return code_at < V, BITS, BIAS,
           kHigh ? 8 * B - kDown : 8 * B > (K < 4 ? (kHigh ? a_high : a) : (kHigh ? b_high : b));
  }
};
// Nibbles: both groups straight from one word.
template <class V, int BIAS, int O>
struct Octet<V, 4, BIAS, O> {
  typename V::I v, high;
  MC_Q Octet load(const uint8_t* codes) {
    Octet o;
    o.v = V::load_i(codes + O * 4 * kPanel);
    o.high = V::template shr<12>(o.v);
    return o;
  }
  template <int K>
  inline __attribute__((always_inline)) typename V::F code() const {
    constexpr int P = 8 * (K % 4) + (K < 4 ? 0 : 4);
    constexpr bool kHigh = P + 4 > 23;
    return code_at < V, 4, BIAS, kHigh ? P - 12 : P > (kHigh ? high : v);
  }
};

// The weight of a code: one rounding, the same as dequantizing.
template <class V, int FORM>
MC_Q typename V::F weight_of(typename V::F q, typename V::F d, typename V::F m) {
  if constexpr (kHasMin<FORM>)
    return V::fma(d, q, m);
  else
    return V::mul(d, q);
}

template <class V, int FORM>
MC_Q typename V::F load_dense(const uint8_t* element, int part) {
  if constexpr (FORM == kF32) return V::load(reinterpret_cast<const float*>(element) + part * V::kLanes);
  if constexpr (FORM == kF16) return V::load_half(element + 2 * part * V::kLanes);
  return V::load_bfloat(element + 2 * part * V::kLanes);
}

}  // namespace mc::numpy::quant
