// What the rows infer: shapes, dtypes and the errors that a user sees. Nothing is evaluated here.
#include <gtest/gtest.h>

#include <limits>

#include "mc/fast.h"
#include "mc/ops.h"
#include "prims/attrs.h"
#include "prims/op_def.h"

namespace mc {
namespace {

Array of(const Shape& s, Dtype d = Dtype::F32) { return zeros(s, d); }

void is(const Array& a, const Shape& shape, Dtype dtype = Dtype::F32) {
  EXPECT_EQ(a.shape().str(), shape.str());
  EXPECT_EQ(dtype_name(a.dtype()), dtype_name(dtype));
}

// f throws `code`, and its text has every one of `parts`.
template <class F>
void fails(F&& f, ErrorCode code, std::initializer_list<const char*> parts = {}) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(error_info(e.code()).id, std::string_view(error_info(code).id)) << e.what();
    for (const char* p : parts)
      EXPECT_NE(std::string(e.what()).find(p), std::string::npos) << "'" << p << "' is not in: " << e.what();
    return;
  }
  ADD_FAILURE() << "nothing was thrown; expected " << error_info(code).id;
}
using enum ErrorCode;

TEST(PrimsTable, EveryRowOfTheTableIsFound) {
  for (int i = 0; i < kOpCount; ++i) {
    const OpDef& d = op_def(static_cast<Op>(i));
    EXPECT_EQ(static_cast<int>(d.op), i);
    EXPECT_FALSE(d.doc.empty()) << i;
    EXPECT_TRUE(op_kind(d.op) != OpKind::Fused || d.decompose) << i;
    // Something says how it is differentiated, or that it is not.
    if (op_kind(d.op) == OpKind::Core) {
      EXPECT_TRUE(d.vjp || d.has(kNoGrad)) << d.doc;
    }
  }
}

TEST(PrimsShape, UnaryDtypes) {
  is(exp(of({2, 3}, Dtype::I32)), {2, 3});
  is(exp(of({2}, Dtype::Bool)), {2});
  is(exp(of({2}, Dtype::BF16)), {2}, Dtype::BF16);
  is(sqrt(of({}, Dtype::I64)), {});
  is(abs(of({4}, Dtype::C64)), {4});
  is(abs(of({4}, Dtype::C128)), {4}, Dtype::F64);
  is(abs(of({4}, Dtype::U8)), {4}, Dtype::U8);
  is(negative(of({4}, Dtype::Bool)), {4}, Dtype::I32);
  is(floor(of({4}, Dtype::I8)), {4}, Dtype::I8);
  is(real(of({2}, Dtype::C128)), {2}, Dtype::F64);
  is(imag(of({2})), {2});
  is(isnan(of({3}, Dtype::I32)), {3}, Dtype::Bool);
  is(isfinite(of({3})), {3}, Dtype::Bool);
  is(logical_not(of({3}, Dtype::F16)), {3}, Dtype::Bool);
  is(round(of({3}, Dtype::F16), 2), {3}, Dtype::F16);
  is(silu(of({3}, Dtype::I32)), {3});
  fails([] { bitwise_not(of({2})); }, DtypeMismatch, {"bitwise_not", "float32"});
  fails([] { erf(of({2}, Dtype::C64)); }, DtypeMismatch, {"erf", "complex64"});
  fails([] { round(of({2}), 1000); }, InvalidArgument, {"1000"});
}

