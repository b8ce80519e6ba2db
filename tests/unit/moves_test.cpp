// Data that is moved: transposes, concatenation and padding, of every item size, on several threads.
#include <array>

#include "mc/device.h"
#include "prims/attrs.h"
#include "prims/op_def.h"
#include "prims_util.h"

namespace mc {
namespace {
using namespace test;

// Moves of data against index arithmetic in the test: element (i, j, k) of a [A, B, C] array is its flat
// number.
class Moves : public testing::TestWithParam<Dtype> {
 protected:
  static constexpr int64_t kA = 19, kB = 70, kC = 133;
  static Array numbered(const Shape& s) {
    V v(static_cast<size_t>(s.numel()));
    for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<double>(i % 101);
    return astype(f64(v, s), GetParam()).eval();
  }
  template <class F>
  static void expect_each(const Array& have, const Shape& shape, F want) {
    ASSERT_EQ(have.shape(), shape);
    const V got = list(have);
    size_t at = 0;
    for (int64_t i = 0; i < shape[0]; ++i)
      for (int64_t j = 0; j < shape[1]; ++j)
        for (int64_t k = 0; k < shape[2]; ++k, ++at)
          ASSERT_EQ(got[at], want(i, j, k)) << i << " " << j << " " << k;
  }
  template <class F>
  static void on_threads(F f) {
    const int before = num_threads();
    for (int threads : {1, 3}) set_num_threads(threads), f();
    set_num_threads(before);
  }
  static double number(int64_t i, int64_t j, int64_t k) {
    return static_cast<double>(((i * kB + j) * kC + k) % 101);
  }
};

TEST_P(Moves, TransposesOfEveryOrder) {
  const Array x = numbered({kA, kB, kC});
  on_threads([&] {
    for (const auto& [a, b, c] :
         {std::array{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}) {
      const Shape& s = x.shape();
      const auto at = [&](int64_t i, int64_t j, int64_t k) {
        int64_t e[3];
        e[a] = i, e[b] = j, e[c] = k;
        return number(e[0], e[1], e[2]);
      };
      const Array moved = transpose(x, {a, b, c});
      expect_each(concatenate({moved}, 0), {s[a], s[b], s[c]}, at);
      expect_each(concatenate({flip(moved, {2})}, 0), {s[a], s[b], s[c]},
                  [&](int64_t i, int64_t j, int64_t k) { return at(i, j, s[c] - 1 - k); });
    }
  });
}

TEST_P(Moves, ConcatenateAndPadOnEveryAxis) {
  const Array x = numbered({kA, kB, kC});
  on_threads([&] {
    for (int axis = 0; axis < 3; ++axis) {
      Shape twice = x.shape();
      twice[axis] *= 2;
      const Array back = transpose(transpose(x, {2, 1, 0}), {2, 1, 0});
      expect_each(concatenate({x, back}, axis), twice,
                  [&](int64_t i, int64_t j, int64_t k) { return number(i % kA, j % kB, k % kC); });
    }
    expect_each(pad(x, {{1, 2}, {0, 3}, {4, 0}}, 1), {kA + 3, kB + 3, kC + 4},
                [](int64_t i, int64_t j, int64_t k) {
                  const bool inside = i >= 1 && i <= kA && j < kB && k >= 4;
                  return inside ? number(i - 1, j, k - 4) : 1.0;
                });
    // Negative widths, which take elements away, are what gradients ask for.
    const Array one = astype(Array(1), GetParam());
    expect_each(apply1(Op::Pad, {x, one}, PadAttrs{{-2, 5, -3}, {0, -1, 7}}), {kA - 2, kB + 4, kC + 4},
                [](int64_t i, int64_t j, int64_t k) {
                  const bool inside = j >= 5 && k < kC - 3;
                  return inside ? number(i + 2, j - 5, k + 3) : 1.0;
                });
    expect_each(pad(zeros({0, 2, 3}, GetParam()), {{2, 1}, {1, 0}, {0, 0}}, 1), {3, 3, 3},
                [](int64_t, int64_t, int64_t) { return 1.0; });
  });
}
INSTANTIATE_TEST_SUITE_P(Dtypes, Moves,
                         testing::Values(Dtype::U8, Dtype::I16, Dtype::F32, Dtype::F64, Dtype::C64),
                         [](const auto& row) { return std::string(dtype_name(row.param)); });

}  // namespace
}  // namespace mc
