// A flat, engine-neutral program: what eval and compile hand to an engine.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/node.h"

namespace mc {

using ValueId = int32_t;

struct GraphNode {
  Op op;
  int32_t n_in = 0, n_out = 0;
  int32_t first_in = 0;   // into Graph::operands
  ValueId first_out = 0;  // outputs are consecutive values
  Attrs attrs;
};

enum class InputKind : uint8_t { Value, Constant, State };

// Values 0 … inputs.size()-1 are the inputs; then come the nodes' outputs in order. Nodes are in topological
// order.
struct MC_ENGINE_API Graph {
  std::vector<Aval> values;
  std::vector<InputKind> inputs;
  std::vector<GraphNode> nodes;
  std::vector<ValueId> operands;
  std::vector<ValueId> outputs;
  uint64_t hash = 0;

  std::span<const ValueId> operands_of(const GraphNode& n) const {
    return {operands.data() + n.first_in, static_cast<size_t>(n.n_in)};
  }
  ValueId add_input(Aval aval, InputKind kind);
  // Appends a node whose outputs have the given avals; returns its first output.
  ValueId add_node(Op op, Attrs attrs, std::span<const ValueId> in, std::span<const Aval> out);
  // Empty again; the vectors keep their memory.
  void clear();
  // Number of uses of each value, outputs included.
  std::vector<int32_t> use_counts() const;
  void compute_hash();
  // Same structure, attributes, shapes and dtypes.
  bool same_as(const Graph& other) const;
  std::string text() const;
};

}  // namespace mc
