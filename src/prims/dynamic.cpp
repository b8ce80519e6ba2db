// Composites that look at the data for the size of their result.
#include "mc/dynamic.h"

#include "core/op_names.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/ops.h"
#include "prims/rows.h"

namespace mc {
namespace {

// The number that decides a shape, on the host now.
int64_t known(const Array& n, const char* where, const char* next) {
  try {
    return n.item<int64_t>();
  } catch (const Error& e) {
    if (e.where() != "eval" || !n.node()->tracer) throw;
    throw Error(ErrorCode::InvalidArgument,
                "the shape of the result depends on data that are not there while the function is traced",
                where, next);
  }
}

int count_of(const Array& a, const char* where) {
  if (a.size() > INT32_MAX)
    throw Error(ErrorCode::ShapeMismatch,
                cat("an array of shape ", a.shape().str(), " has more elements than int32 counts"), where,
                "cut it into parts");
  return static_cast<int>(a.size());
}

Array truth(const Array& a) { return is_bool(a.dtype()) ? a : astype(a, Dtype::Bool); }

// Positions of what is true in a 1-d mask: (count,), filled with the mask's length.
Array positions(const Array& mask, int64_t count) {
  const int n = static_cast<int>(mask.size());
  const Array filled = full({count}, n, Dtype::I32);
  if (n == 0 || count == 0) return filled;
  const Array place = cumsum(astype(mask, Dtype::I32), 0) - 1;
  // A write beyond the end is dropped.
  const Array at =
      where(mask, place, full_like(place, static_cast<int>(std::min<int64_t>(count, INT32_MAX))));
  return scatter(filled, {at}, reshape(arange(0, n), {n, 1}), {0});
}

Array flat_nonzero(const Array& a, std::optional<int64_t> size, const char* where) {
  count_of(a, where);
  if (size && *size < 0)
    throw Error(ErrorCode::InvalidArgument, cat("size must be 0 or more, got ", *size), where);
  const Array mask = reshape(truth(a), {-1});
  const int64_t count =
      size ? *size
           : known(count_nonzero(mask), where,
                   "give `size`, use where() instead, or call it outside of compile and vmap");
  return positions(mask, count);
}

// An order in which equal elements are neighbours, of equal ones the first first. Complex numbers have none
// of their own: real parts decide, then imaginary ones.
Array grouping_order(const Array& line) {
  if (!is_complex(line.dtype())) return argsort(line);
  const Array by_imaginary = argsort(imag(line));
  return take(by_imaginary, argsort(take(real(line), by_imaginary, 0)), 0);
}

}  // namespace

Array count_nonzero(const Array& a) { return sum(astype(truth(a), Dtype::I32)); }
Array count_nonzero(const Array& a, const Axes& axes, bool keepdims) {
  return sum(astype(truth(a), Dtype::I32), axes, keepdims);
}

Arrays nonzero(const Array& a, std::optional<int64_t> size) {
  if (a.ndim() == 0)
    throw Error(ErrorCode::ShapeMismatch, "a 0-d array has no axis to count along", "nonzero",
                "reshape it to (1,) first");
  const Array flat = flat_nonzero(a, size, "nonzero");
  const Array none = equal(flat, static_cast<int>(a.size()));  // beyond the last one, where `size` is larger
  Arrays out;
  int stride = static_cast<int>(a.size());
  Array rest = flat;
  for (int d = 0; d < a.ndim(); ++d) {
    const int n = static_cast<int>(a.shape(d));
    stride = n ? stride / n : 0;
    const Array i = stride ? floor_divide(rest, stride) : zeros_like(rest);
    if (stride) rest = rest - i * stride;
    out.push_back(where(none, full_like(i, n), i));
  }
  return out;
}

Array argwhere(const Array& a, std::optional<int64_t> size) {
  if (a.ndim() == 0) {  // one row without columns, or none
    const int64_t n = size ? *size : known(count_nonzero(a), "argwhere", "give `size`");
    return zeros({n, 0}, Dtype::I32);
  }
  return stack(nonzero(a, size), 1);
}

Array boolean_mask(const Array& a, const Array& mask) {
  if (!is_bool(mask.dtype()))
    throw Error(ErrorCode::DtypeMismatch, cat("the mask is ", dtype_name(mask.dtype()), ", expected bool"),
                "boolean_mask");
  bool fits = mask.ndim() <= a.ndim();
  for (int d = 0; fits && d < mask.ndim(); ++d) fits = mask.shape(d) == a.shape(d);
  if (!fits)
    throw Error(
        ErrorCode::ShapeMismatch,
        cat("a mask of shape ", mask.shape().str(), " is not the beginning of the shape ", a.shape().str()),
        "boolean_mask");
  Shape rows{mask.size()};
  for (int d = mask.ndim(); d < a.ndim(); ++d) rows.push_back(a.shape(d));
  return take(reshape(a, rows), flat_nonzero(mask, {}, "boolean_mask"), 0);
}

UniqueResult unique_all(const Array& a) {
  const int n = count_of(a, "unique");
  UniqueResult r;
  if (n == 0) {
    r.values = reshape(a, {0});
    r.indices = r.counts = zeros({0}, Dtype::I32);
    r.inverse = zeros(a.shape(), Dtype::I32);
    return r;
  }
  const Array flat = reshape(a, {-1}), order = grouping_order(flat), line = take(flat, order, 0);
  const Array first = concatenate(
      {full({1}, true, Dtype::Bool), not_equal(slice_axis(line, 0, 1, kEnd), slice_axis(line, 0, 0, n - 1))});
  const int64_t count =
      known(count_nonzero(first), "unique", "call it outside of compile and vmap, or sort() instead");
  const Array starts = positions(first, count);
  r.values = take(line, starts, 0);
  r.indices = take(order, starts, 0);
  r.counts = concatenate({slice_axis(starts, 0, 1, kEnd), full({1}, n, Dtype::I32)}) - starts;
  const Array group = cumsum(astype(first, Dtype::I32), 0) - 1;
  r.inverse = reshape(scatter(zeros({n}, Dtype::I32), {order}, reshape(group, {n, 1}), {0}), a.shape());
  return r;
}

Array unique(const Array& a) { return unique_all(a).values; }

}  // namespace mc
