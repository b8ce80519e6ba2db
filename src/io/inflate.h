// DEFLATE (RFC 1951), as members of zip archives are compressed.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace mc {

// The `size` bytes that `packed` holds. Throws BadFormat, naming `where`, for what is no such stream or holds
// another number of bytes; never takes more memory than `size` and a few tables.
std::vector<std::byte> inflate(std::span<const std::byte> packed, size_t size, const std::string& where);

}  // namespace mc
