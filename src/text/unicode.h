// UTF-8 and the properties of characters that tokenizers ask for.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mc {

// One character, packed: code point in bits 0-20, general category (utf8proc's number) in bits 21-25,
// White_Space in bit 26. A byte that is no part of valid UTF-8 stands alone: bit 27, with the byte as the
// code point and category So. Bits 28-31: as older tables have it, which some steps of a tokenizer.json
// follow.
using Char = uint32_t;
inline constexpr Char kCharMask = 0x1FFFFF, kCharSpace = 1U << 26, kCharRaw = 1U << 27;
inline constexpr Char kOldPunctuation = 1U << 28, kOldMark = 1U << 29, kOldAccent = 1U << 30,
                      kOldControl = 1U << 31;
inline uint32_t code_point(Char c) { return c & kCharMask; }
inline uint32_t category(Char c) { return (c >> 21) & 31; }
inline bool is_space(Char c) { return c & kCharSpace; }
inline uint32_t utf8_bytes(Char c) {
  uint32_t p = code_point(c);
  return (c & kCharRaw) || p < 0x80 ? 1 : p < 0x800 ? 2 : p < 0x10000 ? 3 : 4;
}

Char classify(uint32_t code_point);
// Whether a normal form takes the character apart or moves it, in the tables of the `tokenizers` package.
bool has_normal_form(uint32_t code_point);
// Appends the characters of `text`.
void decode_utf8(std::string_view text, std::vector<Char>& out);
// Length of the valid UTF-8 character at the front of `text`, and its code point; 0 when there is none.
// `partial` tells whether `text` ends within what may become one.
struct Utf8 {
  uint32_t bytes = 0, code_point = 0;
  // Of an ill-formed front: how many bytes belong to it (at least 1), and whether more bytes could mend it.
  uint32_t bad_bytes = 0;
  bool partial = false;
  // Of the character, or of what is ill-formed in its place.
  uint32_t taken() const { return bytes ? bytes : bad_bytes; }
};
Utf8 utf8_front(std::string_view text);
// The first character of `rest`, which is not empty, taken off it; where there is none its first byte, as
// `code_point` too.
struct Front {
  std::string_view bytes;
  uint32_t code_point = 0;
  bool valid = false;
};
Front take_character(std::string_view& rest);
void append_utf8(std::string& out, uint32_t code_point);

}  // namespace mc
