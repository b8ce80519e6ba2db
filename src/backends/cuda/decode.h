// Steps of one token's program joined: fewer launches, and none that only passes a vector on.
#pragma once

#include "backends/cuda/plan.h"

namespace mc::cuda {

// Products of one vector with several weights, with the norm before and the gate or the sum after them.
// Operands: x, the weights' parts, [norm weight], [residual]; outputs.
class JoinedProducts final : public JoinedStep {
 public:
  std::vector<Attrs> weights;  // QuantAttrs
  bool early = false;          // all weights were there before the program's first full stop
  bool norm = false, norm_weight = false, swiglu = false, residual = false;
  float eps = 0;
  void run(const Call& c) const override;
};

// Rotary positions of queries and keys, keys and values into their caches.
// Operands: q, positions, [freqs], k, positions, [freqs], v, start; q's output, both caches.
class JoinedCacheWrite final : public JoinedStep {
 public:
  Attrs q, k;  // RopeAttrs
  void run(const Call& c) const override;
};

// Those and the attention of the turned query over the written caches.
// Operands: JoinedCacheWrite's inputs, attention's from the keys on; JoinedCacheWrite's outputs, attention's.
class JoinedAttention final : public JoinedStep {
 public:
  Attrs q, k, attention;  // RopeAttrs, AttentionAttrs
  void run(const Call& c) const override;
};

// Joins what it can. The plan's temporaries must lie apart from each other.
void join_steps(Plan& plan);

}  // namespace mc::cuda
