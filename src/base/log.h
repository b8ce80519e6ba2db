// Messages on stderr.
#pragma once

#include "mc/export.h"

#include <string_view>

namespace mc {
MC_ENGINE_API void log_info(std::string_view message);
MC_ENGINE_API void log_warning(std::string_view message);
MC_ENGINE_API void log_debug(std::string_view message);
}  // namespace mc
