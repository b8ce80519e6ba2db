// MC_DEBUG=1: every operation runs at once and is checked for NaN.
#pragma once

namespace mc {
bool debug_mode();
}  // namespace mc
