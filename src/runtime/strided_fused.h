// What engines share whose kernels of fused operations compute in float32: which operands those take, and how
// attention's are laid out.
#pragma once

#include <cmath>
#include <span>

#include "core/node.h"
#include "prims/attrs.h"

namespace mc::strided {

MC_ENGINE_API bool takes_rows(std::span<const Aval> in, const Attrs& attrs);
MC_ENGINE_API bool takes_norm(std::span<const Aval> in, const Attrs& attrs);
MC_ENGINE_API bool takes_cross_entropy(std::span<const Aval> in, const Attrs& attrs);
MC_ENGINE_API bool takes_rope(std::span<const Aval> in, const Attrs& attrs);
MC_ENGINE_API bool takes_attention(std::span<const Aval> in, const Attrs& attrs);

// The stride of dimension d, 0 where the operand repeats one element or has no such dimension.
template <class Tensor>
int64_t stride_or_0(const Tensor& t, int d) {
  return d < 0 || t.shape[d] == 1 ? 0 : t.strides[d];
}

// Fills in everything but the optional q_start and kv_len; returns the index of the first operand behind the
// mask.
template <class Args, class Tensor>
size_t describe_attention(Args& a, const AttentionAttrs& attrs, std::span<const Tensor> in,
                          const Tensor& out) {
  const Tensor &q = in[0], &k = in[1], &v = in[2];
  a.q = q.data;
  a.k = k.data;
  a.v = v.data;
  a.out = out.data;
  a.dtype = static_cast<decltype(a.dtype)>(q.dtype);
  a.kv_dtype = static_cast<decltype(a.kv_dtype)>(k.dtype);
  a.batch = q.shape[0];
  a.heads = q.shape[1];
  a.q_len = q.shape[2];
  a.dim = q.shape[3];
  a.kv_heads = k.shape[1];
  a.kv_size = k.shape[2];
  a.v_dim = v.shape[3];
  for (int i = 0; i < 3; ++i) {
    a.q_stride[i] = q.strides[i];
    a.k_stride[i] = k.strides[i];
    a.v_stride[i] = v.strides[i];
    a.out_stride[i] = out.strides[i];
  }
  a.scale = static_cast<float>(attrs.scale > 0 ? attrs.scale : 1.0 / std::sqrt(static_cast<double>(a.dim)));
  a.softcap = static_cast<float>(attrs.softcap);
  a.causal = attrs.causal;
  a.window = attrs.window;
  if (!attrs.has_mask) return 3;
  const Tensor& m = in[3];
  a.mask = m.data;
  a.mask_dtype = static_cast<decltype(a.mask_dtype)>(m.dtype);
  for (int i = 0; i < 4; ++i) a.mask_stride[i] = stride_or_0(m, m.shape.ndim() - 4 + i);
  return 4;
}

}  // namespace mc::strided
