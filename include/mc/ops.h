// The operations on arrays. Names and meanings are NumPy's and the array API standard's; where those two
// differ the standard wins (docs/contract.md lists the cases). All are lazy, none changes its inputs, all
// accept negative axes. Binary operations broadcast and promote (dtype.h); a Scalar takes the dtype of the
// array beside it. Errors are mc::Error: ShapeMismatch, DtypeMismatch, InvalidArgument, IndexOutOfRange,
// thrown when the operation is built.
#pragma once

#include <concepts>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "mc/array.h"

namespace mc {

// ---- creation

// A 0-d array; dtype as given, else bool, int32 or float32.
MC_API Array scalar(Scalar v, std::optional<Dtype> dtype = {});
MC_API Array full(const Shape& shape, Scalar v, Dtype dtype = Dtype::F32);
MC_API Array full(const Shape& shape, const Array& v);
MC_API Array zeros(const Shape& shape, Dtype dtype = Dtype::F32);
MC_API Array ones(const Shape& shape, Dtype dtype = Dtype::F32);
MC_API Array full_like(const Array& a, Scalar v, std::optional<Dtype> dtype = {});
MC_API Array zeros_like(const Array& a, std::optional<Dtype> dtype = {});
MC_API Array ones_like(const Array& a, std::optional<Dtype> dtype = {});
// n×m with ones on the k-th diagonal; m < 0 means n.
MC_API Array eye(int64_t n, int64_t m = -1, int k = 0, Dtype dtype = Dtype::F32);
// start, start+step, … below stop (ceil((stop-start)/step) elements); int32 if all are integers, else
// float32.
MC_API Array arange(Scalar start, Scalar stop, Scalar step = 1, std::optional<Dtype> dtype = {});
MC_API Array arange(Scalar stop);
// num points from start to stop inclusive.
MC_API Array linspace(double start, double stop, int64_t num, Dtype dtype = Dtype::F32);
// 1-d: a matrix with `a` on the k-th diagonal; 2-d: that diagonal.
MC_API Array diag(const Array& a, int k = 0);
MC_API Array tri(int64_t n, int64_t m, int k = 0, Dtype dtype = Dtype::F32);
MC_API Array tril(const Array& a, int k = 0);
MC_API Array triu(const Array& a, int k = 0);
// (n, n): 0 on and below the diagonal, -inf above.
MC_API Array create_causal_mask(int64_t n, Dtype dtype = Dtype::F32);

// ---- dtype

// float -> integer truncates and saturates, NaN gives 0; integer -> integer wraps; anything -> bool is x !=
// 0.
MC_API Array astype(const Array& a, Dtype dtype);
// The same bytes as another dtype of the same item size.
MC_API Array bitcast(const Array& a, Dtype dtype);

// ---- shape

// One dimension may be -1.
MC_API Array reshape(const Array& a, const Shape& shape);
MC_API Array flatten(const Array& a, int start_axis = 0, int end_axis = -1);
// Drops dimensions of 1; without axes all of them.
MC_API Array squeeze(const Array& a);
MC_API Array squeeze(const Array& a, const Axes& axes);
MC_API Array expand_dims(const Array& a, const Axes& axes);
// Without axes reverses all.
MC_API Array transpose(const Array& a);
MC_API Array transpose(const Array& a, const Axes& axes);
MC_API Array swapaxes(const Array& a, int axis1, int axis2);
MC_API Array moveaxis(const Array& a, int source, int destination);
MC_API Array broadcast_to(const Array& a, const Shape& shape);
MC_API Arrays broadcast_arrays(const Arrays& arrays);
MC_API Array concatenate(const Arrays& arrays, int axis = 0);
MC_API Array stack(const Arrays& arrays, int axis = 0);
// Equal sections; the dimension must divide.
MC_API Arrays split(const Array& a, int64_t sections, int axis = 0);
// At the given indices.
MC_API Arrays split_at(const Array& a, const Shape& indices, int axis = 0);
// widths: {before, after} for each axis, none negative.
MC_API Array pad(const Array& a, const std::vector<std::pair<int64_t, int64_t>>& widths, Scalar value = 0);
MC_API Array flip(const Array& a);
MC_API Array flip(const Array& a, const Axes& axes);
MC_API Array roll(const Array& a, int64_t shift, int axis);
MC_API Array repeat(const Array& a, int64_t repeats, int axis);
MC_API Array tile(const Array& a, const Shape& reps);
// NumPy's a[start:stop:step] on every axis; negative start and stop count from the end, steps may be
// negative. kEnd stands for a missing stop.
inline constexpr int64_t kEnd = INT64_MIN;
MC_API Array slice(const Array& a, const Shape& start, const Shape& stop, const Shape& step = {});
// The same on one axis.
MC_API Array slice_axis(const Array& a, int axis, int64_t start, int64_t stop, int64_t step = 1);
// A copy of `a` with a[start:stop:step] = update (broadcast); positive steps.
MC_API Array slice_update(const Array& a, const Array& update, const Shape& start, const Shape& stop,
                          const Shape& step = {});
// Starts are an integer array of shape (ndim,), known only when it runs; clamped so that the window fits.
MC_API Array dynamic_slice(const Array& a, const Array& starts, const Shape& sizes);
MC_API Array dynamic_update(const Array& a, const Array& update, const Array& starts);
// dynamic_update along `axis` with one start per row of axis 0: starts int32 (a.shape(0),). Rows whose window
// does not fit are dropped, never clamped: a cache is not overwritten by mistake.
MC_API Array dynamic_update_rows(const Array& a, const Array& update, const Array& starts, int axis);

// ---- elementwise

#define MC_UNARY_LIST(X)                                                                                     \
  X(abs)                                                                                                     \
  X(negative)                                                                                                \
  X(sign)                                                                                                    \
  X(sqrt)                                                                                                    \
  X(rsqrt)                                                                                                   \
  X(square)                                                                                                  \
  X(reciprocal)                                                                                              \
  X(exp)                                                                                                     \
  X(expm1) X(log) X(log1p) X(log2) X(sin) X(cos) X(tan) X(arcsin) X(arccos) X(arctan) X(sinh) X(cosh)        \
      X(tanh) X(arcsinh) X(arccosh) X(arctanh) X(log10) X(erf) X(erfinv) X(sigmoid) X(silu) X(relu) X(floor) \
          X(ceil) X(isnan) X(isinf) X(isfinite) X(logical_not) X(bitwise_not) X(conj) X(real) X(imag)        \
              X(stop_gradient)
#define MC_DECLARE(name) MC_API Array name(const Array& a);
MC_UNARY_LIST(MC_DECLARE)
#undef MC_DECLARE
// re + i·im of real arrays, each part as it stands: complex128 if one is float64, else complex64.
MC_API Array complex(const Array& re, const Array& im);
// exact = x·Φ(x) by erf; else the tanh approximation.
MC_API Array gelu(const Array& a, bool exact = true);
// Half to even; decimals as NumPy.
MC_API Array round(const Array& a, int decimals = 0);

#define MC_BINARY_LIST(X)                                                                                   \
  X(add)                                                                                                    \
  X(subtract)                                                                                               \
  X(multiply)                                                                                               \
  X(divide)                                                                                                 \
  X(power)                                                                                                  \
  X(floor_divide)                                                                                           \
  X(remainder)                                                                                              \
  X(maximum)                                                                                                \
  X(minimum) X(arctan2) X(equal) X(not_equal) X(less) X(less_equal) X(greater) X(greater_equal)             \
      X(logical_and) X(logical_or) X(logical_xor) X(bitwise_and) X(bitwise_or) X(bitwise_xor) X(left_shift) \
          X(right_shift) X(logaddexp)
#define MC_DECLARE(name)                             \
  MC_API Array name(const Array& a, const Array& b); \
  MC_API Array name(const Array& a, Scalar b);       \
  MC_API Array name(Scalar a, const Array& b);
MC_BINARY_LIST(MC_DECLARE)
#undef MC_DECLARE
MC_API Array clip(const Array& a, std::optional<Scalar> min, std::optional<Scalar> max);
MC_API Array clip(const Array& a, const Array& min, const Array& max);
// Both x and y are computed, and so are both gradients: one that is infinite or NaN where it is not chosen
// still meets a zero, and 0·inf is NaN. Make the argument harmless there, too:
//   where(x > 0, sqrt(x), 0)                     has a NaN gradient at x = 0
//   where(x > 0, sqrt(where(x > 0, x, 1)), 0)    has 0 there
MC_API Array where(const Array& condition, const Array& x, const Array& y);
MC_API Array where(const Array& condition, const Array& x, Scalar y);
MC_API Array where(const Array& condition, Scalar x, const Array& y);
// Of the dtype that the numbers have by themselves: bool, int32 or float32.
MC_API Array where(const Array& condition, Scalar x, Scalar y);
MC_API Array nan_to_num(const Array& a, double nan = 0);

#define MC_OPERATOR(sym, name)                                                     \
  inline Array operator sym(const Array& a, const Array& b) { return name(a, b); } \
  inline Array operator sym(const Array& a, Scalar b) { return name(a, b); }       \
  inline Array operator sym(Scalar a, const Array& b) { return name(a, b); }
MC_OPERATOR(+, add)
MC_OPERATOR(-, subtract)
MC_OPERATOR(*, multiply)
MC_OPERATOR(/, divide)
MC_OPERATOR(==, equal)
MC_OPERATOR(!=, not_equal)
MC_OPERATOR(<, less)
MC_OPERATOR(<=, less_equal)
MC_OPERATOR(>, greater)
MC_OPERATOR(>=, greater_equal)
MC_OPERATOR(%, remainder)
MC_OPERATOR(&, bitwise_and)
MC_OPERATOR(|, bitwise_or)
MC_OPERATOR(^, bitwise_xor)
#undef MC_OPERATOR
inline Array operator~(const Array& a) { return bitwise_not(a); }
inline Array operator!(const Array& a) { return logical_not(a); }
#define MC_OPERATOR(sym, name)                                                    \
  inline Array& operator sym(Array& a, const Array& b) { return a = name(a, b); } \
  inline Array& operator sym(Array& a, Scalar b) { return a = name(a, b); }
MC_OPERATOR(+=, add)
MC_OPERATOR(-=, subtract)
MC_OPERATOR(*=, multiply)
MC_OPERATOR(/=, divide)
#undef MC_OPERATOR
inline Array operator-(const Array& a) { return negative(a); }

// ---- reductions

// Without axes: over all. Empty axes list: over none. sum and prod of bool and small integers give int32
// (int64 and unsigned 64-bit stay); mean, var, std of integers give float32. NaN propagates. ddof is 0 unless
// given.
// An axis may be given as an int, several as a list: sum(a, 0), sum(a, {0, 2}).
template <class T>
concept AxisNumber = std::same_as<T, int> || std::same_as<T, int64_t>;
#define MC_DECLARE(name)                                                      \
  MC_API Array name(const Array& a);                                          \
  MC_API Array name(const Array& a, const Axes& axes, bool keepdims = false); \
  template <AxisNumber T>                                                     \
  Array name(const Array& a, T axis, bool keepdims = false) {                 \
    return name(a, Axes{static_cast<int64_t>(axis)}, keepdims);               \
  }
MC_DECLARE(sum)
MC_DECLARE(prod)
MC_DECLARE(mean)
MC_DECLARE(max)
MC_DECLARE(min)
MC_DECLARE(any)
MC_DECLARE(all)
MC_DECLARE(logsumexp)
#undef MC_DECLARE
#define MC_DECLARE(name)                                                                    \
  MC_API Array name(const Array& a);                                                        \
  MC_API Array name(const Array& a, const Axes& axes, bool keepdims = false, int ddof = 0); \
  template <AxisNumber T>                                                                   \
  Array name(const Array& a, T axis, bool keepdims = false, int ddof = 0) {                 \
    return name(a, Axes{static_cast<int64_t>(axis)}, keepdims, ddof);                       \
  }
MC_DECLARE(var)
MC_DECLARE(std)
#undef MC_DECLARE
// First index of the extreme, int32; NaN counts as extreme. Without axis over the flattened array.
MC_API Array argmax(const Array& a, std::optional<int> axis = {}, bool keepdims = false);
MC_API Array argmin(const Array& a, std::optional<int> axis = {}, bool keepdims = false);
// Without axis flattens.
MC_API Array cumsum(const Array& a, std::optional<int> axis = {}, bool reverse = false);
MC_API Array cumprod(const Array& a, std::optional<int> axis = {}, bool reverse = false);

// ---- products

// NumPy's matmul: batch dimensions broadcast, 1-d operands gain and lose a dimension. float16 and bfloat16
// accumulate in float32.
MC_API Array matmul(const Array& a, const Array& b);
MC_API Array dot(const Array& a, const Array& b);
MC_API Array inner(const Array& a, const Array& b);
MC_API Array outer(const Array& a, const Array& b);
MC_API Array tensordot(const Array& a, const Array& b, const Axes& axes_a, const Axes& axes_b);
// NumPy's einsum, ellipsis included; contracted pair by pair from the left.
MC_API Array einsum(std::string_view subscripts, const Arrays& operands);

// ---- indexing

// Integer indices; negative ones count from the end. One out of range reads NaN (the lowest value for
// integers, false for bool); a write there is dropped. a[indices] along `axis`; without axis from the
// flattened array.
MC_API Array take(const Array& a, const Array& indices, std::optional<int> axis = {});
MC_API Array take_along_axis(const Array& a, const Array& indices, int axis);
// out = a with out[..., indices[...], ...] += updates along axis (shapes of indices and updates are equal).
MC_API Array scatter_add_axis(const Array& a, const Array& indices, const Array& updates, int axis);
// Windows of `sizes` at positions given by one index array for each of `axes` (broadcast together):
// shape = indices.shape + sizes.
MC_API Array gather(const Array& a, const Arrays& indices, const Axes& axes, const Shape& sizes);
enum class ScatterMode : uint8_t { Set, Add, Multiply, Max, Min };
// The inverse of gather: combines updates (indices.shape + sizes) into a copy of `a`, in ascending order of
// the updates, so that duplicate indices have one result.
MC_API Array scatter(const Array& a, const Arrays& indices, const Array& updates, const Axes& axes,
                     ScatterMode mode = ScatterMode::Set);

// ---- sorting

// Ascending and stable, NaN last.
MC_API Array sort(const Array& a, int axis = -1);
// int32 indices.
MC_API Array argsort(const Array& a, int axis = -1);
// Element kth is in its place, smaller ones before, larger after.
MC_API Array partition(const Array& a, int64_t kth, int axis = -1);
// All n indices, int32.
MC_API Array argpartition(const Array& a, int64_t kth, int axis = -1);
// The k largest in descending order and their int32 indices; equal values keep their order.
MC_API std::pair<Array, Array> topk(const Array& a, int64_t k, int axis = -1);
// Where to insert `v` into the ascending 1-d array `sorted` to keep it sorted, int32.
MC_API Array searchsorted(const Array& sorted, const Array& v, bool right = false);

// ---- linear algebra (on the last two dimensions, batched; float32, float64, complex64 and complex128).
// Gradients of complex svd, eigh and of eig are refused: their vectors have a free phase.

struct SvdResult {
  Array u, s, vt;
};
// Thin: u (…, m, k), s (…, k) descending, vt (…, k, n), k = min(m, n).
// full: u (…, m, m) and vt (…, n, n), completed to bases.
MC_API SvdResult svd(const Array& a, bool full = false);
MC_API Array svdvals(const Array& a);
// Symmetric or Hermitian (the lower triangle is read): ascending real eigenvalues (…, n), eigenvectors in
// columns (…, n, n).
MC_API std::pair<Array, Array> eigh(const Array& a);
// Of any square matrix: complex eigenvalues (…, n) in LAPACK's order, eigenvectors of length 1 in columns.
MC_API std::pair<Array, Array> eig(const Array& a);
MC_API Array eigvals(const Array& a);
// Reduced: q (…, m, k), r (…, k, n) with a non-negative diagonal. complete: q (…, m, m), r (…, m, n).
MC_API std::pair<Array, Array> qr(const Array& a, bool complete = false);
// Lower triangular l with a = l·lᴴ, or upper u with a = uᴴ·u; throws SingularMatrix at eval if not positive
// definite.
MC_API Array cholesky(const Array& a, bool upper = false);
// b is (…, n) only if it has one dimension, else (…, n, k).
MC_API Array solve(const Array& a, const Array& b);
MC_API Array solve_triangular(const Array& a, const Array& b, bool upper = false);
MC_API Array inv(const Array& a);
MC_API Array det(const Array& a);
MC_API Array trace(const Array& a, int offset = 0);
// Vector 2-norm over the given axis, Frobenius for two axes or none.
MC_API Array norm(const Array& a);
MC_API Array norm(const Array& a, const Axes& axes, bool keepdims = false);
// Least squares by SVD; singular values below rcond·largest count as zero (rcond < 0: eps·max(m, n)).
MC_API Array lstsq(const Array& a, const Array& b, double rcond = -1);
MC_API Array pinv(const Array& a, double rcond = -1);

}  // namespace mc
