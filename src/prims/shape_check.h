// Limits of shapes that come from the user.
#pragma once

#include "prims/op_def.h"

namespace mc {

// Elements that a shape may have: their bytes, whatever the dtype, are then countable in 63 bits.
inline constexpr int64_t kMaxElements = int64_t{1} << 58;

// Dimensions are not negative and their product can be counted.
inline void check_countable(const InferCtx& c, const Shape& s) {
  int64_t n = 1;
  for (int64_t d : s)
    if (d < 0) c.fail(ErrorCode::ShapeMismatch, cat("a shape has no negative dimensions, got ", s.str()));
  if (s.contains(0)) return;
  for (int64_t d : s)
    if (__builtin_mul_overflow(n, d, &n) || n > kMaxElements)
      c.fail(ErrorCode::ShapeMismatch, cat("a shape of ", s.str(), " has too many elements"));
}

}  // namespace mc
