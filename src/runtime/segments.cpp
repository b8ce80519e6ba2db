#include "runtime/segments.h"

#include <algorithm>
#include <map>
#include <optional>

#include "mc/array.h"
#include "prims/op_def.h"
#include "runtime/exec_cache.h"
#include "runtime/registry.h"

namespace mc {
namespace {

struct Segment {
  Graph graph;
  std::vector<ValueId> inputs, outputs;  // of the whole graph
  std::vector<ValueId> dead;             // values that nobody needs after it
  Device device;
  std::shared_ptr<Executable> exe;
};

class Segmented final : public Executable {
 public:
  Segmented(const Graph& graph, const CompileOptions& options, std::span<const int> stage,
            const std::function<bool(int)>& on_host)
      : device_(options.device),
        donated_(options.donated),
        values_(graph.values.size()),
        outputs_(graph.outputs) {
    std::map<int, Segment> parts;
    std::vector<int> made(graph.values.size(), -1);  // by which stage; -1: an input
    for (size_t n = 0; n < graph.nodes.size(); ++n)
      for (int32_t i = 0; i < graph.nodes[n].n_out; ++i)
        made[static_cast<size_t>(graph.nodes[n].first_out) + static_cast<size_t>(i)] = stage[n];
    // What is read outside the stage that makes it, and by which stage last.
    std::vector<bool> leaves(graph.values.size());
    std::vector<int> last(graph.values.size(), -1);
    for (size_t n = 0; n < graph.nodes.size(); ++n)
      for (ValueId v : graph.operands_of(graph.nodes[n])) {
        const auto id = static_cast<size_t>(v);
        leaves[id] = leaves[id] || made[id] != stage[n];
        last[id] = std::max(last[id], stage[n]);
      }
    std::vector<bool> result(graph.values.size());
    for (ValueId v : graph.outputs) result[static_cast<size_t>(v)] = leaves[static_cast<size_t>(v)] = true;

    std::map<int, std::map<ValueId, ValueId>> inner;  // by stage: a value's number there
    std::vector<ValueId> operands;
    for (size_t n = 0; n < graph.nodes.size(); ++n) {  // the inputs of each stage come first
      Segment& s = parts[stage[n]];
      for (ValueId v : graph.operands_of(graph.nodes[n])) {
        const auto id = static_cast<size_t>(v);
        if (made[id] == stage[n] || inner[stage[n]].count(v)) continue;
        const InputKind kind = id < graph.inputs.size() ? graph.inputs[id] : InputKind::Value;
        inner[stage[n]][v] = s.graph.add_input(graph.values[id], kind);
        s.inputs.push_back(v);
      }
    }
    for (size_t n = 0; n < graph.nodes.size(); ++n) {
      const GraphNode& g = graph.nodes[n];
      Segment& s = parts[stage[n]];
      auto& known = inner[stage[n]];
      operands.clear();
      for (ValueId v : graph.operands_of(g)) operands.push_back(known.at(v));
      const std::span<const Aval> out(graph.values.data() + g.first_out, static_cast<size_t>(g.n_out));
      const ValueId first = s.graph.add_node(g.op, g.attrs, operands, out);
      for (int32_t i = 0; i < g.n_out; ++i) {
        const ValueId v = g.first_out + i;
        known[v] = first + i;
        if (!leaves[static_cast<size_t>(v)]) continue;
        s.graph.outputs.push_back(first + i);
        s.outputs.push_back(v);
      }
    }
    for (auto& [number, s] : parts) {
      s.device = on_host(number) ? Device{&host_engine(), 0} : device_;
      for (size_t v = 0; v < graph.values.size(); ++v)
        if (last[v] == number && !result[v]) s.dead.push_back(static_cast<ValueId>(v));
      s.graph.compute_hash();
      CompileOptions inside;
      inside.device = s.device;
      // A stage on the same device that holds all of the graph's nodes but those on the host may be long: it
      // is the engine's own affair.
      s.exe = s.device == device_ ? std::shared_ptr<Executable>(device_.backend->compile(s.graph, inside))
                                  : executable_of(s.graph, inside);
      segments_.push_back(std::move(s));
    }
    for (ValueId v : graph.outputs) output_bytes_ += graph.values[static_cast<size_t>(v)].nbytes();
    avals_ = graph.values;
  }

