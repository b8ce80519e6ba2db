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

}  // namespace mc::cuda
