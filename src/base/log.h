// Messages on stderr.
#pragma once

#include <string_view>

namespace mc {
void log_info(std::string_view message);
void log_warning(std::string_view message);
void log_debug(std::string_view message);
}  // namespace mc
