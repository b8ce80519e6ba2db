// Reductions and scans: what the rows infer and refuse, special values, derivatives, batching.
#include "prims_util.h"

namespace mc {
namespace {
using namespace test;

TEST(PrimsReduce, ShapesAndDtypes) {
  const Array a = zeros({2, 3, 4});
  expect_aval(sum(a), {}, Dtype::F32);
  expect_aval(sum(a, {1}), {2, 4}, Dtype::F32);
  expect_aval(sum(a, {-1, 0}, true), {1, 3, 1}, Dtype::F32);
  expect_aval(sum(a, Axes{}), {2, 3, 4}, Dtype::F32);
  expect_aval(argmax(a), {}, Dtype::I32);
  expect_aval(argmax(a, {}, true), {1, 1, 1}, Dtype::I32);
  expect_aval(argmin(a, -2, true), {2, 1, 4}, Dtype::I32);
  expect_aval(any(a, {0}), {3, 4}, Dtype::Bool);
  expect_aval(cumsum(a), {24}, Dtype::F32);
  expect_aval(cumprod(a, -1), {2, 3, 4}, Dtype::F32);
  struct Row {
    Dtype in, sum, mean;
  };
  for (const Row& r : {Row{Dtype::Bool, Dtype::I32, Dtype::F32},
                       {Dtype::I8, Dtype::I32, Dtype::F32},
                       {Dtype::I16, Dtype::I32, Dtype::F32},
                       {Dtype::I32, Dtype::I32, Dtype::F32},
                       {Dtype::I64, Dtype::I64, Dtype::F32},
                       {Dtype::U8, Dtype::U32, Dtype::F32},
                       {Dtype::U16, Dtype::U32, Dtype::F32},
                       {Dtype::U64, Dtype::U64, Dtype::F32},
                       {Dtype::F16, Dtype::F16, Dtype::F16},
                       {Dtype::BF16, Dtype::BF16, Dtype::BF16},
                       {Dtype::F64, Dtype::F64, Dtype::F64},
                       {Dtype::C64, Dtype::C64, Dtype::C64}}) {
    const Array x = zeros({3}, r.in);
    expect_aval(sum(x), {}, r.sum);
    expect_aval(prod(x), {}, r.sum);
    expect_aval(cumsum(x, 0), {3}, r.sum);
    expect_aval(mean(x), {}, r.mean);
    if (!is_complex(r.in)) expect_aval(max(x), {}, r.in), expect_aval(logsumexp(x), {}, r.mean);
  }
  expect_aval(var(zeros({3}, Dtype::C64)), {}, Dtype::F32);
}

TEST(PrimsReduce, Refusals) {
  const Array a = zeros({2, 3});
  expect_error(ErrorCode::IndexOutOfRange, "axis 2", [&] { sum(a, {2}); });
  expect_error(ErrorCode::IndexOutOfRange, "axis -3", [&] { cumsum(a, -3); });
  expect_error(ErrorCode::InvalidArgument, "twice", [&] { sum(a, {1, -1}); });
  expect_error(ErrorCode::ShapeMismatch, "no elements", [] { max(zeros({0})); });
  expect_error(ErrorCode::ShapeMismatch, "no elements", [] { argmin(zeros({3, 0}), 1); });
  expect_error(ErrorCode::DtypeMismatch, "complex64", [] { max(zeros({2}, Dtype::C64)); });
  expect_error(ErrorCode::DtypeMismatch, "complex64", [] { argmax(zeros({2}, Dtype::C64)); });
  expect_aval(max(zeros({0, 3}), {1}), {0}, Dtype::F32);  // nothing to choose, nothing asked
}

TEST(PrimsReduce, SpecialValues) {
  const Array a = f64({1, kNan, -2, 3, 7, 7}, {2, 3});
  expect_list(max(a, {1}), {kNan, 7});
  expect_list(min(a, {1}), {kNan, 3});
  expect_list(argmax(a, 1), {1, 1});
  expect_list(argmin(a, 1), {1, 0});
  expect_list(any(a, {1}), {1, 1});
  expect_list(sum(zeros({0, 2}), {0}), {0, 0});
  expect_list(prod(zeros({0, 2}), {0}), {1, 1});
  expect_list(all(zeros({0})), {1});
  expect_list(any(zeros({0})), {0});
  expect_list(mean(zeros({0})), {kNan});
  expect_list(sum(full({300}, 100, Dtype::I8)), {30000});
  expect_list(sum(full({300}, 200, Dtype::U8)), {60000});
  expect_list(mean(full({4}, 60000.0, Dtype::F16)), {60000});  // whose sum is no float16
  expect_list(var(f64({1, 2, 4}, {3})), {14.0 / 9}, 1e-15);
  expect_list(std(f64({1, 2, 4}, {3}), 1), {std::sqrt(7.0 / 3)}, 1e-15);
  expect_list(logsumexp(f64({1000, 1000}, {2})), {1000 + std::log(2.0)}, 1e-15);
  expect_list(logsumexp(f64({-kInf, -kInf, kInf, 0}, {2, 2}), {1}), {-kInf, kInf});
  expect_list(logsumexp(zeros({70000}, Dtype::F16)), {std::log(70000.0)},
              1e-3);  // more terms than float16 can count
  expect_list(cumsum(f64({1, 2, 3}, {3}), 0, true), {6, 5, 3});
  expect_list(cumprod(f64({2, 3, 4}, {3}), 0), {2, 6, 24});
}

TEST(PrimsReduce, Derivatives) {
  const Array x = draw({2, 3, 2}, 1), holes = f64({0, 2, 3, 0, 0, 5, -1, 2, 0.5}, {3, 3});
  expect_gradients([](const Arrays& a) { return square(sum(a[0], {0, 2})); }, {x}, "sum");
  expect_gradients([](const Arrays& a) { return prod(a[0], {0, 2}); }, {x}, "prod");
  expect_gradients([](const Arrays& a) { return prod(a[0], {1}); }, {holes}, "prod of zeros");
  expect_gradient([](const Arrays& a) { return max(a[0], {1}, true) * min(a[0], {0}); }, {draw({3, 3}, 2)},
                  "max and min");
  expect_gradients([](const Arrays& a) { return square(cumsum(a[0], 1, true)); }, {x}, "cumsum");
  expect_gradients([](const Arrays& a) { return cumprod(a[0], 1); }, {holes}, "cumprod of zeros");
  expect_gradients([](const Arrays& a) { return cumprod(a[0], 0, true); }, {holes}, "cumprod, reverse");
  expect_gradients([](const Arrays& a) { return var(a[0], {1}, false, 1); }, {x}, "var");
  expect_gradients([](const Arrays& a) { return std(a[0], {1}); }, {x}, "std");
  expect_gradients([](const Arrays& a) { return logsumexp(a[0], {1}); }, {x}, "logsumexp");
  // Equal extremes share.
  expect_list(grad([](const Arrays& a) { return Arrays{max(a[0])}; })({f64({1, 5, 5}, {3})})[0],
              {0, 0.5, 0.5});
}

TEST(PrimsReduce, Batches) {
  const Array x = draw({3, 2, 4}, 3);
  expect_batch(
      [](const Arrays& a) {
        return Arrays{sum(a[0], {1}),
                      prod(a[0]),
                      max(a[0], {0}, true),
                      argmax(a[0], 1),
                      argmin(a[0]),
                      cumsum(a[0], 1),
                      cumprod(a[0], 0, true),
                      logsumexp(a[0], {-1}),
                      astype(any(a[0] > 0.5, {0}), Dtype::F64)};
      },
      {x}, "reductions");
}

}  // namespace
}  // namespace mc
