// Elementwise operations.
#include <cmath>
#include <limits>
#include <numbers>

#include "backends/jax/lower.h"

namespace mc::jax_engine {
namespace {

// --- one input

// 16-bit floats are computed in float32 and rounded once.
template <class F>
void widened(const Lower& l, F f) {
  const Dtype d = l.dtype();
  l.give(cast(l.h, f(l.h.convert(l.x(), wide(d))),
              is_complex(d) && !is_complex(l.out[0].dtype) ? l.out[0].dtype : d));
}
#define MC_ONE(function, name)                                   \
  void function(const Lower& l) {                                \
    widened(l, [&](const Val& x) { return l.h.same(name, x); }); \
  }
MC_ONE(lower_negative, "stablehlo.negate")
MC_ONE(lower_sqrt, "stablehlo.sqrt")
MC_ONE(lower_exp, "stablehlo.exponential")
MC_ONE(lower_expm1, "stablehlo.exponential_minus_one")
MC_ONE(lower_log, "stablehlo.log")
MC_ONE(lower_sin, "stablehlo.sine")
MC_ONE(lower_cos, "stablehlo.cosine")
MC_ONE(lower_tan, "stablehlo.tan")
MC_ONE(lower_arcsin, "chlo.asin")
MC_ONE(lower_arccos, "chlo.acos")
MC_ONE(lower_sinh, "chlo.sinh")
MC_ONE(lower_cosh, "chlo.cosh")
MC_ONE(lower_tanh, "stablehlo.tanh")
MC_ONE(lower_erf, "chlo.erf")
MC_ONE(lower_erfinv, "chlo.erf_inv")
MC_ONE(lower_sigmoid, "stablehlo.logistic")
MC_ONE(lower_floor, "stablehlo.floor")
MC_ONE(lower_ceil, "stablehlo.ceil")
MC_ONE(lower_round, "stablehlo.round_nearest_even")
#undef MC_ONE

void lower_rsqrt(const Lower& l) {
  // The compiler's own is an estimate with a step of Newton's.
  widened(l, [&](const Val& x) { return l.h.div(l.h.whole(x.aval, 1), l.h.same("stablehlo.sqrt", x)); });
}
// Zeros in place of subnormal numbers, which XLA's CPU client takes for zeros in some steps of a function
// only: its atan2 and power would give other numbers than either.
Val flushed(Hlo& h, const Val& x) {
  if (!h.on_host() || !is_floating(x.dtype())) return x;
  const Val small = h.compare(h.same("stablehlo.abs", x), h.filled(x.aval, finfo(x.dtype()).tiny), "LT");
  return h.select(small, h.mul(x, h.whole(x.aval, 0)), x);
}
// Of a divisor known to be 1 XLA's CPU compiler (jaxlib 0.11.2) makes an arctangent that reads memory it has
// not written: it is not told.
Val arctan2(Hlo& h, const Val& y, const Val& x) {
  return h.same("stablehlo.atan2", flushed(h, y),
                h.op("stablehlo.optimization_barrier", {flushed(h, x)}, x.aval));
}
void lower_arctan(const Lower& l) {
  widened(l, [&](const Val& x) { return arctan2(l.h, x, l.h.whole(x.aval, 1)); });
}
// In float64 xla-cpu-pjrt's own is up to 24 ulp off. log(u)·x/(u - 1) with u = 1 + x rounded: what the
// rounding took from u it took from the divisor, too. The compiler must not see that u - 1 was x.
Val log1p64(Hlo& h, const Val& x) {
  const Val one = h.whole(x.aval, 1), u = h.op("stablehlo.optimization_barrier", {h.add(x, one)}, x.aval);
  const Val y = h.mul(h.same("stablehlo.log", u), h.div(x, h.sub(u, one)));
  const Val far = h.select(h.compare(u, h.infinity(x.aval), "EQ"), u, y);
  return h.select(h.compare(u, one, "EQ"), x, far);
}
void lower_log1p(const Lower& l) {
  widened(l, [&](const Val& x) {
    if (l.h.on_host() && x.dtype() == Dtype::F64) return log1p64(l.h, x);
    return l.h.same("stablehlo.log_plus_one", x);
  });
}
void lower_log2(const Lower& l) {
  widened(l, [&](const Val& x) {
    return l.h.div(l.h.same("stablehlo.log", x), l.h.filled(x.aval, std::numbers::ln2));
  });
}
void lower_abs(const Lower& l) {
  if (is_unsigned(l.dtype()) || is_bool(l.dtype())) return l.give(l.x());
  l.give(l.h.op("stablehlo.abs", {l.x()}, l.out[0]));
}
void lower_sign(const Lower& l) {
  Hlo& h = l.h;
  if (is_unsigned(l.dtype())) return l.give(h.same("stablehlo.minimum", l.x(), h.whole(l.x().aval, 1)));
  widened(l, [&](const Val& x) { return h.same("stablehlo.sign", x); });
}
Val part(Hlo& h, const char* name, const Val& a) {
  return h.op(name, {a}, {a.shape(), real_dtype(a.dtype())});
}

template <class F>
Val each_part(const Lower& l, F test, bool both) {
  Hlo& h = l.h;
  if (!is_complex(l.dtype())) return test(l.x());
  const Val re = test(part(h, "stablehlo.real", l.x())), im = test(part(h, "stablehlo.imag", l.x()));
  return both ? h.land(re, im) : h.lor(re, im);
}
void lower_isnan(const Lower& l) {
  l.give(each_part(
      l, [&](const Val& x) { return l.h.is_nan(x); }, false));
}
void lower_isinf(const Lower& l) {
  Hlo& h = l.h;
  l.give(each_part(
      l, [&](const Val& x) { return h.compare(h.same("stablehlo.abs", x), h.infinity(x.aval), "EQ"); },
      false));
}
void lower_isfinite(const Lower& l) {
  l.give(each_part(
      l,
      [&](const Val& x) {
        return l.h.op("stablehlo.is_finite", {x}, {x.shape(), Dtype::Bool});
      },
      true));
}
void lower_logical_not(const Lower& l) {
  l.give(is_bool(l.dtype()) ? l.h.lnot(l.x()) : l.h.compare(l.x(), l.h.whole(l.x().aval, 0), "EQ"));
}
void lower_bitwise_not(const Lower& l) { l.give(l.h.lnot(l.x())); }
void lower_conj(const Lower& l) {
  Hlo& h = l.h;
  const Val im = part(h, "stablehlo.imag", l.x());
  l.give(h.op("stablehlo.complex", {part(h, "stablehlo.real", l.x()), h.same("stablehlo.negate", im)},
              l.out[0]));
}
void lower_real(const Lower& l) { l.give(part(l.h, "stablehlo.real", l.x())); }
void lower_imag(const Lower& l) { l.give(part(l.h, "stablehlo.imag", l.x())); }
void lower_same(const Lower& l) { l.give(l.x()); }
void lower_barrier(const Lower& l) {
  std::vector<Aval> avals;
  for (const Val& v : l.in) avals.push_back(v.aval);
  for (Val& v : l.h.ops("stablehlo.optimization_barrier", l.in, avals)) l.give(v);
}
void lower_astype(const Lower& l) { l.give(cast(l.h, l.x(), l.out[0].dtype)); }
void lower_bitcast(const Lower& l) { l.give(l.h.bitcast(l.x(), l.out[0])); }

// --- two inputs

struct Pair {
  Val a, b;
};
Pair operands(const Lower& l, bool widen = false) {
  const Dtype d = widen ? wide(l.dtype()) : l.dtype();
  return {l.h.convert(l.h.broadcast(l.in[0], l.out[0].shape), d),
          l.h.convert(l.h.broadcast(l.in[1], l.out[0].shape), d)};
}
template <class F>
void two(const Lower& l, F f) {
  const Pair p = operands(l, true);
  l.give(cast(l.h, f(p.a, p.b), l.dtype()));
}
#define MC_TWO(function, name)                                                \
  void function(const Lower& l) {                                             \
    two(l, [&](const Val& a, const Val& b) { return l.h.same(name, a, b); }); \
  }
MC_TWO(lower_add, "stablehlo.add")
MC_TWO(lower_subtract, "stablehlo.subtract")
MC_TWO(lower_multiply, "stablehlo.multiply")
MC_TWO(lower_divide, "stablehlo.divide")
MC_TWO(lower_maximum, "stablehlo.maximum")
MC_TWO(lower_minimum, "stablehlo.minimum")
MC_TWO(lower_and, "stablehlo.and")
MC_TWO(lower_or, "stablehlo.or")
MC_TWO(lower_xor, "stablehlo.xor")
MC_TWO(lower_left_shift, "stablehlo.shift_left")
#undef MC_TWO
void lower_arctan2(const Lower& l) {
  two(l, [&](const Val& a, const Val& b) { return arctan2(l.h, a, b); });
}
void lower_right_shift(const Lower& l) {
  two(l, [&](const Val& a, const Val& b) {
    return l.h.same(
        is_unsigned(l.dtype()) ? "stablehlo.shift_right_logical" : "stablehlo.shift_right_arithmetic", a, b);
  });
}
void lower_power(const Lower& l) {
  two(l, [&](const Val& a, const Val& b) {
    return l.h.same("stablehlo.power", flushed(l.h, a), flushed(l.h, b));
  });
}
// Of signs that differ and a remainder that is not 0 the quotient is one less and the remainder y more.
Val differing(Hlo& h, const Val& r, const Val& b) {
  const Val zero = h.whole(r.aval, 0);
  return h.land(h.compare(r, zero, "NE"),
                h.compare(h.compare(r, zero, "LT"), h.compare(b, zero, "LT"), "NE"));
}
void lower_floor_divide(const Lower& l) {
  Hlo& h = l.h;
  two(l, [&](const Val& a, const Val& b) {
    const Val zero = h.whole(a.aval, 0);
    if (is_floating(a.dtype())) {
      // As NumPy does: the floor of a rounded quotient may be one off.
      const Val r = h.same("stablehlo.remainder", a, b);
      Val q = h.div(h.sub(a, r), b);
      q = h.select(differing(h, r, b), h.sub(q, h.whole(q.aval, 1)), q);
      const Val floor = h.same("stablehlo.floor", q);
      q = h.select(h.compare(h.sub(q, floor), h.filled(q.aval, 0.5), "GT"), h.add(floor, h.whole(q.aval, 1)),
                   floor);
      q = h.select(h.compare(q, zero, "EQ"), h.mul(h.whole(q.aval, 0), h.div(a, b)), q);
      // Of infinities the standard's quotient is that of the division.
      const Val inf = h.infinity(a.aval);
      const Val wide_one = h.lor(h.compare(h.same("stablehlo.abs", a), inf, "EQ"),
                                 h.compare(h.same("stablehlo.abs", b), inf, "EQ"));
      q = h.select(wide_one, h.div(a, b), q);
      return h.select(h.compare(b, zero, "EQ"), h.div(a, b), q);
    }
    const Val none = h.compare(b, zero, "EQ"), safe = h.select(none, h.whole(b.aval, 1), b);
    Val q = h.div(a, safe);
    if (is_signed_int(a.dtype())) {
      const Val r = h.sub(a, h.mul(q, safe));
      q = h.select(differing(h, r, safe), h.sub(q, h.whole(q.aval, 1)), q);
    }
    return h.select(none, zero, q);
  });
}
void lower_remainder(const Lower& l) {
  Hlo& h = l.h;
  two(l, [&](const Val& a, const Val& b) {
    const Val zero = h.whole(a.aval, 0);
    if (is_floating(a.dtype())) {
      const Val r = h.same("stablehlo.remainder", a, b);
      return h.select(differing(h, r, b), h.add(r, b), r);
    }
    const Val none = h.compare(b, zero, "EQ"), safe = h.select(none, h.whole(b.aval, 1), b);
    // The lowest integer over -1 overflows; its remainder is 0.
    Val r = h.same("stablehlo.remainder", a, safe);
    if (is_signed_int(a.dtype())) {
      r = h.select(h.compare(safe, h.whole(b.aval, -1), "EQ"), zero, r);
      r = h.select(differing(h, r, safe), h.add(r, safe), r);
    }
    return h.select(none, zero, r);
  });
}

template <int kWhich>
void lower_compare(const Lower& l) {
  static constexpr const char* kNames[] = {"EQ", "NE", "LT", "LE", "GT", "GE"};
  const Pair p = operands(l);
  l.give(l.h.compare(p.a, p.b, kNames[kWhich]));
}
void lower_where(const Lower& l) {
  const Shape& s = l.out[0].shape;
  l.give(l.h.select(l.h.broadcast(l.in[0], s), l.h.broadcast(l.in[1], s), l.h.broadcast(l.in[2], s)));
}

void lower_complex(const Lower& l) {
  const Pair p = operands(l);
  l.give(l.h.op("stablehlo.complex", {p.a, p.b}, l.out[0]));
}
// Complex ones go to the host: what the compiler makes of them differs between its releases and at
// infinities.
bool of_reals(std::span<const Aval> in, const Attrs&) { return !is_complex(in[0].dtype); }

constexpr LowerRow kRows[] = {
    {Op::Abs, lower_abs},
    {Op::Negative, lower_negative},
    {Op::Sign, lower_sign},
    {Op::Sqrt, lower_sqrt},
    {Op::Rsqrt, lower_rsqrt},
    {Op::Exp, lower_exp},
    {Op::Expm1, lower_expm1, of_reals},
    {Op::Log, lower_log, of_reals},
    {Op::Log1p, lower_log1p, of_reals},
    {Op::Log2, lower_log2, of_reals},
    {Op::Sin, lower_sin},
    {Op::Cos, lower_cos},
    {Op::Tan, lower_tan, of_reals},
    {Op::Arcsin, lower_arcsin, of_reals},
    {Op::Arccos, lower_arccos, of_reals},
    {Op::Arctan, lower_arctan, of_reals},
    {Op::Sinh, lower_sinh, of_reals},
    {Op::Cosh, lower_cosh, of_reals},
    {Op::Tanh, lower_tanh},
    {Op::Erf, lower_erf},
    {Op::Erfinv, lower_erfinv},
    {Op::Sigmoid, lower_sigmoid},
    {Op::Floor, lower_floor},
    {Op::Ceil, lower_ceil},
    {Op::Round, lower_round},
    {Op::IsNan, lower_isnan},
    {Op::IsInf, lower_isinf},
    {Op::IsFinite, lower_isfinite},
    {Op::LogicalNot, lower_logical_not},
    {Op::BitwiseNot, lower_bitwise_not},
    {Op::Conj, lower_conj},
    {Op::Real, lower_real},
    {Op::Imag, lower_imag},
    {Op::Astype, lower_astype},
    {Op::Bitcast, lower_bitcast},
    {Op::StopGradient, lower_same},
    {Op::Barrier, lower_barrier},
    {Op::Add, lower_add},
    {Op::Subtract, lower_subtract},
    {Op::Multiply, lower_multiply},
    {Op::Divide, lower_divide},
    {Op::Power, lower_power},
    {Op::FloorDivide, lower_floor_divide},
    {Op::Remainder, lower_remainder},
    {Op::Maximum, lower_maximum},
    {Op::Minimum, lower_minimum},
    {Op::Arctan2, lower_arctan2},
    {Op::Equal, lower_compare<0>},
    {Op::NotEqual, lower_compare<1>},
    {Op::Less, lower_compare<2>},
    {Op::LessEqual, lower_compare<3>},
    {Op::Greater, lower_compare<4>},
    {Op::GreaterEqual, lower_compare<5>},
    {Op::LogicalAnd, lower_and},
    {Op::LogicalOr, lower_or},
    {Op::BitwiseAnd, lower_and},
    {Op::BitwiseOr, lower_or},
    {Op::BitwiseXor, lower_xor},
    {Op::LeftShift, lower_left_shift},
    {Op::RightShift, lower_right_shift},
    {Op::Where, lower_where},
    {Op::Complex, lower_complex},
};

// float64 to float32 such that rounding that to 16 bits is rounding once: to odd where it is not exact.
Val to_odd_f32(Hlo& h, const Val& a) {
  const Val f = h.convert(a, Dtype::F32), back = h.convert(f, Dtype::F64);
  const Val inexact = h.compare(back, a, "NE");
  const Val above = h.compare(h.same("stablehlo.abs", back), h.same("stablehlo.abs", a), "GT");
  const Aval bits{a.shape(), Dtype::U32};
  Val u = h.bitcast(f, bits);
  u = h.select(above, h.sub(u, h.whole(bits, 1)), u);
  u = h.select(inexact, h.lor(u, h.whole(bits, 1)), h.bitcast(f, bits));
  return h.select(h.is_nan(a), f, h.bitcast(u, f.aval));
}

Val float_to_integer(Hlo& h, const Val& a, Dtype to) {
  const IntInfo limits = iinfo(to);
  // The first value above the range is a power of two: exact in every float.
  const double top = std::ldexp(1.0, limits.bits - (is_signed_int(to) ? 1 : 0));
  const Val x = h.convert(a, wide(a.dtype()));
  const Val over = h.compare(x, h.filled(x.aval, top), "GE");
  const Val under = h.compare(x, h.filled(x.aval, static_cast<double>(limits.min)), "LE");
  const Val inside = h.lnot(h.lor(h.lor(over, under), h.is_nan(x)));
  const Val safe = h.select(inside, x, h.whole(x.aval, 0));
  const Aval out{a.shape(), to};
  Val y = h.convert(safe, to);
  y = h.select(over, h.filled_int(out, static_cast<int64_t>(limits.max)), y);
  return h.select(under, h.filled_int(out, limits.min), y);
}

}  // namespace

std::span<const LowerRow> elementwise_rows() { return kRows; }

Val cast(Hlo& h, const Val& a, Dtype to) {
  const Dtype from = a.dtype();
  if (from == to) return a;
  if (is_bool(to)) return h.compare(a, h.whole(a.aval, 0), "NE");
  if (is_complex(to)) {
    if (is_complex(from)) return h.convert(a, to);
    const Val re = cast(h, a, real_dtype(to));
    return h.op("stablehlo.complex", {re, h.whole(re.aval, 0)}, {a.shape(), to});
  }
  if (is_complex(from)) return cast(h, h.op("stablehlo.real", {a}, {a.shape(), real_dtype(from)}), to);
  if (is_floating(from) && is_integer(to)) return float_to_integer(h, a, to);
  if (is_half(to)) {
    if (from == Dtype::F64) return h.convert(to_odd_f32(h, a), to);
    if (is_half(from)) return h.convert(h.convert(a, Dtype::F32), to);
    if (is_integer(from)) return cast(h, h.convert(a, Dtype::F64), to);
  }
  return h.convert(a, to);
}

Val fill_value(Hlo& h, Dtype d) {
  if (is_inexact(d)) return h.nan({{}, d});
  if (is_signed_int(d)) return h.integer(d, iinfo(d).min);
  return h.integer(d, 0);
}

}  // namespace mc::jax_engine
