// Products of matrices and tensors, against sums of products written as loops.
#include <map>

#include "prims_util.h"

namespace mc {
namespace {
using namespace test;

// einsum by its definition: every label's every value, no ellipsis.
V slow_einsum(const std::vector<std::string>& in, const std::string& out, const Arrays& operands) {
  std::map<char, int64_t> dims;
  for (size_t t = 0; t < in.size(); ++t)
    for (size_t d = 0; d < in[t].size(); ++d)
      dims[in[t][d]] = std::max(dims[in[t][d]], operands[t].shape(static_cast<int>(d)));
  std::string labels;
  int64_t total = 1, size = 1;
  for (const auto& [l, n] : dims) labels += l, total *= n;
  for (char l : out) size *= dims[l];
  V result(static_cast<size_t>(size));
  std::vector<V> values;
  for (const Array& a : operands) values.push_back(list(a));
  for (int64_t k = 0; k < total; ++k) {
    std::map<char, int64_t> at;
    int64_t rest = k;
    for (char l : labels) at[l] = rest % dims[l], rest /= dims[l];
    double p = 1;
    for (size_t t = 0; t < in.size(); ++t) {
      int64_t i = 0;
      for (size_t d = 0; d < in[t].size(); ++d) {
        const int64_t n = operands[t].shape(static_cast<int>(d));
        i = i * n + (n == 1 ? 0 : at[in[t][d]]);
      }
      p *= values[t][static_cast<size_t>(i)];
    }
    int64_t o = 0;
    for (char l : out) o = o * dims[l] + at[l];
    result[static_cast<size_t>(o)] += p;
  }
  return result;
}

// One matrix for a whole batch on the left, a repeated one on the right.
TEST(PrimsMatmul, ALeftSideThatIsRepeatedHasOnlyItsOwnRows) {
  const Array a = draw({1, 4, 8}, 1), b = draw({8, 3}, 2);
  const Array want = matmul(a, b);
  for (int64_t i = 0; i < 5; ++i)
    expect_near(slice_axis(matmul(a, broadcast_to(b, {5, 8, 3})), 0, i, i + 1), want, 1e-15);
  expect_gradients([](const Arrays& x) { return matmul(x[0], x[1]); }, {a, draw({5, 8, 3}, 3)},
                   "repeated left side");
  const Array g =
      grad([](const Arrays& x) { return Arrays{sum(matmul(x[0], x[1]))}; }, {1})({a, draw({5, 8, 3}, 3)})[0];
  expect_near(g, broadcast_to(expand_dims(sum(a, {0, 1}), {0, 2}), {5, 8, 3}), 1e-14);
}

TEST(PrimsMatmul, ShapesAndDtypes) {
  expect_aval(matmul(zeros({3}), zeros({3})), {}, Dtype::F32);
  expect_aval(matmul(zeros({3}), zeros({5, 3, 2})), {5, 2}, Dtype::F32);
  expect_aval(matmul(zeros({5, 2, 3}), zeros({3})), {5, 2}, Dtype::F32);
  expect_aval(matmul(zeros({4, 1, 2, 3}), zeros({5, 3, 6})), {4, 5, 2, 6}, Dtype::F32);
  expect_aval(matmul(zeros({2, 0}), zeros({0, 3})), {2, 3}, Dtype::F32);
  expect_aval(matmul(zeros({2, 2}, Dtype::F16), zeros({2, 2})), {2, 2}, Dtype::F32);
  expect_aval(matmul(zeros({2, 2}, Dtype::Bool), zeros({2, 2}, Dtype::Bool)), {2, 2}, Dtype::I32);
  expect_aval(dot(zeros({2, 3, 4}), zeros({5, 4, 6})), {2, 3, 5, 6}, Dtype::F32);  // NumPy's, not matmul's
  expect_aval(dot(zeros({4}), zeros({5, 4, 6})), {5, 6}, Dtype::F32);
  expect_aval(inner(zeros({2, 4}), zeros({3, 4})), {2, 3}, Dtype::F32);
  expect_aval(outer(zeros({2, 2}), zeros({3})), {4, 3}, Dtype::F32);
  expect_aval(tensordot(zeros({2, 3, 4}), zeros({4, 2, 5}), {0, -1}, {1, 0}), {3, 5}, Dtype::F32);
  expect_list(matmul(zeros({2, 0}), zeros({0, 3})), V(6, 0.0));
}

TEST(PrimsMatmul, Refusals) {
  expect_error(ErrorCode::ShapeMismatch, "3 columns against 4 rows", [] {
    matmul(zeros({2, 3}), zeros({4, 2}));
  });
  expect_error(ErrorCode::ShapeMismatch, "can't be broadcast", [] {
    matmul(zeros({2, 2, 3}), zeros({3, 3, 2}));
  });
  expect_error(ErrorCode::ShapeMismatch, "scalars", [] { matmul(zeros({}), zeros({2})); });
  expect_error(ErrorCode::InvalidArgument, "differ in number",
               [] { tensordot(zeros({2}), zeros({2}), {0}, {}); });
  expect_error(ErrorCode::ShapeMismatch, "does not fit axis",
               [] { tensordot(zeros({2}), zeros({3}), {0}, {0}); });
  expect_error(ErrorCode::InvalidArgument, "twice", [] {
    tensordot(zeros({2, 2}), zeros({2, 2}), {0, 0}, {0, 1});
  });
  const Array m = zeros({2, 3});
  expect_error(ErrorCode::InvalidArgument, "names 2 operands, got 1", [&] { einsum("ij,jk", {m}); });
  expect_error(ErrorCode::InvalidArgument, "names 1 dimensions", [&] { einsum("i", {m}); });
  expect_error(ErrorCode::InvalidArgument, "is in no operand", [&] { einsum("ij->k", {m}); });
  expect_error(ErrorCode::InvalidArgument, "twice in the result", [&] { einsum("ij->ii", {m}); });
  expect_error(ErrorCode::InvalidArgument, "is 3 in one operand and 2", [&] { einsum("ij,jk->ik", {m, m}); });
  expect_error(ErrorCode::InvalidArgument, "no label", [&] { einsum("i1->i", {m}); });
  expect_error(ErrorCode::InvalidArgument, "three", [&] { einsum("i..j", {m}); });
  expect_error(ErrorCode::InvalidArgument, "names more dimensions", [&] { einsum("...ijk", {m}); });
}

TEST(PrimsMatmul, Einsum) {
  struct Case {
    std::string text;
    std::vector<std::string> in;
    std::string out;
    std::vector<Shape> shapes;
  };
  const Case cases[] = {
      {"ij,jk->ik", {"ij", "jk"}, "ik", {{2, 3}, {3, 4}}},
      {"ij,jk", {"ij", "jk"}, "ik", {{2, 3}, {3, 4}}},
      {"ba", {"ba"}, "ab", {{2, 3}}},  // alphabetical without an arrow
      {"ii", {"ii"}, "", {{3, 3}}},
      {"ii->i", {"ii"}, "i", {{3, 3}}},
      {"iij,jjk->ik", {"iij", "jjk"}, "ik", {{2, 2, 3}, {3, 3, 4}}},
      {"iii->i", {"iii"}, "i", {{3, 3, 3}}},
      {"ij->", {"ij"}, "", {{2, 3}}},
      {"i,j->ji", {"i", "j"}, "ji", {{2}, {3}}},
      {"bij,bjk,bkl->bil", {"bij", "bjk", "bkl"}, "bil", {{2, 3, 4}, {2, 4, 5}, {2, 5, 2}}},
      {"ij,ij,ij->j", {"ij", "ij", "ij"}, "j", {{3, 4}, {3, 4}, {3, 4}}},
      {"ij,k,lk->il", {"ij", "k", "lk"}, "il", {{2, 3}, {4}, {5, 4}}},
      {" i j , j -> i ", {"ij", "j"}, "i", {{2, 3}, {1}}},
      {",i->i", {"", "i"}, "i", {{}, {3}}},
      {"...ij,...jk->...ik", {"abij", "bjk"}, "abik", {{2, 3, 2, 4}, {3, 4, 2}}},
      {"...i,...i", {"abi", "bi"}, "ab", {{2, 3, 4}, {3, 4}}},
      {"i...->...", {"iab"}, "ab", {{2, 3, 4}}},
      {"...ii->...i", {"aii"}, "ai", {{2, 3, 3}}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.text);
    Arrays in;
    for (size_t i = 0; i < c.shapes.size(); ++i) in.push_back(draw(c.shapes[i], static_cast<int>(i)));
    expect_list(einsum(c.text, in), slow_einsum(c.in, c.out, in),
                1e-14);  // sums of at most 60 products of order 1
  }
}

TEST(PrimsMatmul, ProductsAgreeWithTheirSums) {
  const Array a = draw({2, 3, 4}, 1), b = draw({5, 4, 6}, 2), c = draw({3, 4}, 3);
  expect_list(dot(a, b), slow_einsum({"ijk", "lkm"}, "ijlm", {a, b}), 1e-14);
  expect_list(inner(a, c), slow_einsum({"ijk", "lk"}, "ijl", {a, c}), 1e-14);
  expect_list(tensordot(a, c, {1, 2}, {0, 1}), slow_einsum({"ijk", "jk"}, "i", {a, c}), 1e-14);
  expect_list(tensordot(a, c, {}, {}), slow_einsum({"ijk", "lm"}, "ijklm", {a, c}), 1e-14);
  expect_list(matmul(draw({4}, 4), b), slow_einsum({"k", "lkm"}, "lm", {draw({4}, 4), b}), 1e-14);
  expect_list(matmul(i32({1, 2, 3, 4}, {2, 2}), i32({5, 6, 7, 8}, {2, 2})), {19, 22, 43, 50});
}

TEST(PrimsMatmul, DerivativesAndBatches) {
  expect_gradients([](const Arrays& x) { return matmul(x[0], x[1]); },
                   {draw({2, 1, 2, 3}, 1), draw({2, 3, 2}, 2)}, "matmul, batches broadcast");
  expect_gradients([](const Arrays& x) { return matmul(x[0], x[1]); }, {draw({3}, 1), draw({3}, 2)},
                   "vectors");
  expect_gradients(
      [](const Arrays& x) {
        return einsum("iij,jk->ik", {x[0], x[1]});
      },
      {draw({2, 2, 3}, 3), draw({3, 2}, 4)}, "einsum");
  expect_batch([](const Arrays& x) { return Arrays{matmul(x[0], x[1])}; },
               {draw({3, 2, 4}, 5), draw({3, 4, 5}, 6)}, "matrices");
  expect_batch([](const Arrays& x) { return Arrays{matmul(x[0], x[1])}; },
               {draw({3, 2, 1, 2, 4}, 5), draw({3, 4, 5}, 6)}, "more dimensions left");
  expect_batch([](const Arrays& x) { return Arrays{matmul(x[0], x[1])}; },
               {draw({3, 4}, 5), draw({3, 2, 4, 5}, 6)}, "vector and batch");
  expect_batch(
      [](const Arrays& x) {
        return Arrays{einsum("i...,i...->...", {x[0], x[1]}), tensordot(x[0], x[1], {0}, {0})};
      },
      {draw({3, 2, 4}, 5), draw({3, 2, 4}, 6)}, "composites");
}

}  // namespace
}  // namespace mc
