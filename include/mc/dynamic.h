// Operations whose result's shape depends on what the data are. They compute how large the result is when
// they are called: the input is evaluated, and one number comes to the host; what they return is lazy as
// ever. While compile or vmap trace a function there are no data to look at, and they throw InvalidArgument;
// where a `size` can be given the shape is known beforehand, and they work there, too.
#pragma once

#include <optional>

#include "mc/array.h"

namespace mc {

// Elements that are not zero: int32 of shape (), or over axes.
MC_API Array count_nonzero(const Array& a);
MC_API Array count_nonzero(const Array& a, const Axes& axes, bool keepdims = false);
// For each dimension of `a` the int32 indices (n,) of the elements that are not zero, in row-major order (NaN
// is not zero). A 0-d array is refused (ShapeMismatch), as in the array API standard. With `size` the result
// has that length: elements beyond it are dropped, and where there are fewer, places hold an index out of
// range (the axis' length), which reads give NaN for and writes drop.
MC_API Arrays nonzero(const Array& a, std::optional<int64_t> size = {});
// The same as rows: (n, ndim).
MC_API Array argwhere(const Array& a, std::optional<int64_t> size = {});
// a[mask]: `mask` is bool and has the shape of the leading dimensions of `a`; the result is (n, …). It has a
// gradient with respect to `a`.
MC_API Array boolean_mask(const Array& a, const Array& mask);

struct UniqueResult {
  Array values;   // (n,), ascending
  Array indices;  // int32 (n,): of each value's first occurrence in the flattened array
  Array inverse;  // int32, a's shape: which value stands there
  Array counts;   // int32 (n,)
};
// Distinct elements. Each NaN counts as a value of its own, as in the array API standard; -0 equals 0.
MC_API Array unique(const Array& a);
MC_API UniqueResult unique_all(const Array& a);

}  // namespace mc
