// Fused operations: from graph operands to the kernels' plain pointers.
#include <algorithm>
#include <cmath>
#include <vector>

#include "backends/numpy/kernel.h"
#include "backends/numpy/kernels/attention.h"
#include "backends/numpy/kernels/fused.h"
#include "prims/attrs.h"
#include "runtime/strided_fused.h"

namespace mc::numpy {
namespace {

// Rows along the last axis of row-major operands.
kernels::RowsArgs rows_of(const Tensor& x, const Tensor& out) {
  kernels::RowsArgs a;
  a.x = x.data;
  a.out = out.data;
  a.n = x.shape.ndim() ? x.shape.back() : 1;
  a.rows = a.n ? x.numel() / a.n : 0;
  a.x_stride = a.out_stride = a.n;
  a.dtype = x.dtype;
  return a;
}

template <bool kLog>
void softmax(const Call& c) {
  kernels::softmax(rows_of(c.in[0], c.out[0]), kLog);
}

void rms_norm(const Call& c) {
  const auto& a = c.attr<NormAttrs>();
  kernels::rms_norm(rows_of(c.in[0], c.out[0]), a.has_weight ? c.in[1].as<float>() : nullptr,
                    static_cast<float>(a.eps));
}

void layer_norm(const Call& c) {
  const auto& a = c.attr<NormAttrs>();
  const float* weight = a.has_weight ? c.in[1].as<float>() : nullptr;
  const float* bias = a.has_bias ? c.in[a.has_weight ? 2 : 1].as<float>() : nullptr;
  kernels::layer_norm(rows_of(c.in[0], c.out[0]), weight, bias, static_cast<float>(a.eps));
}

void cross_entropy(const Call& c) {
  kernels::cross_entropy(rows_of(c.in[0], c.in[0]), c.in[1].data, c.in[1].dtype, c.out[0].as<float>());
}

void swiglu(const Call& c) {
  const kernels::RowsArgs a = rows_of(c.in[0], c.out[0]);
  kernels::gated(a, c.in[1].data, a.n, kernels::Gate::Silu);
}

using strided::stride_or_0;

void rope(const Call& c) {
  const auto& attrs = c.attr<RopeAttrs>();
  const Tensor &x = c.in[0], &out = c.out[0], &positions = c.in[1];
  const int nd = x.shape.ndim();
  kernels::RopeArgs a;
  a.dtype = x.dtype;
  a.dim = x.shape[nd - 1];
  a.time = x.shape[nd - 2];
  a.heads = nd >= 3 ? x.shape[nd - 3] : 1;
  a.batch = nd >= 4 ? x.shape[nd - 4] : 1;
  for (int k = 0; k < 3; ++k) {
    a.x_stride[k] = nd - 4 + k >= 0 ? x.strides[nd - 4 + k] : 0;
    a.out_stride[k] = nd - 4 + k >= 0 ? out.strides[nd - 4 + k] : 0;
  }
  a.positions = positions.as<int32_t>();
  a.position_stride[0] = positions.shape.ndim() == 2 ? stride_or_0(positions, 0) : 0;
  a.position_stride[1] = stride_or_0(positions, positions.shape.ndim() - 1);
  a.dims = attrs.dims;
  a.traditional = attrs.traditional;
  a.scale = attrs.scale;
  // Decoding asks for the same frequencies in every layer: dims / 2 exponentials cost more than the rotation.
  struct Frequencies {
    double base = 0;
    int dims = -1;
    std::vector<double> values;
  };
  static thread_local Frequencies known[2];
  static thread_local int oldest = 0;
  std::vector<double> freqs;
  if (attrs.has_freqs) {
    freqs.resize(static_cast<size_t>(attrs.dims / 2));
    for (size_t i = 0; i < freqs.size(); ++i)
      freqs[i] = static_cast<double>(c.in[2].as<float>()[static_cast<int64_t>(i) * stride_or_0(c.in[2], 0)]);
  } else {
    Frequencies* f = nullptr;
    for (Frequencies& have : known)
      if (have.base == attrs.base && have.dims == attrs.dims) f = &have;
    if (!f) {
      f = &known[oldest];
      oldest ^= 1;
      f->values.resize(static_cast<size_t>(attrs.dims / 2));
      f->base = attrs.base;
      f->dims = attrs.dims;
      kernels::rope_frequencies(attrs.base, attrs.dims, f->values.data());
    }
    a.inv_freq = f->values.data();
  }
  if (attrs.has_freqs) a.inv_freq = freqs.data();
  // Dimensions before the last four one by one.
  int64_t outer = 1;
  for (int d = 0; d < nd - 4; ++d) outer *= x.shape[d];
  const int64_t item = static_cast<int64_t>(itemsize(x.dtype));
  for (int64_t o = 0; o < outer; ++o) {
    int64_t rest = o, from = 0, to = 0;
    for (int d = nd - 5; d >= 0; --d) {
      from += rest % x.shape[d] * x.strides[d];
      to += rest % x.shape[d] * out.strides[d];
      rest /= x.shape[d];
    }
    a.x = x.data + from * item;
    a.out = out.data + to * item;
    kernels::rope(a);
  }
}

void attention(const Call& c) {
  const auto& attrs = c.attr<AttentionAttrs>();
  kernels::AttentionArgs a;
  size_t next = strided::describe_attention(a, attrs, c.in, c.out[0]);
  std::vector<int32_t> dense[2];
  auto operand = [&](int which) {
    const Tensor& t = c.in[next++];
    dense[which].resize(static_cast<size_t>(a.batch));
    for (int64_t b = 0; b < a.batch; ++b)
      dense[which][static_cast<size_t>(b)] = t.as<int32_t>()[b * stride_or_0(t, 0)];
    return dense[which].data();
  };
  if (attrs.has_start) a.q_start = operand(0);
  if (attrs.has_len) a.kv_len = operand(1);
  kernels::attention(a);
}

constexpr KernelRow kRows[] = {
    {Op::Softmax, softmax<false>, 0, strided::takes_rows},
    {Op::LogSoftmax, softmax<true>, 0, strided::takes_rows},
    {Op::RmsNorm, rms_norm, 0, strided::takes_norm},
    {Op::LayerNorm, layer_norm, 0, strided::takes_norm},
    {Op::CrossEntropy, cross_entropy, 0, strided::takes_cross_entropy},
    {Op::Swiglu, swiglu, 0, strided::takes_rows},
    {Op::Rope, rope, kRowStrides, strided::takes_rope},
    {Op::Attention, attention, kRowStrides, strided::takes_attention},
};

}  // namespace

std::span<const KernelRow> fused_kernels() { return kRows; }

}  // namespace mc::numpy
