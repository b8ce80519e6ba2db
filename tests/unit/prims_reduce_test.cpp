// Reductions and scans: what the rows infer and refuse, special values, derivatives, batching.
#include <cstring>
#include <functional>

#include "backends/numpy/simd/convert.h"
#include "backends/numpy/simd/dispatch.h"
#include "mc/detail/str.h"
#include "mc/device.h"
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
  expect_list(std(f64({1, 2, 4}, {3}), 0, false, 1), {std::sqrt(7.0 / 3)}, 1e-15);
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

// The contract's order, written down once more: element i to accumulator (i/16) mod 4, lane i mod 16.
template <class A>
A in_order(const std::vector<A>& x, A start, const std::function<A(A, A)>& join) {
  A acc[4][16];
  for (auto& row : acc)
    for (A& v : row) v = start;
  for (size_t i = 0; i < x.size(); ++i) {
    A& v = acc[i / 16 % 4][i % 16];
    v = join(v, x[i]);
  }
  A lane[16];
  for (int l = 0; l < 16; ++l) lane[l] = join(join(acc[0][l], acc[1][l]), join(acc[2][l], acc[3][l]));
  for (int half = 8; half; half /= 2)
    for (int l = 0; l < half; ++l) lane[l] = join(lane[l], lane[l + half]);
  return lane[0];
}

template <class F>
void everywhere(F f) {
  const int before = num_threads();
  for (simd::Isa isa : {simd::Isa::Scalar, simd::Isa::Avx2, simd::Isa::Avx512}) {
    if (isa > simd::best_isa()) continue;
    for (int threads : {1, 3}) {
      SCOPED_TRACE(cat(simd::isa_name(isa), ", ", threads, " threads"));
      simd::set_isa(isa);
      set_num_threads(threads);
      f();
    }
  }
  simd::set_isa(simd::best_isa());
  set_num_threads(before);
}

template <class T>
std::vector<T> items(const Array& a) {
  return a.eval().to_vector<T>();
}

template <class A>
void expect_same_bits(const std::vector<A>& have, const std::vector<A>& want, const char* what) {
  ASSERT_EQ(have.size(), want.size()) << what;
  for (size_t i = 0; i < have.size(); ++i) {
    if (std::isnan(have[i]) && std::isnan(want[i])) continue;
    ASSERT_EQ(std::memcmp(&have[i], &want[i], sizeof(A)), 0)
        << what << " " << i << ": " << have[i] << ", not " << want[i];
  }
}

// [outer, n, inner] reduced over its middle, and the same elements as a transposed view.
template <class A>
void check_order(int64_t outer, int64_t n, int64_t inner, Dtype dtype) {
  SCOPED_TRACE(cat(dtype_name(dtype), " [", outer, ", ", n, ", ", inner, "]"));
  Array x = astype(draw({outer, n, inner}, static_cast<int>(n + inner)), dtype).eval();
  if (n > 40) {  // NaN, infinities and both zeros in some of the columns
    std::vector<double> holes(static_cast<size_t>(outer * n * inner), 1);
    holes[static_cast<size_t>(37 * inner)] = kNan;
    holes[static_cast<size_t>(3 * inner + inner - 1)] = 0;
    holes[static_cast<size_t>(21 * inner + inner / 2)] = -0.0;
    x = (x * astype(f64(holes, {outer, n, inner}), dtype)).eval();
  }
  const std::vector<A> all = items<A>(astype(x, sizeof(A) == 8 ? Dtype::F64 : Dtype::F32));
  struct Row {
    const char* name;
    A start;
    std::function<A(A, A)> join;
    std::function<Array(const Array&, const Axes&)> run;
  };
  const A inf = static_cast<A>(kInf);
  for (const Row& row :
       {Row{"sum", 0, [](A a, A b) { return a + b; }, [](const Array&a, const Axes&d) { return sum(a, d); }},
        Row{"prod", 1, [](A a, A b) { return a * b; },
            [](const Array&a, const Axes&d) { return prod(a, d); }},
        Row{"max", -inf, [](A a, A b) { return a != a            ? a
                                               : b != b || b > a ? b
                                                                 : a; },
            [](const Array&a, const Axes&d) { return max(a, d); }},
        Row{"min", inf, [](A a, A b) { return a != a            ? a
                                              : b != b || b < a ? b
                                                                : a; },
            [](const Array&a, const Axes&d) { return min(a, d); }}}) {
    std::vector<A> want;
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t c = 0; c < inner; ++c) {
        std::vector<A> line;
        for (int64_t i = 0; i < n; ++i) line.push_back(all[static_cast<size_t>((o * n + i) * inner + c)]);
        const A total = in_order<A>(line, row.start, row.join);
        if constexpr (sizeof(A) == 4) {
          want.push_back(dtype == Dtype::BF16  ? simd::to_f32(simd::to_bf16(total))
                         : dtype == Dtype::F16 ? simd::to_f32(simd::to_f16(total))
                                               : total);
        } else {
          want.push_back(total);
        }
      }
    const Array moved = transpose(x, {0, 2, 1}), packed = concatenate({moved}, 0).eval();
    everywhere([&] {
      const auto wide = [&](const Array& a) {
        return items<A>(astype(a, sizeof(A) == 8 ? Dtype::F64 : Dtype::F32));
      };
      expect_same_bits(wide(row.run(x, {1})), want, row.name);
      expect_same_bits(wide(row.run(moved, {2})), want, row.name);
      expect_same_bits(wide(row.run(packed, {2})), want, row.name);
    });
  }
}