  void run(std::span<Value> inputs, std::span<Value> outputs) override {
    std::vector<Value> at(values_);
    for (size_t i = 0; i < inputs.size(); ++i) at[i] = inputs[i];
    std::vector<Value> in, out;
    for (Segment& s : segments_) {
      in.clear();
      out.assign(s.outputs.size(), {});
      for (ValueId v : s.inputs)
        in.push_back(moved(at[static_cast<size_t>(v)], avals_[static_cast<size_t>(v)], s.device));
      s.exe->run(in, out);
      for (size_t i = 0; i < out.size(); ++i) at[static_cast<size_t>(s.outputs[i])] = std::move(out[i]);
      for (ValueId v : s.dead) at[static_cast<size_t>(v)] = {};
    }
    for (size_t i = 0; i < outputs.size(); ++i) {
      const auto v = static_cast<size_t>(outputs_[i]);
      outputs[i] = moved(at[v], avals_[v], device_);
    }
    for (size_t i = 0; i < donated_.size() && i < inputs.size(); ++i)
      if (donated_[i]) inputs[i] = Value{};
  }

  PlanInfo plan() const override {
    PlanInfo p;
    for (const Segment& s : segments_) {
      const PlanInfo one = s.exe->plan();
      p.temp_bytes = std::max(p.temp_bytes, one.temp_bytes);
      p.constant_bytes += one.constant_bytes;
      p.steps += one.steps;
      for (ValueId v : s.outputs)
        if (std::find(outputs_.begin(), outputs_.end(), v) == outputs_.end())
          p.temp_bytes += avals_[static_cast<size_t>(v)].nbytes();
    }
    p.output_bytes = output_bytes_;
    return p;
  }

 private:
  // The value on the device; copied through the host where it is not there.
  static Value moved(const Value& v, const Aval& aval, const Device& to) {
    const Device from = v.buffer->device;
    const bool to_host = to.backend == &host_engine();
    // Host memory may belong to no engine.
    if (from == to || (to_host && !from.backend)) return v;
    const size_t bytes = aval.nbytes();
    Value copy{to.backend->allocate(to, bytes), 0};
    if (to_host) {
      from.backend->download(v, copy.host(), bytes);
    } else {
      to.backend->upload(to, v.host(), copy, bytes);
    }
    return copy;
  }

  Device device_;
  std::vector<bool> donated_;
  size_t values_;
  std::vector<ValueId> outputs_;
  std::vector<Aval> avals_;
  std::vector<Segment> segments_;
  size_t output_bytes_ = 0;
};

}  // namespace

std::unique_ptr<Executable> make_segmented(const Graph& graph, const CompileOptions& options,
                                           std::span<const int> stage,
                                           const std::function<bool(int)>& on_host) {
  return std::make_unique<Segmented>(graph, options, stage, on_host);
}

Backend& host_engine() {
  static Backend& backend = []() -> Backend& {
    for (const EngineRow& row : engine_rows())
      if (row.builtin) return get_backend(row.name);
    throw Error(ErrorCode::Internal, "there is no built-in engine", "runtime");
  }();
  return backend;
}

bool runs_on_host(const Graph& graph, const GraphNode& node, Backend& backend) {
  if (&backend == &host_engine()) return false;
  bool may = op_kind(node.op) == OpKind::Host;
  for (ValueId v : graph.operands_of(node))
    may = may || is_complex(graph.values[static_cast<size_t>(v)].dtype);
  if (!may) return false;
  std::vector<Aval> in;
  for (ValueId v : graph.operands_of(node)) in.push_back(graph.values[static_cast<size_t>(v)]);
  return !backend.supports(node.op, in, node.attrs).native &&
         host_engine().supports(node.op, in, node.attrs).native;
}

std::unique_ptr<Executable> compile_with_host(const Graph& graph, Backend& backend,
                                              const CompileOptions& options) {
  // Even stages are the engine's, odd ones the host's; a node's stage is the first after its operands'.
  std::vector<int> stage(graph.nodes.size()), made(graph.values.size(), 0);
  bool any = false;
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const GraphNode& g = graph.nodes[n];
    const bool host = runs_on_host(graph, g, backend);
    any = any || host;
    int first = host ? 1 : 0;
    for (ValueId v : graph.operands_of(g)) {
      const int at = made[static_cast<size_t>(v)];
      first = std::max(first, at % 2 == (host ? 1 : 0) ? at : at + 1);
    }
    stage[n] = first;
    for (int32_t i = 0; i < g.n_out; ++i)
      made[static_cast<size_t>(g.first_out) + static_cast<size_t>(i)] = first;
  }
  if (!any) return backend.compile(graph, options);
  return make_segmented(graph, options, stage, [](int s) { return s % 2 == 1; });
}

}  // namespace mc
