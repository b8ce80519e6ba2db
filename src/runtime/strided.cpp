#include "runtime/strided.h"

#include "mc/detail/str.h"
#include "mc/error.h"
#include "prims/op_def.h"

namespace mc::strided {

bool is_pointwise(Op op) { return !is_view(op) && op_def(op).has(kElementwise); }

bool is_view(Op op) {
  switch (op) {
    case Op::Reshape:
    case Op::Transpose:
    case Op::BroadcastTo:
    case Op::Slice:
    case Op::Flip:
    case Op::Bitcast:
    case Op::StopGradient:
    case Op::Barrier:
    case Op::Real:
    case Op::Imag: return true;
    default: return false;
  }
}

Shape row_major(const Shape& shape) {
  Shape s = Shape::filled(shape.ndim(), 1);
  for (int i = shape.ndim() - 2; i >= 0; --i) s[i] = s[i + 1] * shape[i + 1];
  return s;
}

bool is_row_major(const Shape& shape, const Shape& strides) {
  if (shape.numel() <= 1) return true;
  int64_t expect = 1;
  for (int i = shape.ndim() - 1; i >= 0; --i) {
    if (shape[i] == 1) continue;
    if (strides[i] != expect) return false;
    expect *= shape[i];
  }
  return true;
}

namespace {
void push(Shape& shape, Shape& strides, int64_t n, int64_t s) {
  if (!shape.empty() && strides.back() == s * n) {
    shape[shape.ndim() - 1] *= n;
    strides[strides.ndim() - 1] = s;
  } else {
    shape.push_back(n);
    strides.push_back(s);
  }
}
}  // namespace

Split::Split(const Shape& shape, const Shape& strides, const Axes& axes) {
  for (int d = 0; d < shape.ndim(); ++d) {
    if (shape[d] == 1) continue;
    if (axes.contains(d))
      push(reduced, reduced_strides, shape[d], strides[d]);
    else
      push(kept, kept_strides, shape[d], strides[d]);
  }
}

MatrixDims matrix_dims(const Shape& shape, std::string_view where, std::string_view library) {
  constexpr int64_t kMaxDim = 1 << 20;
  const int64_t m = shape.at(-2), n = shape.at(-1);
  if (m > kMaxDim || n > kMaxDim)
    throw Error(ErrorCode::InvalidArgument,
                cat("a matrix of shape ", shape.str(), " is too large for ", library), std::string(where));
  int64_t batch = 1;
  for (int d = 0; d + 2 < shape.ndim(); ++d) batch *= shape[d];
  return {static_cast<int>(m), static_cast<int>(n), batch};
}

}  // namespace mc::strided
