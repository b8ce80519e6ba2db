// How much the library says on stderr.
#pragma once

#include <string_view>

#include "mc/export.h"

namespace mc {
// 0 quiet (errors only), 1 warnings, 2 information (the default), 3 debug.
MC_API void set_log_level(int level);
// One line on stderr, from level 1 on.
MC_ENGINE_API void log_warning(std::string_view message);
}  // namespace mc
