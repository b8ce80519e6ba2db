// MC_DEBUG=1: every operation runs at once and is checked for NaN.
#pragma once

#include "mc/export.h"

namespace mc {
MC_ENGINE_API bool debug_mode();
}  // namespace mc
