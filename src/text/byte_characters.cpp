#include "byte_characters.h"

#include <array>

namespace mc {
namespace {
const std::array<uint32_t, 256>& byte_characters() {
  static const std::array<uint32_t, 256> table = [] {
    std::array<uint32_t, 256> t{};
    uint32_t next = 0x100;
    for (uint32_t b = 0; b < 256; ++b) {
      const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      t[b] = printable ? b : next++;
    }
    return t;
  }();
  return table;
}
}  // namespace

uint32_t byte_character(unsigned char byte) { return byte_characters()[byte]; }

int character_byte(uint32_t c) {
  static const std::array<int16_t, 0x180> table = [] {
    std::array<int16_t, 0x180> t{};
    t.fill(-1);
    for (uint32_t b = 0; b < 256; ++b) t[byte_characters()[b]] = static_cast<int16_t>(b);
    return t;
  }();
  return c < table.size() ? table[c] : -1;
}

}  // namespace mc