TEST(PrimsShape, BinaryBroadcastsAndPromotes) {
  is(of({2, 1, 3}) + of({4, 1}), {2, 4, 3});
  is(of({0, 3}) * of({1, 3}), {0, 3});
  is(of({2}, Dtype::I32) + of({2}, Dtype::BF16), {2}, Dtype::BF16);
  is(of({2}, Dtype::F16) + of({2}, Dtype::BF16), {2}, Dtype::F32);
  is(of({2}, Dtype::I32) / of({2}, Dtype::I32), {2});
  is(of({2}, Dtype::I64) / of({2}, Dtype::I64), {2});
  is(of({2}, Dtype::Bool) + of({2}, Dtype::Bool), {2}, Dtype::I32);
  is(maximum(of({2}, Dtype::Bool), of({2}, Dtype::Bool)), {2}, Dtype::Bool);
  is(of({2}, Dtype::I32) < of({3, 1}), {3, 2}, Dtype::Bool);
  is(logical_and(of({2}), of({2}, Dtype::I32)), {2}, Dtype::Bool);
  is(bitwise_and(of({2}, Dtype::I8), of({2}, Dtype::I32)), {2}, Dtype::I32);
  is(power(of({2}, Dtype::C64), of({2})), {2}, Dtype::C64);
  is(logaddexp(of({2}, Dtype::I32), of({3, 1}, Dtype::I32)), {3, 2});
  fails([] { of({2, 3}) + of({4}); }, ShapeMismatch, {"add", "(2, 3)", "(4,)"});
  fails([] { bitwise_or(of({2}), of({2})); }, DtypeMismatch, {"bitwise_or", "float32"});
  fails([] { left_shift(of({2}, Dtype::I32), 1.5); }, DtypeMismatch);
  fails([] { of({2}, Dtype::C64) < of({2}, Dtype::C64); }, DtypeMismatch, {"less", "complex64"});
  fails([] { apply1(Op::Add, {of({2}), of({2}, Dtype::F64)}); }, DtypeMismatch, {"float32", "float64"});
  fails([] { exp(Array()); }, InvalidArgument);
}

TEST(PrimsShape, ScalarsTakeTheArraysDtype) {
  is(of({2}, Dtype::BF16) * 2, {2}, Dtype::BF16);
  is(of({2}, Dtype::F16) * 2.5, {2}, Dtype::F16);
  is(of({2}, Dtype::I8) + 1, {2}, Dtype::I8);
  is(of({2}, Dtype::I8) + 1.5, {2}, Dtype::F32);
  is(of({2}, Dtype::I8) + true, {2}, Dtype::I8);
  is(of({2}, Dtype::Bool) + 1, {2}, Dtype::I32);
  is(of({2}, Dtype::Bool) + 0.5, {2}, Dtype::F32);
  is(1 - of({2}, Dtype::C64), {2}, Dtype::C64);
  is(power(of({2}, Dtype::I32), 2), {2}, Dtype::I32);
  is(power(of({2}, Dtype::I32), 2.0), {2}, Dtype::F32);
  is(power(of({2}, Dtype::Bool), 2), {2}, Dtype::I32);
  is(where(of({2}, Dtype::Bool), of({3, 1}, Dtype::F16), 0), {3, 2}, Dtype::F16);
  is(where(of({2}, Dtype::I32), 1.5, of({2}, Dtype::I32)), {2}, Dtype::F32);
  // A number that the dtype can't hold is refused, not wrapped.
  fails([] { of({2}, Dtype::U8) + 300; }, InvalidArgument, {"300", "uint8"});
  fails([] { of({2}, Dtype::U8) + -1; }, InvalidArgument, {"-1", "uint8"});
  is(of({2}, Dtype::U32) + int64_t{0xffffffff}, {2}, Dtype::U32);
  is(full({1}, std::numeric_limits<uint64_t>::max(), Dtype::U64), {1}, Dtype::U64);
  is(full({1}, std::numeric_limits<int64_t>::min(), Dtype::I64), {1}, Dtype::I64);
}

TEST(PrimsShape, Casts) {
  const Array a = of({2, 3});
  EXPECT_EQ(astype(a, Dtype::F32).id(), a.id());
  is(astype(a, Dtype::C64), {2, 3}, Dtype::C64);
  is(bitcast(a, Dtype::I32), {2, 3}, Dtype::I32);
  fails([&] { bitcast(a, Dtype::I64); }, DtypeMismatch, {"float32", "int64"});
  fails([&] { bitcast(of({2}, Dtype::Bool), Dtype::U8); }, DtypeMismatch, {"bool", "uint8"});
}

