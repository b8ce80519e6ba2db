// Which engines there are, and getting hold of one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/backend.h"

namespace mc {

// A row of cmake/engines.cmake.
struct EngineRow {
  const char* name;
  bool builtin;         // part of libmodelcypher
  bool hidden;          // not offered to users (tests)
  int rank;             // order in lists
  const char* message;  // "mlx is required for the MLX backend"
  const char* missing;  // the step that fails in this build
  const char* fix;      // the command that mends it
  Backend* (*make)();   // builtin engines; null: libmc_engine_NAME.so, loaded when asked for
};
MC_ENGINE_API std::span<const EngineRow> engine_rows();
// Loads the engine; throws UnknownBackend or BackendMissing.
MC_ENGINE_API Backend& get_backend(std::string_view name);
// The engine of a device; throws for an empty one.
MC_ENGINE_API Backend& engine_of(const Device& device, std::string_view where);
// Engines that are loaded already.
MC_ENGINE_API std::vector<Backend*> loaded_backends();
// The engine's choice for this process and why, as `mc` prints it.
struct Selection {
  Device device;
  std::string why;
};
MC_ENGINE_API Selection select_default();

}  // namespace mc
