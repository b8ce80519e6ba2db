// Byte-level vocabularies write each byte as a printable character: itself where it is printable Latin-1,
// else U+0100 and on.
#pragma once

#include <cstdint>

namespace mc {
uint32_t byte_character(unsigned char byte);
// The other way; -1 for a character that stands for no byte.
int character_byte(uint32_t c);
}  // namespace mc
