// The one symbol that an engine in a shared library has: MC_ENGINE(make) in one of its files, `make` an
// expression that gives a new Backend or throws mc::Error (BackendMissing, with the step that failed and the
// command that mends it).
#pragma once

#include <string_view>

#include "engine_abi.h"
#include "mc/export.h"
#include "runtime/backend.h"

namespace mc {
// Gives the engine's ABI in *abi; null if that is not the caller's, so that nothing of it is called.
using EngineEntry = Backend* (*)(const char* caller, const char** abi);
inline constexpr const char* kEngineEntry = "mc_engine";
}  // namespace mc

#define MC_ENGINE(make)                                                            \
  extern "C" MC_API mc::Backend* mc_engine(const char* caller, const char** abi) { \
    *abi = MC_ENGINE_ABI;                                                          \
    return std::string_view(caller) == MC_ENGINE_ABI ? (make) : nullptr;           \
  }
