// A graph cut into programs that run one after another: where an engine lacks an operation that the host
// engine has, or where a program would be too long to compile.
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "runtime/backend.h"

namespace mc {

// stage[n] is the number of the program that node n belongs to; along every edge it stays or grows. Programs
// for which `on_host` holds run on the host engine, the others on options.device; values are copied between
// them.
MC_ENGINE_API std::unique_ptr<Executable> make_segmented(const Graph& graph, const CompileOptions& options,
                                                         std::span<const int> stage,
                                                         const std::function<bool(int)>& on_host);

// The engine that is part of this library.
MC_ENGINE_API Backend& host_engine();
// Whether the node is one of those that run on the host where an engine lacks them (Kind Host, and any of
// complex numbers) and this engine does.
bool runs_on_host(const Graph& graph, const GraphNode& node, Backend& backend);
// compile(), with such nodes cut out.
std::unique_ptr<Executable> compile_with_host(const Graph& graph, Backend& backend,
                                              const CompileOptions& options);

}  // namespace mc
