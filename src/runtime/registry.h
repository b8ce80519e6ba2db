// Which engines there are, and getting hold of one.
#pragma once

#include <functional>
#include <span>
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
  // When nobody names an engine: the kind of device that it must have ("" : never chosen), the files of which
  // one must be there before it is loaded (by ':'; "": none needed), and whether that is for macOS alone.
  const char* choose_for = "";
  const char* signs = "";
  bool apple = false;
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
// The choice when nothing is set: on macOS the row that is for it; else the first by rank that shows a sign,
// loads and has its kind of device; else the first row. What shows a sign and fails is told in `why`.
struct Probe {
  bool apple = false;
  std::function<bool(const std::string& file)> exists;
  std::function<Backend&(const EngineRow&)> load;
};
MC_ENGINE_API Selection choose_engine(std::span<const EngineRow> rows, const Probe& probe);

}  // namespace mc