TEST(PrimsShape, Creation) {
  is(scalar(1), {}, Dtype::I32);
  is(scalar(true), {}, Dtype::Bool);
  is(scalar(1.5), {});
  is(arange(5), {5}, Dtype::I32);
  is(arange(0, 1, 0.25), {4});
  is(arange(5, 0, -2), {3}, Dtype::I32);
  is(arange(5, 0), {0}, Dtype::I32);
  is(arange(0, 3, 1, Dtype::BF16), {3}, Dtype::BF16);
  is(eye(3), {3, 3});
  is(eye(2, 5, 1, Dtype::I32), {2, 5}, Dtype::I32);
  is(tri(2, 0), {2, 0});
  is(linspace(0, 1, 0), {0});
  is(linspace(0, 1, 5, Dtype::F64), {5}, Dtype::F64);
  is(diag(of({3}), -2), {5, 5});
  is(diag(of({3, 5}), 3), {2});
  is(diag(of({3, 5}), 9), {0});
  is(full_like(of({2}, Dtype::I8), 3), {2}, Dtype::I8);
  is(create_causal_mask(4, Dtype::BF16), {4, 4}, Dtype::BF16);
  fails([] { full({2, -1}, 0); }, ShapeMismatch, {"(2, -1)"});
  fails([] { zeros({int64_t{1} << 40, int64_t{1} << 40}); }, ShapeMismatch, {"too many"});
  is(zeros({int64_t{1} << 40, int64_t{1} << 40, 0}), {int64_t{1} << 40, int64_t{1} << 40, 0});
  fails([] { full({1}, 0.5, Dtype::I32); }, DtypeMismatch, {"0.5"});
  fails([] { full({1}, 1e30, Dtype::I64); }, InvalidArgument, {"int64"});
  fails([] { create_causal_mask(4, Dtype::I32); }, InvalidArgument, {"int32"});
  fails([] { arange(0, 1, 0); }, InvalidArgument);
  fails([] { arange(0, std::numeric_limits<double>::infinity()); }, InvalidArgument);
  fails([] { arange(0, -1e300, 1.0); }, InvalidArgument);
  fails([] { linspace(0, 1, -1); }, InvalidArgument);
  fails([] { diag(of({2, 2, 2})); }, ShapeMismatch, {"(2, 2, 2)"});
}

