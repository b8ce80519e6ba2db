// The table of primitives for people: which operation runs where and how.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mc/dtype.h"
#include "mc/export.h"

namespace mc {

// How an engine runs an operation on a dtype.
enum class OpSupport : uint8_t {
  None,        // it is refused
  Unknown,     // the engine is not here to be asked
  Native,      // the engine's own kernel
  Decomposed,  // as several other operations
};
struct OpOnEngine {
  std::string backend;
  std::vector<OpSupport> support;  // one for each of OpInfo::dtypes; Unknown where the engine is not here
};
struct OpInfo {
  std::string name;
  std::string kind;  // "core", "fused" (has a decomposition), "host"
  std::string doc;
  bool differentiable = false;
  std::vector<Dtype> dtypes;  // of the first input (of the output, where there is no input)
  std::vector<OpOnEngine> engines;
};
// Every primitive on every engine that this build knows of (backend_status says why one is not here).
MC_API std::vector<OpInfo> op_table();

}  // namespace mc
