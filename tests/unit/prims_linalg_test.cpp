// Decompositions by their residuals, what they refuse, derivatives and batching. Residuals are bounded by
// c·n·eps·norm with c = 16: the backward errors of Householder and pivoted elimination (Higham 2002) have
// constants of a few units.
#include "mc/detail/str.h"
#include "prims_util.h"

namespace mc {
namespace {
using namespace test;

Array T(const Array& a) { return swapaxes(a, -1, -2); }
double largest(const Array& a) { return a.size() ? max(abs(astype(a, Dtype::F64))).item<double>() : 0; }
void expect_product(const Array& got, const Array& want, double scale = 1) {
  ASSERT_EQ(got.shape().str(), want.shape().str());
  const double n = static_cast<double>(std::max(want.shape(-1), want.shape(-2)));
  EXPECT_LE(largest(got - want), 16 * n * finfo(want.dtype()).eps * std::max(1.0, largest(want)) * scale);
}
Array unit_like(const Array& a, int64_t n) {
  Shape s = a.shape();
  s[s.ndim() - 1] = s[s.ndim() - 2] = n;
  return broadcast_to(eye(n, -1, 0, a.dtype()), s);
}
Array spd(const Shape& s, int seed) {
  const Array a = draw(s, seed);
  return matmul(a, T(a)) + eye(s.at(-1), -1, 0, Dtype::F64);
}

// The cofactors of a 3x3 matrix, written out.
Array cofactors_of(const Array& a) {
  const V m = list(a);
  V c(9);
  for (size_t i = 0; i < 3; ++i)
    for (size_t j = 0; j < 3; ++j) {
      const size_t r = (i + 1) % 3, s = (i + 2) % 3, p = (j + 1) % 3, q = (j + 2) % 3;
      c[3 * i + j] = m[3 * r + p] * m[3 * s + q] - m[3 * r + q] * m[3 * s + p];
    }
  return Array(c, {3, 3});
}

// Errors are those of a product of n-1 singular values: some units of eps times their largest value.
TEST(PrimsLinalg, GradientOfDetWhereMatricesAreSingular) {
  const Function f = [](const Arrays& in) { return Arrays{det(in[0])}; };
  const Array x = draw({3, 1}, 5), y = draw({1, 3}, 6), z = draw({3, 1}, 7), w = draw({1, 3}, 8);
  const Array rank1 = matmul(x, y), rank2 = rank1 + matmul(z, w), none = zeros({3, 3}, Dtype::F64);
  const Array close = rank2 + eye(3, -1, 0, Dtype::F64) * 1e-12, regular = draw({3, 3}, 9);
  const Array repeated = eye(3, -1, 0, Dtype::F64);
  for (const Array& a : {rank1, rank2, none, close, regular, repeated}) {
    expect_near(grad(f)({a})[0], cofactors_of(a), 1e-14);
    // det(a + s·h + t·k) is a cubic: four corners give the coefficient of s·t exactly.
    const Array h = draw({3, 3}, 10), k = draw({3, 3}, 11);
    const Array bend = (det(a + h + k) - det(a + h - k) - det(a - h + k) + det(a - h - k)) * 0.25;
    const GradFunction slope = grad([&](const Arrays& in) { return Arrays{sum(grad(f)({in[0]})[0] * h)}; });
    // Where `close` takes the cofactors of its own: what is not exactly diagonal adds 1e-12.
    expect_near(sum(slope({a})[0] * k), bend, 1e-11);
  }
  // A batch of both kinds, larger matrices by differences, one element, none, and float32.
  const Array both = stack({rank1, regular});
  expect_near(grad([](const Arrays& in) { return Arrays{sum(det(in[0]))}; })({both})[0],
              stack({cofactors_of(rank1), cofactors_of(regular)}), 1e-14);
  expect_near(vmap(grad(f))({both})[0], stack({cofactors_of(rank1), cofactors_of(regular)}), 1e-14);
  const Array tall = draw({6, 5}, 12);
  expect_gradient([](const Arrays& in) { return det(in[0]); }, {matmul(tall, draw({5, 6}, 13))},
                  "rank 5 of 6");
  expect_list(grad(f)({zeros({1, 1}, Dtype::F64)})[0], {1});
  expect_aval(grad(f)({zeros({0, 0})})[0], {0, 0}, Dtype::F32);
  expect_near(grad(f)({astype(rank1, Dtype::F32)})[0], cofactors_of(rank1), 1e-6);
}

TEST(PrimsLinalg, ShapesAndRefusals) {
  const SvdResult r = svd(zeros({2, 5, 3}));
  expect_aval(r.u, {2, 5, 3}, Dtype::F32);
  expect_aval(r.s, {2, 3}, Dtype::F32);
  expect_aval(r.vt, {2, 3, 3}, Dtype::F32);
  expect_aval(qr(zeros({3, 5})).second, {3, 5}, Dtype::F32);
  expect_aval(eigh(zeros({4, 4}, Dtype::I32)).first, {4}, Dtype::F32);
  expect_aval(det(zeros({2, 3, 3}, Dtype::F64)), {2}, Dtype::F64);
  expect_aval(solve(zeros({3, 3}), zeros({3})), {3}, Dtype::F32);
  expect_aval(solve(zeros({2, 1, 3, 3}), zeros({5, 3, 2}, Dtype::F64)), {2, 5, 3, 2}, Dtype::F64);
  expect_aval(pinv(zeros({2, 5, 3})), {2, 3, 5}, Dtype::F32);
  expect_aval(cholesky(zeros({3, 3}, Dtype::F16)), {3, 3}, Dtype::F32);
  expect_error(ErrorCode::ShapeMismatch, "two dimensions", [] { svd(zeros({3})); });
  expect_error(ErrorCode::ShapeMismatch, "square", [] { eigh(zeros({3, 2})); });
  expect_error(ErrorCode::ShapeMismatch, "square", [] { cholesky(zeros({3, 2})); });
  expect_error(ErrorCode::ShapeMismatch, "square", [] { inv(zeros({3, 2})); });
  expect_error(ErrorCode::ShapeMismatch, "does not fit", [] { solve(zeros({3, 3}), zeros({2, 1})); });
  expect_aval(solve(zeros({3, 3}, Dtype::C64), zeros({3, 1}, Dtype::C64)), {3, 1}, Dtype::C64);
  expect_aval(eigh(zeros({3, 3}, Dtype::C128)).first, {3}, Dtype::F64);
  expect_aval(eig(zeros({3, 3}, Dtype::F64)).second, {3, 3}, Dtype::C128);
  expect_error(ErrorCode::NotDifferentiable, "svd of complex", [] {
    grad([](const Arrays& a) { return Arrays{sum(svdvals(a[0]))}; })({eye(3, -1, 0, Dtype::C64)});
  });
  expect_error(ErrorCode::InvalidArgument, "one or two axes", [] { norm(zeros({2, 2, 2}), {0, 1, 2}); });
  expect_error(ErrorCode::SingularMatrix, "not positive definite", [] { cholesky(negative(eye(3))).eval(); });
  expect_error(ErrorCode::SingularMatrix, "singular", [] {
    solve(ones({3, 3}, Dtype::F64), ones({3}, Dtype::F64)).eval();
  });
  expect_error(ErrorCode::SingularMatrix, "diagonal element 1", [] {
    solve_triangular(f64({1, 0, 5, 0}, {2, 2}), ones({2}, Dtype::F64)).eval();
  });
  expect_error(ErrorCode::SingularMatrix, "NaN", [] { svd(full({3, 2}, kNan)).s.eval(); });
}

TEST(PrimsLinalg, Residuals) {
  for (Dtype d : {Dtype::F32, Dtype::F64})
    for (const Shape& s :
         {Shape{1, 1}, {5, 3}, {3, 5}, {40, 40}, {2, 3, 6, 4}, {3, 2, 7}, {0, 3}, {4, 0}, {0, 2, 2}}) {
      SCOPED_TRACE(cat(dtype_name(d), ' ', s.str()));
      const Array a = astype(draw(s, 3), d);
      const int64_t k = std::min(s.at(-1), s.at(-2));
      const SvdResult r = svd(a);
      expect_product(matmul(r.u * expand_dims(r.s, {-2}), r.vt), a);
      expect_product(matmul(T(r.u), r.u), unit_like(a, k));
      expect_product(matmul(r.vt, T(r.vt)), unit_like(a, k));
      if (k > 1 && a.size()) {
        EXPECT_TRUE(list(all(slice_axis(r.s, -1, 0, k - 1) >= slice_axis(r.s, -1, 1, k)))[0]);
      }
      const auto [q, up] = qr(a);
      expect_product(matmul(q, up), a);
      expect_product(matmul(T(q), q), unit_like(a, k));
      EXPECT_EQ(largest(tril(up, -1)), 0);
      if (a.size()) {
        EXPECT_GE(min(where(eye(k, s.at(-1), 0, Dtype::Bool), up, ones_like(up))).item<double>(), 0);
      }
      // Moore and Penrose: a⁺ is the one matrix with these.
      const Array p = pinv(a);
      if (a.size()) expect_product(matmul(matmul(a, p), a), a, 1 / list(min(r.s))[0]);
    }
}

TEST(PrimsLinalg, SquareMatrices) {
  for (Dtype d : {Dtype::F32, Dtype::F64})
    for (const Shape& s : {Shape{1, 1}, {5, 5}, {40, 40}, {2, 3, 4, 4}, {0, 0}}) {
      SCOPED_TRACE(cat(dtype_name(d), ' ', s.str()));
      const Array m = astype(spd(s, 5), d);
      Shape columns = s;
      columns[s.ndim() - 1] = 3;
      const Array b = astype(draw(columns, 6), d);
      const double norm_of = std::max(1.0, largest(m)) * static_cast<double>(std::max<int64_t>(1, s.at(-1)));
      const auto [w, v] = eigh(m);
      expect_product(matmul(v * expand_dims(w, {-2}), T(v)), m, norm_of);
      expect_product(matmul(T(v), v), unit_like(m, s.at(-1)));
      const Array l = cholesky(m);
      expect_product(matmul(l, T(l)), m);
      EXPECT_EQ(largest(triu(l, 1)), 0);
      expect_product(matmul(m, solve(m, b)), b, norm_of);
      expect_product(matmul(l, solve_triangular(m * 0.0 + l, b)), b, norm_of);
      expect_product(matmul(T(l), solve_triangular(T(l), b, true)), b, norm_of);
      expect_product(matmul(m, inv(m)), unit_like(m, s.at(-1)), norm_of);
    }
  // Only the triangle that is named is read.
  const Array m = spd({4, 4}, 7), junk = triu(full({4, 4}, 100.0, Dtype::F64), 1);
  expect_near(eigh(m + junk).first, eigh(m).first, 1e-300);
  expect_near(cholesky(m + junk), cholesky(m), 1e-300);
  expect_near(solve_triangular(m + junk, ones({4}, Dtype::F64)),
              solve_triangular(tril(m), ones({4}, Dtype::F64)), 1e-300);
}

TEST(PrimsLinalg, KnownValues) {
  expect_list(det(f64({0, 1, 1, 0}, {2, 2})), {-1});
  expect_list(det(f64({2, 1, 1, 3, 2, 4, 1, 2}, {2, 2, 2})), {5, 0}, 1e-15);
  expect_list(det(ones({0, 0})), {1});
  expect_list(trace(reshape(arange(6), {2, 3})), {4});
  expect_list(trace(reshape(arange(6), {2, 3}), 1), {6});
  expect_list(norm(f64({3, 4}, {2})), {5});
  expect_list(norm(f64({3, 0, 4, 1}, {2, 2}), {0}), {5, 1});
  expect_list(svdvals(f64({3, 0, 0, -4}, {2, 2})), {4, 3}, 1e-15);
  // A line through three points that do not lie on one: the normal equations give 1 + 1.5·x.
  expect_list(lstsq(f64({1, 0, 1, 1, 1, 2}, {3, 2}), f64({1.5, 1.5, 4.5}, {3})), {1, 1.5}, 1e-14);
  // Rank one: the small singular value is rounding and counts as zero.
  expect_list(pinv(f64({1, 1, 1, 1}, {2, 2})), {0.25, 0.25, 0.25, 0.25}, 1e-15);
}

TEST(PrimsLinalg, Derivatives) {
  const Array a = draw({3, 3}, 1) + eye(3, -1, 0, Dtype::F64) * 2.0, tall = draw({4, 2}, 2),
              wide = draw({2, 4}, 3), b = draw({3, 2}, 4), m = spd({3, 3}, 5);
  for (const Array& x : {a, tall, wide, draw({2, 3, 2}, 6)}) {
    expect_gradients([](const Arrays& i) { return svd(i[0]).s; }, {x}, "singular values");
    // The sign of a pair of vectors is free: what is compared has both.
    expect_gradients(
        [](const Arrays& i) {
          const SvdResult r = svd(i[0]);
          return matmul(r.u * square(expand_dims(r.s, {-2})), r.vt) + sum(square(r.u));
        },
        {x}, "svd");
    expect_gradients([](const Arrays& i) { return pinv(i[0]); }, {x}, "pinv");
  }
  for (const Array& x : {a, tall, draw({2, 3, 2}, 6)})
    expect_gradients(
        [](const Arrays& i) {
          auto [q, r] = qr(i[0]);
          return matmul(q, sin(r)) + sum(cos(q));
        },
        {x}, "qr");
  expect_gradients(
      [](const Arrays& i) {
        auto [w, v] = eigh(i[0]);
        return matmul(v * exp(expand_dims(w, {-2})), T(v)) + sum(w * w);
      },
      {m}, "eigh");
  expect_gradients([](const Arrays& i) { return cholesky(i[0]); }, {m}, "cholesky");
  expect_gradients([](const Arrays& i) { return solve(i[0], i[1]); }, {a, b}, "solve");
  expect_gradients([](const Arrays& i) { return solve_triangular(i[0], i[1]); }, {a, b}, "lower triangle");
  expect_gradients([](const Arrays& i) { return solve_triangular(i[0], i[1], true); }, {a, b},
                   "upper triangle");
  expect_gradients([](const Arrays& i) { return inv(i[0]); }, {a}, "inv");
  expect_gradients([](const Arrays& i) { return det(i[0]); }, {a}, "det");
  expect_gradients([](const Arrays& i) { return norm(i[0], {1}) + trace(i[0]); }, {a}, "norm and trace");
  // Equal values: the sum of all is smooth there, and its gradient finite.
  expect_list(
      grad([](const Arrays& i) { return Arrays{sum(svd(i[0]).s)}; })({eye(2, -1, 0, Dtype::F64) * 3.0})[0],
      {1, 0, 0, 1}, 1e-15);
  expect_list(grad([](const Arrays& i) { return Arrays{sum(eigh(i[0]).first)}; })(
                  {eye(2, -1, 0, Dtype::F64) * 3.0})[0],
              {1, 0, 0, 1}, 1e-15);
  expect_gradients(
      [](const Arrays& i) {
        auto [q, r] = qr(i[0]);
        return concatenate({q, r}, 1);
      },
      {wide}, "qr of a wide matrix");
}

TEST(PrimsLinalg, Batches) {
  const Array m = spd({3, 3, 3}, 8), b = draw({3, 3, 2}, 9);
  expect_batch(
      [](const Arrays& i) {
        const SvdResult r = svd(i[0]);
        auto [q, u] = qr(i[0]);
        auto [w, v] = eigh(i[0]);
        return Arrays{r.u, r.s, r.vt, q, u, w, v, cholesky(i[0]), det(i[0]), inv(i[0]), pinv(i[0])};
      },
      {m}, "one matrix");
  expect_batch(
      [](const Arrays& i) {
        return Arrays{solve(i[0], i[1]), solve_triangular(i[0], i[1]), solve_triangular(i[0], i[1], true)};
      },
      {m, b}, "systems");
}

}  // namespace
}  // namespace mc
