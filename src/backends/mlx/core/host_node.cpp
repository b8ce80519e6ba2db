#include "backends/mlx/core/host_node.h"

#include <cstring>

#include "mlx/backend/cpu/encoder.h"
#include "mlx/primitives.h"
#include "runtime/exec_cache.h"
#include "runtime/registry.h"

namespace mc::mlx_engine {
namespace {

Backend& host_engine() {
  static Backend& backend = [&]() -> Backend& {
    for (const EngineRow& row : engine_rows())
      if (row.builtin) return get_backend(row.name);
    throw Error(ErrorCode::Internal, "there is no built-in engine", "mlx");
  }();
  return backend;
}

class HostPrimitive final : public mx::Primitive {
 public:
  HostPrimitive(mx::Stream stream, const HostNode& node, std::shared_ptr<Failure> failure)
      : mx::Primitive(stream), node_(node), failure_(std::move(failure)) {}
  const char* name() const override { return "HostNode"; }
  void eval_gpu(const std::vector<mx::array>&, std::vector<mx::array>&) override {
    throw std::runtime_error("a host node runs on the CPU stream");
  }
  void eval_cpu(const std::vector<mx::array>& inputs, std::vector<mx::array>& outputs) override {
    std::vector<const std::byte*> in;
    std::vector<std::byte*> out;
    for (const mx::array& a : inputs) in.push_back(a.size() ? a.data<std::byte>() : nullptr);
    for (mx::array& a : outputs) {
      a.set_data(mx::allocator::malloc(a.nbytes()));
      out.push_back(a.data<std::byte>());
    }
    auto& encoder = mx::cpu::get_command_encoder(stream());
    encoder.dispatch([node = node_, failure = failure_, in = std::move(in), out = std::move(out)] {
      try {
        node.compute(in, out);
      } catch (...) {
        std::lock_guard lock(failure->mutex);
        if (!failure->first) failure->first = std::current_exception();
      }
    });
  }

 private:
  HostNode node_;
  std::shared_ptr<Failure> failure_;
};

}  // namespace

bool host_has(Op op, std::span<const Aval> in, const Attrs& attrs) {
  return host_engine().supports(op, in, attrs).native;
}

HostNode::HostNode(const Graph& graph, const GraphNode& node) {
  Graph g;
  std::vector<ValueId> ids;
  for (ValueId v : graph.operands_of(node)) {
    in_.push_back(graph.values[static_cast<size_t>(v)]);
    ids.push_back(g.add_input(in_.back(), InputKind::Value));
  }
  for (int32_t i = 0; i < node.n_out; ++i)
    out_.push_back(graph.values[static_cast<size_t>(node.first_out + i)]);
  const ValueId first = g.add_node(node.op, node.attrs, ids, out_);
  for (int32_t i = 0; i < node.n_out; ++i) g.outputs.push_back(first + i);
  g.compute_hash();
  CompileOptions options;
  options.device = {&host_engine(), 0};
  exe_ = executable_of(g, options);
}

std::vector<mx::array> HostNode::apply(const std::vector<mx::array>& in,
                                       std::shared_ptr<Failure> failure) const {
  const mx::Stream cpu = library().cpu;
  std::vector<mx::array> rows;
  // What is in rows already stays where it lies: of foreign memory (a mapped table) libmlx's `contiguous`
  // would look for the buffer's size in the word before it, and might copy all of it for each token.
  for (const mx::array& a : in)
    rows.push_back(!a.has_primitive() && a.flags().row_contiguous ? a : mx::contiguous(a, false, cpu));
  std::vector<mx::Shape> shapes;
  std::vector<mx::Dtype> dtypes;
  for (const Aval& a : out_) {
    shapes.push_back(mlx_shape(a.shape));
    dtypes.push_back(mlx_dtype(a.dtype));
  }
  return mx::array::make_arrays(std::move(shapes), dtypes,
                                std::make_shared<HostPrimitive>(cpu, *this, std::move(failure)), rows);
}

void HostNode::compute(const std::vector<const std::byte*>& in, const std::vector<std::byte*>& out) const {
  const Device device{&host_engine(), 0};
  std::vector<Value> inputs, outputs(out_.size());
  for (size_t i = 0; i < in.size(); ++i) {
    BufferPtr b(new Buffer);
    b->device = device;
    b->data = const_cast<std::byte*>(in[i]);
    b->bytes = in_[i].nbytes();
    inputs.push_back({b, 0});
  }
  exe_->run(inputs, outputs);
  for (size_t i = 0; i < out.size(); ++i)
    if (const size_t bytes = out_[i].nbytes()) std::memcpy(out[i], outputs[i].host(), bytes);
}

}  // namespace mc::mlx_engine
