// MC_DEBUG=1: every operation runs at once and is checked for NaN, and errors tell where it was built.
#pragma once

#include <string>

#include "mc/export.h"

namespace mc {

MC_ENGINE_API bool debug_mode();

// Where in the caller's program something was built, in debug mode.
struct Origin {
  static constexpr int kFrames = 48;
  void* frames[kFrames];  // return addresses, the innermost first
  int count = 0;
};
// The stack of this call, kept under `key` until the next one for it.
void remember_origin(const void* key);
struct OriginText {
  std::string where;   // "main+0x1f in ./prog"; empty if nothing is known
  std::string lookup;  // the command that turns it into a line of source
};
// The innermost frame outside of this library.
OriginText origin_of(const void* key);

}  // namespace mc
