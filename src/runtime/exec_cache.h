// Executables by structure, device and donation.
#pragma once

#include <memory>

#include "runtime/backend.h"

namespace mc {

// The executable of `graph`, compiled now if it is not known. Legalizes the graph for the engine first. The
// graph's hash must be computed. The result stays valid while the pointer lives, whatever the cache drops.
MC_ENGINE_API std::shared_ptr<Executable> executable_of(const Graph& graph, const CompileOptions& options);

struct ExecCacheStats {
  size_t entries = 0, hits = 0, misses = 0;
};
MC_ENGINE_API ExecCacheStats exec_cache_stats();
MC_ENGINE_API void clear_exec_cache();
// Grows with every clear_exec_cache: compiled functions drop their programs when they see another one.
uint64_t exec_cache_generation();

// The graph with every Fused node that the engine has no kernel for replaced by its decomposition. Returns
// true and fills `out` if anything changed. Throws UnsupportedOp for a Core node that the engine can't run.
MC_ENGINE_API bool legalize(const Graph& graph, Backend& backend, Graph& out);

}  // namespace mc
