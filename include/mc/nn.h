// Blocks that models are made of. Weights are plain arrays or quantized; activations are (B, T, d).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "mc/fast.h"
#include "mc/quantize.h"
#include "mc/sites.h"

namespace mc::nn {

// y = x·Wᵀ + b, W (out, in) quantized or dense.
struct Linear {
  std::optional<QTensor> packed;
  Array dense;  // (out, in), used when `packed` is not there
  Array bias;   // (out,) or undefined
  bool fast = false;
  // Of float64 activations (the oracle of mc::parity): random relative noise of this size, times a rounding's
  // growth over the sum, on what goes in and comes out. 0: none.
  double noise = 0;
  MC_API Array operator()(const Array& x) const;
  // Where `rows` (…,), bool, is true; the others hold anything.
  MC_API Array where(const Array& rows, const Array& x) const;
  int64_t out_features() const { return packed ? packed->shape[0] : dense.shape(0); }
  int64_t in_features() const { return packed ? packed->shape[1] : dense.shape(1); }
};

// x·(1 + r), r uniform in ±size, for float64 activations: what a rounding of that size may do.
MC_API Array with_noise(const Array& x, double size);

// Rows of a matrix by integer ids: (…) -> (…, d), float32 for quantized ones.
struct Embedding {
  Linear table;  // (vocab, d); also serves as a tied output head
  MC_API Array operator()(const Array& ids) const;
};

// Root mean square, or with `centred` mean and variance (layer norm).
struct Norm {
  Array weight, bias;  // (d,); bias or both undefined
  double eps = 1e-5;
  bool centred = false;
  Array operator()(const Array& x) const {
    return centred ? layer_norm(x, weight, bias, eps) : rms_norm(x, weight, eps);
  }
};

// Keys and values of one layer, (B, Hkv, capacity, d); rows beyond what was written hold zeros.
struct KvCache {
  Array k, v;
};

// Where the T new tokens of each row stand.
struct Positions {
  Array start;      // int32 (B,): tokens that are in the cache already
  Array positions;  // int32 (B, T)
};
MC_API Positions positions_from(const Array& start, int64_t tokens);

struct Attention {
  Linear q, k, v, o;
  std::optional<Linear> qkv;           // in place of q, k and v: their rows one after the other
  std::optional<Norm> q_norm, k_norm;  // over each head's d
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  double scale = 0;    // 0: 1/sqrt(head_dim)
  int64_t window = 0;  // 0: all earlier keys
  double softcap = 0;  // of scores; 0: none
  bool causal = true;
  bool rotary = true;
  RopeOptions rope;
  Array inv_freq;             // (dims/2,) or undefined
  double rope_magnitude = 1;  // queries and keys are multiplied by it (yarn, longrope)
  // Appends the new keys and values to `cache` (replaced by its successor) and attends to all of it. Not
  // causal: to what this pass holds, of which each row has `lengths` (B,) tokens.
  MC_API Array operator()(const Array& x, const Positions& at, KvCache& cache, Sites* sites = nullptr,
                          int layer = 0, const Array& lengths = {}) const;
};

enum class Activation : uint8_t { Silu, GeluTanh, Gelu, Relu };

// down(act(gate(x))·up(x)), or without a gate down(act(up(x))).
struct Mlp {
  std::optional<Linear> gate;
  Linear up, down;
  Activation activation = Activation::Silu;
  MC_API Array operator()(const Array& x, Sites* sites = nullptr, int layer = 0) const;
  // Where `rows` (…,), bool, is true; the others hold anything.
  MC_API Array where(const Array& rows, const Array& x) const;
};

// Mixture of experts (Jiang et al. 2024): the `used` experts of the largest router logits, weighted by the
// softmax over all experts, divided by their sum if `normalized`. Experts are asked for the tokens that chose
// them; how much of the others' work an engine passes over is its own affair and changes no result.
struct Moe {
  Linear router;
  std::vector<Mlp> experts;
  int64_t used = 2;
  bool normalized = true;
  MC_API Array operator()(const Array& x) const;
};

}  // namespace mc::nn
