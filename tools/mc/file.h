// Reading whole files.
#pragma once

#include <string>

namespace mc::tool {
// The bytes of a file; "-" is standard input. Throws FileNotFound or FileRead.
std::string read_file(const std::string& path);
// Up to `most` bytes of an open file or pipe, 0 at its end; `name` is what errors tell. Throws FileRead, and
// Interrupted where Ctrl-C comes while nothing does.
size_t read_some(int file, char* to, size_t most, const std::string& name);
}  // namespace mc::tool
