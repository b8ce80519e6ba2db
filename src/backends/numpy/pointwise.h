// A fused group of elementwise nodes as one kernel.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "backends/numpy/kernel.h"

namespace mc::numpy {

// `nodes` in topological order; every input of a node is the output of an earlier one of the group or one of
// `inputs`.
struct PointwiseGroup {
  std::vector<const GraphNode*> nodes;
  std::vector<ValueId> inputs;   // values from outside
  std::vector<ValueId> outputs;  // values needed outside
  Shape shape;                   // of all outputs
};

class PointwiseKernel {
 public:
  PointwiseKernel(const Graph& graph, const PointwiseGroup& group);
  ~PointwiseKernel();
  // in: strides broadcast to the group's shape. out: row-major. An output may share the memory of an input
  // that is row-major, of the same shape and of the same item size.
  void run(std::span<const Tensor> in, std::span<const Tensor> out) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mc::numpy
