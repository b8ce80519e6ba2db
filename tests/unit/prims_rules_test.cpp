// The rows' rules, evaluated in float64 on the host engine: derivatives against central differences, batching
// against a loop, a fused operation against what it decomposes into.
#include <gtest/gtest.h>

#include <cmath>
#include <complex>
#include <limits>

#include "mc/fast.h"
#include "mc/ops.h"
#include "mc/quantize.h"
#include "mc/transforms.h"
#include "prims/attrs.h"
#include "prims/op_def.h"

namespace mc {
namespace {

// Values between lo and hi, different at each place and the same in every run.
Array draw(const Shape& s, int seed, double lo = -1, double hi = 1) {
  std::vector<double> v(static_cast<size_t>(s.numel()));
  uint64_t x = 0x9e3779b97f4a7c15ull * static_cast<uint64_t>(seed + 1);
  for (double& e : v) {
    x ^= x >> 12, x ^= x << 25, x ^= x >> 27;
    e = lo + (hi - lo) * static_cast<double>((x * 0x2545f4914f6cdd1dull) >> 11) / 9007199254740992.0;
  }
  return Array(v, s);
}
Array ints(const std::vector<int32_t>& v, const Shape& s) { return Array(v, s); }

void near(const Array& got, const Array& want, double bound, const std::string& what) {
  ASSERT_EQ(got.shape().str(), want.shape().str()) << what;
  ASSERT_EQ(dtype_name(got.dtype()), dtype_name(want.dtype())) << what;
  const std::vector<double> g = astype(got, Dtype::F64).to_vector<double>(),
                            w = astype(want, Dtype::F64).to_vector<double>();
  for (size_t i = 0; i < g.size(); ++i) {
    if (std::isnan(w[i])) {
      EXPECT_TRUE(std::isnan(g[i])) << what << " at " << i;
    } else {
      EXPECT_NEAR(g[i], w[i], bound * (1 + std::abs(w[i]))) << what << " at " << i;
    }
  }
}

using F1 = std::function<Array(const Arrays&)>;
Array weighted(const Array& y) { return sum(y * draw(y.shape(), 77)); }  // a direction for the outputs

// The derivative in every input's every element. A central difference with h has error h²·f''' + eps·|f|/h:
// below 1e-8 for h = 1e-5 and values of order 1; 1e-6 leaves room for third derivatives of order 1000.
void check_gradient(const F1& f, const Arrays& in, const std::string& what) {
  std::vector<int> argnums;
  for (size_t i = 0; i < in.size(); ++i) argnums.push_back(static_cast<int>(i));
  const Arrays g = grad([&](const Arrays& a) { return Arrays{weighted(f(a))}; }, argnums)(in);
  const double h = 1e-5;
  for (size_t i = 0; i < in.size(); ++i) {
    std::vector<double> x = in[i].to_vector<double>(), slope(x.size());
    for (size_t e = 0; e < x.size(); ++e) {
      Arrays at = in;
      double side[2];
      for (int s = 0; s < 2; ++s) {
        std::vector<double> moved = x;
        moved[e] += s ? h : -h;
        at[i] = Array(moved, in[i].shape());
        side[s] = weighted(f(at)).item<double>();
      }
      slope[e] = (side[1] - side[0]) / (2 * h);
    }
    near(g[i], Array(slope, in[i].shape()), 1e-6, cat(what, ", input ", i));
  }
}
// And the derivative of the derivative.
void check_gradients(const F1& f, const Arrays& in, const std::string& what) {
  check_gradient(f, in, what);
  check_gradient(
      [&](const Arrays& a) { return grad([&](const Arrays& b) { return Arrays{weighted(f(b))}; })(a)[0]; },
      in, what + ", twice");
}

// vmap over axis 0 of the inputs marked true, against one example at a time. The same operations on the same
// numbers.
void check_batch(const F1& f, const Arrays& in, const std::vector<bool>& mapped, const std::string& what) {
  std::vector<int> axes;
  int64_t size = 0;
  for (size_t i = 0; i < in.size(); ++i) {
    axes.push_back(mapped[i] ? 0 : kNoAxis);
    if (mapped[i]) size = in[i].shape(0);
  }
  const Array got = vmap([&](const Arrays& a) { return Arrays{f(a)}; }, axes)(in)[0];
  Arrays parts;
  for (int64_t b = 0; b < size; ++b) {
    Arrays one;
    for (size_t i = 0; i < in.size(); ++i)
      one.push_back(mapped[i] ? squeeze(slice_axis(in[i], 0, b, b + 1), {0}) : in[i]);
    parts.push_back(f(one));
  }
  near(got, stack(parts, 0), 1e-13, what);
}
void check_all_batches(const F1& f, const Arrays& one, const Arrays& many, const std::string& what) {
  for (unsigned m = 1; m < (1u << one.size()); ++m) {
    Arrays in;
    std::vector<bool> mapped;
    for (size_t i = 0; i < one.size(); ++i) {
      mapped.push_back((m >> i) & 1u);
      in.push_back(mapped.back() ? many[i] : one[i]);
    }
    check_batch(f, in, mapped, cat(what, ", mask ", m));
  }
}

TEST(PrimsRules, ElementwiseDerivativesFromTheSamples) {
  for (int i = 0; i < kOpCount; ++i) {
    const OpDef& d = op_def(static_cast<Op>(i));
    if (!d.has(kElementwise) || !d.vjp || !d.samples.smooth || !d.samples.oracle || d.samples.cases ||
        !in_set(Dtype::F64, d.samples.dtypes))
      continue;
    const bool two = std::string_view(d.samples.oracle).find("in1") != std::string_view::npos;
    Arrays in{draw({3, 2}, i, d.samples.lo, d.samples.hi)};
    if (two) in.push_back(draw({2}, i + 100, d.samples.lo, d.samples.hi));
    // A complex result is looked at through both of its parts.
    auto f = [&](const Arrays& a) {
      const Array y = apply1(d.op, a);
      return is_complex(y.dtype()) ? real(y) * 2 + imag(y) : y;
    };
    check_gradient(f, in, std::string(d.samples.oracle));
  }
}

TEST(PrimsRules, KinksTakeOneSide) {
  auto slope = [](const F1& f, double x) {
    return grad([&](const Arrays& a) { return Arrays{sum(f(a))}; })({Array(std::vector<double>{x}, {1})})[0]
        .item<double>();
  };
  EXPECT_EQ(slope([](const Arrays& a) { return abs(a[0]); }, 0), 0);
  EXPECT_EQ(slope([](const Arrays& a) { return relu(a[0]); }, 0), 0);
  // Ties of maximum go to the first input.
  EXPECT_EQ(slope([](const Arrays& a) { return maximum(a[0], 0.0); }, 0), 1);
  EXPECT_EQ(slope([](const Arrays& a) { return minimum(zeros_like(a[0]), a[0]); }, 0), 0);
  EXPECT_EQ(slope([](const Arrays& a) { return power(a[0], 0.0); }, 0), 0);
  EXPECT_EQ(slope([](const Arrays& a) { return power(a[0], 2.0); }, 0), 0);
  EXPECT_EQ(slope([](const Arrays& a) { return power(a[0], 1.0); }, 0), 1);
  EXPECT_EQ(slope([](const Arrays& a) { return logaddexp(a[0], full({1}, 0.5, Dtype::F64)); }, 0.5), 0.5);
  EXPECT_EQ(slope([](const Arrays& a) { return logaddexp(full({1}, 0.5, Dtype::F64), a[0]); }, 0.5), 0.5);
}

TEST(PrimsRules, ComplexGradientsAreThoseOfTwoReals) {
  // z = x + iy enters as two real inputs; what the rules give for z is d/dx + i·d/dy.
  const Array x = draw({4}, 1, 0.3, 1), y = draw({4}, 2, 0.3, 1), u = draw({4}, 3, 0.3, 1),
              v = draw({4}, 4, 0.3, 1);
  const Array i = apply1(Op::Full, std::span<const Array>(), FullAttrs{{}, Dtype::C128, 0, 1, 0});
  auto z = [&](const Array& re, const Array& im) {
    return astype(re, Dtype::C128) + astype(im, Dtype::C128) * i;
  };
  auto both = [](const Array& c) { return concatenate({real(c), imag(c)}); };
  const std::vector<std::pair<const char*, Array (*)(const Array&, const Array&)>> fs = {
      {"multiply", [](const Array& a, const Array& b) { return a * b; }},
      {"divide", [](const Array& a, const Array& b) { return a / b; }},
      {"exp", [](const Array& a, const Array& b) { return exp(a) + b; }},
      {"log", [](const Array& a, const Array& b) { return log(a) + b; }},
      {"sqrt", [](const Array& a, const Array& b) { return sqrt(a) + b; }},
      {"sin", [](const Array& a, const Array& b) { return sin(a) + cos(b); }},
      {"tanh", [](const Array& a, const Array& b) { return tanh(a) + conj(b); }},
      {"abs", [](const Array& a, const Array& b) { return astype(abs(a), Dtype::C128) * b; }},
      {"power", [](const Array& a, const Array& b) { return power(a, b); }},
  };
  for (const auto& [name, f] : fs)
    check_gradient([&, f = f](const Arrays& a) { return both(f(z(a[0], a[1]), z(a[2], a[3]))); },
                   {x, y, u, v}, name);
}

TEST(PrimsRules, AnInnerGradientLeavesTheOuterOneItsInputs) {
  const Array x = full({}, 3.0, Dtype::F64), w = full({}, 5.0, Dtype::F64);
  auto inner = [](const Arrays& a) {
    return grad([](const Arrays& b) { return Arrays{b[0] * b[0] * b[1]}; })(a);
  };
  EXPECT_EQ(grad(inner, {0})({x, w})[0].item<double>(), 10);  // d²(x²w)/dx² = 2w
  EXPECT_EQ(grad(inner, {1})({x, w})[0].item<double>(), 6);   // d²(x²w)/dxdw = 2x
  // Three levels, the innermost in one variable: d³(x²w²)/dx dw² = 4x.
  auto first = [](const Arrays& a) {
    return grad([](const Arrays& b) { return Arrays{b[0] * b[0] * b[1] * b[1]}; })(a);
  };
  auto second = [&](const Arrays& a) { return grad(first, {1})(a); };
  EXPECT_EQ(grad(second, {1})({x, w})[0].item<double>(), 12);
}

TEST(PrimsRules, NormsAndGates) {
  const Array x = draw({3, 5}, 1, -2, 2), w = draw({5}, 2), b = draw({5}, 3);
  check_gradients([](const Arrays& a) { return rms_norm(a[0], a[1], 1e-3); }, {x, w}, "rms_norm");
  check_gradients([](const Arrays& a) { return rms_norm(a[0], {}, 1e-3); }, {x}, "rms_norm without weight");
  check_gradients([](const Arrays& a) { return rms_norm(a[0], a[1]); }, {draw({5}, 4), w},
                  "rms_norm of one row");
  check_gradients([](const Arrays& a) { return layer_norm(a[0], a[1], a[2], 1e-3); }, {x, w, b},
                  "layer_norm");
  check_gradients([](const Arrays& a) { return layer_norm(a[0], {}, a[1], 1e-3); }, {x, b},
                  "layer_norm with a bias only");
  check_gradients([](const Arrays& a) { return swiglu(a[0], a[1]); }, {x, draw({3, 5}, 5)}, "swiglu");
  check_gradients([](const Arrays& a) { return softmax(a[0]); }, {x}, "softmax");
  check_gradients([](const Arrays& a) { return log_softmax(a[0], 0); }, {x}, "log_softmax");
  const Array labels = ints({4, 0, -2}, {3});
  check_gradients([&](const Arrays& a) { return cross_entropy(a[0], labels); }, {x}, "cross_entropy");

  const Array xs = draw({2, 3, 5}, 6), ws = draw({2, 5}, 7), bs = draw({2, 5}, 8);
  check_all_batches([](const Arrays& a) { return rms_norm(a[0], a[1]); }, {x, w}, {xs, ws}, "rms_norm");
  check_all_batches([](const Arrays& a) { return layer_norm(a[0], a[1], a[2]); }, {x, w, b}, {xs, ws, bs},
                    "layer_norm");
  check_all_batches([](const Arrays& a) { return swiglu(a[0], a[1]); }, {x, x + 1.0}, {xs, xs * 2.0},
                    "swiglu");
  check_all_batches([](const Arrays& a) { return cross_entropy(a[0], a[1]); }, {x, labels},
                    {xs, ints({0, 1, 2, 3, 4, 0}, {2, 3})}, "cross_entropy");
}

TEST(PrimsRules, RopeAndAttention) {
  const Array x = draw({2, 3, 4, 6}, 1), one = ints({3, 1, 4, 1}, {4}),
              rows = ints({5, 9, 2, 6, 5, 3, 5, 8}, {2, 4}), freq = draw({3}, 2, 0.1, 1);
  check_gradients([&](const Arrays& a) { return rope(a[0], rows, {.dims = 4, .traditional = true}); },
                  {draw({2, 1, 4, 5}, 3)}, "rope");
  check_gradient([&](const Arrays& a) { return rope_freqs(a[0], one, a[1]); }, {draw({4, 6}, 4), freq},
                 "rope_freqs");
  const Array xs = draw({3, 2, 3, 4, 6}, 5), ones_ = ints({0, 1, 2, 3, 7, 6, 5, 4, 9, 9, 1, 0}, {3, 4});
  std::vector<int32_t> v(24);
  for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<int32_t>(i * 7 % 11);
  auto turn = [](const Arrays& a) { return rope(a[0], a[1]); };
  check_all_batches(turn, {x, one}, {xs, ones_}, "rope, positions (T,)");
  check_all_batches(turn, {x, rows}, {xs, ints(v, {3, 2, 4})}, "rope, positions (B, T)");
  check_all_batches(turn, {draw({4, 6}, 6), one}, {draw({3, 4, 6}, 7), ones_}, "rope of a matrix");
  check_all_batches([](const Arrays& a) { return rope_freqs(a[0], a[1], a[2]); }, {x, one, freq},
                    {xs, ones_, draw({3, 3}, 8, 0.1, 1)}, "rope_freqs");

  const Array q = draw({2, 4, 3, 2}, 9), k = draw({2, 2, 5, 2}, 10), u = draw({2, 2, 5, 3}, 11),
              start = ints({1, 2}, {2}), mask = draw({3, 5}, 12);
  auto attend = [&](const Arrays& a) {
    return scaled_dot_product_attention(a[0], a[1], a[2], {.causal = true, .window = 2, .softcap = 3}, a[3],
                                        start);
  };
  check_gradient(attend, {q, k, u, mask}, "attention");
  check_all_batches(
      [&](const Arrays& a) {
        return scaled_dot_product_attention(a[0], a[1], a[2], {.causal = true}, a[3], a[4]);
      },
      {q, k, u, mask, start},
      {draw({3, 2, 4, 3, 2}, 13), draw({3, 2, 2, 5, 2}, 14), draw({3, 2, 2, 5, 3}, 15), draw({3, 3, 5}, 16),
       ints({0, 1, 2, 3, 4, 0}, {3, 2})},
      "attention");
  // A row that sees no key.
  const Array nothing = scaled_dot_product_attention(q, k, u, {}, {}, {}, ints({0, 5}, {2}));
  near(slice_axis(nothing, 0, 0, 1), zeros({1, 4, 3, 3}, Dtype::F64), 0, "no key");
}

TEST(PrimsRules, ShapesAndWindows) {
  const Array a = draw({4, 5}, 1), at = ints({2, 9}, {2});
  check_gradients(
      [](const Arrays& x) {
        return slice(x[0], {1, 0}, {4, 5}) * slice(x[0], {0, 0}, {3, 5});
      },
      {a}, "slice");
  check_gradients(
      [](const Arrays& x) {
        return square(slice(x[0], {kEnd, 0}, {kEnd, kEnd}, {-2, 3}));
      },
      {a}, "slice by steps");
  check_gradients(
      [](const Arrays& x) {
        return square(slice_update(x[0], x[1], {1, 0}, {3, kEnd}, {1, 2}));
      },
      {a, draw({2, 3}, 2)}, "slice_update");
  check_gradients(
      [&](const Arrays& x) {
        return square(dynamic_slice(x[0], at, {2, 3}));
      },
      {a}, "dynamic_slice");
  check_gradients([&](const Arrays& x) { return square(dynamic_update(x[0], x[1], at)); },
                  {a, draw({2, 3}, 3)}, "dynamic_update");
  const Array cache = draw({2, 3, 4}, 4), fresh = draw({2, 3, 2}, 5), rows = ints({1, 3}, {2});
  check_gradients([&](const Arrays& x) { return square(dynamic_update_rows(x[0], x[1], rows, 2)); },
                  {cache, fresh}, "dynamic_update_rows");
  check_gradients([](const Arrays& x) { return square(pad(x[0], {{1, 0}, {0, 2}}, 3)); }, {a}, "pad");
  check_gradients(
      [](const Arrays& x) {
        return square(concatenate({x[0], flip(x[1], {0}), transpose(broadcast_to(x[1], {5, 5}))}, 0));
      },
      {a, draw({1, 5}, 6)}, "concatenate");
  check_gradients([](const Arrays& x) { return where(greater(x[0], 0), square(x[0]), x[1]); },
                  {a, draw({5}, 7)}, "where");

  const Array many = draw({3, 4, 5}, 8), ats = ints({0, 1, -3, 2, 3, 7}, {3, 2});
  check_all_batches(
      [](const Arrays& x) {
        return dynamic_slice(x[0], x[1], {2, 3});
      },
      {a, at}, {many, ats}, "dynamic_slice");
  check_all_batches([](const Arrays& x) { return dynamic_update(x[0], x[1], x[2]); },
                    {a, draw({2, 3}, 9), at}, {many, draw({3, 2, 3}, 10), ats}, "dynamic_update");
  check_all_batches([](const Arrays& x) { return dynamic_update_rows(x[0], x[1], x[2], 2); },
                    {cache, fresh, rows},
                    {draw({3, 2, 3, 4}, 11), draw({3, 2, 3, 2}, 12), ints({0, 1, 2, 3, -1, 2}, {3, 2})},
                    "dynamic_update_rows");
  check_all_batches(
      [](const Arrays& x) {
        return concatenate({x[0], broadcast_to(x[1], {2, 5}), pad(flip(x[0]), {{0, 1}, {0, 0}}, 2)});
      },
      {a, draw({5}, 13)}, {many, draw({3, 5}, 14)}, "composites");
  check_all_batches([](const Arrays& x) { return where(x[0] > x[1], x[0], x[1] * 2.0); }, {a, draw({5}, 15)},
                    {many, draw({3, 5}, 16)}, "where");
}

TEST(PrimsRules, FusedEqualsItsParts) {
  auto parts = [](const Array& y) {
    return op_def(y.node()->op).decompose(y.node()->inputs.span(), y.node()->attrs)[0];
  };
  const Array x = astype(draw({4, 37}, 1, -3, 3), Dtype::F32), w = astype(draw({37}, 2), Dtype::F32);
  const double inf = std::numeric_limits<double>::infinity();
  const Array masked =
      where(greater(x, 0), x, -inf) *
      where(reshape(arange(4), {4, 1}) == 2, scalar(inf, Dtype::F32), scalar(1.0f));  // row 2: ±inf only
  // float32 with a few roundings an element and sums of 37 terms.
  auto check = [&](const Array& y, const char* what) { near(y, parts(y), 2e-6, what); };
  check(rms_norm(x, w), "rms_norm");
  check(layer_norm(x, w, w), "layer_norm");
  check(softmax(x), "softmax");
  check(softmax(where(greater(masked, 1e30), -inf, masked)), "softmax of hidden keys");
  check(log_softmax(x), "log_softmax");
  check(swiglu(x, x + 1), "swiglu");
  check(cross_entropy(x, ints({3, 0, -1, 36}, {4})), "cross_entropy");
  const Array q = astype(draw({2, 4, 5, 8}, 3), Dtype::F32), k = astype(draw({2, 2, 70, 8}, 4), Dtype::F32),
              v = astype(draw({2, 2, 70, 8}, 5), Dtype::F32);
  check(rope(q, ints({0, 1000000, 5, 7, 2}, {5}), {.dims = 6}), "rope");
  check(rope(q, 3, {.traditional = true, .base = 500, .scale = 0.25}), "rope by pairs");
  check(scaled_dot_product_attention(q, k, v), "attention");
  check(scaled_dot_product_attention(q, k, v, {.causal = true, .window = 9, .softcap = 2}, {},
                                     ints({0, 64}, {2}), ints({3, 70}, {2})),
        "attention, masked");
}

TEST(PrimsRules, ValuesThatCompositesPromise) {
  auto list = [](const Array& a) { return astype(a, Dtype::F64).to_vector<double>(); };
  using V = std::vector<double>;
  EXPECT_EQ(list(linspace(-3, 0, 3, Dtype::I32)), (V{-3, -2, 0}));  // NumPy rounds down
  EXPECT_EQ(list(linspace(0, 1, 5, Dtype::F64)), (V{0, 0.25, 0.5, 0.75, 1}));
  EXPECT_EQ(list(diag(Array(std::vector<float>{1, 2}, {2}), 1)), (V{0, 1, 0, 0, 0, 2, 0, 0, 0}));
  EXPECT_EQ(list(diag(Array(std::vector<float>{1, 2}, {2}), -1)), (V{0, 0, 0, 1, 0, 0, 0, 2, 0}));
  EXPECT_EQ(list(diag(reshape(arange(12), {3, 4}), -1)), (V{4, 9}));
  EXPECT_EQ(list(triu(reshape(arange(6), {2, 3}), 1)), (V{0, 1, 2, 0, 0, 5}));
  EXPECT_EQ(list(tril(reshape(arange(6), {2, 3}))), (V{0, 0, 0, 3, 4, 0}));
  EXPECT_EQ(list(eye(2, 3, -1)), (V{0, 0, 0, 1, 0, 0}));
  EXPECT_EQ(list(tile(arange(2), {2, 2})), (V{0, 1, 0, 1, 0, 1, 0, 1}));
  EXPECT_EQ(list(repeat(arange(2), 2, 0)), (V{0, 0, 1, 1}));
  EXPECT_EQ(list(roll(arange(4), 5, 0)), (V{3, 0, 1, 2}));
  EXPECT_EQ(list(slice_axis(arange(6), 0, -2, 0, -2)), (V{4, 2}));
  EXPECT_EQ(list(round(astype(full({1}, 1000.0), Dtype::F16), 2)), (V{1000}));
  EXPECT_EQ(list(logaddexp(full({1}, -1e30), zeros({1}))), (V{0}));
  const double inf = std::numeric_limits<double>::infinity();
  EXPECT_EQ(list(logaddexp(full({1}, -inf), full({1}, -inf))), (V{-inf}));
  EXPECT_EQ(list(logaddexp(full({1}, inf), full({1}, -inf))), (V{inf}));
  const Array z(std::vector<std::complex<float>>{{NAN, 1}, {0, 0}, {2, NAN}}, {3});
  EXPECT_EQ(list(real(nan_to_num(z, 7))), (V{7, 0, 2}));
  EXPECT_EQ(list(imag(nan_to_num(z, 7))), (V{1, 0, 7}));
  EXPECT_EQ(list(real(power(zeros({1}, Dtype::C64), zeros({1}, Dtype::C64)))), (V{1}));
}

// The host engine keeps the packed form of a weight: of this one, not of one whose parts had the same
// addresses.
TEST(PrimsRules, QuantizedProductsSeeTheScalesTheyAreGiven) {
  const Array w = astype(draw({8, 64}, 1), Dtype::F32), x = astype(draw({2, 64}, 2), Dtype::F32);
  const QTensor q = quantize_affine(w, 32, 4);
  eval(q.parts);
  const std::vector<double> once = astype(quantized_matmul(x, q), Dtype::F64).to_vector<double>();
  for (const double factor : {1.0, 2.0, 4.0, 0.5}) {
    QTensor r = q;
    r.parts[1] = q.parts[1] * factor;
    r.parts[2] = q.parts[2] * factor;
    const Array lazily = quantized_matmul(x, r);
    std::vector<double> got = astype(lazily, Dtype::F64).to_vector<double>();
    for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i], once[i] * factor) << factor;
    eval({r.parts[1], r.parts[2]});
    got = astype(quantized_matmul(x, r), Dtype::F64).to_vector<double>();
    for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i], once[i] * factor) << factor;
  }
  // A step that gets new scales each time.
  const Function step = compile([&](const Arrays& a) {
    QTensor r = q;
    r.parts[1] = a[0];
    return Arrays{quantized_matmul(x, r)};
  });
  for (const double factor : {1.0, 3.0, 5.0}) {
    Array scales = q.parts[1] * factor;
    QTensor r = q;
    r.parts[1] = scales;
    const Array got = step({scales})[0];
    near(got, matmul(x, transpose(dequantize(r))), 1e-5, "compiled");
  }
}

