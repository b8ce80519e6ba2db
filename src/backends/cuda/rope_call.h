#pragma once

#include "backends/cuda/cu/fused.h"
#include "backends/cuda/kernel.h"
#include "prims/attrs.h"

namespace mc::cuda {

// The launch of Rope's operands (x, positions, [freqs]) of the last four dimensions.
RopeLaunch rope_call(const RopeAttrs& attrs, std::span<const Tensor> in, const Tensor& out);

// Attention's operands: q, k, v, then those that the attributes tell of.
AttentionLaunch attention_call(const AttentionAttrs& attrs, std::span<const Tensor> in, const Tensor& out);
void run_attention(const Call& c, const AttentionLaunch& a);

}  // namespace mc::cuda
