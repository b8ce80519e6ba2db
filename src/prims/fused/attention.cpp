// Rotary positions (Su et al. 2021) and scaled dot-product attention (Vaswani et al. 2017).
#include <cmath>
#include <limits>

#include "mc/fast.h"
#include "mc/ops.h"
#include "mc/transforms.h"
#include "prims/attrs.h"
#include "prims/rows.h"

namespace mc {
namespace {

Dtype wide(Dtype d) { return d == Dtype::F16 || d == Dtype::BF16 ? Dtype::F32 : d; }

// --- rope

void infer_rope(InferCtx& c) {
  const auto& a = c.as<RopeAttrs>();
  require_dtype(c, 0, kDFloats);
  require_dtype(c, 1, kDInts);
  const Shape& x = c.shape(0);
  const Shape& p = c.shape(1);
  if (x.ndim() < 2)
    c.fail(ErrorCode::ShapeMismatch, cat("x of shape ", x.str(), " needs a time axis and a feature axis"));
  if (a.dims < 2 || a.dims % 2 || a.dims > x.back())
    c.fail(ErrorCode::InvalidArgument, cat("dims must be even and from 2 to ", x.back(), ", got ", a.dims));
  const bool one = p == Shape{x.at(-2)}, rows = x.ndim() == 4 && p == Shape{x[0], x.at(-2)};
  if (!one && !rows)
    c.fail(ErrorCode::ShapeMismatch, cat("positions of shape ", p.str(), " do not fit x of shape ", x.str(),
                                         ": expected (T,), or (B, T) for a 4-d x"));
  if (a.has_freqs) require_dtype(c, 2, c.dtype(0) == Dtype::F64 ? kDF32 | kDF64 : kDF32);
  if (a.has_freqs && !(c.shape(2) == Shape{a.dims / 2}))
    c.fail(ErrorCode::ShapeMismatch,
           cat("frequencies of shape ", c.shape(2).str(), ", expected (", a.dims / 2, ",)"));
  c.push(x, c.dtype(0));
}

// cos and sin of the angles, broadcastable to (…, T, dims/2). Angles are formed in float64: positions reach a
// million.
std::pair<Array, Array> rotation(std::span<const Array> in, const RopeAttrs& a, Dtype dtype) {
  const int64_t half = a.dims / 2;
  Array freq;
  if (a.has_freqs) {
    freq = astype(in[2], Dtype::F64);
  } else {
    freq = power(scalar(a.base, Dtype::F64), astype(arange(0, half), Dtype::F64) * (-2.0 / a.dims));
  }
  Array p = astype(in[1], Dtype::F64) * a.scale;
  if (in[1].ndim() == 2) p = expand_dims(p, {1});  // (B, 1, T)
  const Array angle = expand_dims(p, {-1}) * freq;
  return {astype(cos(angle), dtype), astype(sin(angle), dtype)};
}

Array rotate(const Array& x, const Array& cosine, const Array& sine, const RopeAttrs& a) {
  const int64_t half = a.dims / 2;
  Array first, second;
  if (a.traditional) {
    first = slice_axis(x, -1, 0, a.dims, 2);
    second = slice_axis(x, -1, 1, a.dims, 2);
  } else {
    first = slice_axis(x, -1, 0, half);
    second = slice_axis(x, -1, half, a.dims);
  }
  const Array u = first * cosine - second * sine, v = first * sine + second * cosine;
  Array turned;
  if (a.traditional) {
    Shape s = x.shape();
    s[s.ndim() - 1] = a.dims;
    turned = reshape(stack({u, v}, -1), s);
  } else {
    turned = concatenate({u, v}, -1);
  }
  return a.dims == x.shape().back() ? turned : concatenate({turned, slice_axis(x, -1, a.dims, kEnd)}, -1);
}

Arrays rope_parts(std::span<const Array> in, const Attrs& attrs) {
  const auto& a = attrs.as<RopeAttrs>();
  const Array x = astype(in[0], wide(in[0].dtype()));
  const auto [cosine, sine] = rotation(in, a, x.dtype());
  return {astype(rotate(x, cosine, sine, a), in[0].dtype())};
}
// A rotation's transpose is the rotation back.
Arrays vjp_rope(const VjpCtx& c) {
  const auto& a = c.as<RopeAttrs>();
  if (a.has_freqs && c.needs[2]) {
    const Attrs attrs = c.attrs;
    return vjp([attrs](const Arrays& in) { return rope_parts(in, attrs); }, Arrays(c.in.begin(), c.in.end()),
               {c.cot[0]})
        .second;
  }
  Arrays out(c.in.size());
  const Array g = astype(c.cot[0], wide(c.cot[0].dtype()));
  const auto [cosine, sine] = rotation(c.in, a, g.dtype());
  out[0] = astype(rotate(g, cosine, negative(sine), a), c.in[0].dtype());
  return out;
}

// The batch is a leading dimension as any other unless each example has positions of its own: then it is,
// together with the first of four dimensions, what rows of positions belong to.
Arrays vmap_rope(const VmapCtx& c) {
  const auto& a = c.as<RopeAttrs>();
  if (a.has_freqs && c.batched[2]) {
    // Frequencies of its own for each example: one by one.
    Arrays parts;
    for (int64_t b = 0; b < c.size; ++b) {
      Arrays in;
      for (size_t i = 0; i < c.in.size(); ++i)
        in.push_back(c.batched[i] ? squeeze(slice_axis(c.in[i], 0, b, b + 1), {0}) : c.in[i]);
      parts.push_back(apply1(Op::Rope, in, c.attrs));
    }
    return {stack(parts, 0)};
  }
  const Array x = c.batch(0);
  Array p = c.in[1];
  const int rank = p.ndim() - (c.batched[1] ? 1 : 0);  // of one example's positions
  Arrays in{x, p};
  if (rank == 2) {  // x (batch, B, H, T, d)
    in[0] = flatten(x, 0, 1);
    in[1] = flatten(c.batch(1), 0, 1);
  } else if (c.batched[1]) {
    int64_t heads = 1;
    for (int d = 1; d < x.ndim() - 2; ++d) heads *= x.shape(d);
    in[0] = reshape(x, {c.size, heads, x.shape(-2), x.shape(-1)});
  }
  if (a.has_freqs) in.push_back(c.in[2]);
  return {reshape(apply1(Op::Rope, in, c.attrs), x.shape())};
}

// --- attention

struct Optional {
  Array mask, start, len;
};
Optional optional_inputs(std::span<const Array> in, const AttentionAttrs& a) {
  Optional o;
  size_t next = 3;
  if (a.has_mask) o.mask = in[next++];
  if (a.has_start) o.start = in[next++];
  if (a.has_len) o.len = in[next++];
  return o;
}

void infer_attention(InferCtx& c) {
  const auto& a = c.as<AttentionAttrs>();
  const Shape &q = c.shape(0), &k = c.shape(1), &v = c.shape(2);
  for (size_t i = 0; i < 3; ++i) {
    require_dtype(c, i, kDFloats);
    if (c.shape(i).ndim() != 4)
      c.fail(ErrorCode::ShapeMismatch,
             cat("q, k and v have four dimensions (batch, heads, tokens, features), got ", c.shape(i).str()));
  }
  if (c.dtype(1) != c.dtype(2))
    c.fail(ErrorCode::DtypeMismatch, cat("k is ", dtype_name(c.dtype(1)), ", v ", dtype_name(c.dtype(2))));
  if (k[0] != q[0] || v[0] != q[0] || k[1] != v[1] || k[2] != v[2] || k[3] != q[3] ||
      (k[1] == 0 ? q[1] != 0 : q[1] % k[1] != 0))
    c.fail(ErrorCode::ShapeMismatch, cat("q ", q.str(), ", k ", k.str(), " and v ", v.str(),
                                         " do not fit: batch, key tokens and features must agree, and the "
                                         "heads of q be a multiple of those of k"));
  if (a.window < 0 || !(a.softcap >= 0) || !std::isfinite(a.softcap))
    c.fail(ErrorCode::InvalidArgument,
           cat("window and softcap must be 0 or more, got ", a.window, " and ", a.softcap));
  if (!(a.scale >= 0) || !std::isfinite(a.scale))
    c.fail(ErrorCode::InvalidArgument, cat("the scale must be above 0, or 0 for 1/sqrt(d), got ", a.scale));
  if (a.window > 0 && !a.causal) c.fail(ErrorCode::InvalidArgument, "a window needs causal attention");
  size_t next = 3;
  if (a.has_mask) {
    require_dtype(c, next, kDFloats | kDBool);
    const Shape full{q[0], q[1], q[2], k[2]};
    if (!(broadcast_shapes(c.shape(next), full, "scaled_dot_product_attention") == full))
      c.fail(ErrorCode::ShapeMismatch,
             cat("a mask of shape ", c.shape(next).str(), " can't be broadcast to ", full.str()));
    ++next;
  }
  for (; next < c.in.size(); ++next) {
    require_dtype(c, next, kDInts);
    if (!(c.shape(next) == Shape{q[0]}))
      c.fail(ErrorCode::ShapeMismatch,
             cat("q_start and kv_len have shape (", q[0], ",), got ", c.shape(next).str()));
  }
  c.push({q[0], q[1], q[2], v[3]}, c.dtype(0));
}

Arrays attention_parts(std::span<const Array> in, const Attrs& attrs) {
  const auto& a = attrs.as<AttentionAttrs>();
  const Optional o = optional_inputs(in, a);
  const Dtype d = wide(in[0].dtype());
  const int64_t b = in[0].shape(0), h = in[0].shape(1), t = in[0].shape(2), dim = in[0].shape(3),
                kv = in[1].shape(1), s = in[1].shape(2);
  const int64_t group = kv ? h / kv : 1;
  const Array q =
      reshape(astype(in[0], d), {b, kv, group * t, dim});  // the query heads of a key head side by side
  const Array k = astype(in[1], d), v = astype(in[2], d);
  const double scale = a.scale > 0 ? a.scale : 1 / std::sqrt(static_cast<double>(dim));
  Array scores = reshape(matmul(q, swapaxes(k, -1, -2)), {b, h, t, s}) * scale;
  if (a.softcap > 0) scores = tanh(scores / a.softcap) * a.softcap;
  const double inf = std::numeric_limits<double>::infinity();
  if (a.has_mask) {
    if (is_bool(o.mask.dtype()))
      scores = where(o.mask, scores, -inf);
    else
      scores = scores + astype(o.mask, d);
  }
  const Array key = reshape(arange(0, s), {1, 1, 1, s});
  if (a.causal) {
    const Array start = a.has_start ? reshape(astype(o.start, Dtype::I32), {b, 1, 1, 1})
                                    : full({1, 1, 1, 1}, s - t, Dtype::I32);
    const Array query = start + reshape(arange(0, t), {1, 1, t, 1});
    Array seen = less_equal(key, query);
    if (a.window > 0) seen = logical_and(seen, greater(key, query - a.window));
    scores = where(seen, scores, -inf);
  }
  if (a.has_len) scores = where(less(key, reshape(astype(o.len, Dtype::I32), {b, 1, 1, 1})), scores, -inf);
  const Array p = reshape(softmax(scores, -1), {b, kv, group * t, s});
  return {astype(reshape(matmul(p, v), {b, h, t, in[2].shape(3)}), in[0].dtype())};
}

// The batch joins the first dimension.
Arrays vmap_attention(const VmapCtx& c) {
  const auto& a = c.as<AttentionAttrs>();
  Arrays in;
  const int64_t b = c.batched[0] ? c.in[0].shape(1) : c.in[0].shape(0);
  for (size_t i = 0; i < c.in.size(); ++i) {
    Array x = c.batch(i);
    if (i == 3 && a.has_mask) {
      Shape s = x.shape();
      while (s.ndim() < 5) s.insert(1, 1);
      Shape full = s;
      full[1] = b;
      x = broadcast_to(reshape(x, s), full);
    }
    in.push_back(flatten(x, 0, 1));
  }
  const Array y = apply1(Op::Attention, in, c.attrs);
  return {reshape(y, {c.size, b, y.shape(1), y.shape(2), y.shape(3)})};
}

using Cases = std::vector<SampleCase>;
Cases rope_cases() {
  return {{{{2, 3, 5, 8}, {5}},
           RopeAttrs{8, false, 10000, 1, false},
           "rope(in0, in1, 8, False, 10000.0, 1.0)",
           {kSwept, Dtype::I32},
           20},
          {{{2, 1, 5, 8}, {2, 5}},
           RopeAttrs{6, true, 500, 0.5, false},
           "rope(in0, in1, 6, True, 500.0, 0.5)",
           {kSwept, Dtype::I32},
           20}};
}
Cases attention_cases() {
  return {{{{2, 4, 5, 8}, {2, 2, 7, 8}, {2, 2, 7, 8}},
           AttentionAttrs{0, false, 0, 0, false, false, false},
           "attention(in0, in1, in2)"},
          {{{1, 2, 6, 4}, {1, 1, 6, 4}, {1, 1, 6, 4}},
           AttentionAttrs{0.3, true, 3, 0, false, false, false},
           "attention(in0, in1, in2, scale=0.3, causal=True, window=3)"},
          {{{2, 2, 3, 4}, {2, 2, 9, 4}, {2, 2, 9, 4}, {2}},
           AttentionAttrs{0, true, 0, 5, false, true, false},
           "attention(in0, in1, in2, causal=True, softcap=5, start=in3)",
           {kSwept, kSwept, kSwept, Dtype::I32},
           6},
          {{{1, 2, 3, 4}, {1, 2, 70, 4}, {1, 2, 70, 4}, {3, 70}},
           AttentionAttrs{0, false, 0, 0, true, false, false},
           "attention(in0, in1, in2, mask=in3)"},
          {{{2, 2, 1, 16}, {2, 1, 130, 16}, {2, 1, 130, 16}, {1, 1, 1, 130}, {2}},
           AttentionAttrs{0, false, 0, 0, true, false, true},
           "attention(in0, in1, in2, mask=in3, length=in4)",
           {kSwept, kSwept, kSwept, Dtype::Bool, Dtype::I32},
           131}};
}

const OpDef kRows[] = {
    {.op = Op::Rope,
     .doc = "rotates pairs of features by position-dependent angles",
     .infer = infer_rope,
     .vjp = vjp_rope,
     .vmap = vmap_rope,
     .decompose = rope_parts,
     .samples = {.c = 32, .cases = rope_cases}},
    {.op = Op::Attention,
     .doc = "softmax(q·kᵀ·scale + mask)·v with grouped queries",
     .infer = infer_attention,
     .vmap = vmap_attention,
     .decompose = attention_parts,
     .samples = {.c = 16, .cases = attention_cases}},
};

Array run_rope(const Array& x, const Array& positions, const Array& freqs, const RopeOptions& o) {
  const int dims = o.dims ? o.dims : static_cast<int>(x.shape(-1));
  if (!(o.base > 0) || !std::isfinite(o.base) || !std::isfinite(o.scale))
    throw Error(ErrorCode::InvalidArgument,
                cat("base must be above 0 and scale finite, got ", o.base, " and ", o.scale), "rope");
  if (!is_integer(positions.dtype()))
    throw Error(ErrorCode::DtypeMismatch,
                cat("positions are ", dtype_name(positions.dtype()), ", expected integers"), "rope");
  const RopeAttrs a{dims, o.traditional, o.base, o.scale, freqs.defined()};
  const Array p = astype(positions, Dtype::I32);
  if (freqs.defined())
    return apply1(Op::Rope, {x, p, astype(freqs, x.dtype() == Dtype::F64 ? Dtype::F64 : Dtype::F32)}, a);
  return apply1(Op::Rope, {x, p}, a);
}

}  // namespace

Rows attention_rows() { return kRows; }

Array rope(const Array& x, const Array& positions, const RopeOptions& options) {
  return run_rope(x, positions, {}, options);
}
Array rope(const Array& x, int64_t offset, const RopeOptions& options) {
  if (offset < INT32_MIN || offset > INT32_MAX - (x.ndim() >= 2 ? x.shape(-2) : 0))
    throw Error(ErrorCode::InvalidArgument, cat("positions from ", offset, " on are not those of int32"),
                "rope");
  return run_rope(x, arange(offset, offset + x.shape(-2)), {}, options);
}
Array rope_freqs(const Array& x, const Array& positions, const Array& inv_freq, const RopeOptions& options) {
  return run_rope(x, positions, inv_freq, options);
}

Array scaled_dot_product_attention(const Array& q, const Array& k, const Array& v, const AttentionOptions& o,
                                   const Array& mask, const Array& q_start, const Array& kv_len) {
  Arrays in{q, k, v};
  for (const Array* a : {&q_start, &kv_len})
    if (a->defined() && !is_integer(a->dtype()))
      throw Error(ErrorCode::DtypeMismatch,
                  cat("q_start and kv_len are integers, got ", dtype_name(a->dtype())),
                  "scaled_dot_product_attention");
  if (mask.defined()) in.push_back(mask);
  if (q_start.defined()) in.push_back(astype(q_start, Dtype::I32));
  if (kv_len.defined()) in.push_back(astype(kv_len, Dtype::I32));
  return apply1(Op::Attention, in,
                AttentionAttrs{o.scale, o.causal, o.window, o.softcap, mask.defined(), q_start.defined(),
                               kv_len.defined()});
}

}  // namespace mc
