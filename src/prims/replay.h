// A graph as lazy nodes again.
#pragma once

#include "core/graph.h"

namespace mc {

// Rebuilds the graph's nodes over other inputs, of other shapes if they fit; returns its outputs.
MC_ENGINE_API Arrays replay(const Graph& graph, std::span<const Array> inputs);

}  // namespace mc
