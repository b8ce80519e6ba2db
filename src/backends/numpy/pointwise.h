// A fused group of elementwise nodes as one kernel.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "backends/numpy/kernel.h"
#include "runtime/strided_plan.h"

namespace mc::numpy {

using strided::PointwiseGroup;

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
