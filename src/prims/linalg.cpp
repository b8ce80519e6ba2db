// Linear algebra on the last two dimensions. Derivatives: Giles, "Collected matrix derivative results for
// forward and reverse mode algorithmic differentiation" (2008); SVD and eigh with guarded differences, after
// Seeger et al., "Auto-differentiating linear algebra" (2017); QR after Walter and Lehmann (2018).
#include <algorithm>
#include <cmath>

#include "core/op_names.h"
#include "mc/ops.h"
#include "prims/attrs.h"
#include "prims/rows.h"

namespace mc {
namespace {

constexpr uint32_t kNumbers = kDF32 | kDF64 | kDComplex;

void check_matrix(const InferCtx& c, size_t i, bool square) {
  require_dtype(c, i, kNumbers);
  const Shape& s = c.shape(i);
  if (s.ndim() < 2) c.fail(ErrorCode::ShapeMismatch, cat("a matrix has two dimensions, got shape ", s.str()));
  if (square && s.at(-1) != s.at(-2))
    c.fail(ErrorCode::ShapeMismatch, cat("the matrix must be square, got shape ", s.str()));
}
Shape with_last(const Shape& s, std::initializer_list<int64_t> last) {
  Shape out;
  for (int d = 0; d + 2 < s.ndim(); ++d) out.push_back(s[d]);
  for (int64_t d : last) out.push_back(d);
  return out;
}
void infer_svd(InferCtx& c) {
  check_matrix(c, 0, false);
  const Shape& s = c.shape(0);
  const int64_t m = s.at(-2), n = s.at(-1), k = std::min(m, n);
  c.push(with_last(s, {m, k}), c.dtype(0));
  c.push(with_last(s, {k}), real_dtype(c.dtype(0)));
  c.push(with_last(s, {k, n}), c.dtype(0));
}
void infer_eigh(InferCtx& c) {
  check_matrix(c, 0, true);
  c.push(with_last(c.shape(0), {c.shape(0).at(-1)}), real_dtype(c.dtype(0)));
  c.push(c.shape(0), c.dtype(0));
}
void infer_eig(InferCtx& c) {
  check_matrix(c, 0, true);
  const Dtype d = c.dtype(0) == Dtype::F64 || c.dtype(0) == Dtype::C128 ? Dtype::C128 : Dtype::C64;
  c.push(with_last(c.shape(0), {c.shape(0).at(-1)}), d);
  c.push(c.shape(0), d);
}
void infer_qr(InferCtx& c) {
  check_matrix(c, 0, false);
  const Shape& s = c.shape(0);
  const int64_t m = s.at(-2), n = s.at(-1), k = std::min(m, n);
  c.push(with_last(s, {m, k}), c.dtype(0));
  c.push(with_last(s, {k, n}), c.dtype(0));
}
void infer_square(InferCtx& c) {
  check_matrix(c, 0, true);
  c.push(c.shape(0), c.dtype(0));
}
void infer_det(InferCtx& c) {
  check_matrix(c, 0, true);
  c.push(with_last(c.shape(0), {}), c.dtype(0));
}
void infer_solve(InferCtx& c) {
  check_matrix(c, 0, true);
  check_matrix(c, 1, false);
  if (c.dtype(0) != c.dtype(1))
    c.fail(ErrorCode::DtypeMismatch,
           cat("dtypes ", dtype_name(c.dtype(0)), " and ", dtype_name(c.dtype(1)), " differ"));
  if (c.shape(0).at(-1) != c.shape(1).at(-2) || !(with_last(c.shape(0), {}) == with_last(c.shape(1), {})))
    c.fail(ErrorCode::ShapeMismatch, cat("a matrix of shape ", c.shape(0).str(),
                                         " does not fit a right-hand side of shape ", c.shape(1).str()));
  c.push(c.shape(1), c.dtype(0));
}

Array T(const Array& a) { return swapaxes(a, -1, -2); }
// The conjugate transpose; of real matrices the transpose.
Array H(const Array& a) { return conj(T(a)); }
Array row(const Array& a) { return expand_dims(a, {-2}); }
Array column(const Array& a) { return expand_dims(a, {-1}); }
// 1/(x_j - x_i), 0 where the difference vanishes.
Array inverse_differences(const Array& x) {
  const Array d = row(x) - column(x);
  const Array zero = equal(d, 0);
  return where(zero, zeros_like(d), 1 / where(zero, ones_like(d), d));
}
Array matrix_eye(const Array& like) { return eye(like.shape(-1), -1, 0, like.dtype()); }

// Vectors of complex decompositions have a phase that LAPACK chose.
[[noreturn]] void refuse(const VjpCtx& c, const char* what) {
  throw Error(
      ErrorCode::NotDifferentiable, cat("the gradient of ", op_name(c.op), " of ", what, " is not defined"),
      std::string(op_name(c.op)), "use stop_gradient on it, or a function that does not depend on phases");
}
Arrays vjp_eig(const VjpCtx& c) { refuse(c, "a matrix that need not be symmetric"); }
// Without the imaginary parts on the diagonal.
Array real_diagonal(const Array& a) {
  if (!is_complex(a.dtype())) return a;
  const Array on = eye(a.shape(-1), -1, 0, Dtype::Bool);
  return where(on, complex(real(a), zeros_like(imag(a))), a);
}

Arrays vjp_svd(const VjpCtx& c) {
  if (is_complex(c.in[0].dtype())) refuse(c, "complex numbers");
  const Array &u = c.out[0], &s = c.out[1], &vt = c.out[2];
  const Array &gu = c.cot[0], &gs = c.cot[1], &gvt = c.cot[2];
  const Array v = T(vt), gv = T(gvt);
  const Array f = inverse_differences(s * s);
  const Array zero = equal(s, 0);
  const Array inv_s = where(zero, zeros_like(s), 1 / where(zero, ones_like(s), s));
  const Array ju = f * (matmul(T(u), gu) - matmul(T(gu), u)), jv = f * (matmul(vt, gv) - matmul(T(gv), v));
  const Array inner = matrix_eye(ju) * row(gs) + ju * row(s) + column(s) * jv;
  Array g = matmul(matmul(u, inner), vt);
  const int64_t m = u.shape(-2), n = v.shape(-2), k = s.shape(-1);
  if (m > k) {
    const Array t = gu * row(inv_s);
    g = g + matmul(t - matmul(u, matmul(T(u), t)), vt);
  }
  if (n > k) {
    const Array t = column(inv_s) * gvt;
    g = g + matmul(u, t - matmul(matmul(t, v), vt));
  }
  return {g};
}
Arrays vjp_eigh(const VjpCtx& c) {
  if (is_complex(c.in[0].dtype())) refuse(c, "complex numbers");
  const Array &w = c.out[0], &v = c.out[1];
  const Array inner = matrix_eye(v) * row(c.cot[0]) + inverse_differences(w) * matmul(T(v), c.cot[1]);
  const Array g = matmul(matmul(v, inner), T(v));
  // Only the lower triangle is read, standing for both.
  const Array s = (g + T(g)) * 0.5;
  return {tril(s, -1) * 2 + s * matrix_eye(s)};
}
Arrays vjp_qr(const VjpCtx& c) {
  const Array &a = c.in[0], &q = c.out[0];
  Array r = c.out[1], gq = c.cot[0], gr = c.cot[1], right;
  const int64_t m = a.shape(-2), n = a.shape(-1);
  if (n >
      m) {  // a = [x, y] gives r = [u, qᵀ·y] with x = q·u: y has a gradient of its own and adds to that of q
    const Array gv = slice_axis(gr, -1, m, n);
    right = matmul(q, gv);
    gq = gq + matmul(slice_axis(a, -1, m, n), H(gv));
    r = slice_axis(r, -1, 0, m);
    gr = slice_axis(gr, -1, 0, m);
  }
  const Array s = real_diagonal(matmul(r, H(gr)) - matmul(H(gq), q));
  const Array b = gq + matmul(q, tril(s) + H(tril(s, -1)));
  const Array left = H(solve_triangular(r, H(b), true));
  return {right.defined() ? concatenate({left, right}, -1) : left};
}
Arrays vjp_cholesky(const VjpCtx& c) {
  const Array& l = c.out[0];
  const Array p = real_diagonal(tril(matmul(H(l), c.cot[0])));
  const Array phi = p - matrix_eye(p) * p * 0.5;
  // L^-H · phi · L^-1
  const Array left = solve_triangular(H(l), phi, true);
  const Array s = H(solve_triangular(H(l), H(left), true));
  const Array g = real_diagonal((s + H(s)) * 0.5);
  return {tril(g, -1) * 2 + g * matrix_eye(g)};  // only the lower triangle is read, standing for both
}
Arrays vjp_solve(const VjpCtx& c) {
  Arrays out(2);
  const Array gb = solve(H(c.in[0]), c.cot[0]);
  if (c.needs[1]) out[1] = gb;
  if (c.needs[0]) out[0] = negative(matmul(gb, H(c.out[0])));
  return out;
}
Arrays vjp_triangular(const VjpCtx& c) {
  const bool upper = c.as<TriangularAttrs>().upper;
  Arrays out(2);
  const Array gb = solve_triangular(H(c.in[0]), c.cot[0], !upper);
  if (c.needs[1]) out[1] = gb;
  if (c.needs[0]) {
    const Array g = negative(matmul(gb, H(c.out[0])));
    out[0] = upper ? triu(g) : tril(g);
  }
  return out;
}
// Products of all but one: along the last axis, of b at every other place.
Array before(const Array& b) {
  return concatenate({ones_like(slice_axis(b, -1, 0, 1)), slice_axis(cumprod(b, -1), -1, 0, b.shape(-1) - 1)},
                     -1);
}
Array after(const Array& b) {
  return concatenate({slice_axis(cumprod(b, -1, true), -1, 1, kEnd), ones_like(slice_axis(b, -1, 0, 1))}, -1);
}
// Cofactors of matrices that may be singular. With constant orthogonal u and v, b = uᵀ·a·v is diagonal here,
// and a's cofactors are ±u·cof(b)·vᵀ, where around a diagonal b cof(b)_ii is the product of the other b_ll
// and cof(b)_ij that of all but the i-th and j-th times -b_ji. Terms of the second order in what is beside
// the diagonal are missing: derivatives of it are right once.
Array cofactors(const Array& a, const SvdResult& f) {
  const int64_t n = a.shape(-1);
  const Array sign_of = sign(det(f.u) * det(f.vt));
  const Array b = matmul(matmul(T(f.u), a), T(f.vt));
  const Array d = sum(b * matrix_eye(b), {-1}), left = before(d), right = after(d);
  // between(i, j): the product of d_l with i < l < j.
  const Array above = logical_not(tri(n, n, 0, Dtype::Bool));
  const Array between = before(where(above, row(d), ones_like(b)));
  const Array upper = where(above, column(left) * between * row(right), zeros_like(b));
  const Array cof = matrix_eye(b) * column(left * right) - (upper + T(upper)) * T(b);
  return column(column(sign_of)) * matmul(matmul(f.u, cof), f.vt);
}
// det·a⁻ᵀ, and the cofactors themselves where the inverse would lose more than half of the digits.
Arrays vjp_det(const VjpCtx& c) {
  const Array& a = c.in[0];
  if (a.size() == 0) return {zeros_like(a)};
  if (is_complex(a.dtype())) return {column(column(c.cot[0] * conj(c.out[0]))) * H(inv(a))};
  const SvdResult f = svd(stop_gradient(a));
  const Array largest = slice_axis(f.s, -1, 0, 1), smallest = slice_axis(f.s, -1, a.shape(-1) - 1, kEnd);
  const Array singular = column(less_equal(smallest, largest * std::sqrt(finfo(a.dtype()).eps)));
  const Array regular = column(column(c.out[0])) * T(inv(where(singular, matrix_eye(a), a)));
  return {column(column(c.cot[0])) * where(singular, cofactors(a, f), regular)};
}

// Leading dimensions are a batch already.
Arrays vmap_lead(const VmapCtx& c) {
  Arrays in;
  for (size_t i = 0; i < c.in.size(); ++i) in.push_back(c.batch(i));
  return mc::apply(c.op, in, c.attrs);
}

using Cases = std::vector<SampleCase>;
// svd, eigh and qr are not unique: the oracle says what the factors must satisfy.
Cases svd_cases() {
  return {{{{5, 3}}, {}, "svd(in0)"}, {{{2, 3, 4}}, {}, "svd(in0)"}, {{{40, 40}}, {}, "svd(in0)"}};
}
Cases qr_cases() {
  return {{{{5, 3}}, {}, "qr(in0)"}, {{{2, 3, 4}}, {}, "qr(in0)"}, {{{40, 40}}, {}, "qr(in0)"}};
}
Cases eigh_cases() {
  return {{{{4, 4}}, {}, "eigh(in0)", {}, 0, 0, Draw::Symmetric},
          {{{2, 3, 3}}, {}, "eigh(in0)", {}, 0, 0, Draw::Symmetric}};
}
Cases eig_cases() {
  return {{{{4, 4}}, {}, "eig(in0)"}, {{{2, 3, 3}}, {}, "eig(in0)"}, {{{0, 0}}, {}, "eig(in0)"}};
}
Cases cholesky_cases() {
  return {{{{4, 4}}, {}, "np.linalg.cholesky(in0)", {}, 0, 0, Draw::PositiveDefinite},
          {{{2, 3, 3}}, {}, "np.linalg.cholesky(in0)", {}, 0, 0, Draw::PositiveDefinite}};
}
Cases det_cases() {
  return {{{{4, 4}}, {}, "np.linalg.det(in0)"},
          {{{2, 3, 3}}, {}, "np.linalg.det(in0)"},
          {{{0, 0}}, {}, "np.float64(1)"}};
}
Cases solve_cases() {
  return {{{{4, 4}, {4, 2}}, {}, "np.linalg.solve(in0, in1)"},
          {{{2, 3, 3}, {2, 3, 1}}, {}, "np.linalg.solve(in0, in1)"}};
}
Cases triangular_cases() {
  return {{{{4, 4}, {4, 2}}, TriangularAttrs{false}, "np.linalg.solve(np.tril(in0), in1)"},
          {{{3, 3}, {3, 1}}, TriangularAttrs{true}, "np.linalg.solve(np.triu(in0), in1)"}};
}

const OpDef kRows[] = {
    {.op = Op::Svd,
     .doc = "thin singular value decomposition, values descending",
     .infer = infer_svd,
     .vjp = vjp_svd,
     .vmap = vmap_lead,
     .samples = {.dtypes = kNumbers, .c = 32, .cases = svd_cases, .no_grad = kDComplex}},
    {.op = Op::Eigh,
     .doc = "eigenvalues ascending and vectors of a symmetric or Hermitian matrix",
     .infer = infer_eigh,
     .vjp = vjp_eigh,
     .vmap = vmap_lead,
     .samples = {.dtypes = kNumbers, .c = 32, .cases = eigh_cases, .no_grad = kDComplex}},
    {.op = Op::Eig,
     .doc = "complex eigenvalues and vectors of a square matrix",
     .infer = infer_eig,
     .vjp = vjp_eig,
     .vmap = vmap_lead,
     .samples = {.dtypes = kNumbers, .c = 32, .cases = eig_cases, .no_grad = kNumbers}},
    {.op = Op::Qr,
     .doc = "reduced QR, diagonal of R not negative",
     .infer = infer_qr,
     .vjp = vjp_qr,
     .vmap = vmap_lead,
     .samples = {.dtypes = kNumbers, .c = 32, .cases = qr_cases}},
    {.op = Op::Cholesky,
     .doc = "lower triangular factor of a positive definite matrix",
     .infer = infer_square,
     .vjp = vjp_cholesky,
     .vmap = vmap_lead,
     .samples = {.dtypes = kNumbers, .c = 32, .cases = cholesky_cases}},
    {.op = Op::Solve,
     .doc = "x with a·x = b",
     .infer = infer_solve,
     .vjp = vjp_solve,
     .vmap = vmap_lead,
     .samples = {.dtypes = kNumbers, .c = 32, .cases = solve_cases}},
    {.op = Op::SolveTriangular,
     .doc = "x with a·x = b, of which one triangle of a is read",
     .infer = infer_solve,
     .vjp = vjp_triangular,
     .vmap = vmap_lead,
     .samples = {.dtypes = kNumbers, .c = 32, .cases = triangular_cases}},
    {.op = Op::Det,
     .doc = "determinant",
     .infer = infer_det,
     .vjp = vjp_det,
     .vmap = vmap_lead,
     .samples = {.dtypes = kNumbers, .c = 32, .cases = det_cases}},
};

// float32, float64 or complex.
Array inexact(const Array& a) {
  const Dtype d = a.dtype();
  return is_complex(d) || d == Dtype::F64 ? a : astype(a, Dtype::F32);
}

// Batch dimensions broadcast, and a vector on the right gains a dimension.
template <class F>
Array solved(const Array& a, const Array& b, F f) {
  Array x = inexact(a), y = inexact(b);
  const Dtype d = promote(x.dtype(), y.dtype());
  const bool vector = y.ndim() == 1;
  if (vector) y = expand_dims(y, {1});
  if (x.ndim() >= 2 && y.ndim() >= 2) {
    const Shape lead = broadcast_shapes(with_last(x.shape(), {}), with_last(y.shape(), {}), "solve");
    auto widen = [&](const Array& m) {
      Shape s = lead;
      s.push_back(m.shape(-2));
      s.push_back(m.shape(-1));
      return broadcast_to(m, s);
    };
    x = widen(x);
    y = widen(y);
  }
  const Array r = f(astype(x, d), astype(y, d));
  return vector ? squeeze(r, {-1}) : r;
}

}  // namespace

Rows linalg_rows() { return kRows; }

namespace {
// The n orthonormal columns of q and m - n others.
Array completed(const Array& q) {
  const int64_t m = q.shape(-2), n = q.shape(-1);
  return m == n ? q : concatenate({q, slice_axis(qr(q, true).first, -1, n, m)}, -1);
}
}  // namespace

SvdResult svd(const Array& a, bool full) {
  Arrays r = mc::apply(Op::Svd, {inexact(a)});
  if (!full) return {r[0], r[1], r[2]};
  return {completed(r[0]), r[1], H(completed(H(r[2])))};
}
Array svdvals(const Array& a) { return svd(a).s; }
std::pair<Array, Array> eigh(const Array& a) {
  Arrays r = mc::apply(Op::Eigh, {inexact(a)});
  return {r[0], r[1]};
}
std::pair<Array, Array> eig(const Array& a) {
  Arrays r = mc::apply(Op::Eig, {inexact(a)});
  return {r[0], r[1]};
}
Array eigvals(const Array& a) { return eig(a).first; }
std::pair<Array, Array> qr(const Array& a, bool complete) {
  const Array x = inexact(a);
  if (complete && x.ndim() >= 2 && x.shape(-2) > x.shape(-1)) {
    // Of [a, 1] the first columns of r are those of a, and q is square.
    const int64_t m = x.shape(-2);
    Shape s = with_last(x.shape(), {m, m});
    const Arrays r = mc::apply(Op::Qr, {concatenate({x, broadcast_to(eye(m, -1, 0, x.dtype()), s)}, -1)});
    return {r[0], slice_axis(r[1], -1, 0, x.shape(-1))};
  }
  Arrays r = mc::apply(Op::Qr, {x});
  return {r[0], r[1]};
}
Array cholesky(const Array& a, bool upper) {
  if (!upper) return apply1(Op::Cholesky, {inexact(a)});
  return H(apply1(Op::Cholesky, {H(inexact(a))}));
}
Array solve(const Array& a, const Array& b) {
  return solved(a, b, [](const Array& x, const Array& y) { return apply1(Op::Solve, {x, y}); });
}
Array solve_triangular(const Array& a, const Array& b, bool upper) {
  return solved(a, b, [upper](const Array& x, const Array& y) {
    return apply1(Op::SolveTriangular, {x, y}, TriangularAttrs{upper});
  });
}
Array inv(const Array& a) {
  const Array x = inexact(a);
  if (x.ndim() < 2)
    throw Error(ErrorCode::ShapeMismatch, cat("a matrix has two dimensions, got shape ", a.shape().str()),
                "inv");
  return solve(x, matrix_eye(x));
}
Array det(const Array& a) { return apply1(Op::Det, {inexact(a)}); }

Array trace(const Array& a, int offset) {
  if (a.ndim() < 2)
    throw Error(ErrorCode::ShapeMismatch, cat("a matrix has two dimensions, got shape ", a.shape().str()),
                "trace");
  const Array on = eye(a.shape(-2), a.shape(-1), offset, Dtype::Bool);
  return sum(where(on, a, zeros_like(a)), {-2, -1});
}

Array norm(const Array& a) {
  const Array x = abs(is_inexact(a.dtype()) ? a : astype(a, Dtype::F32));
  return sqrt(sum(x * x));
}
Array norm(const Array& a, const Axes& axes, bool keepdims) {
  if (axes.ndim() > 2)
    throw Error(ErrorCode::InvalidArgument, cat("a norm goes over one or two axes, got ", axes.str()),
                "norm");
  const Array x = abs(is_inexact(a.dtype()) ? a : astype(a, Dtype::F32));
  return sqrt(sum(x * x, axes, keepdims));
}

Array pinv(const Array& a, double rcond) {
  const SvdResult r = svd(a);
  if (r.s.shape(-1) == 0) return swapaxes(zeros_like(inexact(a)), -1, -2);
  const double tolerance =
      rcond >= 0 ? rcond : finfo(r.s.dtype()).eps * static_cast<double>(std::max(a.shape(-1), a.shape(-2)));
  const Array keep = greater(r.s, max(r.s, {-1}, true) * tolerance);
  const Array inverse = where(keep, 1 / where(keep, r.s, ones_like(r.s)), zeros_like(r.s));
  return matmul(H(r.vt) * row(inverse), H(r.u));
}
Array lstsq(const Array& a, const Array& b, double rcond) {
  if (a.ndim() < 2 || b.ndim() < 1 || b.shape(b.ndim() == 1 ? 0 : -2) != a.shape(-2))
    throw Error(ErrorCode::ShapeMismatch,
                cat("a matrix of shape ", a.shape().str(), " does not fit a right-hand side of shape ",
                    b.shape().str()),
                "lstsq", "a is (…, m, n); b is (m,) or (…, m, k)");
  return matmul(pinv(a, rcond), inexact(b));
}

}  // namespace mc
