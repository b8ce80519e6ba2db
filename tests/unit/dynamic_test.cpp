// Operations whose result's shape depends on data, against NumPy's answers.
#include "mc/dynamic.h"

#include "prims_util.h"

namespace mc {
namespace {
using namespace test;

// np.nonzero([[3, 0, nan], [-0.0, 5, 0]])
TEST(Dynamic, Nonzero) {
  const Array a = f64({3, 0, kNan, -0.0, 5, 0}, {2, 3});
  const Arrays i = nonzero(a);
  ASSERT_EQ(i.size(), 2u);
  expect_aval(i[0], {3}, Dtype::I32);
  expect_list(i[0], {0, 0, 1});
  expect_list(i[1], {0, 2, 1});
  const Array rows = argwhere(a);
  expect_aval(rows, {3, 2}, Dtype::I32);
  expect_list(rows, {0, 0, 0, 2, 1, 1});
  expect_list(count_nonzero(a), {3});
  expect_list(count_nonzero(a, {0}), {1, 1, 1});
  expect_aval(count_nonzero(a, {1}, true), {2, 1}, Dtype::I32);
  for (Dtype d : {Dtype::Bool, Dtype::U8, Dtype::I64, Dtype::F16, Dtype::BF16, Dtype::C64})
    expect_list(nonzero(astype(i32({0, 2, 0, 1}, {4}), d))[0], {1, 3});
  // Three dimensions: np.argwhere(np.arange(24).reshape(2, 3, 4) % 7 == 3)
  expect_list(argwhere(equal(remainder(reshape(arange(24), {2, 3, 4}), 7), 3)), {0, 0, 3, 0, 2, 2, 1, 1, 1});
  expect_aval(nonzero(zeros({3}))[0], {0}, Dtype::I32);
  expect_aval(nonzero(zeros({0, 4}))[1], {0}, Dtype::I32);
  expect_aval(argwhere(zeros({2, 0})), {0, 2}, Dtype::I32);
  expect_aval(argwhere(scalar(5)), {1, 0}, Dtype::I32);
  expect_error(ErrorCode::ShapeMismatch, "0-d", [] { nonzero(scalar(5)); });
}

TEST(Dynamic, NonzeroOfAGivenSize) {
  const Array a = i32({0, 1, 1, 0, 1, 0}, {2, 3});
  const Arrays more = nonzero(a, 5);
  expect_list(more[0], {0, 0, 1, 2, 2});  // 2 and 3 lie outside
  expect_list(more[1], {1, 2, 1, 3, 3});
  expect_list(nonzero(a, 2)[1], {1, 2});
  expect_aval(nonzero(a, 0)[0], {0}, Dtype::I32);
  expect_error(ErrorCode::InvalidArgument, "-1", [&] { nonzero(a, -1); });
  const Function f = [](const Arrays& in) { return nonzero(in[0], 4); };
  for (const Function& g : {compile(f), f}) {
    const Arrays got = g({a});
    expect_list(got[0], {0, 0, 1, 2});
    expect_list(got[1], {1, 2, 1, 3});
  }
  expect_batch(f, {i32({0, 1, 1, 0, 7, 0, 0, 0}, {2, 2, 2})}, "nonzero");
}

TEST(Dynamic, Mask) {
  const Array a = draw({3, 2, 2}, 1);
  const V v = list(a);
  const Array rows(std::vector<bool>{true, false, true}, {3});
  expect_aval(boolean_mask(a, rows), {2, 2, 2}, Dtype::F64);
  expect_list(boolean_mask(a, rows), {v[0], v[1], v[2], v[3], v[8], v[9], v[10], v[11]});
  expect_list(boolean_mask(a, greater(a, 10)), {});
  const Array two(std::vector<bool>{false, true, false, false, true, true}, {3, 2});
  expect_list(boolean_mask(a, two), {v[2], v[3], v[8], v[9], v[10], v[11]});
  expect_list(boolean_mask(a, Array(true)), v);
  expect_gradients([&](const Arrays& in) { return square(boolean_mask(in[0], two)); }, {a}, "mask");
  // The mask may be made of what is differentiated: its values are there.
  expect_list(grad([](const Arrays& in) {
                return Arrays{sum(square(boolean_mask(in[0], greater(in[0], 1))))};
              })({f64({3, 1, 2}, {3})})[0],
              {6, 0, 4});
  expect_error(ErrorCode::ShapeMismatch, "(2,)", [&] { boolean_mask(a, equal(zeros({2}), 0)); });
  expect_error(ErrorCode::DtypeMismatch, "bool", [&] { boolean_mask(a, zeros({3})); });
}

// np.unique(a, return_index=True, return_inverse=True, return_counts=True, equal_nan=False)
TEST(Dynamic, Unique) {
  const Array a = f64({2, kNan, -0.0, 7, 0, 2, kNan, -kInf}, {2, 4});
  const UniqueResult r = unique_all(a);
  expect_list(r.values, {-kInf, 0, 2, 7, kNan, kNan});
  expect_list(r.indices, {7, 2, 0, 3, 1, 6});
  expect_aval(r.inverse, {2, 4}, Dtype::I32);
  expect_list(r.inverse, {2, 4, 1, 3, 1, 2, 5, 0});
  expect_list(r.counts, {1, 2, 2, 1, 1, 1});
  for (Dtype d : {Dtype::Bool, Dtype::U8, Dtype::I32, Dtype::U64, Dtype::F16, Dtype::BF16, Dtype::F32})
    expect_list(unique(astype(i32({1, 0, 1, 0, 0}, {5}), d)), {0, 1});
  expect_list(unique(scalar(3)), {3});
  expect_aval(unique(zeros({0, 3}, Dtype::I8)), {0}, Dtype::I8);
  // Complex numbers by real part, then by imaginary part.
  const Array z = complex(f64({2, 1, 2, 1, 2}, {5}), f64({0, 3, -1, 3, 0}, {5}));
  const UniqueResult c = unique_all(z);
  expect_list(real(c.values), {1, 2, 2});
  expect_list(imag(c.values), {3, -1, 0});
  expect_list(c.indices, {1, 2, 0});
  expect_list(c.counts, {2, 1, 2});
  expect_near(real(take(c.values, c.inverse)), real(z), 0);
  expect_near(imag(take(c.values, c.inverse)), imag(z), 0);
  // Many equal ones: every element is found again, and counts add up.
  const Array many = remainder(arange(5000) * 7919, 211);
  const UniqueResult m = unique_all(many);
  expect_aval(m.values, {211}, Dtype::I32);
  expect_near(take(m.values, m.inverse), many, 0);
  expect_list(sum(m.counts), {5000});
  expect_near(take(many, m.indices), m.values, 0);
}

TEST(Dynamic, TracedFunctionsAreRefusedClearly) {
  const Array x = i32({0, 1}, {2});
  const std::vector<Function> fs = {
      [](const Arrays& in) { return nonzero(in[0]); },
      [](const Arrays& in) { return Arrays{argwhere(in[0])}; },
      [](const Arrays& in) { return Arrays{unique(in[0])}; },
      [](const Arrays& in) { return Arrays{boolean_mask(in[0], equal(in[0], 1))}; }};
  for (const Function& f : fs) {
    expect_error(ErrorCode::InvalidArgument, "shape of the result depends on data", [&] { compile(f)({x}); });
    expect_error(ErrorCode::InvalidArgument, "shape of the result depends on data", [&] {
      vmap(f)({stack({x, x})});
    });
  }
  // Another failure is told as it is.
  expect_error(ErrorCode::SingularMatrix, "", [] { nonzero(inv(zeros({2, 2}))); });
}

}  // namespace
}  // namespace mc
