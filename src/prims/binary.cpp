// Elementwise operations of two inputs, and where.
#include <limits>

#include "core/op_names.h"
#include "mc/ops.h"
#include "prims/attrs.h"
#include "prims/rows.h"

namespace mc {
namespace {

constexpr uint32_t kInexact = kDFloats | kDComplex;

Array pair(Op op, const Array& a, const Array& b) {
  const Array in[2] = {a, b};
  return apply1(op, std::span<const Array>(in, 2));
}

// Gradients with respect to both inputs, summed back to their shapes.
Arrays both(const VjpCtx& c, const Array& ga, const Array& gb) {
  Arrays out(2);
  if (c.needs[0]) out[0] = unbroadcast(ga, c.in[0].shape());
  if (c.needs[1]) out[1] = unbroadcast(gb, c.in[1].shape());
  return out;
}

Arrays vjp_add(const VjpCtx& c) { return both(c, c.cot[0], c.cot[0]); }
Arrays vjp_subtract(const VjpCtx& c) { return both(c, c.cot[0], c.needs[1] ? negative(c.cot[0]) : c.cot[0]); }
Arrays vjp_multiply(const VjpCtx& c) {
  return both(c, c.needs[0] ? c.cot[0] * conj(c.in[1]) : c.cot[0],
              c.needs[1] ? c.cot[0] * conj(c.in[0]) : c.cot[0]);
}
Arrays vjp_divide(const VjpCtx& c) {
  const Array ga = c.cot[0] / conj(c.in[1]);
  return both(c, ga, c.needs[1] ? negative(ga * conj(c.out[0])) : ga);
}
Arrays vjp_power(const VjpCtx& c) {
  const Array &x = c.in[0], &y = c.in[1], &g = c.cot[0];
  // At y = 0 the derivative is 0 whatever x; at x = 0 the logarithm is not taken.
  const Array gx = c.needs[0] ? g * where(equal(y, 0), zeros_like(y),
                                          y * power(x, where(equal(y, 0), ones_like(y), y - 1)))
                              : g;
  const Array gy = c.needs[1] ? g * c.out[0] * log(where(greater(x, 0), x, ones_like(x))) : g;
  return both(c, gx, gy);
}
// Ties go to the first input.
template <Array (*First)(const Array&, const Array&)>
Arrays vjp_extreme(const VjpCtx& c) {
  const Array first = First(c.in[0], c.in[1]);
  return both(c, where(first, c.cot[0], 0), where(first, 0, c.cot[0]));
}
Arrays vjp_arctan2(const VjpCtx& c) {
  const Array &y = c.in[0], &x = c.in[1];
  const Array s = c.cot[0] / (x * x + y * y);
  return both(c, s * x, negative(s * y));
}
// x - floor(x/y)·y
Arrays vjp_remainder(const VjpCtx& c) {
  return both(c, c.cot[0], c.needs[1] ? negative(c.cot[0] * floor_divide(c.in[0], c.in[1])) : c.cot[0]);
}
Arrays vjp_complex(const VjpCtx& c) { return both(c, real(c.cot[0]), imag(c.cot[0])); }
Arrays vjp_where(const VjpCtx& c) {
  Arrays out(3);
  if (c.needs[1]) out[1] = unbroadcast(where(c.in[0], c.cot[0], 0), c.in[1].shape());
  if (c.needs[2]) out[2] = unbroadcast(where(c.in[0], 0, c.cot[0]), c.in[2].shape());
  return out;
}

void infer_complex(InferCtx& c) {
  infer_elementwise(c);
  c.out[0].dtype = c.dtype(0) == Dtype::F64 ? Dtype::C128 : Dtype::C64;
}
void infer_where(InferCtx& c) {
  require_dtype(c, 0, kDBool);
  if (c.dtype(1) != c.dtype(2))
    c.fail(ErrorCode::DtypeMismatch,
           cat("dtypes ", dtype_name(c.dtype(1)), " and ", dtype_name(c.dtype(2)), " differ"));
  c.push(broadcast_shapes(broadcast_shapes(c.shape(0), c.shape(1), "where"), c.shape(2), "where"),
         c.dtype(1));
}

struct Spec {
  Op op;
  const char *doc, *hlo, *oracle;
  VjpFn vjp;
  uint32_t dtypes, traits;
  double lo, hi, c;
};
constexpr Spec kSpecs[] = {
    {Op::Add, "x + y", "stablehlo.add", "in0 + in1", vjp_add, kDNumber, kCommutative, -3, 3, 1},
    {Op::Subtract, "x - y", "stablehlo.subtract", "in0 - in1", vjp_subtract, kDNumber, 0, -3, 3, 1},
    {Op::Multiply, "x·y", "stablehlo.multiply", "in0 * in1", vjp_multiply, kDNumber, kCommutative, -3, 3, 2},
    {Op::Divide, "x/y of floats", "stablehlo.divide", "in0 / in1", vjp_divide, kInexact, 0, 0.5, 3, 2},
    {Op::Power, "x to the y; of integers: 0 for negative y unless x is 1 or -1", "stablehlo.power",
     "in0 ** in1", vjp_power, kDReal, 0, 0.5, 3, 8},
    {Op::FloorDivide, "floor(x/y), of infinities x/y; integer division by 0 gives 0", nullptr,
     "floor_divide(in0, in1)", nullptr, kDReal, kNoGrad, 0.5, 3, 1},
    {Op::Remainder, "x - floor(x/y)·y, the sign of y; integers: 0 for y = 0", nullptr,
     "np.remainder(in0, in1)", vjp_remainder, kDReal, 0, 0.5, 3, 4},
    {Op::Maximum, "the larger; NaN if either is", "stablehlo.maximum", "np.maximum(in0, in1)",
     vjp_extreme<greater_equal>, kDReal | kDBool, kCommutative, -3, 3, 0},
    {Op::Minimum, "the smaller; NaN if either is", "stablehlo.minimum", "np.minimum(in0, in1)",
     vjp_extreme<less_equal>, kDReal | kDBool, kCommutative, -3, 3, 0},
    {Op::Arctan2, "angle of (y, x)", "stablehlo.atan2", "np.arctan2(in0, in1)", vjp_arctan2, kDFloats, 0, 0.2,
     3, 4},
    {Op::Equal, "x == y", "EQ", "in0 == in1", nullptr, kDAll, kNoGrad | kPredicate | kCommutative, -3, 3, 0},
    {Op::NotEqual, "x != y", "NE", "in0 != in1", nullptr, kDAll, kNoGrad | kPredicate | kCommutative, -3, 3,
     0},
    {Op::Less, "x < y", "LT", "in0 < in1", nullptr, kDReal | kDBool, kNoGrad | kPredicate, -3, 3, 0},
    {Op::LessEqual, "x <= y", "LE", "in0 <= in1", nullptr, kDReal | kDBool, kNoGrad | kPredicate, -3, 3, 0},
    {Op::Greater, "x > y", "GT", "in0 > in1", nullptr, kDReal | kDBool, kNoGrad | kPredicate, -3, 3, 0},
    {Op::GreaterEqual, "x >= y", "GE", "in0 >= in1", nullptr, kDReal | kDBool, kNoGrad | kPredicate, -3, 3,
     0},
    {Op::LogicalAnd, "both are not zero", "stablehlo.and", "np.logical_and(in0, in1)", nullptr, kDBool,
     kNoGrad | kPredicate | kCommutative, -3, 3, 0},
    {Op::LogicalOr, "one is not zero", "stablehlo.or", "np.logical_or(in0, in1)", nullptr, kDBool,
     kNoGrad | kPredicate | kCommutative, -3, 3, 0},
    {Op::BitwiseAnd, "bits in both", "stablehlo.and", "np.bitwise_and(in0, in1)", nullptr, kDInts | kDBool,
     kNoGrad | kCommutative, -3, 3, 0},
    {Op::BitwiseOr, "bits in either", "stablehlo.or", "np.bitwise_or(in0, in1)", nullptr, kDInts | kDBool,
     kNoGrad | kCommutative, -3, 3, 0},
    {Op::BitwiseXor, "bits in one", "stablehlo.xor", "np.bitwise_xor(in0, in1)", nullptr, kDInts | kDBool,
     kNoGrad | kCommutative, -3, 3, 0},
    {Op::LeftShift, "x·2^y; 0 for y not below the width", "stablehlo.shift_left", "np.left_shift(in0, in1)",
     nullptr, kDInts, kNoGrad, 0, 3, 0},
    {Op::RightShift, "floor(x/2^y)", nullptr, "np.right_shift(in0, in1)", nullptr, kDInts, kNoGrad, 0, 3, 0},
    {Op::Complex, "x + i·y, each part as it stands", "stablehlo.complex", "in0 + 1j * in1", vjp_complex,
     kDF32 | kDF64, 0, -3, 3, 0},
};

std::vector<SampleCase> where_cases() {
  const std::vector<std::optional<Dtype>> dtypes{Dtype::Bool, kSwept, kSwept};
  return {{{{3, 33}, {3, 33}, {3, 33}}, {}, "np.where(in0, in1, in2)", dtypes, 2},
          {{{5, 1}, {}, {2, 1, 4}}, {}, "np.where(in0, in1, in2)", dtypes, 2},
          {{{0, 3}, {3}, {}}, {}, "np.where(in0, in1, in2)", dtypes, 2}};
}

std::vector<OpDef> make_rows() {
  std::vector<OpDef> rows;
  for (const Spec& s : kSpecs) {
    OpDef d;
    d.op = s.op;
    d.doc = s.doc;
    d.traits = kElementwise | s.traits;
    d.infer = s.op == Op::Complex ? infer_complex : infer_elementwise;
    d.vjp = s.vjp;
    d.hlo = s.hlo;
    d.samples.lo = s.lo;
    d.samples.hi = s.hi;
    d.samples.dtypes = s.dtypes;
    d.samples.c = s.c;
    d.samples.oracle = s.oracle;
    d.samples.smooth =
        s.vjp != nullptr && s.op != Op::Remainder && s.op != Op::Maximum && s.op != Op::Minimum;
    rows.push_back(d);
  }
  OpDef w;
  w.op = Op::Where;
  w.doc = "x where the condition holds, else y";
  w.traits = kElementwise;
  w.infer = infer_where;
  w.vjp = vjp_where;
  w.hlo = "stablehlo.select";
  w.samples.dtypes = kDAll;
  w.samples.c = 0;
  w.samples.cases = where_cases;
  rows.push_back(w);
  return rows;
}

// --- promotion of the public functions

enum class Kind : uint8_t { Arithmetic, Inexact, Compare, Logic, Bits };

// The dtype that the operation computes in.
Dtype operand_dtype(Kind kind, Dtype d, std::string_view name) {
  if (kind == Kind::Inexact) return is_inexact(d) ? d : Dtype::F32;
  if (kind == Kind::Logic) return Dtype::Bool;
  if (kind == Kind::Arithmetic && is_bool(d)) return Dtype::I32;
  if (kind == Kind::Bits && is_inexact(d))
    throw Error(ErrorCode::DtypeMismatch, cat("bits of ", dtype_name(d), " can't be combined"),
                std::string(name), "convert to an integer dtype with astype, or bitcast");
  return d;
}

Array promoted(Op op, Kind kind, const Array& a, const Array& b) {
  const Dtype d =
      operand_dtype(kind, a.dtype() == b.dtype() ? a.dtype() : promote(a.dtype(), b.dtype()), op_name(op));
  if (a.dtype() == d && b.dtype() == d) return pair(op, a, b);
  return pair(op, astype(a, d), astype(b, d));
}

// A number takes the array's dtype if that can hold its kind.
Dtype scalar_dtype(Dtype array, Scalar s) {
  if (s.is_float()) return is_inexact(array) ? array : Dtype::F32;
  if (s.is_bool()) return array;
  return is_bool(array) ? Dtype::I32 : array;
}
Array promoted(Op op, Kind kind, const Array& a, Scalar b) {
  return promoted(op, kind, a, scalar(b, scalar_dtype(a.dtype(), b)));
}
Array promoted(Op op, Kind kind, Scalar a, const Array& b) {
  return promoted(op, kind, scalar(a, scalar_dtype(b.dtype(), a)), b);
}

}  // namespace

Rows binary_rows() {
  static const std::vector<OpDef> rows = make_rows();
  return rows;
}

#define MC_DEFINE(name, op, kind)                                                           \
  Array name(const Array& a, const Array& b) { return promoted(Op::op, Kind::kind, a, b); } \
  Array name(const Array& a, Scalar b) { return promoted(Op::op, Kind::kind, a, b); }       \
  Array name(Scalar a, const Array& b) { return promoted(Op::op, Kind::kind, a, b); }
MC_DEFINE(add, Add, Arithmetic)
MC_DEFINE(subtract, Subtract, Arithmetic)
MC_DEFINE(multiply, Multiply, Arithmetic)
MC_DEFINE(divide, Divide, Inexact)
MC_DEFINE(floor_divide, FloorDivide, Arithmetic)
MC_DEFINE(remainder, Remainder, Arithmetic)
MC_DEFINE(maximum, Maximum, Compare)
MC_DEFINE(minimum, Minimum, Compare)
MC_DEFINE(arctan2, Arctan2, Inexact)
MC_DEFINE(equal, Equal, Compare)
MC_DEFINE(not_equal, NotEqual, Compare)
MC_DEFINE(less, Less, Compare)
MC_DEFINE(less_equal, LessEqual, Compare)
MC_DEFINE(greater, Greater, Compare)
MC_DEFINE(greater_equal, GreaterEqual, Compare)
MC_DEFINE(logical_and, LogicalAnd, Logic)
MC_DEFINE(logical_or, LogicalOr, Logic)
MC_DEFINE(logical_xor, NotEqual, Logic)
MC_DEFINE(bitwise_and, BitwiseAnd, Bits)
MC_DEFINE(bitwise_or, BitwiseOr, Bits)
MC_DEFINE(bitwise_xor, BitwiseXor, Bits)
MC_DEFINE(left_shift, LeftShift, Bits)
MC_DEFINE(right_shift, RightShift, Bits)
#undef MC_DEFINE

Array complex(const Array& re, const Array& im) {
  for (const Array* part : {&re, &im})
    if (is_complex(part->dtype()))
      throw Error(ErrorCode::DtypeMismatch,
                  cat("a part of dtype ", dtype_name(part->dtype()), " is not real"), "complex",
                  "take its real() or imag()");
  const Dtype d = re.dtype() == Dtype::F64 || im.dtype() == Dtype::F64 ? Dtype::F64 : Dtype::F32;
  return pair(Op::Complex, astype(re, d), astype(im, d));
}

Array power(const Array& a, const Array& b) {
  if (!is_complex(a.dtype()) && !is_complex(b.dtype())) return promoted(Op::Power, Kind::Arithmetic, a, b);
  const Dtype d = promote(a.dtype(), b.dtype());
  const Array x = astype(a, d), y = astype(b, d), none = equal(x, 0);
  // log(0) has no use: 0 to the 0 is 1, 0 to a positive real part is 0, anything else has no value.
  const Array of_zero = where(
      equal(y, 0), ones_like(y),
      where(greater(real(y), 0), zeros_like(y), full_like(y, std::numeric_limits<double>::quiet_NaN())));
  return where(none, of_zero, exp(y * log(where(none, ones_like(x), x))));
}
Array power(const Array& a, Scalar b) {
  const Dtype d = scalar_dtype(a.dtype(), b);
  if (d == a.dtype() && !is_bool(d) && b.as_double() == 2) return a * a;
  return power(a, scalar(b, d));
}
Array power(Scalar a, const Array& b) { return power(scalar(a, scalar_dtype(b.dtype(), a)), b); }

Array logaddexp(const Array& x, const Array& y) {
  const Dtype p = promote(x.dtype(), y.dtype());
  const Array a = astype(x, is_inexact(p) ? p : Dtype::F32), b = astype(y, a.dtype());
  // One choice for both, so that a tie shares its gradient: half and half.
  const Array swap = less(a, b), top = where(swap, b, a), bottom = where(swap, a, b);
  // Equal infinities have no difference.
  const Array d = where(logical_and(isinf(top), equal(top, bottom)), zeros_like(top), bottom - top);
  return top + log1p(exp(d));
}
Array logaddexp(const Array& a, Scalar b) { return logaddexp(a, scalar(b, scalar_dtype(a.dtype(), b))); }
Array logaddexp(Scalar a, const Array& b) { return logaddexp(scalar(a, scalar_dtype(b.dtype(), a)), b); }

Array clip(const Array& a, std::optional<Scalar> min, std::optional<Scalar> max) {
  Array out = a;
  if (min) out = maximum(out, *min);
  if (max) out = minimum(out, *max);
  return out;
}
Array clip(const Array& a, const Array& min, const Array& max) { return minimum(maximum(a, min), max); }

Array where(const Array& condition, const Array& x, const Array& y) {
  const Dtype d = promote(x.dtype(), y.dtype());
  const Array in[3] = {is_bool(condition.dtype()) ? condition : not_equal(condition, 0), astype(x, d),
                       astype(y, d)};
  return apply1(Op::Where, std::span<const Array>(in, 3));
}
Array where(const Array& condition, const Array& x, Scalar y) {
  return where(condition, x, scalar(y, scalar_dtype(x.dtype(), y)));
}
Array where(const Array& condition, Scalar x, const Array& y) {
  return where(condition, scalar(x, scalar_dtype(y.dtype(), x)), y);
}

Array where(const Array& condition, Scalar x, Scalar y) { return where(condition, scalar(x), scalar(y)); }

Array nan_to_num(const Array& a, double nan) {
  if (is_complex(a.dtype())) {
    const Array i = apply1(Op::Full, std::span<const Array>(), FullAttrs{{}, a.dtype(), 0, 1, 0});
    return astype(nan_to_num(real(a), nan), a.dtype()) + astype(nan_to_num(imag(a), nan), a.dtype()) * i;
  }
  if (!is_floating(a.dtype())) return a;
  const FloatInfo f = finfo(a.dtype());
  return clip(where(isnan(a), scalar(nan, a.dtype()), a), f.min, f.max);
}

}  // namespace mc
