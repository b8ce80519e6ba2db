// Clean-up of a graph before an engine compiles it.
#pragma once

#include "core/graph.h"

namespace mc {

// Merges nodes that compute the same thing (barriers are never merged) and drops nodes that nothing uses.
// Inputs and outputs keep their order.
Graph simplify(const Graph& graph);

}  // namespace mc
