// Reading and writing at positions that are arrays.
#include "mc/device.h"
#include "prims_util.h"

namespace mc {
namespace {
using namespace test;

const Array& table() {
  static const Array t = reshape(arange(0, 12, 1, Dtype::F64), {4, 3});
  return t;
}

TEST(PrimsIndex, ShapesAndDtypes) {
  expect_aval(take(table(), zeros({2, 5}, Dtype::I64), 0), {2, 5, 3}, Dtype::F64);
  expect_aval(take(table(), zeros({2, 5}, Dtype::U8), -1), {4, 2, 5}, Dtype::F64);
  expect_aval(take(table(), zeros({}, Dtype::I32), 1), {4}, Dtype::F64);
  expect_aval(take(table(), zeros({7}, Dtype::I32)), {7}, Dtype::F64);
  expect_aval(gather(table(), {i32({0}, {1}), i32({0, 1}, {2, 1})}, {0, 1}, {2, 1}), {2, 1, 2, 1},
              Dtype::F64);
  expect_aval(take_along_axis(table(), zeros({4, 1}, Dtype::I32), 1), {4, 1}, Dtype::F64);
  expect_aval(take_along_axis(table(), zeros({2, 1}, Dtype::I32), 0), {2, 3},
              Dtype::F64);  // broadcast, as NumPy does
  expect_aval(scatter(table(), {i32({0, 1}, {2})}, zeros({2, 1, 3}), {0}), {4, 3}, Dtype::F64);
}

TEST(PrimsIndex, Refusals) {
  expect_error(ErrorCode::DtypeMismatch, "indices are float32", [] { take(table(), zeros({2}), 0); });
  expect_error(ErrorCode::IndexOutOfRange, "axis 2", [] { take(table(), i32({0}, {1}), 2); });
  expect_error(ErrorCode::ShapeMismatch, "can't be broadcast", [] {
    gather(table(), {i32({0, 1}, {2}), i32({0, 1, 2}, {3})}, {0, 1}, {1, 1});
  });
  expect_error(ErrorCode::ShapeMismatch, "do not fit", [] { gather(table(), {i32({0}, {1})}, {0}, {1, 4}); });
  expect_error(ErrorCode::InvalidArgument, "1 index arrays for 2 axes", [] {
    gather(table(), {i32({0}, {1})}, {0, 1}, {1, 1});
  });
  expect_error(ErrorCode::ShapeMismatch, "do not fit", [] {
    scatter(table(), {i32({0}, {1})}, zeros({1, 1, 4}), {0});
  });
  expect_error(ErrorCode::ShapeMismatch, "but for axis", [] { take_along_axis(table(), i32({0}, {1}), 0); });
  expect_error(ErrorCode::ShapeMismatch, "can't be broadcast", [] {
    take_along_axis(table(), zeros({2, 2}, Dtype::I32), 0);
  });
  expect_error(ErrorCode::DtypeMismatch, "complex numbers have no order", [] {
    scatter(zeros({2}, Dtype::C64), {i32({0}, {1})}, zeros({1, 1}, Dtype::C64), {0}, ScatterMode::Max);
  });
}

TEST(PrimsIndex, OutOfRangeTouchesNothing) {
  expect_list(take(table(), i32({-1, 4, -5, 0}, {4}), 0),
              {9, 10, 11, kNan, kNan, kNan, kNan, kNan, kNan, 0, 1, 2});
  expect_list(take(arange(3), i32({3, 2}, {2})), {-2147483648.0, 2});
  expect_list(take(ones({3}, Dtype::Bool), i32({3, 2}, {2})), {0, 1});
  expect_list(take(ones({3}, Dtype::U8), i32({-4, 2}, {2})), {0, 1});
  // Numbers whose sum with anything overflows, and unsigned ones beyond int64.
  const Array far(std::vector<int64_t>{INT64_MAX, INT64_MIN, INT64_MAX - 1}, {3}),
      vast(std::vector<uint64_t>{UINT64_MAX, uint64_t{1} << 63, 1}, {3});
  expect_list(take(f64({5, 6}, {2}), far), {kNan, kNan, kNan});
  expect_list(take(f64({5, 6}, {2}), vast), {kNan, kNan, 6});
  expect_list(take_along_axis(f64({5, 6}, {2}), far, 0), {kNan, kNan, kNan});
  expect_list(scatter(f64({5, 6}, {2}), {far}, zeros({3, 1}, Dtype::F64), {0}), {5, 6});
  expect_list(scatter_add_axis(f64({5, 6}, {2}), vast, ones({3}, Dtype::F64), 0), {5, 7});
  // A window that fits in part is not read at all.
  expect_list(gather(arange(0, 4, 1, Dtype::F64), {i32({2, 3}, {2})}, {0}, {2}), {2, 3, kNan, kNan});
}

TEST(PrimsIndex, ScatterInAscendingOrder) {
  const Array a = zeros({3}, Dtype::F64), at = i32({1, 1, -1, 7}, {4}), u = f64({5, 3, 2, 9}, {4, 1});
  expect_list(scatter(a, {at}, u, {0}), {0, 3, 2});
  expect_list(scatter(a, {at}, u, {0}, ScatterMode::Add), {0, 8, 2});
  expect_list(scatter(a + 1.0, {at}, u, {0}, ScatterMode::Multiply), {1, 15, 2});
  expect_list(scatter(a + 4.0, {at}, u, {0}, ScatterMode::Max), {4, 5, 4});
  expect_list(scatter(a + 4.0, {at}, u, {0}, ScatterMode::Min), {4, 3, 2});
  // One rounding an update, in their order: 1 is lost beside 1e16 before 1e16 is taken away.
  expect_list(scatter(zeros({1}, Dtype::F64), {i32({0, 0, 0}, {3})}, f64({1e16, 1, -1e16}, {3, 1}), {0},
                      ScatterMode::Add),
              {0});
}

TEST(PrimsIndex, Derivatives) {
  const Array a = draw({4, 3}, 1), at = i32({2, -1, 2, 9}, {4}),
              along = i32({0, 2, 2, 1, -1, 5, 0, 0}, {4, 2});
  expect_gradients([&](const Arrays& x) { return square(take(x[0], slice_axis(at, 0, 0, 3), 0)); }, {a},
                   "take, a row twice");
  expect_gradients(
      [&](const Arrays& x) { return square(take_along_axis(x[0], where(along == 5, 0, along), 1)); }, {a},
      "take_along_axis");
  expect_gradients([&](const Arrays& x) { return square(scatter(x[0], {at}, x[1], {0}, ScatterMode::Add)); },
                   {a, draw({4, 1, 3}, 2)}, "scatter, Add");
  expect_gradients([&](const Arrays& x) { return square(scatter(x[0], {at}, x[1], {0})); },
                   {a, draw({4, 1, 2}, 3)}, "scatter, Set, a row twice");
  for (ScatterMode mode : {ScatterMode::Multiply, ScatterMode::Max, ScatterMode::Min})
    expect_gradients([&](const Arrays& x) { return square(scatter(x[0], {at}, x[1], {0}, mode)); },
                     {a, draw({4, 1, 2}, 3)}, "scatter, by product or extreme");
  // A factor 0: the other factors' gradient is 0, its own is their product.
  const Array factors = f64({0, 3, 5}, {3, 1, 1});
  expect_list(grad(
                  [&](const Arrays& x) {
                    return Arrays{sum(scatter(x[0], {i32({1, 1, 1}, {3})}, reshape(x[1], {3, 1}), {0},
                                              ScatterMode::Multiply))};
                  },
                  {1})({f64({7, 2}, {2}), reshape(factors, {3})})[0],
              {30, 0, 0});
  expect_gradients([&](const Arrays& x) { return square(scatter_add_axis(x[0], along, x[1], 1)); },
                   {a, draw({4, 2}, 4)}, "scatter_add_axis");
}

TEST(PrimsIndex, Batches) {
  const Array many = draw({3, 4, 3}, 5), at = i32({0, -1, 2, 3, 1, 1}, {3, 2}), up = draw({3, 2, 1, 3}, 6);
  expect_batch(
      [](const Arrays& x) {
        return Arrays{take(x[0], x[1], 0), take(x[0], x[1], 1 - 0) * 0.0 + 1.0};
      },
      {draw({3, 4, 4}, 7), at}, "take");
  for (ScatterMode mode : {ScatterMode::Set, ScatterMode::Add, ScatterMode::Multiply, ScatterMode::Max})
    expect_batch([mode](const Arrays& x) { return Arrays{scatter(x[0], {x[1]}, x[2], {0}, mode)}; },
                 {many, at, up}, "scatter");
  const Array along = i32({0, 1, 2, 3, 3, 2, 0, 0, -1}, {3, 1, 3});
  expect_batch(
      [](const Arrays& x) {
        return Arrays{take_along_axis(x[0], x[1], 0), scatter_add_axis(x[0], x[1], x[2], 0)};
      },
      {many, along, draw({3, 1, 3}, 8)}, "along");
  // More examples than the dtype of the indices can count.
  const Array wide = draw({300, 2}, 9), small = remainder(astype(arange(300), Dtype::U8), 2);
  expect_near(vmap([](const Arrays& x) { return Arrays{take(x[0], x[1], 0)}; })({wide, small})[0],
              squeeze(take_along_axis(wide, expand_dims(small, {1}), 1), {1}), 1e-300);
}

TEST(PrimsIndex, TakeAlongEveryAxisIndexTypeAndThread) {
  const Shape shape{6, 50, 90};
  const Array x = astype(draw(shape, 3), Dtype::F32).eval();
  const V all = list(x);
  const int before = num_threads();
  for (Dtype index : {Dtype::I8, Dtype::I16, Dtype::I32, Dtype::I64, Dtype::U8, Dtype::U64})
    for (int axis = 0; axis < 3; ++axis) {
      Shape wanted = shape;
      wanted[axis] = 40;
      V at(static_cast<size_t>(wanted.numel()));
      const int64_t dim = shape[axis];
      for (size_t i = 0; i < at.size(); ++i) {
        at[i] = static_cast<double>(i * 31 % static_cast<size_t>(dim + 2));  // two past the end
        if ((index == Dtype::I8 || index == Dtype::I16 || index == Dtype::I32 || index == Dtype::I64) &&
            i % 3 == 0)
          at[i] -= static_cast<double>(dim + 1);  // and before the start
      }
      for (int threads : {1, 3}) {
        set_num_threads(threads);
        // In a graph, where an index that is out of range reads NaN.
        const V got = list(compile([&](const Arrays& a) {
          return Arrays{take_along_axis(a[0], a[1], axis)};
        })({x, astype(f64(at, wanted), index)})[0]);
        size_t flat = 0;
        for (int64_t i = 0; i < wanted[0]; ++i)
          for (int64_t j = 0; j < wanted[1]; ++j)
            for (int64_t k = 0; k < wanted[2]; ++k, ++flat) {
              int64_t e[3] = {i, j, k};
              e[axis] = static_cast<int64_t>(at[flat]);
              if (e[axis] < 0) e[axis] += dim;
              if (e[axis] < 0 || e[axis] >= dim)
                ASSERT_TRUE(std::isnan(got[flat])) << flat;
              else
                ASSERT_EQ(got[flat], all[static_cast<size_t>((e[0] * shape[1] + e[1]) * shape[2] + e[2])])
                    << flat;
            }
      }
    }
  set_num_threads(before);
}

}  // namespace
}  // namespace mc
