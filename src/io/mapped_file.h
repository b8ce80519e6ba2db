// A regular file mapped read-only.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace mc {

// Throws FileNotFound or FileRead. An empty file gives an empty span, which needs no unmap.
std::span<const std::byte> map_file(const std::string& path);
// The pages of mapped bytes leave this process; they come back from the file when they are read.
void forget_pages(std::span<const std::byte> mapped) noexcept;
void unmap_file(std::span<const std::byte> bytes) noexcept;

}  // namespace mc