TEST(PrimsShape, ShapeOperations) {
  const Array a = of({2, 3, 4});
  is(reshape(a, {4, -1}), {4, 6});
  is(reshape(of({0, 3}), {3, 0}), {3, 0});
  is(reshape(of({1}), {}), {});
  EXPECT_EQ(reshape(a, {2, 3, 4}).id(), a.id());
  EXPECT_EQ(transpose(a, {0, 1, 2}).id(), a.id());
  EXPECT_EQ(broadcast_to(a, {2, 3, 4}).id(), a.id());
  EXPECT_EQ(slice(a, {0, 0, 0}, {kEnd, kEnd, kEnd}).id(), a.id());
  EXPECT_EQ(concatenate({a}, 1).id(), a.id());
  EXPECT_EQ(pad(a, {{0, 0}, {0, 0}, {0, 0}}).id(), a.id());
  is(transpose(a), {4, 3, 2});
  is(transpose(a, {-1, 0, 1}), {4, 2, 3});
  is(swapaxes(a, 0, -1), {4, 3, 2});
  is(moveaxis(a, 0, -1), {3, 4, 2});
  is(flatten(a), {24});
  is(flatten(a, 1), {2, 12});
  is(flatten(of({})), {1});
  is(squeeze(of({1, 2, 1})), {2});
  is(squeeze(of({1, 2, 1}), {-1}), {1, 2});
  is(expand_dims(a, {0, -1}), {1, 2, 3, 4, 1});
  is(broadcast_to(of({3, 1}), {2, 3, 4}), {2, 3, 4});
  is(broadcast_to(of({1}), {0}), {0});
  is(pad(a, {{1, 0}, {0, 2}, {0, 0}}), {3, 5, 4});
  is(concatenate({of({2, 3}), of({2, 0}, Dtype::I32)}, -1), {2, 3});
  is(stack({of({2}), of({2}, Dtype::F64)}, 1), {2, 2}, Dtype::F64);
  is(split(a, 2, -1)[1], {2, 3, 2});
  is(split_at(a, {1}, 2)[1], {2, 3, 3});
  is(roll(a, -1, 1), {2, 3, 4});
  is(repeat(a, 3, -1), {2, 3, 12});
  is(repeat(a, 0, 0), {0, 3, 4});
  is(tile(of({2, 3}), {2, 1, 2}), {2, 2, 6});
  is(tile(of({2, 3}), {2}), {2, 6});
  is(tile(of({2}), {0}), {0});
  fails([&] { reshape(a, {5, -1}); }, ShapeMismatch, {"(2, 3, 4)", "24"});
  fails([&] { reshape(a, {5, 5}); }, ShapeMismatch, {"(2, 3, 4)", "(5, 5)"});
  fails([&] { reshape(a, {-1, -1}); }, ShapeMismatch);
  fails([&] { reshape(of({0}), {0, -1}); }, ShapeMismatch);
  // A product that wraps around to 0 elements is not 0 elements.
  fails([] { reshape(of({0}), {int64_t{1} << 32, int64_t{1} << 32}); }, ShapeMismatch);
  fails([&] { broadcast_to(of({1}), {int64_t{1} << 40, int64_t{1} << 40}); }, ShapeMismatch, {"too many"});
  fails([&] { repeat(of({4}), int64_t{1} << 62, 0); }, ShapeMismatch);
  fails([&] { tile(of({4}), {int64_t{1} << 62}); }, ShapeMismatch);
  fails([&] { pad(of({4}), {{std::numeric_limits<int64_t>::max(), 1}}); }, ShapeMismatch);
  fails([&] { pad(of({4}), {{-3, -2}}); }, InvalidArgument, {"(-3, -2)"});
  fails([&] { pad(a, {{1, 1}}); }, ShapeMismatch, {"(2, 3, 4)"});
  fails([&] { transpose(a, {0, 1}); }, InvalidArgument, {"(2, 3, 4)"});
  fails([&] { transpose(a, {0, 1, 1}); }, InvalidArgument);
  fails([&] { transpose(a, {0, 1, 3}); }, IndexOutOfRange, {"3"});
  fails([&] { squeeze(a, {0}); }, ShapeMismatch, {"(2, 3, 4)"});
  fails([&] { broadcast_to(a, {2, 3, 5}); }, ShapeMismatch, {"(2, 3, 4)", "(2, 3, 5)"});
  fails([&] { broadcast_to(a, {3, 4}); }, ShapeMismatch);
  fails([&] { concatenate({a, of({2, 4, 4})}, 0); }, ShapeMismatch, {"(2, 3, 4)", "(2, 4, 4)"});
  fails([&] { concatenate({}, 0); }, InvalidArgument);
  fails([&] { concatenate({of({}), of({})}, 0); }, ShapeMismatch);
  fails([&] { stack({of({2}), of({3})}); }, ShapeMismatch, {"(2,)", "(3,)"});
  fails([&] { split(a, 3, 0); }, ShapeMismatch, {"3"});
  fails([&] { flip(a, {1, 1}); }, InvalidArgument);
  fails([&] { expand_dims(a, {0, 1, 2, 3, 4, 5, 6, 7}); }, ShapeMismatch);
}

