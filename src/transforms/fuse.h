// Which elementwise nodes can run as one kernel.
#pragma once

#include <vector>

#include "core/graph.h"

namespace mc {

// For each node the index of its group's last node, or -1 for nodes that are not elementwise. A node joins
// its consumer's group if all its uses are in that group and it has the group's shape, so that a group runs
// where its last node stands. `max_inputs` bounds the number of values that a group reads from outside.
MC_ENGINE_API std::vector<int32_t> fuse_pointwise(const Graph& graph, int max_inputs, bool (*pointwise)(Op));

}  // namespace mc
