// Messages on stderr.
#pragma once

#include <string_view>

#include "mc/export.h"
#include "mc/log.h"

namespace mc {
MC_ENGINE_API void log_info(std::string_view message);
MC_ENGINE_API void log_debug(std::string_view message);
}  // namespace mc
