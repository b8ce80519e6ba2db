// Arrays as text, laid out as NumPy does.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>

#include "mc/array.h"

namespace mc {

struct PrintOptions {
  int64_t threshold = 1000;  // arrays of more elements show the ends of each axis only
  int64_t edge = 3;          // elements shown at each end
};

// Evaluates `a` and gives its elements in nested brackets, floats in the fewest digits that read back as the
// same number of their dtype: "[[1, 2.5],\n [3, nan]]".
MC_API std::string to_string(const Array& a, const PrintOptions& options = {});
// "array([1, 2], dtype=int32)"; an undefined array is "array()". Throws what evaluating throws.
MC_API std::ostream& operator<<(std::ostream& out, const Array& a);

}  // namespace mc
