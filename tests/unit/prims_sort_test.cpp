// Sorting and searching.
#include "prims_util.h"

namespace mc {
namespace {
using namespace test;

TEST(PrimsSort, ShapesAndRefusals) {
  const Array a = zeros({3, 4});
  expect_aval(sort(a, 0), {3, 4}, Dtype::F32);
  expect_aval(argsort(a), {3, 4}, Dtype::I32);
  expect_aval(topk(a, 2).first, {3, 2}, Dtype::F32);
  expect_aval(topk(a, 0, 0).second, {0, 4}, Dtype::I32);
  expect_aval(searchsorted(zeros({5}), zeros({2, 3}, Dtype::I32)), {2, 3}, Dtype::I32);
  expect_aval(sort(zeros({0})), {0}, Dtype::F32);
  expect_error(ErrorCode::IndexOutOfRange, "axis 2", [&] { sort(a, 2); });
  expect_error(ErrorCode::IndexOutOfRange, "k is 5", [&] { topk(a, 5); });
  expect_error(ErrorCode::IndexOutOfRange, "k is -1", [&] { topk(a, -1); });
  expect_error(ErrorCode::IndexOutOfRange, "kth is 4", [&] { partition(a, 4); });
  expect_error(ErrorCode::IndexOutOfRange, "kth is -5", [&] { argpartition(a, -5); });
  expect_error(ErrorCode::ShapeMismatch, "one dimension", [&] { searchsorted(a, a); });
  expect_error(ErrorCode::DtypeMismatch, "complex64", [] { sort(zeros({2}, Dtype::C64)); });
}

TEST(PrimsSort, StableWithNanLast) {
  const Array a = f64({2, kNan, -0.0, 0.0, -kInf, 2, kNan, kInf}, {8});
  expect_list(sort(a), {-kInf, 0, 0, 2, 2, kInf, kNan, kNan});
  expect_list(argsort(a), {4, 2, 3, 0, 5, 7, 1, 6});
  expect_list(topk(a, 5).second, {1, 6, 7, 0, 5});  // NaN first: descending; equal ones in their order
  expect_list(topk(a, 5).first, {kNan, kNan, kInf, 2, 2});
  expect_list(argsort(full({2, 4}, 1, Dtype::U8), 1), {0, 1, 2, 3, 0, 1, 2, 3});
  expect_list(sort(Array(std::vector<uint64_t>{UINT64_MAX, 0, 1}, {3})), {0, 1, 18446744073709551615.0});
  expect_list(sort(i32({3, 1, 2, 0}, {2, 2}), 0), {2, 0, 3, 1});
}

TEST(PrimsSort, Search) {
  const Array s = f64({1, 2, 2, 4, kNan}, {5}), v = f64({0, 2, 3, kInf, kNan, 5}, {6});
  expect_list(searchsorted(s, v), {0, 1, 3, 4, 4, 4});
  expect_list(searchsorted(s, v, true), {0, 3, 3, 4, 5, 4});
  expect_list(searchsorted(i32({1, 3}, {2}), f64({2.5}, {1})), {1});  // compared in the promoted dtype
  expect_list(searchsorted(zeros({0}), zeros({2})), {0, 0});
}

TEST(PrimsSort, DerivativesAndBatches) {
  const Array x = draw({3, 5}, 1);
  expect_gradients([](const Arrays& a) { return square(sort(a[0], 1)) * arange(0, 5, 1, Dtype::F64); }, {x},
                   "sort");
  expect_gradients([](const Arrays& a) { return square(topk(a[0], 2, 1).first); }, {x}, "topk");
  expect_batch(
      [](const Arrays& a) {
        return Arrays{sort(a[0]), argsort(a[0], 0), topk(a[0], 2).first, topk(a[0], 1, 0).second};
      },
      {draw({4, 3, 3}, 2)}, "sort");
  for (bool right : {false, true})
    expect_batch([right](const Arrays& a) { return Arrays{searchsorted(a[0], a[1], right)}; },
                 {f64({1, 2, 2, 0, 2, 5, 2, 2, 2}, {3, 3}), f64({2, 1, 0, 5, 3, 2}, {3, 2})}, "searchsorted");
}

}  // namespace
}  // namespace mc
