#include <limits>

#include "backends/mlx/core/emit.h"

namespace mc::mlx_engine {

mx::array scalar_of(double value, mx::Dtype dtype) {
  if (dtype == mx::float64) return mx::array(value, mx::float64);
  return mx::astype(mx::array(static_cast<float>(value)), dtype, library().cpu);
}

namespace {

// On the CPU libmlx's exp, erf and sigmoid in float32 are up to 8 ulp (erf near 0 a thousand) off, its
// float64 forms of several functions compute in float32, and 16-bit ones round twice: those are the host's.
// On a GPU the float32 and 16-bit ones are the device's own.
bool transcendental(const Emit& e, mx::array (*f)(const mx::array&, mx::StreamOrDevice), bool exact_on_cpu) {
  const Dtype d = e.dtype();
  if (d == Dtype::F64 || is_complex(d)) return false;
  if (!e.gpu && (!exact_on_cpu || d != Dtype::F32)) return false;
  if (is_half(d)) return e.give(mx::astype(f(mx::astype(e.x(), mx::float32, e.s), e.s), mlx_dtype(d), e.s));
  return e.give(f(e.x(), e.s));
}

template <mx::array (*F)(const mx::array&, mx::StreamOrDevice)>
mx::array call(const mx::array& a, mx::StreamOrDevice s) {
  return F(a, s);
}

bool astype_native(Dtype from, Dtype to) {
  if (from == to) return true;
  if (is_complex(from) || is_complex(to)) return false;
  if (is_bool(to) || is_bool(from)) return !is_half(to) || is_bool(from);
  if (is_inexact(from) && is_integer(to)) return false;  // saturates, NaN gives 0
  if (is_integer(from) && is_integer(to)) return true;
  if (is_integer(from)) return (to == Dtype::F32 || to == Dtype::F64) && from != Dtype::U64;
  if (from == Dtype::F64) return to == Dtype::F32;  // halves: rounded once
  return true;
}

mx::array shifted(const Emit& e, bool left) {
  const mx::Dtype t = mlx_dtype(e.dtype());
  const auto width = static_cast<int>(8 * itemsize(e.dtype()));
  const mx::array limit = mx::astype(mx::array(width), t, e.s), zero = mx::zeros({}, t, e.s);
  // Shifts by the width or more are undefined in C++.
  const mx::array inside =
      mx::logical_and(mx::less(e.y(), limit, e.s), mx::greater_equal(e.y(), zero, e.s), e.s);
  const mx::array count = mx::where(inside, e.y(), zero, e.s);
  if (left) return mx::where(inside, mx::left_shift(e.x(), count, e.s), zero, e.s);
  const mx::array sign = is_signed_int(e.dtype()) ? mx::where(mx::less(e.x(), zero, e.s),
                                                              mx::astype(mx::array(-1), t, e.s), zero, e.s)
                                                  : zero;
  return mx::where(inside, mx::right_shift(e.x(), count, e.s), sign, e.s);
}

mx::array full_of(const FullAttrs& a, const mx::Stream& s) {
  const mx::Shape shape = mlx_shape(a.shape);
  switch (a.dtype) {
    case Dtype::C64:
      return mx::full(shape,
                      mx::array(std::complex<float>(static_cast<float>(a.re), static_cast<float>(a.im))), s);
    case Dtype::F64: return mx::full(shape, mx::array(a.re, mx::float64), mx::float64, s);
    case Dtype::U64: return mx::full(shape, mx::array(static_cast<uint64_t>(a.i)), mx::uint64, s);
    default: break;
  }
  if (is_floating(a.dtype))
    return mx::full(shape, mx::array(static_cast<float>(a.re)), mlx_dtype(a.dtype), s);
  return mx::full(shape, mx::astype(mx::array(a.i), mlx_dtype(a.dtype), s), s);
}

}  // namespace

bool emit_elementwise(const Emit& e) {
  const Dtype d = e.dtype();
  const mx::Stream& s = e.s;
  const bool real = !is_complex(d);
  switch (e.op) {
    case Op::Abs: return real && e.give(mx::abs(e.x(), s));
    case Op::Negative:
      return e.give(is_integer(d) ? mx::subtract(mx::zeros({}, mlx_dtype(d), s), e.x(), s)
                                  : mx::negative(e.x(), s));
    case Op::Sign:
      if (is_integer(d)) return e.give(mx::sign(e.x(), s));
      return e.give(mx::where(mx::isnan(e.x(), s), e.x(), mx::sign(e.x(), s), s));
    case Op::Sqrt: return real && e.give(mx::sqrt(e.x(), s));
    case Op::Rsqrt: return transcendental(e, mx::rsqrt, true);
    case Op::Exp: return transcendental(e, mx::exp, false);
    case Op::Expm1: return transcendental(e, mx::expm1, true);
    case Op::Log: return transcendental(e, mx::log, true);
    case Op::Log1p: return transcendental(e, mx::log1p, true);
    case Op::Log2: return transcendental(e, mx::log2, true);
    case Op::Sin: return transcendental(e, mx::sin, false);
    case Op::Cos: return transcendental(e, mx::cos, false);
    case Op::Tan: return transcendental(e, mx::tan, true);
    case Op::Arcsin: return transcendental(e, mx::arcsin, true);
    case Op::Arccos: return transcendental(e, mx::arccos, true);
    case Op::Arctan: return transcendental(e, mx::arctan, true);
    case Op::Sinh: return transcendental(e, mx::sinh, true);
    case Op::Cosh: return transcendental(e, mx::cosh, true);
    case Op::Tanh: return transcendental(e, mx::tanh, true);
    case Op::Erf: return transcendental(e, mx::erf, false);
    case Op::Erfinv: return transcendental(e, mx::erfinv, false);
    case Op::Sigmoid: return transcendental(e, mx::sigmoid, false);
    case Op::Floor: return e.give(mx::floor(e.x(), s));
    case Op::Ceil: return e.give(mx::ceil(e.x(), s));
    case Op::Round: return d == Dtype::F32 && e.give(mx::round(e.x(), s));
    case Op::IsNan: return real && e.give(mx::isnan(e.x(), s));
    case Op::IsInf: return real && e.give(mx::isinf(e.x(), s));
    case Op::IsFinite: return real && e.give(mx::isfinite(e.x(), s));
    case Op::LogicalNot: return real && e.give(mx::equal(e.x(), mx::zeros({}, mlx_dtype(d), s), s));
    case Op::BitwiseNot: return e.give(is_bool(d) ? mx::logical_not(e.x(), s) : mx::bitwise_invert(e.x(), s));
    case Op::Conj: return e.give(mx::conjugate(e.x(), s));
    case Op::Real: return e.give(mx::real(e.x(), s));
    case Op::Imag: return e.give(mx::imag(e.x(), s));
    case Op::Astype: {
      const Dtype to = e.as<AstypeAttrs>().dtype;
      if (is_bool(to) && real) return e.give(mx::not_equal(e.x(), mx::zeros({}, mlx_dtype(d), s), s));
      return astype_native(d, to) && e.give(mx::astype(e.x(), mlx_dtype(to), s));
    }
    case Op::Bitcast: return e.give(mx::view(e.x(), mlx_dtype(e.as<AstypeAttrs>().dtype), s));
    case Op::StopGradient: return e.give(e.x());
    case Op::Barrier: e.out = e.in; return true;
    case Op::Add: return e.give(mx::add(e.x(), e.y(), s));
    case Op::Subtract: return e.give(mx::subtract(e.x(), e.y(), s));
    case Op::Multiply: return e.give(mx::multiply(e.x(), e.y(), s));
    case Op::Divide: return real && e.give(mx::divide(e.x(), e.y(), s));
    case Op::Maximum: return e.give(mx::maximum(e.x(), e.y(), s));
    case Op::Minimum: return e.give(mx::minimum(e.x(), e.y(), s));
    case Op::Equal: return e.give(mx::equal(e.x(), e.y(), s));
    case Op::NotEqual: return e.give(mx::not_equal(e.x(), e.y(), s));
    case Op::Less: return e.give(mx::less(e.x(), e.y(), s));
    case Op::LessEqual: return e.give(mx::less_equal(e.x(), e.y(), s));
    case Op::Greater: return e.give(mx::greater(e.x(), e.y(), s));
    case Op::GreaterEqual: return e.give(mx::greater_equal(e.x(), e.y(), s));
    case Op::LogicalAnd: return e.give(mx::logical_and(e.x(), e.y(), s));
    case Op::LogicalOr: return e.give(mx::logical_or(e.x(), e.y(), s));
    case Op::BitwiseAnd: return e.give(mx::bitwise_and(e.x(), e.y(), s));
    case Op::BitwiseOr: return e.give(mx::bitwise_or(e.x(), e.y(), s));
    case Op::BitwiseXor: return e.give(mx::bitwise_xor(e.x(), e.y(), s));
    case Op::LeftShift: return e.give(shifted(e, true));
    case Op::RightShift: return e.give(shifted(e, false));
    case Op::Complex: {
      if (d != Dtype::F32) return false;
      const std::vector<mx::array> parts = mx::broadcast_arrays({e.x(), e.y()}, s);
      return e.give(mx::squeeze(mx::view(mx::stack(parts, -1, s), mx::complex64, s), -1, s));
    }
    case Op::Where: return e.give(mx::where(e.x(), e.y(), e.in[2], s));
    case Op::Full: return e.give(full_of(e.as<FullAttrs>(), s));
    default: return false;
  }
}

}  // namespace mc::mlx_engine
