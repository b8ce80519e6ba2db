// Files that appear whole or not at all.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "mc/export.h"

namespace mc {

// Writes the parts, one after another, to a temporary file beside `path`, brings them to the disk and renames
// the file: `path` is whole or untouched whenever the process ends. Throws FileWrite.
MC_API void write_file(const std::string& path, std::span<const std::span<const std::byte>> parts);

// The whole of a regular file of at most `max_bytes`. Throws FileNotFound, FileRead, BadFormat for a larger
// one.
MC_API std::string read_small_file(const std::string& path, size_t max_bytes);

}  // namespace mc
