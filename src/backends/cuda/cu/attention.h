#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace mc::cuda {

// q (B, H, T, D), k (B, Hkv, S, D), v (B, Hkv, S, Dv), out (B, H, T, Dv); last axis contiguous, strides of
// the others in elements. What the operands mean is the host engine's kernel's business (see
// docs/contract.md, Attention).
struct AttentionLaunch {
  const void *q, *k, *v;
  void* out;
  int dtype, kv_dtype;
  int64_t batch, heads, kv_heads, q_len, kv_size, dim, v_dim;
  int64_t q_stride[3], k_stride[3], v_stride[3], out_stride[3];
  float scale, softcap;
  bool causal;
  int64_t window;
  const int32_t* q_start;
  int64_t start_stride;
  const int32_t* kv_len;
  int64_t len_stride;
  const void* mask;
  int mask_dtype;
  int64_t mask_stride[4];
};
inline constexpr int kMaxHeadDim = 512;
// Attention on the tensor cores. False if the kernel does not take the operands.
bool launch_prefill_attention(const AttentionLaunch& a, cudaStream_t stream);
void launch_attention(const AttentionLaunch& a, int multiprocessors, cudaStream_t stream);

}  // namespace mc::cuda
