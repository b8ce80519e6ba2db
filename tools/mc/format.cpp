#include "format.h"

#include <cmath>
#include <cstdio>

#include "mc/detail/str.h"

namespace mc::tool {

std::string show_text(std::string_view s, bool lines) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (size_t i = 0; i < s.size(); ++i) {
    const auto c = static_cast<unsigned char>(s[i]);
    const auto next = i + 1 < s.size() ? static_cast<unsigned char>(s[i + 1]) : 0;
    // U+0080 to U+009F, of which terminals read some as escapes
    const bool c1 = c == 0xC2 && next >= 0x80 && next < 0xA0;
    if (!c1 && (c >= 0x20 || (lines && c == '\n')) && c != 0x7F) {
      out.push_back(s[i]);
      continue;
    }
    const unsigned code = c1 ? next : c;
    out += cat("\\x", kHex[code >> 4], kHex[code & 15]);
    i += c1;
  }
  return out;
}

std::string show_count(long long n) {
  std::string digits = std::to_string(n);
  for (int at = static_cast<int>(digits.size()) - 3; at > (n < 0 ? 1 : 0); at -= 3)
    digits.insert(static_cast<size_t>(at), 1, ',');
  return digits;
}

std::string show_seconds(double s) {
  if (s < 0.9995) return cat(show3(s * 1000), " ms");
  if (s < 60) return cat(show3(s), " s");
  const long long whole = std::llround(s);
  if (whole < 3600) return cat(whole / 60, " min ", whole % 60, " s");
  return cat(whole / 3600, " h ", whole % 3600 / 60, " min");
}

}  // namespace mc::tool
