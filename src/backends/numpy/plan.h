// The steps of a planned graph as calls of this engine's kernels.
#pragma once

#include <memory>
#include <vector>

#include "backends/numpy/kernel.h"
#include "backends/numpy/pointwise.h"
#include "runtime/strided_plan.h"

namespace mc::numpy {

using strided::kNoBuffer;
using strided::Storage;

struct Step {
  const KernelRow* kernel = nullptr;       // or
  std::unique_ptr<PointwiseKernel> fused;  // or neither: a strided copy of in[0]
  Op op{};
  Attrs attrs;
  std::vector<Attrs> group;  // see Call::group
  int n_in = 0;
  std::vector<strided::Operand> operands;  // inputs, then outputs
  std::vector<Tensor> tensors;             // their views; data is set at run time
};

struct Plan : strided::Memory {
  std::vector<Step> steps;
};

Plan make_plan(const Graph& graph, const std::vector<bool>& donated);

}  // namespace mc::numpy