TEST(PrimsShape, SlicesAsNumPyCounts) {
  const Array a = of({5, 7});
  is(slice(a, {1, -3}, {-1, kEnd}), {3, 3});
  is(slice(a, {0, 0}, {99, 7}, {2, 3}), {3, 3});
  is(slice(a, {kEnd, 5}, {kEnd, 1}, {-1, -2}), {5, 2});
  is(slice(a, {3, 0}, {2, 7}), {0, 7});
  is(slice_axis(a, -1, 2, 4), {5, 2});
  // Steps of any length.
  is(slice_axis(a, 0, 0, kEnd, std::numeric_limits<int64_t>::max()), {1, 7});
  is(slice_axis(a, 0, kEnd, kEnd, std::numeric_limits<int64_t>::min()), {1, 7});
  // Against counting, for every start, stop and step around the bounds.
  const int64_t n = 4;
  for (int64_t start = -6; start <= 6; ++start)
    for (int64_t stop = -6; stop <= 6; ++stop)
      for (int64_t step : {-5, -2, -1, 1, 2, 5}) {
        const int64_t lo = step > 0 ? 0 : -1, hi = step > 0 ? n : n - 1;
        auto bound = [&](int64_t v) { return std::min(std::max(v < 0 ? v + n : v, lo), hi); };
        int64_t count = 0;
        for (int64_t i = bound(start); step > 0 ? i < bound(stop) : i > bound(stop); i += step) ++count;
        EXPECT_EQ(slice_axis(of({n}), 0, start, stop, step).shape(0), count)
            << start << ":" << stop << ":" << step;
      }
  fails([&] { slice(a, {0, 0}, {1, 1}, {1, 0}); }, InvalidArgument);
  fails([&] { slice(a, {0}, {1}); }, InvalidArgument, {"(5, 7)"});
  is(slice_update(a, of({7}), {1, 0}, {3, kEnd}), {5, 7});
  fails([&] { slice_update(a, of({6}), {1, 0}, {3, kEnd}); }, ShapeMismatch, {"(6,)", "(2, 7)"});
  fails([&] { slice_update(a, of({7}), {3, 0}, {1, kEnd}, {-1, 1}); }, InvalidArgument);
  const Array at = of({2}, Dtype::I32);
  is(dynamic_slice(a, at, {2, 3}), {2, 3});
  is(dynamic_update(a, of({2, 3}, Dtype::F64), at), {5, 7});
  fails([&] { dynamic_slice(a, at, {6, 3}); }, ShapeMismatch, {"(6, 3)", "(5, 7)"});
  fails([&] { dynamic_slice(a, of({3}, Dtype::I32), {2, 3}); }, ShapeMismatch, {"(3,)", "(2,)"});
  fails([&] { dynamic_slice(a, of({2}), {2, 3}); }, DtypeMismatch, {"float32"});
  is(dynamic_update_rows(of({2, 3, 8}), of({2, 3, 1}), at, 2), {2, 3, 8});
  fails([&] { dynamic_update_rows(of({2, 3, 8}), of({2, 2, 1}), at, 2); }, ShapeMismatch, {"(2, 2, 1)"});
  fails([&] { dynamic_update_rows(of({2, 3, 8}), of({2, 3, 1}), at, 0); }, InvalidArgument);
  fails([&] { dynamic_update_rows(of({2, 3, 8}), of({2, 3, 1}), at, 3); }, IndexOutOfRange);
}

TEST(PrimsShape, Norms) {
  const Array x = of({2, 3, 8}, Dtype::BF16);
  is(softmax(x, 1), {2, 3, 8}, Dtype::BF16);
  is(softmax(of({2}, Dtype::I32)), {2});
  is(log_softmax(of({2, 0})), {2, 0});
  is(rms_norm(x, of({8})), {2, 3, 8}, Dtype::BF16);
  is(rms_norm(x, {}), {2, 3, 8}, Dtype::BF16);
  is(layer_norm(x, {}, of({8})), {2, 3, 8}, Dtype::BF16);
  is(cross_entropy(x, of({2, 3}, Dtype::I64)), {2, 3});
  is(cross_entropy(of({4}, Dtype::F64), of({}, Dtype::I32)), {}, Dtype::F64);
  is(swiglu(x, of({8})), {2, 3, 8});
  fails([&] { softmax(x, 3); }, IndexOutOfRange, {"softmax", "3"});
  fails([&] { softmax(of({})); }, IndexOutOfRange);
  fails([&] { rms_norm(x, of({7})); }, ShapeMismatch, {"rms_norm", "(7,)", "(2, 3, 8)"});
  fails([&] { rms_norm(x, of({8}, Dtype::I32)); }, DtypeMismatch, {"int32"});
  fails([&] { rms_norm(x, {}, -1); }, InvalidArgument, {"-1"});
  fails([&] { layer_norm(of({3}, Dtype::I32), {}, {}); }, DtypeMismatch, {"int32"});
  fails([&] { cross_entropy(x, of({2, 3})); }, DtypeMismatch, {"float32"});
  fails([&] { cross_entropy(x, of({2}, Dtype::I32)); }, ShapeMismatch, {"(2,)", "(2, 3, 8)"});
  // What they are made of has their shape and dtype.
  const Array empty = of({2, 0});
  is(op_def(Op::Softmax).decompose({&empty, 1}, AxisAttrs{-1})[0], {2, 0});
}

