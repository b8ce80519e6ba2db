#include "backends/cuda/plan.h"

#include "backends/cuda/decode.h"
#include "prims/attrs.h"

namespace mc::cuda {
namespace {

// Temporaries of a program this small lie apart: steps can be joined without regard to what else was in their
// memory.
constexpr size_t kApart = size_t{16} << 20;

bool adds_two(const strided::Step& s) {
  if (s.pointwise.nodes.size() != 1 || s.pointwise.nodes[0]->op != Op::Add || s.n_in != 2) return false;
  const strided::View& out = s.views[2];
  for (int i = 0; i < 2; ++i)
    if (s.views[static_cast<size_t>(i)].dtype != out.dtype ||
        !is_row_major(out.shape, s.views[static_cast<size_t>(i)].strides))
      return false;
  return is_row_major(out.shape, out.strides);
}

std::optional<uint32_t> kernel_flags(Op op) {
  const KernelRow* k = find_kernel(op);
  return k ? std::optional(k->flags) : std::nullopt;
}

}  // namespace

Plan make_plan(const Graph& graph, const std::vector<bool>& donated) {
  // Constants are read 16 bytes at a time, from any part of the value on.
  strided::Plan from = strided::make_plan(graph, donated,
                                          {.engine = "the cuda engine",
                                           .kernel_flags = kernel_flags,
                                           .align = 512,
                                           .const_bytes = 32,
                                           .products = true,
                                           .apart = kApart});
  Plan plan;
  static_cast<strided::Memory&>(plan) = std::move(static_cast<strided::Memory&>(from));
  plan.steps.reserve(from.steps.size());
  for (strided::Step& s : from.steps) {
    Step step;
    step.op = s.op;
    step.attrs = std::move(s.attrs);
    step.n_in = s.n_in;
    step.operands = std::move(s.operands);
    for (size_t i = 0; i < s.views.size(); ++i) {
      Tensor t;
      t.shape = s.views[i].shape;
      t.strides = s.views[i].strides;
      t.dtype = s.views[i].dtype;
      const Storage& of = plan.storages[static_cast<size_t>(step.operands[i].storage)];
      if (of.kind == Storage::Kind::Const)
        t.literal = plan.consts[static_cast<size_t>(of.index)].data() + step.operands[i].offset;
      step.tensors.push_back(t);
    }
    if (s.kind == strided::Step::Kind::Kernel) step.kernel = find_kernel(s.op);
    if (s.kind == strided::Step::Kind::Pointwise)
      step.fused = std::make_unique<PointwiseKernel>(
          graph, s.pointwise, std::span(step.tensors).first(static_cast<size_t>(step.n_in)),
          step.tensors.back());
    step.adds = step.fused && adds_two(s);
    const bool several = s.kind == strided::Step::Kind::Products;
    if (several || (step.kernel && s.op == Op::QuantizedMatmul && !step.attrs.as<QuantAttrs>().fast)) {
      auto joined = std::make_unique<JoinedProducts>();
      joined->weights = several ? std::move(s.group) : std::vector<Attrs>{step.attrs};
      step.joined = std::move(joined);
      step.kernel = nullptr;
    }
    plan.steps.push_back(std::move(step));
  }
  if (plan.apart) join_steps(plan);
  return plan;
}

}  // namespace mc::cuda
