// Executables by structure, device and donation.
#pragma once

#include <memory>

#include "runtime/backend.h"

namespace mc {

// The executable of `graph`, compiled now if it is not known. Legalizes the graph for the engine first. The
// graph's hash must be computed. The result stays valid while the pointer lives, whatever the cache drops.
std::shared_ptr<Executable> executable_of(const Graph& graph, const CompileOptions& options);

struct ExecCacheStats {
  size_t entries = 0, hits = 0, misses = 0;
};
ExecCacheStats exec_cache_stats();
void clear_exec_cache();

// The graph with every Fused node that the engine has no kernel for replaced by its decomposition. Returns
// true and fills `out` if anything changed. Throws UnsupportedOp for a Core node that the engine can't run.
bool legalize(const Graph& graph, Backend& backend, Graph& out);

}  // namespace mc
