// Tiles that are the same code on every instruction set.
#include <cmath>
#include <limits>

#include "backends/numpy/kernels/tile_table.h"
#include "backends/numpy/simd/convert.h"

namespace mc::kernels {
namespace {

// Python's division on floats: fmod is exact in every C library.
template <class T>
struct DivMod {
  T div, mod;
};
template <class T>
DivMod<T> divmod(T a, T b) {
  if (b == 0) return {a / b, std::numeric_limits<T>::quiet_NaN()};
  // The standard's quotient of an infinity is that of the division (Python's is NaN, and -1 for opposite
  // signs).
  if (std::isinf(a) || std::isinf(b)) {
    const T mod = std::fmod(a, b);
    return {a / b, mod != 0 && (b < 0) != (mod < 0) ? mod + b : mod == 0 ? std::copysign(T{0}, b) : mod};
  }
  T mod = std::fmod(a, b);
  T div = (a - mod) / b;
  if (mod != 0) {
    if ((b < 0) != (mod < 0)) mod += b, div -= 1;
  } else {
    mod = std::copysign(T{0}, b);
  }
  if (div != 0) {
    T whole = std::floor(div);
    if (div - whole > T{0.5}) whole += 1;
    div = whole;
  } else {
    div = std::copysign(T{0}, a / b);
  }
  return {div, mod};
}
template <class T>
void floor_divide(const void* a, const void* b, const void*, void* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    static_cast<T*>(out)[i] = divmod(static_cast<const T*>(a)[i], static_cast<const T*>(b)[i]).div;
}
template <class T>
void remainder(const void* a, const void* b, const void*, void* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    static_cast<T*>(out)[i] = divmod(static_cast<const T*>(a)[i], static_cast<const T*>(b)[i]).mod;
}
template <class T>
void zeros(const void*, const void*, const void*, void* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) static_cast<T*>(out)[i] = T{};
}
template <class T>
void complex(const void* a, const void* b, const void*, void* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    static_cast<T*>(out)[2 * i] = static_cast<const T*>(a)[i];
    static_cast<T*>(out)[2 * i + 1] = static_cast<const T*>(b)[i];
  }
}
template <class T>
constexpr TileRow float_any() {
  TileRow r;
  r[PwOp::FloorDivide] = floor_divide<T>;
  r[PwOp::Remainder] = remainder<T>;
  r[PwOp::Imag] = zeros<T>;
  r[PwOp::Complex] = complex<T>;
  return r;
}

constexpr bool gives_bool(PwOp op) {
  switch (op) {
    case PwOp::IsNan:
    case PwOp::IsInf:
    case PwOp::IsFinite:
    case PwOp::LogicalNot:
    case PwOp::Equal:
    case PwOp::NotEqual:
    case PwOp::Less:
    case PwOp::LessEqual:
    case PwOp::Greater:
    case PwOp::GreaterEqual:
    case PwOp::LogicalAnd:
    case PwOp::LogicalOr:
    case PwOp::LogicalXor: return true;
    default: return false;
  }
}

template <class H, PwOp op>
void by_float(const void* a, const void* b, const void*, void* out, int64_t n) {
  constexpr int64_t kChunk = 512;
  alignas(64) float x[kChunk], y[kChunk];
  const TileFn fn = tile_fn(op, Dtype::F32);
  for (int64_t i = 0; i < n; i += kChunk) {
    const int64_t k = n - i < kChunk ? n - i : kChunk;
    simd::widen(static_cast<const H*>(a) + i, x, k);
    if (b) simd::widen(static_cast<const H*>(b) + i, y, k);
    if constexpr (gives_bool(op)) {
      fn(x, y, nullptr, static_cast<uint8_t*>(out) + i, k);
    } else {
      fn(x, y, nullptr, x, k);
      simd::narrow(x, static_cast<H*>(out) + i, k);
    }
  }
}
template <class H, PwOp op>
constexpr void set_half(TileRow& r) {
  if constexpr (op != PwOp::Copy && op != PwOp::Where && op != PwOp::Conj && op != PwOp::Real &&
                op != PwOp::Complex && op != PwOp::BitwiseNot && op != PwOp::BitwiseAnd &&
                op != PwOp::BitwiseOr && op != PwOp::BitwiseXor && op != PwOp::LeftShift &&
                op != PwOp::RightShift)
    r[op] = by_float<H, op>;
}
template <class H>
constexpr TileRow half_row() {
  TileRow r;
#define MC_HALF(name, inputs) set_half<H, PwOp::name>(r);
  MC_PW_OPS(MC_HALF)
#undef MC_HALF
  return r;
}

}  // namespace

const TileRow kTileF16 = half_row<float16>();
const TileRow kTileBf16 = half_row<bfloat16>();
const TileRow kTileF32Any = float_any<float>();
const TileRow kTileF64Any = float_any<double>();

}  // namespace mc::kernels
