// Fused operations along the last axis.
#include <cmath>
#include <limits>

#include "mc/fast.h"
#include "mc/ops.h"
#include "prims/attrs.h"
#include "prims/rows.h"

namespace mc {
namespace {

Dtype wide(Dtype d) { return d == Dtype::F16 || d == Dtype::BF16 ? Dtype::F32 : d; }

void infer_last(InferCtx& c) {
  require_dtype(c, 0, kDFloats);
  if (c.shape(0).ndim() < 1) c.fail(ErrorCode::ShapeMismatch, "a scalar has no axis to work along");
  c.push(c.shape(0), c.dtype(0));
}
void infer_norm(InferCtx& c) {
  infer_last(c);
  const double eps = c.as<NormAttrs>().eps;
  if (!(eps >= 0) || !std::isfinite(eps))
    c.fail(ErrorCode::InvalidArgument, cat("eps must be 0 or more, got ", eps));
  const Shape want{c.shape(0).back()};
  for (size_t i = 1; i < c.in.size(); ++i) {
    require_dtype(c, i, kDFloats);
    if (!(c.shape(i) == want))
      c.fail(ErrorCode::ShapeMismatch, cat("weight or bias of shape ", c.shape(i).str(),
                                           " does not fit x of shape ", c.shape(0).str()));
  }
}
void infer_cross_entropy(InferCtx& c) {
  require_dtype(c, 0, kDFloats);
  require_dtype(c, 1, kDInts);
  Shape s = c.shape(0);
  if (s.ndim() < 1) c.fail(ErrorCode::ShapeMismatch, "logits need a last axis of classes");
  s.erase(s.ndim() - 1);
  if (!(c.shape(1) == s))
    c.fail(ErrorCode::ShapeMismatch,
           cat("labels of shape ", c.shape(1).str(), " do not fit logits of shape ", c.shape(0).str()));
  c.push(s, wide(c.dtype(0)));
}
void infer_swiglu(InferCtx& c) {
  require_dtype(c, 0, kDFloats);
  if (!(c.shape(0) == c.shape(1)) || c.dtype(0) != c.dtype(1))
    c.fail(ErrorCode::ShapeMismatch,
           cat("gate ", c.shape(0).str(), " and up ", c.shape(1).str(), " must have one shape and dtype"));
  c.push(c.shape(0), c.dtype(0));
}

Array last_max(const Array& x) {
  // A row of -inf has no finite maximum; 0 then keeps exp(-inf - 0) at 0.
  const Array m = max(x, {-1}, true);
  return stop_gradient(where(equal(m, -std::numeric_limits<double>::infinity()), zeros_like(m), m));
}
Arrays softmax_parts(std::span<const Array> in, const Attrs&) {
  if (in[0].shape().back() == 0) return {in[0]};  // nothing has no maximum
  const Array x = astype(in[0], wide(in[0].dtype()));
  const Array e = exp(x - last_max(x));
  const Array s = sum(e, {-1}, true);
  return {astype(e / where(equal(s, 0), ones_like(s), s), in[0].dtype())};
}
Arrays log_softmax_parts(std::span<const Array> in, const Attrs&) {
  if (in[0].shape().back() == 0) return {in[0]};
  const Array x = astype(in[0], wide(in[0].dtype()));
  const Array d = x - last_max(x);
  const Array s = sum(exp(d), {-1}, true);
  return {astype(where(equal(s, 0), full_like(d, -std::numeric_limits<double>::infinity()),
                       d - log(where(equal(s, 0), ones_like(s), s))),
                 in[0].dtype())};
}
Arrays rms_norm_parts(std::span<const Array> in, const Attrs& attrs) {
  const auto& a = attrs.as<NormAttrs>();
  const Array x = astype(in[0], wide(in[0].dtype()));
  Array y = x * rsqrt(mean(x * x, {-1}, true) + a.eps);
  if (a.has_weight) y = y * astype(in[1], x.dtype());
  return {astype(y, in[0].dtype())};
}
Arrays layer_norm_parts(std::span<const Array> in, const Attrs& attrs) {
  const auto& a = attrs.as<NormAttrs>();
  const Array x = astype(in[0], wide(in[0].dtype()));
  const Array d = x - mean(x, {-1}, true);
  Array y = d * rsqrt(mean(d * d, {-1}, true) + a.eps);
  if (a.has_weight) y = y * astype(in[1], x.dtype());
  if (a.has_bias) y = y + astype(in[a.has_weight ? 2 : 1], x.dtype());
  return {astype(y, in[0].dtype())};
}
Arrays cross_entropy_parts(std::span<const Array> in, const Attrs&) {
  const Array l = log_softmax(astype(in[0], wide(in[0].dtype())), -1);
  return {negative(squeeze(take_along_axis(l, expand_dims(in[1], {-1}), -1), {-1}))};
}
Arrays swiglu_parts(std::span<const Array> in, const Attrs&) {
  const Array g = astype(in[0], wide(in[0].dtype()));
  return {astype(silu(g) * astype(in[1], g.dtype()), in[0].dtype())};
}

Arrays vjp_softmax(const VjpCtx& c) {
  const Array y = astype(c.out[0], wide(c.out[0].dtype())), g = astype(c.cot[0], y.dtype());
  return {astype(y * (g - sum(g * y, {-1}, true)), c.in[0].dtype())};
}
Arrays vjp_log_softmax(const VjpCtx& c) {
  const Array y = astype(c.out[0], wide(c.out[0].dtype())), g = astype(c.cot[0], y.dtype());
  return {astype(g - exp(y) * sum(g, {-1}, true), c.in[0].dtype())};
}
Arrays vjp_cross_entropy(const VjpCtx& c) {
  Arrays out(2);
  const Array g = expand_dims(c.cot[0], {-1});
  const Array p = softmax(astype(c.in[0], g.dtype()), -1) * g;
  out[0] = astype(scatter_add_axis(p, expand_dims(c.in[1], {-1}), negative(g), -1), c.in[0].dtype());
  return out;
}

// Over all axes but the last.
Array column_sum(const Array& g) {
  Axes rows;
  for (int d = 0; d + 1 < g.ndim(); ++d) rows.push_back(d);
  return rows.empty() ? g : sum(g, rows);
}
Arrays vjp_rms_norm(const VjpCtx& c) {
  const auto& a = c.as<NormAttrs>();
  const Array x = astype(c.in[0], wide(c.in[0].dtype())), g = astype(c.cot[0], x.dtype());
  const Array r = rsqrt(mean(x * x, {-1}, true) + a.eps), unit = x * r;
  Arrays out(c.in.size());
  if (c.needs[0]) {
    const Array gw = a.has_weight ? g * astype(c.in[1], x.dtype()) : g;
    out[0] = astype(r * (gw - unit * mean(gw * unit, {-1}, true)), c.in[0].dtype());
  }
  if (a.has_weight && c.needs[1]) out[1] = astype(column_sum(g * unit), c.in[1].dtype());
  return out;
}
Arrays vjp_layer_norm(const VjpCtx& c) {
  const auto& a = c.as<NormAttrs>();
  const Array x = astype(c.in[0], wide(c.in[0].dtype())), g = astype(c.cot[0], x.dtype());
  const Array d = x - mean(x, {-1}, true);
  const Array r = rsqrt(mean(d * d, {-1}, true) + a.eps), unit = d * r;
  Arrays out(c.in.size());
  if (c.needs[0]) {
    const Array gw = a.has_weight ? g * astype(c.in[1], x.dtype()) : g;
    out[0] = astype(r * (gw - mean(gw, {-1}, true) - unit * mean(gw * unit, {-1}, true)), c.in[0].dtype());
  }
  const size_t bias = a.has_weight ? 2 : 1;
  if (a.has_weight && c.needs[1]) out[1] = astype(column_sum(g * unit), c.in[1].dtype());
  if (a.has_bias && c.needs[bias]) out[bias] = astype(column_sum(g), c.in[bias].dtype());
  return out;
}
Arrays vjp_swiglu(const VjpCtx& c) {
  const Array gate = astype(c.in[0], wide(c.in[0].dtype())), up = astype(c.in[1], gate.dtype()),
              g = astype(c.cot[0], gate.dtype());
  const Array s = sigmoid(gate);
  Arrays out(2);
  if (c.needs[0]) out[0] = astype(g * up * s * (gate * (1 - s) + 1), c.in[0].dtype());
  if (c.needs[1]) out[1] = astype(g * gate * s, c.in[1].dtype());
  return out;
}

// Leading dimensions simply grow; weights must be shared.
Arrays vmap_rows(const VmapCtx& c) {
  Arrays in;
  for (size_t i = 0; i < c.in.size(); ++i) in.push_back(c.batch(i));
  return {apply1(c.op, in, c.attrs)};
}
Arrays vmap_norm(const VmapCtx& c) {
  bool shared = true;
  for (size_t i = 1; i < c.in.size(); ++i) shared = shared && !c.batched[i];
  if (shared) return {apply1(c.op, c.in, c.attrs)};
  // A weight for each example multiplies after a norm without one.
  const auto& a = c.as<NormAttrs>();
  Array y = apply1(c.op, {c.batch(0)}, NormAttrs{a.eps, false, false});
  auto fit = [&](const Array& w) {
    Shape s = Shape::filled(y.ndim(), 1);
    if (w.ndim() == 2) s[0] = c.size;
    s[s.ndim() - 1] = w.shape().back();
    return astype(reshape(w, s), y.dtype());
  };
  if (a.has_weight) y = y * fit(c.in[1]);
  if (a.has_bias) y = y + fit(c.in[a.has_weight ? 2 : 1]);
  return {y};
}

using Cases = std::vector<SampleCase>;
Cases softmax_cases() {
  return {{{{3, 5}}, AxisAttrs{-1}, "sp.softmax(in0, -1)"},
          {{{2, 0}}, AxisAttrs{-1}, "in0"},
          {{{2, 3, 33}}, AxisAttrs{-1}, "sp.softmax(in0, -1)"}};
}
Cases log_softmax_cases() {
  return {{{{3, 5}}, AxisAttrs{-1}, "sp.log_softmax(in0, -1)"},
          {{{70}}, AxisAttrs{-1}, "sp.log_softmax(in0, -1)"}};
}
Cases rms_cases() {
  return {{{{3, 40}, {40}},
           NormAttrs{1e-5, true, false},
           "in0 / np.sqrt(np.mean(in0**2, -1, keepdims=True) + 1e-5) * in1"},
          {{{2, 2, 7}},
           NormAttrs{1e-3, false, false},
           "in0 / np.sqrt(np.mean(in0**2, -1, keepdims=True) + 1e-3)"}};
}
Cases layer_norm_cases() {
  return {{{{3, 40}, {40}, {40}},
           NormAttrs{1e-5, true, true},
           "(in0 - in0.mean(-1, keepdims=True)) / np.sqrt(in0.var(-1, keepdims=True) + 1e-5) * in1 + in2"},
          {{{5, 9}},
           NormAttrs{1e-5, false, false},
           "(in0 - in0.mean(-1, keepdims=True)) / np.sqrt(in0.var(-1, keepdims=True) + 1e-5)"}};
}
Cases cross_entropy_cases() {
  return {{{{4, 6}, {4}},
           {},
           "-np.take_along_axis(sp.log_softmax(in0, -1), in1[..., None], -1)[..., 0]",
           {kSwept, Dtype::I32},
           6}};
}
Cases swiglu_cases() { return {{{{3, 33}, {3, 33}}, {}, "in0 / (1 + np.exp(-in0)) * in1"}}; }

const OpDef kRows[] = {
    {.op = Op::Softmax,
     .doc = "exp(x)/sum along the last axis; a row of -inf gives zeros",
     .infer = infer_last,
     .vjp = vjp_softmax,
     .vmap = vmap_rows,
     .decompose = softmax_parts,
     .samples = {.c = 8, .cases = softmax_cases}},
    {.op = Op::LogSoftmax,
     .doc = "log of softmax along the last axis",
     .infer = infer_last,
     .vjp = vjp_log_softmax,
     .vmap = vmap_rows,
     .decompose = log_softmax_parts,
     .samples = {.c = 8, .cases = log_softmax_cases}},
    {.op = Op::RmsNorm,
     .doc = "x·rsqrt(mean(x²)+eps)·weight (Zhang and Sennrich 2019)",
     .infer = infer_norm,
     .vjp = vjp_rms_norm,
     .vmap = vmap_norm,
     .decompose = rms_norm_parts,
     .samples = {.c = 8, .cases = rms_cases}},
    {.op = Op::LayerNorm,
     .doc = "(x-mean)·rsqrt(var+eps)·weight+bias (Ba et al. 2016)",
     .infer = infer_norm,
     .vjp = vjp_layer_norm,
     .vmap = vmap_norm,
     .decompose = layer_norm_parts,
     .samples = {.c = 16, .cases = layer_norm_cases}},
    {.op = Op::CrossEntropy,
     .doc = "-log_softmax(logits)[label]; float32 for 16-bit logits",
     .infer = infer_cross_entropy,
     .vjp = vjp_cross_entropy,
     .vmap = vmap_rows,
     .decompose = cross_entropy_parts,
     .samples = {.c = 8, .cases = cross_entropy_cases}},
    {.op = Op::Swiglu,
     .doc = "silu(gate)·up (Shazeer 2020)",
     .infer = infer_swiglu,
     .vjp = vjp_swiglu,
     .vmap = vmap_rows,
     .decompose = swiglu_parts,
     .samples = {.c = 8, .cases = swiglu_cases}},
};

// Runs a last-axis operation along any axis.
Array along(Op op, const Array& a, int axis, std::string_view where) {
  const Array x = is_inexact(a.dtype()) ? a : astype(a, Dtype::F32);
  const int ax = normalize_axis(axis, x.ndim(), where);
  const bool last = ax == x.ndim() - 1;
  const Array y = apply1(op, {last ? x : swapaxes(x, ax, -1)}, AxisAttrs{-1});
  return last ? y : swapaxes(y, ax, -1);
}

}  // namespace

Rows norm_rows() { return kRows; }

Array softmax(const Array& a, int axis) { return along(Op::Softmax, a, axis, "softmax"); }
Array log_softmax(const Array& a, int axis) { return along(Op::LogSoftmax, a, axis, "log_softmax"); }

Array rms_norm(const Array& x, const Array& weight, double eps) {
  if (weight.defined()) return apply1(Op::RmsNorm, {x, weight}, NormAttrs{eps, true, false});
  return apply1(Op::RmsNorm, {x}, NormAttrs{eps, false, false});
}
Array layer_norm(const Array& x, const Array& weight, const Array& bias, double eps) {
  Arrays in{x};
  if (weight.defined()) in.push_back(weight);
  if (bias.defined()) in.push_back(bias);
  return apply1(Op::LayerNorm, in, NormAttrs{eps, weight.defined(), bias.defined()});
}
Array cross_entropy(const Array& logits, const Array& labels) {
  return apply1(Op::CrossEntropy, {logits, labels});
}
Array swiglu(const Array& gate, const Array& up) {
  const Dtype d = promote(gate.dtype(), up.dtype());
  const Shape s = broadcast_shapes(gate.shape(), up.shape(), "swiglu");
  return apply1(Op::Swiglu, {broadcast_to(astype(gate, d), s), broadcast_to(astype(up, d), s)});
}

}  // namespace mc
