// Attention of the host engine on plain pointers: exact softmax attention in tiles of 64 keys, online, never
// forming the score matrix.
#pragma once

#include <cstdint>

#include "mc/dtype.h"

namespace mc::kernels {

// q (B, H, T, D), k (B, Hkv, S, D), v (B, Hkv, S, Dv), out (B, H, T, Dv). The last axis is contiguous;
// strides count elements of the other three. H is a multiple of Hkv: query head h reads key head h/(H/Hkv).
struct AttentionArgs {
  const void *q = nullptr, *k = nullptr, *v = nullptr;
  void* out = nullptr;
  Dtype dtype = Dtype::F32;     // of q and out: float32, float16 or bfloat16
  Dtype kv_dtype = Dtype::F32;  // of k and v
  int64_t batch = 1, heads = 1, kv_heads = 1, q_len = 0, kv_size = 0, dim = 0, v_dim = 0;
  int64_t q_stride[3] = {}, k_stride[3] = {}, v_stride[3] = {}, out_stride[3] = {};
  float scale = 1.0f;
  float softcap = 0;                 // > 0: scores become cap·tanh(score/cap)
  bool causal = false;               // query t of row b sees key j only if j <= q_start[b] + t
  int64_t window = 0;                // > 0: and only if j > q_start[b] + t - window
  const int32_t* q_start = nullptr;  // (B,); null: kv_size - q_len
  const int32_t* kv_len = nullptr;   // (B,); null: kv_size; clamped to [0, kv_size]
  // Added to the scaled (and capped) score, or where bool: false hides the key. Strides in elements of (B, H,
  // T, S), 0 to broadcast. Null: none.
  const void* mask = nullptr;
  Dtype mask_dtype = Dtype::F32;  // float32, float16, bfloat16 or bool
  int64_t mask_stride[4] = {};
};

// A row's result depends on that row, on the keys it sees and on their absolute positions, on nothing else:
// not on the other rows of the call, threads, instruction set, or keys hidden by causality, window or kv_len,
// which are not even read where they would matter. A row that sees no key gives zeros. Per row: score = fma
// chain over ascending d restarted every 256; then tiles of 64 keys in ascending order with running maximum
// and sum; values by an fma chain over the tile's keys in ascending order on the rescaled sum. Throws
// mc::Error for unfit dtypes or shapes.
void attention(const AttentionArgs& a);

}  // namespace mc::kernels
