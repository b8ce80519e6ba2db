#include "mc/nn.h"
#include "mc/ops.h"

namespace mc::nn {

Array Linear::operator()(const Array& x) const {
  Array y = packed ? quantized_matmul(x, *packed, fast) : matmul(x, transpose(dense));
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

Array Attention::operator()(const Array& x, const Positions& at, KvCache& cache) const {
  Array qh = split_heads(q(x), heads, head_dim), kh = split_heads(k(x), kv_heads, head_dim),
        vh = split_heads(v(x), kv_heads, head_dim);
  if (q_norm) qh = (*q_norm)(qh);
  if (k_norm) kh = (*k_norm)(kh);
  auto turn = [&](const Array& a) {
    return inv_freq.defined() ? rope_freqs(a, at.positions, inv_freq, rope) : mc::rope(a, at.positions, rope);
  };
  qh = turn(qh);
  kh = turn(kh);
  cache.k = dynamic_update_rows(cache.k, kh, at.start, 2);
  cache.v = dynamic_update_rows(cache.v, vh, at.start, 2);
  AttentionOptions options;
  options.scale = scale;
  options.causal = true;
  options.window = window;
  const Array out = scaled_dot_product_attention(qh, cache.k, cache.v, options, {}, at.start);
  return o(reshape(transpose(out, {0, 2, 1, 3}), {x.shape(0), x.shape(1), heads * head_dim}));
}

Array GatedMlp::operator()(const Array& x) const {
  const Array g = gate(x), u = up(x);
  return down(activation == Activation::Silu ? swiglu(g, u) : gelu(g, false) * u);
}

}  // namespace mc::nn