TEST(PrimsShape, RopeAndAttention) {
  const Array x = of({2, 4, 5, 8});
  is(rope(x, 3), {2, 4, 5, 8});
  is(rope(x, of({2, 5}, Dtype::I32), {.dims = 6}), {2, 4, 5, 8});
  is(rope_freqs(of({5, 8}, Dtype::F16), of({5}, Dtype::I32), of({4})), {5, 8}, Dtype::F16);
  fails([&] { rope(x, of({4}, Dtype::I32)); }, ShapeMismatch, {"rope", "(4,)", "(2, 4, 5, 8)"});
  fails([&] { rope(x, 0, {.dims = 7}); }, InvalidArgument, {"7"});
  fails([&] { rope(x, 0, {.dims = 10}); }, InvalidArgument, {"10"});
  fails([&] { rope(x, 0, {.base = 0}); }, InvalidArgument);
  fails([&] { rope_freqs(x, of({5}, Dtype::I32), of({3})); }, ShapeMismatch, {"(3,)", "(4,)"});

  const Array k = of({2, 2, 7, 8}), v = of({2, 2, 7, 6});
  auto attend = [](const Array& q, const Array& kk, const Array& vv, AttentionOptions o = {},
                   const Array& mask = {}, const Array& start = {}, const Array& len = {}) {
    return scaled_dot_product_attention(q, kk, vv, o, mask, start, len);
  };
  is(attend(x, k, v), {2, 4, 5, 6});
  is(attend(astype(x, Dtype::F16), k, v), {2, 4, 5, 6}, Dtype::F16);
  is(attend(x, k, v, {.causal = true, .window = 3}, of({5, 7}, Dtype::Bool), of({2}, Dtype::I32),
            of({2}, Dtype::I64)),
     {2, 4, 5, 6});
  fails(
      [&] {
        attend(x, of({2, 3, 7, 8}), of({2, 3, 7, 6}));
      },
      ShapeMismatch, {"(2, 4, 5, 8)", "(2, 3, 7, 8)"});
  fails([&] { attend(x, k, of({2, 2, 6, 6})); }, ShapeMismatch, {"(2, 2, 6, 6)"});
  fails([&] { attend(x, k, of({2, 2, 7})); }, ShapeMismatch, {"(2, 2, 7)"});
  fails([&] { attend(x, k, v, {}, of({5, 6})); }, ShapeMismatch, {"(5, 6)", "(2, 4, 5, 7)"});
  fails([&] { attend(x, k, v, {}, of({5, 7}, Dtype::I32)); }, DtypeMismatch, {"int32"});
  fails([&] { attend(x, k, v, {}, {}, of({3}, Dtype::I32)); }, ShapeMismatch, {"(3,)", "(2,)"});
  fails([&] { attend(x, k, v, {.window = 3}); }, InvalidArgument, {"causal"});
  fails([&] { attend(x, k, v, {.scale = -1}); }, InvalidArgument, {"-1"});
  fails([&] { attend(x, k, v, {.softcap = std::numeric_limits<double>::quiet_NaN()}); }, InvalidArgument);
}

TEST(PrimsShape, DecompositionsKeepShapeAndDtype) {
  const Array q = of({2, 4, 5, 8}, Dtype::BF16), k = of({2, 2, 7, 8}, Dtype::BF16),
              v = of({2, 2, 7, 6}, Dtype::BF16);
  const Array mask = of({1, 1, 5, 7}, Dtype::Bool), n = of({2}, Dtype::I32), p = of({2, 5}, Dtype::I32),
              w = of({8}), l = of({2, 4, 5}, Dtype::I32);
  auto same = [](const Array& y) {
    const Node* node = y.node();
    const Arrays parts = op_def(node->op).decompose(node->inputs.span(), node->attrs);
    ASSERT_EQ(parts.size(), 1u);
    is(parts[0], y.shape(), y.dtype());
  };
  same(scaled_dot_product_attention(q, k, v, {.causal = true, .window = 2, .softcap = 5}, mask, n, n));
  same(scaled_dot_product_attention(of({0, 4, 5, 8}), of({0, 2, 7, 8}), of({0, 2, 7, 6})));
  same(scaled_dot_product_attention(of({1, 4, 5, 8}), of({1, 2, 0, 8}), of({1, 2, 0, 6})));
  same(rope(q, p, {.dims = 6, .traditional = true}));
  same(rope(q, 0, {.dims = 6}));
  same(rms_norm(q, w));
  same(layer_norm(q, w, w));
  same(softmax(q));
  same(log_softmax(q));
  same(cross_entropy(q, l));
  same(swiglu(q, q));
}

}  // namespace
}  // namespace mc
