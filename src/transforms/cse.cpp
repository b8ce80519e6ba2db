#include "transforms/cse.h"

#include <unordered_map>

#include "prims/op.h"

namespace mc {

Graph simplify(const Graph& g) {
  // What is used, from the outputs back.
  std::vector<bool> used(g.values.size());
  for (ValueId v : g.outputs) used[static_cast<size_t>(v)] = true;
  std::vector<bool> live(g.nodes.size());
  for (size_t i = g.nodes.size(); i-- > 0;) {
    const GraphNode& n = g.nodes[i];
    for (int k = 0; k < n.n_out; ++k) live[i] = live[i] || used[static_cast<size_t>(n.first_out + k)];
    if (!live[i]) continue;
    for (ValueId v : g.operands_of(n)) used[static_cast<size_t>(v)] = true;
  }

  Graph out;
  std::vector<ValueId> map(g.values.size(), -1);
  for (size_t i = 0; i < g.inputs.size(); ++i) map[i] = out.add_input(g.values[i], g.inputs[i]);
  std::unordered_multimap<uint64_t, size_t> known;  // hash -> node of `out`
  std::vector<ValueId> in;
  for (size_t i = 0; i < g.nodes.size(); ++i) {
    if (!live[i]) continue;
    const GraphNode& n = g.nodes[i];
    in.clear();
    uint64_t h = hash_mix(static_cast<uint64_t>(n.op), n.attrs.hash());
    for (ValueId v : g.operands_of(n)) {
      in.push_back(map[static_cast<size_t>(v)]);
      h = hash_mix(h, static_cast<uint64_t>(in.back()));
    }
    ValueId first = -1;
    if (n.op != Op::Barrier) {
      auto [it, end] = known.equal_range(h);
      for (; it != end && first < 0; ++it) {
        const GraphNode& o = out.nodes[it->second];
        const auto same = out.operands_of(o);
        if (o.op == n.op && o.attrs == n.attrs && std::equal(same.begin(), same.end(), in.begin(), in.end()))
          first = o.first_out;
      }
    }
    if (first < 0) {
      first = out.add_node(n.op, n.attrs, in, {g.values.data() + n.first_out, static_cast<size_t>(n.n_out)});
      known.emplace(h, out.nodes.size() - 1);
    }
    for (int k = 0; k < n.n_out; ++k) map[static_cast<size_t>(n.first_out + k)] = first + k;
  }
  for (ValueId v : g.outputs) out.outputs.push_back(map[static_cast<size_t>(v)]);
  out.compute_hash();
  return out;
}

}  // namespace mc
