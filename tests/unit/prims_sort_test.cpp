// Sorting and searching.
#include <algorithm>

#include "mc/detail/str.h"
#include "mc/device.h"
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

// Lines longer than those that are merged, with many equal values: both zeros, infinities, several NaN.
TEST(PrimsSort, LongLinesAreStableInEveryDtype) {
  const int before = num_threads();
  for (int64_t n : {511, 512, 5000})
    for (Dtype d : {Dtype::U8, Dtype::I8, Dtype::I16, Dtype::U16, Dtype::I32, Dtype::U32, Dtype::I64,
                    Dtype::U64, Dtype::F16, Dtype::BF16, Dtype::F32, Dtype::F64}) {
      SCOPED_TRACE(cat(dtype_name(d), " ", n));
      const bool real = d == Dtype::F16 || d == Dtype::BF16 || d == Dtype::F32 || d == Dtype::F64;
      const bool unsigned_type = d == Dtype::U8 || d == Dtype::U16 || d == Dtype::U32 || d == Dtype::U64;
      V v(static_cast<size_t>(2 * n));
      for (size_t i = 0; i < v.size(); ++i) {
        v[i] = static_cast<double>(i * 7919 % 211) - (unsigned_type ? 0 : 105);
        if (d == Dtype::I8 || d == Dtype::U8) v[i] = std::fmod(v[i], 100);
        if (itemsize(d) >= 4 && !real) v[i] *= 10000019;
        if (unsigned_type && v[i] < 0) v[i] = 0;
        if (real)
          v[i] = i % 97 == 5   ? kNan
                 : i % 89 == 3 ? kInf
                 : i % 83 == 2 ? -kInf
                 : i % 79 == 1 ? -0.0
                               : v[i] / 4;
      }
      const Array x = astype(f64(v, {2, n}), d).eval();
      const V have = list(x);
      V order, sorted;
      for (int64_t line = 0; line < 2; ++line) {
        std::vector<size_t> at(static_cast<size_t>(n));
        for (size_t i = 0; i < at.size(); ++i) at[i] = i;
        const double* const p = have.data() + line * n;
        std::stable_sort(at.begin(), at.end(), [&](size_t a, size_t b) {
          return std::isnan(p[a]) ? false : std::isnan(p[b]) || p[a] < p[b];
        });
        for (size_t i : at) order.push_back(static_cast<double>(i)), sorted.push_back(p[i]);
      }
      for (int threads : {1, 3}) {
        set_num_threads(threads);
        EXPECT_EQ(list(argsort(x, 1)), order);
        EXPECT_EQ(list(transpose(argsort(transpose(x), 0))), order);
        const V got = list(sort(x, 1));
        for (size_t i = 0; i < got.size(); ++i) {
          if (std::isnan(sorted[i]) ? !std::isnan(got[i])
                                    : got[i] != sorted[i] || std::signbit(got[i]) != std::signbit(sorted[i]))
            FAIL() << i << ": " << got[i] << ", not " << sorted[i];
        }
      }
    }
  set_num_threads(before);
}

}  // namespace
}  // namespace mc
