// A graph as a lazy libmlx graph, built anew for each run and evaluated as a whole.
#pragma once

#include "backends/mlx/core/common.h"

namespace mc::mlx_engine {

std::unique_ptr<Executable> make_program(const Graph& graph, const CompileOptions& options);

// Throws MemoryLimit if `bytes` more than are held now would pass the limit.
void check_limit(size_t bytes, std::string_view where);
MemoryStats memory_of(const Backend::MemoryRequest& request);

}  // namespace mc::mlx_engine
