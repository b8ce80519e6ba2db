#include "core/graph.h"

#include "core/op_names.h"

namespace mc {

ValueId Graph::add_input(Aval aval, InputKind kind) {
  values.push_back(std::move(aval));
  inputs.push_back(kind);
  return static_cast<ValueId>(values.size()) - 1;
}

ValueId Graph::add_node(Op op, Attrs attrs, std::span<const ValueId> in, std::span<const Aval> out) {
  GraphNode n;
  n.op = op;
  n.n_in = static_cast<int32_t>(in.size());
  n.n_out = static_cast<int32_t>(out.size());
  n.first_in = static_cast<int32_t>(operands.size());
  n.first_out = static_cast<ValueId>(values.size());
  n.attrs = std::move(attrs);
  operands.insert(operands.end(), in.begin(), in.end());
  values.insert(values.end(), out.begin(), out.end());
  nodes.push_back(std::move(n));
  return nodes.back().first_out;
}

void Graph::clear() {
  values.clear(), inputs.clear(), nodes.clear(), operands.clear(), outputs.clear();
  hash = 0;
}

std::vector<int32_t> Graph::use_counts() const {
  std::vector<int32_t> uses(values.size());
  for (ValueId v : operands) ++uses[static_cast<size_t>(v)];
  for (ValueId v : outputs) ++uses[static_cast<size_t>(v)];
  return uses;
}

void Graph::compute_hash() {
  uint64_t h = hash_mix(inputs.size(), nodes.size());
  for (size_t i = 0; i < inputs.size(); ++i)
    h = hash_mix(h, attr::hash(values[i].shape) + static_cast<uint64_t>(values[i].dtype) * 31 +
                        static_cast<uint64_t>(inputs[i]) * 1009);
  for (const GraphNode& n : nodes) {
    h = hash_mix(h, static_cast<uint64_t>(n.op) * 0x100000000ull + static_cast<uint64_t>(n.n_in));
    h = hash_mix(h, n.attrs.hash());
    for (ValueId v : operands_of(n)) h = hash_mix(h, static_cast<uint64_t>(v));
  }
  for (ValueId v : outputs) h = hash_mix(h, static_cast<uint64_t>(v) + 77);
  hash = h;
}

bool Graph::same_as(const Graph& o) const {
  if (hash != o.hash || nodes.size() != o.nodes.size() || inputs != o.inputs || operands != o.operands ||
      outputs != o.outputs || values != o.values)
    return false;
  for (size_t i = 0; i < nodes.size(); ++i) {
    const GraphNode &a = nodes[i], &b = o.nodes[i];
    if (a.op != b.op || a.n_in != b.n_in || a.n_out != b.n_out || !(a.attrs == b.attrs)) return false;
  }
  return true;
}

std::string Graph::text() const {
  auto name = [&](ValueId v) {
    return cat("%", v, ":", dtype_name(values[static_cast<size_t>(v)].dtype),
               values[static_cast<size_t>(v)].shape.str());
  };
  std::string out;
  for (size_t i = 0; i < inputs.size(); ++i)
    out +=
        cat(name(static_cast<ValueId>(i)), inputs[i] == InputKind::Constant ? " = constant\n" : " = input\n");
  for (const GraphNode& n : nodes) {
    for (int i = 0; i < n.n_out; ++i) out += (i ? ", " : "") + name(n.first_out + i);
    out += cat(" = ", op_name(n.op), "(");
    bool first = true;
    for (ValueId v : operands_of(n)) {
      out += cat(first ? "%" : ", %", v);
      first = false;
    }
    if (n.attrs) out += cat(first ? "" : "; ", n.attrs.get()->text());
    out += ")\n";
  }
  out += "return ";
  for (size_t i = 0; i < outputs.size(); ++i) out += cat(i ? ", %" : "%", outputs[i]);
  return out + "\n";
}

}  // namespace mc
