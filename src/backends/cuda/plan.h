// The steps of a planned graph as calls of this engine's kernels.
#pragma once

#include <memory>
#include <vector>

#include "backends/cuda/kernel.h"
#include "backends/cuda/pointwise.h"
#include "runtime/strided_plan.h"

namespace mc::cuda {

using strided::kNoBuffer;
using strided::Storage;

// Several operations of a plan in one.
class JoinedStep {
 public:
  virtual ~JoinedStep() = default;
  virtual void run(const Call& c) const = 0;
};

struct Step {
  const KernelRow* kernel = nullptr;       // or
  std::unique_ptr<PointwiseKernel> fused;  // or
  std::unique_ptr<JoinedStep> joined;      // or none of them: a strided copy of in[0]
  bool adds = false;  // fused: the sum of two row-major arrays of the output's shape and dtype
  Op op{};
  Attrs attrs;
  int n_in = 0;
  JitKernel kept = nullptr;
  std::vector<strided::Operand> operands;  // inputs, then outputs
  std::vector<Tensor> tensors;             // their views; data is set at run time
};

struct Plan : strided::Memory {
  std::vector<Step> steps;
};

Plan make_plan(const Graph& graph, const std::vector<bool>& donated);

}  // namespace mc::cuda