TEST(PrimsRules, AStartBeyondEverythingWritesNothing) {
  const Array rows = zeros({2, 4});
  for (const int64_t start : {INT64_MAX, INT64_MIN, int64_t{4}, int64_t{-1}}) {
    const Array y = dynamic_update_rows(rows, ones({2, 1}), Array(std::vector<int64_t>{start, 3}, {2}), 1);
    EXPECT_EQ(y.to_vector<float>(), (std::vector<float>{0, 0, 0, 0, 0, 0, 0, 1})) << start;
  }
  const Array far(std::vector<uint64_t>{UINT64_MAX}, {1});
  EXPECT_EQ(dynamic_slice(arange(5), far, {2}).to_vector<int32_t>(), (std::vector<int32_t>{3, 4}));
}

// The idiom that where() documents.
TEST(PrimsRules, GradientBehindAMaskNeedsAHarmlessArgument) {
  const auto slope = [](const F1& f, double x) {
    return grad([&](const Arrays& a) { return Arrays{sum(f(a))}; })({Array(std::vector<double>{x}, {1})})[0]
        .item<double>();
  };
  const F1 plain = [](const Arrays& a) { return where(a[0] > 0, sqrt(a[0]), 0); };
  const F1 twice = [](const Arrays& a) { return where(a[0] > 0, sqrt(where(a[0] > 0, a[0], 1)), 0); };
  EXPECT_TRUE(std::isnan(slope(plain, 0)));
  EXPECT_EQ(slope(twice, 0), 0);
  EXPECT_EQ(slope(plain, 4), 0.25);
  EXPECT_EQ(slope(twice, 4), 0.25);
}

}  // namespace
}  // namespace mc
