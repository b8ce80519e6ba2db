// Reading whole files.
#pragma once

#include <string>

namespace mc::tool {
// The bytes of a file; "-" is standard input. Throws FileNotFound or FileRead.
std::string read_file(const std::string& path);
}  // namespace mc::tool
