// The table of kernels and the classes of nodes that need none.
#include <array>

#include "backends/cuda/kernel.h"

namespace mc::cuda {
namespace {

using Table = std::array<const KernelRow*, kOpCount>;

const Table& table() {
  static const Table t = [] {
    Table made{};
    for (std::span<const KernelRow> rows :
         {shape_kernels(), reduce_kernels(), matmul_kernels(), index_kernels(), sort_kernels(),
          fused_kernels(), quant_kernels(), linalg_kernels()})
      for (const KernelRow& r : rows) made[static_cast<size_t>(r.op)] = &r;
    return made;
  }();
  return t;
}

}  // namespace

const KernelRow* find_kernel(Op op) { return table()[static_cast<size_t>(op)]; }

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

}  // namespace mc::cuda
