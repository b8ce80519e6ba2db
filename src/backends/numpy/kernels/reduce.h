// Reductions of floats in the contract's order: element i goes to accumulator (i/16) mod 4, lane i mod 16.
#pragma once

#include <cstdint>

#include "mc/dtype.h"

namespace mc::kernels {

enum class Join : uint8_t { Sum, Prod, Max, Min };  // Max and Min propagate NaN

// Accumulators are float, for float64 double. `acc` is 64 of them: accumulator a, lane l at 16·a + l.
struct ReduceFns {
  // The result of n contiguous elements.
  void (*run)(const void* p, int64_t n, void* out);
  // Joins 64·blocks contiguous elements, the first of which has an index divisible by 64.
  void (*blocks)(void* acc, const void* p, int64_t blocks);
  // Joins `rows` rows of `cols` contiguous elements, `stride` elements apart, each column a reduction of its
  // own; `at` is the first row's index. Accumulator j of column c is acc[j·width + c].
  void (*rows)(void* acc, int64_t width, const void* p, int64_t stride, int64_t rows, int64_t cols,
               int64_t at);
  // Joins the first min(n, 64) accumulators of each column into out[0 … cols); acc is overwritten.
  void (*fold)(void* acc, int64_t width, int64_t n, int64_t cols, void* out);
};

struct ReduceTable {
  ReduceFns fn[4][4];  // by Join; float32, float64, float16, bfloat16
};
extern const ReduceTable kReduceScalar, kReduceAvx2, kReduceAvx512;

// Null for other dtypes. The same bits for every instruction set.
const ReduceFns* reduce_fns(Join join, Dtype dtype);

}  // namespace mc::kernels
