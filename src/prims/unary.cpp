// Elementwise operations of one input.
#include <cmath>
#include <numbers>

#include "mc/ops.h"
#include "prims/attrs.h"
#include "prims/rows.h"

namespace mc {
namespace {

using std::numbers::inv_sqrtpi;
using std::numbers::ln2;
using std::numbers::pi;

// Integers and bool have no exp or sin: they are computed in float32.
Array to_inexact(const Array& a) { return is_inexact(a.dtype()) ? a : astype(a, Dtype::F32); }
Array one(Op op, const Array& a) { return apply1(op, {&a, 1}); }
Array float_one(Op op, const Array& a) { return one(op, to_inexact(a)); }

void infer_abs(InferCtx& c) {
  require_dtype(c, 0, kDNumber);
  c.push(c.shape(0), real_dtype(c.dtype(0)));
}
void infer_part(InferCtx& c) {  // Real, Imag
  require_dtype(c, 0, kDComplex);
  c.push(c.shape(0), real_dtype(c.dtype(0)));
}

// A real cotangent on a complex input, so that products stay in the input's dtype.
Array like(const Array& g, const Array& x) { return astype(g, x.dtype()); }

template <Array (*F)(const Array& g, const Array& x, const Array& y)>
Arrays rule(const VjpCtx& c) {
  return {F(c.cot[0], c.in[0], c.out[0])};
}

// The gradient of a complex input is that of its real and imaginary part as one number, so rules have the
// conjugate of the derivative (conj of a real array is the array itself).
#define MC_RULE(name, expr)                                                                      \
  Array name(const Array& g, [[maybe_unused]] const Array& x, [[maybe_unused]] const Array& y) { \
    return expr;                                                                                 \
  }
MC_RULE(d_abs, is_complex(x.dtype()) ? like(g, x) * where(equal(x, 0), zeros_like(x),
                                                          x / like(where(equal(y, 0), ones_like(y), y), x))
                                     : g* sign(x))
MC_RULE(d_negative, negative(g))
MC_RULE(d_sqrt, g * 0.5 / conj(y))
MC_RULE(d_rsqrt, g * -0.5 * y * y * y)
MC_RULE(d_exp, g* conj(y))
MC_RULE(d_expm1, g* conj(y + 1))
MC_RULE(d_log, g / conj(x))
MC_RULE(d_log1p, g / conj(x + 1))
MC_RULE(d_log2, g / conj(x * ln2))
MC_RULE(d_sin, g* conj(cos(x)))
MC_RULE(d_cos, negative(g* conj(sin(x))))
MC_RULE(d_tan, g* conj(y* y + 1))
MC_RULE(d_arcsin, g* conj(rsqrt(1 - x * x)))
MC_RULE(d_arccos, negative(g* conj(rsqrt(1 - x * x))))
MC_RULE(d_arctan, g / conj(x * x + 1))
MC_RULE(d_sinh, g* conj(cosh(x)))
MC_RULE(d_cosh, g* conj(sinh(x)))
MC_RULE(d_tanh, g* conj(1 - y * y))
MC_RULE(d_erf, g*(exp(negative(x* x)) * (2 * inv_sqrtpi)))
MC_RULE(d_erfinv, g*(exp(y* y) * (0.5 / inv_sqrtpi)))
MC_RULE(d_sigmoid, g* y*(1 - y))
MC_RULE(d_conj, conj(g))
MC_RULE(d_real, like(g, x))
Array d_imag(const Array& g, const Array& x, const Array&) {
  // i·g: the imaginary part of z is Re(-i·z).
  const Array i = apply1(Op::Full, std::span<const Array>(), FullAttrs{{}, x.dtype(), 0, 1, 0});
  return like(g, x) * i;
}
#undef MC_RULE

constexpr uint32_t kInexact = kDFloats | kDComplex;

OpDef smooth(Op op, const char* doc, VjpFn vjp, const char* hlo, const char* oracle, double lo, double hi,
             double c = 4, uint32_t dtypes = kDFloats) {
  OpDef d;
  d.op = op;
  d.doc = doc;
  d.traits = kElementwise;
  d.infer = infer_elementwise;
  d.vjp = vjp;
  d.hlo = hlo;
  d.samples.lo = lo;
  d.samples.hi = hi;
  d.samples.dtypes = dtypes;
  d.samples.c = c;
  d.samples.oracle = oracle;
  return d;
}

OpDef stepped(Op op, const char* doc, const char* hlo, const char* oracle, uint32_t dtypes,
              uint32_t traits = 0) {
  OpDef d = smooth(op, doc, nullptr, hlo, oracle, -3, 3, 0, dtypes);
  d.traits |= kNoGrad | traits;
  d.samples.smooth = false;
  return d;
}

const OpDef* make_rows(size_t& count) {
  static const OpDef rows[] = {
      [] {
        OpDef d = smooth(Op::Abs, "absolute value; modulus of complex numbers; the gradient at 0 is 0",
                         rule<d_abs>, "stablehlo.abs", "np.abs(in0)", 0.1, 3, 4, kDNumber);
        d.infer = infer_abs;
        return d;
      }(),
      smooth(Op::Negative, "-x", rule<d_negative>, "stablehlo.negate", "np.negative(in0)", -3, 3, 0,
             kDNumber),
      stepped(Op::Sign, "-1, 0 or 1; NaN stays", "stablehlo.sign", "np.sign(in0)", kDReal),
      smooth(Op::Sqrt, "square root", rule<d_sqrt>, "stablehlo.sqrt", "np.sqrt(in0)", 0.1, 9, 4, kInexact),
      smooth(Op::Rsqrt, "1/sqrt(x)", rule<d_rsqrt>, "stablehlo.rsqrt", "1/np.sqrt(in0)", 0.1, 9),
      smooth(Op::Exp, "e to the x", rule<d_exp>, "stablehlo.exponential", "np.exp(in0)", -3, 3, 4, kInexact),
      smooth(Op::Expm1, "e to the x, minus 1, exact near 0", rule<d_expm1>, "stablehlo.exponential_minus_one",
             "np.expm1(in0)", -2, 2, 4, kInexact),
      smooth(Op::Log, "natural logarithm", rule<d_log>, "stablehlo.log", "np.log(in0)", 0.1, 9, 4, kInexact),
      smooth(Op::Log1p, "log(1+x), exact near 0", rule<d_log1p>, "stablehlo.log_plus_one", "log1p(in0)", -0.5,
             3, 4, kInexact),
      smooth(Op::Log2, "logarithm to base 2", rule<d_log2>, nullptr, "np.log2(in0)", 0.1, 9, 4, kInexact),
      smooth(Op::Sin, "sine of radians", rule<d_sin>, "stablehlo.sine", "np.sin(in0)", -6, 6, 4, kInexact),
      smooth(Op::Cos, "cosine of radians", rule<d_cos>, "stablehlo.cosine", "np.cos(in0)", -6, 6, 4,
             kInexact),
      smooth(Op::Tan, "tangent of radians", rule<d_tan>, "stablehlo.tan", "np.tan(in0)", -1.2, 1.2, 8,
             kInexact),
      smooth(Op::Arcsin, "inverse sine, in [-pi/2, pi/2]", rule<d_arcsin>, "chlo.asin", "np.arcsin(in0)",
             -0.9, 0.9, 4, kInexact),
      smooth(Op::Arccos, "inverse cosine, in [0, pi]", rule<d_arccos>, "chlo.acos", "np.arccos(in0)", -0.9,
             0.9, 4, kInexact),
      smooth(Op::Arctan, "inverse tangent, in [-pi/2, pi/2]", rule<d_arctan>, "chlo.atan", "np.arctan(in0)",
             -3, 3, 4, kInexact),
      smooth(Op::Sinh, "hyperbolic sine", rule<d_sinh>, "chlo.sinh", "np.sinh(in0)", -3, 3, 4, kInexact),
      smooth(Op::Cosh, "hyperbolic cosine", rule<d_cosh>, "chlo.cosh", "np.cosh(in0)", -3, 3, 4, kInexact),
      smooth(Op::Tanh, "hyperbolic tangent", rule<d_tanh>, "stablehlo.tanh", "np.tanh(in0)", -3, 3, 4,
             kInexact),
      smooth(Op::Erf, "error function", rule<d_erf>, "chlo.erf", "sp.erf(in0)", -3, 3),
      smooth(Op::Erfinv, "inverse error function", rule<d_erfinv>, "chlo.erf_inv", "sp.erfinv(in0)", -0.9,
             0.9, 8),
      smooth(Op::Sigmoid, "1/(1+exp(-x))", rule<d_sigmoid>, "stablehlo.logistic", "1/(1+np.exp(-in0))", -6,
             6),
      stepped(Op::Floor, "largest integer not above x", "stablehlo.floor", "np.floor(in0)", kDFloats),
      stepped(Op::Ceil, "smallest integer not below x", "stablehlo.ceil", "np.ceil(in0)", kDFloats),
      stepped(Op::Round, "nearest integer, half to even", "stablehlo.round_nearest_even", "np.round(in0)",
              kDFloats),
      stepped(Op::IsNan, "true for NaN", nullptr, "np.isnan(in0)", kDFloats | kDComplex, kPredicate),
      stepped(Op::IsInf, "true for both infinities", nullptr, "np.isinf(in0)", kDFloats | kDComplex,
              kPredicate),
      stepped(Op::IsFinite, "true for what is neither NaN nor infinite", "stablehlo.is_finite",
              "np.isfinite(in0)", kDFloats | kDComplex, kPredicate),
      stepped(Op::LogicalNot, "true for zero", nullptr, "np.logical_not(in0)", kDAll, kPredicate),
      stepped(Op::BitwiseNot, "all bits inverted; of bool: not", "stablehlo.not", "np.invert(in0)",
              kDInts | kDBool),
      smooth(Op::Conj, "complex conjugate", rule<d_conj>, nullptr, "np.conj(in0)", -3, 3, 0, kDComplex),
      [] {
        OpDef d = smooth(Op::Real, "real part", rule<d_real>, "stablehlo.real", "np.real(in0)", -3, 3, 0,
                         kDComplex);
        d.infer = infer_part;
        d.traits |= kView;
        return d;
      }(),
      [] {
        OpDef d = smooth(Op::Imag, "imaginary part", rule<d_imag>, "stablehlo.imag", "np.imag(in0)", -3, 3, 0,
                         kDComplex);
        d.infer = infer_part;
        d.traits |= kView;
        return d;
      }(),
      [] {
        OpDef d = stepped(Op::StopGradient, "x; no gradient passes", nullptr, "in0", kDAll, kView);
        return d;
      }(),
  };
  count = std::size(rows);
  return rows;
}

}  // namespace

Rows unary_rows() {
  size_t n = 0;
  const OpDef* rows = make_rows(n);
  return {rows, n};
}

Array abs(const Array& a) { return is_bool(a.dtype()) || is_unsigned(a.dtype()) ? a : one(Op::Abs, a); }
Array negative(const Array& a) { return one(Op::Negative, is_bool(a.dtype()) ? astype(a, Dtype::I32) : a); }
Array sign(const Array& a) {
  if (!is_complex(a.dtype())) return one(Op::Sign, is_bool(a.dtype()) ? astype(a, Dtype::I32) : a);
  // x/|x| of x over its larger part: neither overflows nor vanishes.
  const Array re = real(a), im = imag(a), larger = stop_gradient(maximum(abs(re), abs(im)));
  const Array none = equal(larger, 0), by = where(none, ones_like(larger), larger);
  const Array x = where(none, ones_like(re), re / by), y = where(none, zeros_like(im), im / by);
  const Array length = sqrt(x * x + y * y), zero = zeros_like(re);
  return complex(where(none, zero, x / length), where(none, zero, y / length));
}
Array sqrt(const Array& a) { return float_one(Op::Sqrt, a); }
Array rsqrt(const Array& a) { return is_complex(a.dtype()) ? reciprocal(sqrt(a)) : float_one(Op::Rsqrt, a); }
Array square(const Array& a) { return a * a; }
Array reciprocal(const Array& a) { return 1 / to_inexact(a); }
Array exp(const Array& a) { return float_one(Op::Exp, a); }
Array expm1(const Array& a) { return float_one(Op::Expm1, a); }
Array log(const Array& a) { return float_one(Op::Log, a); }
Array log1p(const Array& a) { return float_one(Op::Log1p, a); }
Array log2(const Array& a) { return float_one(Op::Log2, a); }
Array sin(const Array& a) { return float_one(Op::Sin, a); }
Array cos(const Array& a) { return float_one(Op::Cos, a); }
Array tan(const Array& a) { return float_one(Op::Tan, a); }
Array arcsin(const Array& a) { return float_one(Op::Arcsin, a); }
Array arccos(const Array& a) { return float_one(Op::Arccos, a); }
Array arctan(const Array& a) { return float_one(Op::Arctan, a); }
Array sinh(const Array& a) { return float_one(Op::Sinh, a); }
Array cosh(const Array& a) { return float_one(Op::Cosh, a); }
Array tanh(const Array& a) { return float_one(Op::Tanh, a); }
namespace {
// i·z and -i·z, exact in every part.
Array turned(const Array& z) { return complex(negative(imag(z)), real(z)); }
Array turned_back(const Array& z) { return complex(imag(z), negative(real(z))); }
// Above it x² ± 1 is x².
double large_for(Dtype d) { return d == Dtype::F16 ? 1e2 : 1e8; }
Array with_sign(const Array& magnitude, const Array& of) {
  const Dtype bits = itemsize(of.dtype()) == 8   ? Dtype::I64
                     : itemsize(of.dtype()) == 4 ? Dtype::I32
                                                 : Dtype::I16;
  const Array m = abs(magnitude);
  return where(less(bitcast(of, bits), 0), negative(m), m);
}
}  // namespace
Array arcsinh(const Array& a) {
  const Array x = to_inexact(a);
  if (is_complex(x.dtype())) return turned_back(arcsin(turned(x)));
  const Array m = abs(x), big = greater(m, large_for(x.dtype())), safe = where(big, ones_like(m), m);
  const Array square = safe * safe;
  const Array r = where(big, log(m) + ln2, log1p(safe + square / (1 + sqrt(square + 1))));
  return with_sign(r, x);
}
Array arccosh(const Array& a) {
  const Array x = to_inexact(a);
  if (is_complex(x.dtype())) {  // ±i·arccos, with the real part that is not negative
    const Array c = arccos(x);
    return complex(abs(imag(c)), with_sign(real(c), imag(x)));
  }
  const Array big = greater(x, large_for(x.dtype())), t = where(big, ones_like(x), x) - 1;
  const Array inside = where(less(t, 0), full_like(t, std::nan("")), t);
  return where(big, log(x) + ln2, log1p(inside + sqrt(inside * (inside + 2))));
}
Array arctanh(const Array& a) {
  const Array x = to_inexact(a);
  if (is_complex(x.dtype())) return turned_back(arctan(turned(x)));
  return (log1p(x) - log1p(negative(x))) * 0.5;
}
Array log10(const Array& a) {
  const Array x = to_inexact(a);
  if (is_complex(x.dtype())) {
    const Array r = log(x);
    return complex(real(r) * std::numbers::log10e, imag(r) * std::numbers::log10e);
  }
  return x.dtype() == Dtype::F64 ? log(x) / std::numbers::ln10 : log2(x) * std::log10(2.0);
}
Array erf(const Array& a) { return float_one(Op::Erf, a); }
Array erfinv(const Array& a) { return float_one(Op::Erfinv, a); }
Array sigmoid(const Array& a) { return float_one(Op::Sigmoid, a); }
Array silu(const Array& a) {
  const Array x = to_inexact(a);
  return x * sigmoid(x);
}
// The slope at 0 is 0: of equal ones maximum takes the first.
Array relu(const Array& a) { return maximum(0, a); }
Array gelu(const Array& a, bool exact) {
  const Array x = to_inexact(a);
  if (exact) return x * (erf(x * std::numbers::sqrt2 / 2) * 0.5 + 0.5);
  return x * 0.5 * (tanh((x + x * x * x * 0.044715) * std::sqrt(2 / pi)) + 1);
}
Array floor(const Array& a) { return is_inexact(a.dtype()) ? one(Op::Floor, a) : a; }
Array ceil(const Array& a) { return is_inexact(a.dtype()) ? one(Op::Ceil, a) : a; }
Array round(const Array& a, int decimals) {
  if (!is_inexact(a.dtype())) {
    if (decimals >= 0) return a;
    return astype(round(astype(a, Dtype::F64), decimals), a.dtype());
  }
  if (decimals == 0) return one(Op::Round, a);
  if (std::abs(decimals) > 300)
    throw Error(ErrorCode::InvalidArgument, cat("decimals must be from -300 to 300, got ", decimals),
                "round");
  // 1000 with two decimals is beyond float16.
  if (a.dtype() == Dtype::F16 || a.dtype() == Dtype::BF16)
    return astype(round(astype(a, Dtype::F32), decimals), a.dtype());
  const double scale = std::pow(10.0, std::abs(decimals));
  return decimals > 0 ? one(Op::Round, a * scale) / scale : one(Op::Round, a / scale) * scale;
}
namespace {
Array test(Op op, const Array& a, bool otherwise) {
  return is_inexact(a.dtype()) ? one(op, a) : full(a.shape(), otherwise, Dtype::Bool);
}
}  // namespace
Array isnan(const Array& a) { return test(Op::IsNan, a, false); }
Array isinf(const Array& a) { return test(Op::IsInf, a, false); }
Array isfinite(const Array& a) { return test(Op::IsFinite, a, true); }
Array logical_not(const Array& a) { return one(Op::LogicalNot, a); }
Array bitwise_not(const Array& a) { return one(Op::BitwiseNot, a); }
Array conj(const Array& a) { return is_complex(a.dtype()) ? one(Op::Conj, a) : a; }
Array real(const Array& a) { return is_complex(a.dtype()) ? one(Op::Real, a) : a; }
Array imag(const Array& a) { return is_complex(a.dtype()) ? one(Op::Imag, a) : zeros_like(a); }
Array stop_gradient(const Array& a) { return one(Op::StopGradient, a); }

}  // namespace mc
