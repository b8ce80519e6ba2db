// Arrays made from numbers.
#include <cmath>
#include <limits>

#include "mc/ops.h"
#include "prims/attrs.h"
#include "prims/rows.h"
#include "prims/shape_check.h"

namespace mc {
namespace {

void infer_full(InferCtx& c) {
  const auto& a = c.as<FullAttrs>();
  check_countable(c, a.shape);
  c.push(a.shape, a.dtype);
}
void infer_arange(InferCtx& c) {
  const auto& a = c.as<ArangeAttrs>();
  check_countable(c, {a.n});
  c.push({a.n}, a.dtype);
}
using Cases = std::vector<SampleCase>;
Cases full_cases() {
  return {{{}, FullAttrs{{2, 3}, Dtype::F32, 1.5, 0, 0}, "np.full((2, 3), 1.5)"},
          {{}, FullAttrs{{}, Dtype::I32, 0, 0, -7}, "np.asarray(-7)"},
          {{}, FullAttrs{{0, 4}, Dtype::BF16, 2, 0, 0}, "np.full((0, 4), 2.0)"},
          {{}, FullAttrs{{5}, Dtype::C64, 1, -2, 0}, "np.full((5,), 1 - 2j)"},
          {{}, FullAttrs{{9}, Dtype::Bool, 0, 0, 1}, "np.full((9,), True)"}};
}
Cases arange_cases() {
  return {{{}, ArangeAttrs{7, Dtype::F32, 2, 0.5, 0, 0}, "2 + 0.5 * np.arange(7)"},
          {{}, ArangeAttrs{70, Dtype::I32, 0, 0, 100, -3}, "100 - 3 * np.arange(70)"},
          {{}, ArangeAttrs{0, Dtype::F64, 0, 1, 0, 1}, "np.arange(0)"},
          {{}, ArangeAttrs{3, Dtype::I64, 0, 0, 5000000000, 1}, "5000000000 + np.arange(3)"}};
}
Arrays no_batch(const VmapCtx&) { return {}; }  // no inputs, hence never batched

const OpDef kRows[] = {
    {.op = Op::Full,
     .doc = "one value for all elements",
     .traits = kNoGrad,
     .infer = infer_full,
     .vmap = no_batch,
     .samples = {.dtypes = kDAll, .c = 0, .cases = full_cases, .smooth = false}},
    {.op = Op::Arange,
     .doc = "start + i·step, computed in float64 or int64 and rounded once",
     .traits = kNoGrad,
     .infer = infer_arange,
     .vmap = no_batch,
     .samples = {.dtypes = kDInts | kDF32 | kDF64, .c = 1, .cases = arange_cases, .smooth = false}},
};

Array make_full(const Shape& shape, Scalar v, Dtype dtype) {
  FullAttrs a{shape, dtype, 0, 0, 0};
  if (is_inexact(dtype)) {
    a.re = v.as_double();
  } else if (is_bool(dtype)) {
    a.i = v.as_double() != 0;
  } else {
    const double d = v.as_double();
    if (v.is_float() && d != std::floor(d))
      throw Error(ErrorCode::DtypeMismatch,
                  cat(v.as_double(), " is not a whole number, as ", dtype_name(dtype), " needs"), "full");
    // 64-bit integers hold every Scalar that was an integer (uint64 ones as their bits).
    const IntInfo limits = iinfo(dtype);
    const double low = static_cast<double>(limits.min), high = static_cast<double>(limits.max);
    if (v.is_float() || limits.bits < 64) {
      const double above = dtype == Dtype::U64 ? 18446744073709551616.0 : 9223372036854775808.0;
      if (!(d >= low) || !(limits.bits < 64 ? d <= high : d < above))
        throw Error(ErrorCode::InvalidArgument, cat(d, " does not fit ", dtype_name(dtype)), "full",
                    "choose a wider dtype");
    }
    // -1 as uint64 and 2^63 as int64 are other numbers with the same bits.
    if (limits.bits == 64 && !v.is_float() &&
        (dtype == Dtype::U64 ? v.as_int() < 0 && !v.is_wide() : v.is_wide()))
      throw Error(ErrorCode::InvalidArgument, cat(d, " does not fit ", dtype_name(dtype)), "full",
                  "choose another dtype");
    a.i = v.is_float() && d >= 9223372036854775808.0 ? static_cast<int64_t>(static_cast<uint64_t>(d))
                                                     : v.as_int();
  }
  return apply1(Op::Full, std::span<const Array>(), a);
}

Dtype default_dtype(Scalar v) { return v.is_bool() ? Dtype::Bool : v.is_float() ? Dtype::F32 : Dtype::I32; }

}  // namespace

Rows creation_rows() { return kRows; }

Array scalar(Scalar v, std::optional<Dtype> dtype) {
  return make_full({}, v, dtype.value_or(default_dtype(v)));
}
Array full(const Shape& shape, Scalar v, Dtype dtype) { return make_full(shape, v, dtype); }
Array full(const Shape& shape, const Array& v) { return broadcast_to(v, shape); }
Array zeros(const Shape& shape, Dtype dtype) { return make_full(shape, 0, dtype); }
Array ones(const Shape& shape, Dtype dtype) { return make_full(shape, 1, dtype); }
Array full_like(const Array& a, Scalar v, std::optional<Dtype> dtype) {
  return make_full(a.shape(), v, dtype.value_or(a.dtype()));
}
Array zeros_like(const Array& a, std::optional<Dtype> dtype) { return full_like(a, 0, dtype); }
Array ones_like(const Array& a, std::optional<Dtype> dtype) { return full_like(a, 1, dtype); }

Array tri(int64_t n, int64_t m, int k, Dtype dtype) {
  const Array i = expand_dims(arange(0, n, 1, Dtype::I64), {1}),
              j = expand_dims(arange(0, m, 1, Dtype::I64), {0});
  return astype(less_equal(j, i + k), dtype);
}
Array eye(int64_t n, int64_t m, int k, Dtype dtype) {
  if (n < 0 || m < -1)
    throw Error(ErrorCode::InvalidArgument, cat("sizes must be 0 or more, got ", n, " and ", m), "eye");
  const Array i = expand_dims(arange(0, n, 1, Dtype::I64), {1}),
              j = expand_dims(arange(0, m < 0 ? n : m, 1, Dtype::I64), {0});
  return astype(equal(j, i + k), dtype);
}
Array tril(const Array& a, int k) {
  return where(tri(a.shape(-2), a.shape(-1), k, Dtype::Bool), a, zeros_like(a));
}
Array triu(const Array& a, int k) {
  return where(tri(a.shape(-2), a.shape(-1), k - 1, Dtype::Bool), zeros_like(a), a);
}

Array arange(Scalar start, Scalar stop, Scalar step, std::optional<Dtype> dtype) {
  const bool floats = start.is_float() || stop.is_float() || step.is_float();
  const Dtype d = dtype.value_or(floats ? Dtype::F32 : Dtype::I32);
  if (step.as_double() == 0) throw Error(ErrorCode::InvalidArgument, "the step must not be 0", "arange");
  const double count = std::ceil((stop.as_double() - start.as_double()) / step.as_double());
  if (!(std::abs(count) < 9e15))
    throw Error(ErrorCode::InvalidArgument,
                cat("from ", start.as_double(), " to ", stop.as_double(), " by ", step.as_double(),
                    " has no finite number of elements"),
                "arange");
  ArangeAttrs a{std::max<int64_t>(0, static_cast<int64_t>(count)),
                d,
                start.as_double(),
                step.as_double(),
                floats ? 0 : start.as_int(),
                floats ? 0 : step.as_int()};
  const bool direct = (is_integer(d) && !floats) || d == Dtype::F32 || d == Dtype::F64;
  if (direct) return apply1(Op::Arange, std::span<const Array>(), a);
  a.dtype = is_integer(d) || is_bool(d) ? (floats ? Dtype::F64 : Dtype::I64) : Dtype::F64;
  return astype(apply1(Op::Arange, std::span<const Array>(), a), d);
}
Array arange(Scalar stop) { return arange(0, stop, stop.is_float() ? Scalar(1.0) : Scalar(1)); }

Array linspace(double start, double stop, int64_t num, Dtype dtype) {
  if (num < 0)
    throw Error(ErrorCode::InvalidArgument, cat("the number of points must be 0 or more, got ", num),
                "linspace");
  if (num == 1) return full({1}, start, dtype);
  const Array i = apply1(Op::Arange, std::span<const Array>(), ArangeAttrs{num, Dtype::F64, 0, 1, 0, 1});
  const double last = static_cast<double>(num - 1);
  // Both ends exactly, and symmetric rounding between.
  const Array low = i * ((stop - start) / last) + start, high = (i - last) * ((stop - start) / last) + stop;
  const Array points = where(less(i * 2, last), low, high);
  return astype(is_integer(dtype) ? floor(points) : points, dtype);
}

Array diag(const Array& a, int k) {
  const int64_t r = k < 0 ? -int64_t{k} : 0, c = k > 0 ? k : 0;
  if (a.ndim() == 1) {
    const int64_t n = a.shape(0) + r + c;
    const Array i = expand_dims(arange(0, n, 1, Dtype::I64), {1}),
                j = expand_dims(arange(0, n, 1, Dtype::I64), {0});
    const Array row = pad(a, {{c, r}});  // element of column j
    return where(equal(j, i + (c - r)), broadcast_to(expand_dims(row, {0}), {n, n}),
                 zeros({n, n}, a.dtype()));
  }
  if (a.ndim() != 2)
    throw Error(ErrorCode::ShapeMismatch,
                cat("diag needs one or two dimensions, got shape ", a.shape().str()), "diag");
  const int64_t n = std::max<int64_t>(0, std::min(a.shape(0) - r, a.shape(1) - c));
  const Array flat = reshape(a, {-1});
  return take(
      flat, arange(r * a.shape(1) + c, r * a.shape(1) + c + n * (a.shape(1) + 1), a.shape(1) + 1, Dtype::I64),
      0);
}

Array create_causal_mask(int64_t n, Dtype dtype) {
  return where(tri(n, n, 0, Dtype::Bool), zeros({n, n}, dtype),
               full({n, n}, -std::numeric_limits<double>::infinity(), dtype));
}

}  // namespace mc
