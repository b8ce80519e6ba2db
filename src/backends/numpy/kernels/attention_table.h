// The per-instruction-set part of attention.cpp.
#pragma once

#include "backends/numpy/kernels/attention.h"

namespace mc::kernels {

inline constexpr int kKeyTile = 64;

// One unit of work: rows [row, row + rows) of the query rows of one key head; row = t·group + head in group,
// so that rows in a block see nearly the same keys.
struct AttentionBlock {
  int64_t b, kv_head, row;
  int rows;
};
// Scratch of one block, in floats, 64-byte aligned.
struct AttentionScratch {
  float *q, *scores, *out, *kt, *v, *max, *sum;
  int32_t* range;  // per row: first and one past the last visible key
};

struct AttentionTable {
  void (*block)(const AttentionArgs&, const AttentionBlock&, const AttentionScratch&);
};
extern const AttentionTable kAttentionScalar, kAttentionAvx2, kAttentionAvx512;

// Visible keys [lo, hi) of query t in batch row b, before any mask operand.
inline __attribute__((always_inline)) void key_range(const AttentionArgs& a, int64_t b, int64_t t,
                                                     int64_t& lo, int64_t& hi) {
  const int64_t start = (a.q_start ? a.q_start[b] : a.kv_size - a.q_len) + t;
  hi = a.kv_len ? a.kv_len[b] : a.kv_size;
  hi = hi < 0 ? 0 : hi > a.kv_size ? a.kv_size : hi;
  if (a.causal && hi > start + 1) hi = start + 1 < 0 ? 0 : start + 1;
  lo = 0;
  if (a.window > 0 && start - a.window + 1 > 0) lo = start - a.window + 1;
  if (lo > hi) lo = hi;
}

}  // namespace mc::kernels
