#include "mc/nn.h"

#include <algorithm>
#include <cmath>

#include "mc/ops.h"
#include "mc/random.h"

namespace mc::nn {
namespace {

// What rounding to int8 in blocks of 32 may change: half a step of the largest magnitude over 127.
Array int8_noise(const Array& x) {
  Shape blocks = x.shape();
  blocks[blocks.ndim() - 1] /= 32;
  blocks.push_back(32);
  const Array v = reshape(x, blocks);
  return reshape(v + max(abs(v), {-1}, true) * random::uniform(-0.5 / 127, 0.5 / 127, blocks, Dtype::F64),
                 x.shape());
}

// x·Wᵀ in float64 with the weight as every engine decodes it, in float32. A slab of rows at a time: a whole
// vocabulary in float64 takes gigabytes.
Array wide_product(const Linear& l, Array x) {
  constexpr double kRounding = 0x1p-24;  // of one sum in float32
  if (l.noise > 0) {
    // Rounding errors of a sum of n products walk at random: they grow with the root of n.
    const double size = l.noise + kRounding * std::sqrt(static_cast<double>(l.in_features()));
    x = with_noise(l.fast ? int8_noise(x) : x, size);
  }
  Array y;
  if (!l.packed) {
    y = matmul(x, transpose(astype(l.dense, Dtype::F64)));
  } else {
    constexpr int64_t kSlab = 16384;
    Arrays parts;
    for (int64_t at = 0; at < l.packed->shape[0]; at += kSlab) {
      const int64_t end = std::min(at + kSlab, l.packed->shape[0]);
      QTensor w = *l.packed;
      w.shape[0] = end - at;
      for (size_t i = 0; i < w.parts.size(); ++i) {
        w.parts[i] = slice_axis(w.parts[i], 0, at, end);
        if (i > 0) w.parts[i] = astype(w.parts[i], Dtype::F32);
      }
      parts.push_back(matmul(x, transpose(astype(dequantize(w), Dtype::F64))));
    }
    y = parts.size() == 1 ? parts[0] : concatenate(parts, -1);
  }
  return l.noise > 0 ? with_noise(y, l.noise) : y;
}

}  // namespace

Array with_noise(const Array& x, double size) {
  return x * (random::uniform(-size, size, x.shape(), Dtype::F64) + 1);
}

Array Linear::operator()(const Array& x) const {
  if (x.dtype() == Dtype::F64) {
    const Array y = wide_product(*this, x);
    return bias.defined() ? y + astype(bias, Dtype::F64) : y;
  }
  Array y = packed ? quantized_matmul(x, *packed, fast) : matmul(x, transpose(dense));
  return bias.defined() ? y + bias : y;
}

Array Linear::where(const Array& rows, const Array& x) const {
  if (!packed || x.dtype() == Dtype::F64) return (*this)(x);
  const Array y = quantized_matmul_where(rows, x, *packed, fast);
  return bias.defined() ? y + bias : y;
}

Array Embedding::operator()(const Array& ids) const {
  return table.packed ? quantized_take(*table.packed, ids) : take(table.dense, ids, 0);
}

Positions positions_from(const Array& start, int64_t tokens) {
  return {start, expand_dims(start, {1}) + expand_dims(arange(static_cast<int>(tokens)), {0})};
}

namespace {
// (B, T, h·d) -> (B, h, T, d)
Array split_heads(const Array& x, int64_t heads, int64_t dim) {
  return transpose(reshape(x, {x.shape(0), x.shape(1), heads, dim}), {0, 2, 1, 3});
}
}  // namespace

Array Attention::operator()(const Array& x, const Positions& at, KvCache& cache, Sites* sites, int layer,
                            const Array& lengths) const {
  Array qx, kx, vx;
  if (qkv) {
    const Array all = (*qkv)(x);
    const int64_t a = heads * head_dim, b = a + kv_heads * head_dim;
    qx = slice_axis(all, -1, 0, a);
    kx = slice_axis(all, -1, a, b);
    vx = slice_axis(all, -1, b, b + kv_heads * head_dim);
  } else {
    qx = q(x);
    kx = k(x);
    vx = v(x);
  }
  Array qh = split_heads(qx, heads, head_dim), kh = split_heads(kx, kv_heads, head_dim),
        vh = split_heads(vx, kv_heads, head_dim);
  if (q_norm) qh = (*q_norm)(qh);
  if (k_norm) kh = (*k_norm)(kh);
  auto turn = [&](const Array& a) {
    if (!rotary) return a;
    const Array r =
        inv_freq.defined() ? rope_freqs(a, at.positions, inv_freq, rope) : mc::rope(a, at.positions, rope);
    if (rope_magnitude == 1) return r;
    const int64_t dims = rope.dims ? rope.dims : head_dim;
    if (dims == head_dim) return r * rope_magnitude;
    return concatenate({slice_axis(r, -1, 0, dims) * rope_magnitude, slice_axis(r, -1, dims, head_dim)}, -1);
  };
  qh = at_site(sites, SiteKind::Q, layer, turn(qh));
  kh = at_site(sites, SiteKind::K, layer, turn(kh));
  vh = at_site(sites, SiteKind::V, layer, vh);
  Array keys = kh, values = vh;
  if (causal) {
    cache.k = dynamic_update_rows(cache.k, kh, at.start, 2);
    cache.v = dynamic_update_rows(cache.v, vh, at.start, 2);
    keys = cache.k;
    values = cache.v;
  }
  AttentionOptions options;
  options.scale = scale;
  options.causal = causal;
  options.window = window;
  options.softcap = softcap;
  const bool writes = sites && sites->writes(SiteKind::Pattern, layer);
  Array out;
  if (sites && (writes || sites->reads(SiteKind::Pattern, layer))) {
    // Softmax written out, beside the fused kernel unless the pattern is written.
    const int64_t b = x.shape(0), t = x.shape(1), s = keys.shape(2), groups = heads / kv_heads;
    auto wide = [](const Array& a) { return a.dtype() == Dtype::F64 ? a : astype(a, Dtype::F32); };
    Array scores =
        matmul(reshape(wide(qh), {b, kv_heads, groups * t, head_dim}), transpose(wide(keys), {0, 1, 3, 2})) *
        (scale != 0 ? scale : 1 / std::sqrt(static_cast<double>(head_dim)));
    scores = reshape(scores, {b, heads, t, s});
    if (softcap > 0) scores = tanh(scores * (1 / softcap)) * softcap;
    const Array j = arange(static_cast<int>(s)), i = expand_dims(at.positions, {1, 3});
    Array seen;
    if (causal) {
      seen = less_equal(j, i);
      if (window > 0) seen = logical_and(seen, greater(j, i - static_cast<int>(window)));
    } else if (lengths.defined()) {
      seen = less(j, expand_dims(lengths, {1, 2, 3}));
    }
    if (seen.defined()) scores = where(seen, scores, -INFINITY);
    const Array pattern = at_site(sites, SiteKind::Pattern, layer, softmax(scores));
    if (writes)
      out = astype(reshape(matmul(reshape(pattern, {b, kv_heads, groups * t, s}), wide(values)),
                           {b, heads, t, head_dim}),
                   x.dtype());
  }
  if (!writes)
    out = causal ? scaled_dot_product_attention(qh, keys, values, options, {}, at.start)
                 : scaled_dot_product_attention(qh, keys, values, options, {}, {}, lengths);
  out = at_site(sites, SiteKind::Heads, layer, out);
  return o(reshape(transpose(out, {0, 2, 1, 3}), {x.shape(0), x.shape(1), heads * head_dim}));
}

namespace {
Array activate(const Array& x, Activation a) {
  switch (a) {
    case Activation::Silu: return silu(x);
    case Activation::GeluTanh: return gelu(x, false);
    case Activation::Gelu: return gelu(x, true);
    case Activation::Relu: return relu(x);
  }
  return x;
}

// What goes into `down`.
Array activated(const Mlp& m, const Array& up, const Array& gate) {
  if (!m.gate) return activate(up, m.activation);
  return m.activation == Activation::Silu ? swiglu(gate, up) : activate(gate, m.activation) * up;
}
}  // namespace

Array Mlp::operator()(const Array& x, Sites* sites, int layer) const {
  const Array g = gate ? (*gate)(x) : Array(), h = activated(*this, up(x), g);
  return down(at_site(sites, SiteKind::MlpAct, layer, h));
}

Array Mlp::where(const Array& rows, const Array& x) const {
  const Array g = gate ? gate->where(rows, x) : Array(), h = activated(*this, up.where(rows, x), g);
  return down.where(rows, h);
}

Array Moe::operator()(const Array& x) const {
  const int64_t n = static_cast<int64_t>(experts.size());
  const Array p = softmax(astype(router(x), Dtype::F32));  // (B, T, E)
  const auto [best, index] = topk(p, used, -1);
  const Array weight = normalized ? best / sum(best, {-1}, true) : best;
  // (B, T, E): the weight of each expert, zero for those not chosen.
  const Array chosen = equal(expand_dims(index, {-1}), arange(static_cast<int>(n)));
  const Array share =
      sum(where(chosen, expand_dims(weight, {-1}), zeros_like(expand_dims(weight, {-1}))), {-2});
  Array out;
  for (int64_t e = 0; e < n; ++e) {
    const Array w = slice_axis(share, -1, e, e + 1), asked = greater(w, zeros_like(w));
    // An expert that was not asked can't spoil the sum with what overflowed in it.
    const Array y =
        where(asked, astype(experts[static_cast<size_t>(e)].where(squeeze(asked, {-1}), x), Dtype::F32) * w,
              zeros_like(w));
    out = out.defined() ? out + y : y;
  }
  return astype(out, x.dtype());
}

}  // namespace mc::nn
