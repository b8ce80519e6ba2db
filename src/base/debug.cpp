#include "base/debug.h"

#include <cstdlib>
#include <cstring>

namespace mc {
bool debug_mode() {
  static const bool on = [] {
    const char* v = std::getenv("MC_DEBUG");
    return v && *v && std::strcmp(v, "0") != 0;
  }();
  return on;
}
}  // namespace mc
