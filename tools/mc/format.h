// Numbers for people.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "mc/detail/show.h"  // show3, show_bytes

namespace mc::tool {
// "1,234,567"
std::string show_count(long long n);
// "850 ms", "1.25 s", "2 min 5 s"
std::string show_seconds(double s);
// A text out of a file, fit for a terminal: control characters (those of Unicode, too) as "\\x1b"; line feeds
// stay where `lines` says so.
std::string show_text(std::string_view s, bool lines = false);
}  // namespace mc::tool
