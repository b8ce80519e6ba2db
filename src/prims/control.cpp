// Operations that steer transforms and scheduling.
#include "mc/ops.h"
#include "mc/transforms.h"
#include "prims/attrs.h"
#include "prims/replay.h"
#include "prims/rows.h"

namespace mc {
namespace {

void infer_barrier(InferCtx& c) {
  for (size_t i = 0; i < c.in.size(); ++i) c.push(c.shape(i), c.dtype(i));
}
Arrays vjp_barrier(const VjpCtx& c) { return Arrays(c.cot.begin(), c.cot.end()); }
Arrays vmap_barrier(const VmapCtx& c) {
  Arrays in;
  for (size_t i = 0; i < c.in.size(); ++i) in.push_back(c.batch(i));
  return mc::apply(Op::Barrier, in);
}

void infer_checkpoint(InferCtx& c) {
  const Graph& g = *c.as<CheckpointAttrs>().body;
  if (g.inputs.size() != c.in.size())
    c.fail(ErrorCode::Internal, cat("the body has ", g.inputs.size(), " inputs, got ", c.in.size()));
  for (ValueId v : g.outputs) c.out.push_back(g.values[static_cast<size_t>(v)]);
}

Arrays run_body(std::span<const Array> in, const Attrs& attrs) {
  return replay(*attrs.as<CheckpointAttrs>().body, in);
}

// The body once more, behind a barrier that waits for the cotangents: it is not merged with the first run and
// does not start before the gradient gets here.
Arrays vjp_checkpoint(const VjpCtx& c) {
  Arrays fence(c.in.begin(), c.in.end());
  fence.insert(fence.end(), c.cot.begin(), c.cot.end());
  const Arrays behind = mc::apply(Op::Barrier, fence);
  const Attrs attrs = c.attrs;
  const std::ptrdiff_t n = static_cast<std::ptrdiff_t>(c.in.size());
  return vjp([attrs](const Arrays& in) { return run_body(in, attrs); },
             Arrays(behind.begin(), behind.begin() + n), Arrays(behind.begin() + n, behind.end()))
      .second;
}

// sin(x)·y as a body.
std::vector<SampleCase> checkpoint_cases() {
  const auto make = [](Dtype d) {
    const Aval aval{{3, 5}, d};
    auto g = std::make_shared<Graph>();
    const ValueId x = g->add_input(aval, InputKind::Value), y = g->add_input(aval, InputKind::Value);
    const ValueId in[1] = {x};
    const ValueId s = g->add_node(Op::Sin, {}, in, {&aval, 1});
    const ValueId both[2] = {s, y};
    g->outputs = {g->add_node(Op::Multiply, {}, both, {&aval, 1})};
    g->compute_hash();
    return SampleCase{{{3, 5}, {3, 5}}, CheckpointAttrs{g}, "np.sin(in0) * in1", {d, d}};
  };
  return {make(Dtype::F32), make(Dtype::F64)};
}

const OpDef kRows[] = {
    {.op = Op::Barrier,
     .doc = "the inputs; what is computed from them is not merged with what is computed elsewhere",
     .traits = kView,
     .infer = infer_barrier,
     .vjp = vjp_barrier,
     .vmap = vmap_barrier,
     .hlo = "stablehlo.optimization_barrier",
     .samples = {.dtypes = kDAll, .c = 0, .oracle = "in0"}},
    {.op = Op::Checkpoint,
     .doc = "a traced function; its gradient computes it again",
     .infer = infer_checkpoint,
     .vjp = vjp_checkpoint,
     .decompose = run_body,
     .samples = {.c = 8, .cases = checkpoint_cases}},
};

}  // namespace

Arrays replay(const Graph& graph, std::span<const Array> inputs) {
  std::vector<Array> values(graph.values.size());
  std::copy(inputs.begin(), inputs.end(), values.begin());
  Arrays in;
  for (const GraphNode& n : graph.nodes) {
    in.clear();
    for (ValueId v : graph.operands_of(n)) in.push_back(values[static_cast<size_t>(v)]);
    Arrays out = apply(n.op, in, n.attrs);
    for (size_t i = 0; i < out.size(); ++i) values[static_cast<size_t>(n.first_out) + i] = std::move(out[i]);
  }
  Arrays out;
  for (ValueId v : graph.outputs) out.push_back(values[static_cast<size_t>(v)]);
  return out;
}

Rows control_rows() { return kRows; }

}  // namespace mc
