#include <algorithm>
#include <cmath>

#include "mc/nn.h"
#include "mc/ops.h"
#include "mc/random.h"

namespace mc::nn {
namespace {

Array noisy(const Array& x, double size) {
  return x * (random::uniform(-size, size, x.shape(), Dtype::F64) + 1);
}
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
    x = noisy(l.fast ? int8_noise(x) : x, size);
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
  return l.noise > 0 ? noisy(y, l.noise) : y;
}

}  // namespace

Array Linear::operator()(const Array& x) const {
  if (x.dtype() == Dtype::F64) {
    const Array y = wide_product(*this, x);
    return bias.defined() ? y + astype(bias, Dtype::F64) : y;
  }
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
