// Fused operations: each has a native kernel where the engine has one and is exactly defined by plain
// operations, from which gradient and batching come.
#pragma once

#include <optional>

#include "mc/array.h"

namespace mc {

// Along the last axis by default; float16 and bfloat16 are computed in float32. -inf entries give 0; a row of
// only -inf gives zeros.
MC_API Array softmax(const Array& a, int axis = -1);
MC_API Array log_softmax(const Array& a, int axis = -1);
// x·rsqrt(mean(x², last)+eps)·weight; weight (d,) or undefined.
MC_API Array rms_norm(const Array& x, const Array& weight, double eps = 1e-5);
// weight and bias (d,) or undefined.
MC_API Array layer_norm(const Array& x, const Array& weight, const Array& bias, double eps = 1e-5);

struct RopeOptions {
  int dims = 0;              // leading dimensions of the last axis that are rotated; 0: all. Even.
  bool traditional = false;  // true: pairs (2i, 2i+1); false: halves (i, i+dims/2)
  double base = 10000.0;
  double scale = 1.0;  // position·scale·base^(-2i/dims)
};
// x (…, T, d), positions int32 (T,) or, for x (B, H, T, d), (B, T).
MC_API Array rope(const Array& x, const Array& positions, const RopeOptions& options = {});
// Positions offset, offset+1, …
MC_API Array rope(const Array& x, int64_t offset, const RopeOptions& options = {});
// With frequencies (dims/2,) in place of base, as rope scaling needs.
MC_API Array rope_freqs(const Array& x, const Array& positions, const Array& inv_freq,
                        const RopeOptions& options = {});

struct AttentionOptions {
  double scale = 0;     // 0: 1/sqrt(d)
  bool causal = false;  // key j is seen by query i if j <= q_start + i
  int64_t window = 0;   // > 0: and if j > q_start + i - window
  double softcap = 0;   // > 0: cap·tanh(score/cap)
};
// q (B, H, T, d), k (B, Hkv, S, d), v (B, Hkv, S, dv), H a multiple of Hkv (grouped-query attention); result
// (B, H, T, dv). mask: undefined, or additive / bool (true: seen), broadcastable to (B, H, T, S). q_start
// int32 (B,): the absolute position of the first query; undefined: S - T. kv_len int32 (B,): number of valid
// keys; undefined: S. Rows that see no key give zeros.
MC_API Array scaled_dot_product_attention(const Array& q, const Array& k, const Array& v,
                                          const AttentionOptions& options = {}, const Array& mask = {},
                                          const Array& q_start = {}, const Array& kv_len = {});
// -log_softmax(logits)[label]; logits (…, V), labels integer (…); result (…).
MC_API Array cross_entropy(const Array& logits, const Array& labels);
// silu(gate)·up
MC_API Array swiglu(const Array& gate, const Array& up);

}  // namespace mc
