#include "transforms/fuse.h"

#include <algorithm>

#include "prims/op_def.h"

namespace mc {
namespace {
constexpr int kMaxMembers = 64;  // keeps programs small; a longer chain becomes several kernels
}

std::vector<int32_t> fuse_pointwise(const Graph& g, int max_inputs, bool (*pointwise)(Op)) {
  const size_t n = g.nodes.size();
  std::vector<int32_t> group(n, -1), producer(g.values.size(), -1);
  // The group that all uses of a value lie in: -1 none yet, -2 several or a graph output.
  std::vector<int32_t> used_in(g.values.size(), -1);
  std::vector<int32_t> inputs(n, 0), members(n, 0);  // by group
  for (size_t i = 0; i < n; ++i)
    for (int k = 0; k < g.nodes[i].n_out; ++k)
      producer[static_cast<size_t>(g.nodes[i].first_out + k)] = static_cast<int32_t>(i);
  for (ValueId v : g.outputs) used_in[static_cast<size_t>(v)] = -2;

  for (size_t i = n; i-- > 0;) {
    const GraphNode& node = g.nodes[i];
    const size_t out = static_cast<size_t>(node.first_out);
    if (pointwise(node.op)) {
      const int32_t consumer = used_in[out];
      const bool joins =
          consumer >= 0 &&
          g.values[static_cast<size_t>(g.nodes[static_cast<size_t>(consumer)].first_out)].shape ==
              g.values[out].shape &&
          inputs[static_cast<size_t>(consumer)] + node.n_in - 1 <= max_inputs &&
          members[static_cast<size_t>(consumer)] < kMaxMembers;
      group[i] = joins ? consumer : static_cast<int32_t>(i);
      ++members[static_cast<size_t>(group[i])];
      inputs[static_cast<size_t>(group[i])] += node.n_in - (joins ? 1 : 0);
    }
    for (ValueId v : g.operands_of(node)) {
      int32_t& u = used_in[static_cast<size_t>(v)];
      if (group[i] < 0)
        u = -2;
      else if (u == -1)
        u = group[i];
      else if (u != group[i])
        u = -2;
    }
  }
  return group;
}

}  // namespace mc
