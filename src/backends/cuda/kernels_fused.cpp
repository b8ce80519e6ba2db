// Fused operations: from graph operands to the kernels' plain pointers.
#include <cmath>

#include "backends/cuda/cu/attention.h"
#include "backends/cuda/cu/decode.h"
#include "backends/cuda/cu/fused.h"
#include "backends/cuda/kernel.h"
#include "backends/cuda/rope_call.h"
#include "mc/error.h"
#include "prims/attrs.h"
#include "runtime/strided_fused.h"

namespace mc::cuda {
namespace {

RowsLaunch rows_of(const Tensor& x, const Tensor& out) {
  RowsLaunch a;
  a.x = x.data;
  a.out = out.data;
  a.n = x.shape.ndim() ? x.shape.back() : 1;
  a.rows = a.n ? x.numel() / a.n : 0;
  a.dtype = static_cast<int>(x.dtype);
  return a;
}

void done(const char* what) { check(cudaGetLastError(), what); }

template <bool kLog>
void softmax(const Call& c) {
  launch_softmax(rows_of(c.in[0], c.out[0]), kLog, c.stream);
  done("softmax");
}
void rms_norm(const Call& c) {
  const auto& a = c.attr<NormAttrs>();
  launch_rms_norm(rows_of(c.in[0], c.out[0]), a.has_weight ? c.in[1].as<float>() : nullptr,
                  static_cast<float>(a.eps), c.stream);
  done("rms_norm");
}
void layer_norm(const Call& c) {
  const auto& a = c.attr<NormAttrs>();
  const float* weight = a.has_weight ? c.in[1].as<float>() : nullptr;
  const float* bias = a.has_bias ? c.in[a.has_weight ? 2 : 1].as<float>() : nullptr;
  launch_layer_norm(rows_of(c.in[0], c.out[0]), weight, bias, static_cast<float>(a.eps), c.stream);
  done("layer_norm");
}
void cross_entropy(const Call& c) {
  launch_cross_entropy(rows_of(c.in[0], c.out[0]), c.in[1].data, static_cast<int>(c.in[1].dtype), c.stream);
  done("cross_entropy");
}
void swiglu(const Call& c) {
  launch_swiglu(rows_of(c.in[0], c.out[0]), c.in[1].data, c.stream);
  done("swiglu");
}

using strided::stride_or_0;

}  // namespace

RopeLaunch rope_call(const RopeAttrs& attrs, std::span<const Tensor> in, const Tensor& out) {
  const Tensor &x = in[0], &positions = in[1];
  const int nd = x.shape.ndim();
  RopeLaunch a{};
  a.dtype = static_cast<int>(x.dtype);
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
  a.log2_base = std::log2(attrs.base);
  a.scale = attrs.scale;
  if (attrs.has_freqs) {
    a.inv_freq = in[2].as<float>();
    a.freq_stride = stride_or_0(in[2], 0);
  }
  a.x = x.data;
  a.out = out.data;
  return a;
}

namespace {

void rope(const Call& c) {
  const Tensor &x = c.in[0], &out = c.out[0];
  const int nd = x.shape.ndim();
  RopeLaunch a = rope_call(c.attr<RopeAttrs>(), c.in, out);
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
    launch_rope(a, c.stream);
  }
  done("rope");
}

void attention(const Call& c) { run_attention(c, attention_call(c.attr<AttentionAttrs>(), c.in, c.out[0])); }

}  // namespace

AttentionLaunch attention_call(const AttentionAttrs& attrs, std::span<const Tensor> in, const Tensor& out) {
  AttentionLaunch a{};
  size_t next = strided::describe_attention(a, attrs, in, out);
  if (attrs.has_start) {
    const Tensor& t = in[next++];
    a.q_start = t.as<int32_t>();
    a.start_stride = stride_or_0(t, 0);
  }
  if (attrs.has_len) {
    const Tensor& t = in[next];
    a.kv_len = t.as<int32_t>();
    a.len_stride = stride_or_0(t, 0);
  }
  return a;
}

void run_attention(const Call& c, const AttentionLaunch& a) {
  if (!launch_decode_attention(a, c.stream) && !launch_prefill_attention(a, c.stream))
    launch_attention(a, c.device.multiprocessors, c.stream);
  done("attention");
}

namespace {

bool takes_attention(std::span<const Aval> in, const Attrs& attrs) {
  return in[0].shape[3] <= kMaxHeadDim && in[2].shape[3] <= kMaxHeadDim &&
         strided::takes_attention(in, attrs);
}

constexpr KernelRow kRows[] = {
    {Op::Softmax, softmax<false>, 0, strided::takes_rows},
    {Op::LogSoftmax, softmax<true>, 0, strided::takes_rows},
    {Op::RmsNorm, rms_norm, 0, strided::takes_norm},
    {Op::LayerNorm, layer_norm, 0, strided::takes_norm},
    {Op::CrossEntropy, cross_entropy, 0, strided::takes_cross_entropy},
    {Op::Swiglu, swiglu, 0, strided::takes_rows},
    {Op::Rope, rope, kRowStrides, strided::takes_rope},
    {Op::Attention, attention, kRowStrides, takes_attention},
};

}  // namespace

std::span<const KernelRow> fused_kernels() { return kRows; }

}  // namespace mc::cuda
