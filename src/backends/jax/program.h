// A graph as a compiled XLA program.
#pragma once

#include "backends/jax/memory.h"

namespace mc::jax_engine {

std::unique_ptr<Executable> make_program(const Graph& graph, const CompileOptions& options,
                                         const EngineDevice& device);

struct CompileStats {
  size_t compiled = 0, from_disk = 0;
  double seconds = 0;  // spent compiling
};
CompileStats compile_stats();

}  // namespace mc::jax_engine
