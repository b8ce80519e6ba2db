#include "backends/numpy/pointwise.h"

#include <array>
#include <map>
#include <optional>
#include <string_view>

#include "backends/numpy/kernels/pointwise.h"
#include "core/op_names.h"
#include "prims/attrs.h"

namespace mc::numpy {
namespace {

using kernels::PwOp;

// The kernels' name for an operation: the same word.
std::optional<PwOp> pw_op(Op op) {
  static const auto table = [] {
    std::array<std::optional<PwOp>, kOpCount> t{};
    constexpr std::string_view ours[] = {
#define MC_OP(name, text, kind) #name,
#include "prims/ops.def"
#undef MC_OP
    };
    constexpr std::string_view theirs[] = {
#define MC_PW_TEXT(name, inputs) #name,
        MC_PW_OPS(MC_PW_TEXT)
#undef MC_PW_TEXT
    };
    for (int i = 0; i < kOpCount; ++i)
      for (int k = 0; k < kernels::kPwOpCount; ++k)
        if (ours[i] == theirs[k]) t[static_cast<size_t>(i)] = static_cast<PwOp>(k);
    return t;
  }();
  return table[static_cast<size_t>(op)];
}

}  // namespace

struct PointwiseKernel::Impl {
  kernels::PwProgram program;
};

PointwiseKernel::PointwiseKernel(const Graph& g, const PointwiseGroup& group)
    : impl_(std::make_unique<Impl>()) {
  kernels::PwProgram& p = impl_->program;
  auto dtype = [&](ValueId v) { return g.values[static_cast<size_t>(v)].dtype; };
  std::map<ValueId, int> numbers;
  for (ValueId v : group.inputs) numbers[v] = p.input(dtype(v));
  for (const GraphNode* n : group.nodes) {
    int in[3] = {-1, -1, -1};
    int count = 0;
    for (ValueId v : g.operands_of(*n)) in[count++] = numbers.at(v);
    if (n->op == Op::Astype) {
      numbers[n->first_out] = p.cast(in[0], dtype(n->first_out));
      continue;
    }
    const std::optional<PwOp> op = pw_op(n->op);
    if (!op)
      throw Error(ErrorCode::Internal, cat("no pointwise kernel is named ", op_name(n->op)),
                  std::string(op_name(n->op)));
    numbers[n->first_out] = p.op(*op, in[0], in[1], in[2]);
  }
  p.output(numbers.at(group.output));
  p.finish();
}

PointwiseKernel::~PointwiseKernel() = default;

void PointwiseKernel::run(std::span<const Tensor> in, std::span<const Tensor> out) const {
  constexpr size_t kMany = 32;  // more than a group's inputs, see plan.cpp
  kernels::PwProgram::Operand operands[kMany];
  void* outputs[kMany];
  for (size_t i = 0; i < in.size(); ++i) operands[i] = {in[i].data, in[i].strides.begin()};
  for (size_t i = 0; i < out.size(); ++i) outputs[i] = out[i].data;
  const Shape& shape = out[0].shape;
  impl_->program.run({operands, in.size()}, {outputs, out.size()},
                     {shape.begin(), static_cast<size_t>(shape.ndim())});
}

}  // namespace mc::numpy
