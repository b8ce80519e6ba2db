// Shared by the reader and the writer of GGUF.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "mc/gguf.h"

namespace mc {

inline constexpr int kGgufMaxDims = 4;

// Bytes of one number or bool; 0 for strings, arrays and unknown types.
size_t gguf_scalar_bytes(GgufType type);
// A string out of a file, fit for a message: control bytes escaped, cut after max_bytes.
std::string shown(std::string_view s, size_t max_bytes = 80);

}  // namespace mc
