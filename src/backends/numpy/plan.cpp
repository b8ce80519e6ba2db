#include "backends/numpy/plan.h"

#include "backends/numpy/memory.h"

namespace mc::numpy {
namespace {

std::optional<uint32_t> kernel_flags(Op op) {
  const KernelRow* k = find_kernel(op);
  return k ? std::optional(k->flags) : std::nullopt;
}

}  // namespace

Plan make_plan(const Graph& graph, const std::vector<bool>& donated) {
  strided::Plan from = strided::make_plan(
      graph, donated,
      {.engine = "the host engine", .kernel_flags = kernel_flags, .guard = guard_bytes(), .products = true});
  Plan plan;
  static_cast<strided::Memory&>(plan) = std::move(static_cast<strided::Memory&>(from));
  plan.steps.reserve(from.steps.size());
  for (strided::Step& s : from.steps) {
    Step step;
    step.op = s.op;
    step.attrs = std::move(s.attrs);
    step.group = std::move(s.group);
    step.n_in = s.n_in;
    step.operands = std::move(s.operands);
    for (strided::View& v : s.views) {
      Tensor t;
      t.shape = v.shape;
      t.strides = v.strides;
      t.dtype = v.dtype;
      step.tensors.push_back(t);
    }
    switch (s.kind) {
      case strided::Step::Kind::Kernel: step.kernel = find_kernel(s.op); break;
      case strided::Step::Kind::Products: step.kernel = &kQuantizedMatmulGroup; break;
      case strided::Step::Kind::Pointwise:
        step.fused = std::make_unique<PointwiseKernel>(graph, s.pointwise);
        break;
      case strided::Step::Kind::Copy: break;
    }
    plan.steps.push_back(std::move(step));
  }
  return plan;
}

}  // namespace mc::numpy
