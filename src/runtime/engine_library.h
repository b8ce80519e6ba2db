// Engines in shared libraries of their own.
#pragma once

#include "runtime/registry.h"

namespace mc {

// Loads libmc_engine_NAME.so from the folders of MODELCYPHER_ENGINE_PATH (separated by ':'), then from where
// libmodelcypher lies, and makes the engine. Never unloaded. Throws BackendMissing: in the row's words, then
// what failed and the command that mends it.
MC_ENGINE_API Backend* load_engine(const EngineRow& row);

}  // namespace mc