TEST(PrimsReduce, OneOrderForEveryLayoutInstructionSetAndThread) {
  for (int64_t n : {1, 2, 15, 17, 63, 64, 65, 130, 256, 300, 1000}) {
    check_order<float>(1, n, 1, Dtype::F32);
    check_order<float>(2, n, 19, Dtype::F32);
    check_order<double>(2, n, 21, Dtype::F64);
    check_order<float>(2, n, 33, Dtype::F16);
    check_order<float>(1, n, 16, Dtype::BF16);
  }
  check_order<float>(1, 70, 2500, Dtype::F32);
  check_order<double>(1, 330, 1111, Dtype::F64);
}

TEST(PrimsReduce, ReducedAxesAroundAKeptOne) {
  const Array x = astype(draw({7, 40, 31}, 5), Dtype::F32).eval();
  const Array gathered =
      concatenate({transpose(x, {1, 0, 2})}, 0).eval();  // the same elements in the same order
  const std::vector<float> outside = items<float>(sum(gathered, {1, 2}));
  const std::vector<float> leading = items<float>(sum(reshape(x, {280, 31}), {0}));
  everywhere([&] {
    expect_same_bits(items<float>(sum(x, {0, 2})), outside, "outside");
    expect_same_bits(items<float>(sum(x, {0, 1})), leading, "leading");
  });
}

TEST(PrimsReduce, ArgumentsAndScansAgreeWithPlainLoops) {
  const int64_t n = 2500;
  std::vector<double> v(static_cast<size_t>(3 * n));
  for (size_t i = 0; i < v.size(); ++i)
    v[i] = static_cast<double>(i * 7919 % 1201);  // every value twice or more
  v[static_cast<size_t>(n + 1700)] = kNan;
  v[static_cast<size_t>(n + 1800)] = kNan;
  for (Dtype d : {Dtype::F32, Dtype::F64, Dtype::I32}) {
    if (d == Dtype::I32) v[static_cast<size_t>(n + 1700)] = v[static_cast<size_t>(n + 1800)] = 5;
    const Array x = astype(f64(v, {3, n}), d).eval();
    std::vector<int32_t> top, low;
    for (int64_t r = 0; r < 3; ++r) {
      int64_t best = 0, least = 0;
      for (int64_t i = 1; i < n; ++i) {
        const double a = v[static_cast<size_t>(r * n + i)], b = v[static_cast<size_t>(r * n + best)],
                     c = v[static_cast<size_t>(r * n + least)];
        if (b == b && (a != a || a > b)) best = i;
        if (c == c && (a != a || a < c)) least = i;
      }
      top.push_back(static_cast<int32_t>(best)), low.push_back(static_cast<int32_t>(least));
    }
    everywhere([&] {
      EXPECT_EQ(items<int32_t>(argmax(x, 1)), top);
      EXPECT_EQ(items<int32_t>(argmin(x, 1)), low);
      EXPECT_EQ(items<int32_t>(argmax(concatenate({transpose(x)}, 0), 0)), top);
    });
  }
  const Array wide = astype(draw({2, 50, 700}, 9), Dtype::F32).eval();
  const std::vector<float> all = items<float>(wide);
  for (bool reverse : {false, true}) {
    std::vector<float> want(all.size());
    for (size_t o = 0; o < 2; ++o)
      for (size_t c = 0; c < 700; ++c) {
        float sum = 0;
        for (size_t k = 0; k < 50; ++k) {
          const size_t at = (o * 50 + (reverse ? 49 - k : k)) * 700 + c;
          want[at] = sum += all[at];
        }
      }
    everywhere([&] { expect_same_bits(items<float>(cumsum(wide, 1, reverse)), want, "cumsum"); });
  }
}

}  // namespace
}  // namespace mc
