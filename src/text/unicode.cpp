#include "unicode.h"

#include <utf8proc.h>

#include <array>
#include <iterator>

namespace mc {
namespace {

bool white_space(uint32_t p) {
  return (p >= 9 && p <= 13) || p == 0x20 || p == 0x85 || p == 0xA0 || p == 0x1680 ||
         (p >= 0x2000 && p <= 0x200A) || p == 0x2028 || p == 0x2029 || p == 0x202F || p == 0x205F ||
         p == 0x3000;
}

constexpr uint32_t kRuns[] = {
#include "unicode_table.inc"
};

// Pages of 256 characters; those of one class share a page.
class Classes {
 public:
  Classes() {
    constexpr uint32_t kEnd = 0x110000, kClass = 0x3FF;
    uint16_t flat[256];
    size_t run = 0;
    for (uint32_t page = 0; page < kEnd / 256; ++page) {
      bool uniform = true;
      for (uint32_t i = 0; i < 256; ++i) {
        while (run + 1 < std::size(kRuns) && kRuns[run + 1] >> 10 <= page * 256 + i) ++run;
        flat[i] = static_cast<uint16_t>(kRuns[run] & kClass);
        uniform = uniform && flat[i] == flat[0];
      }
      uint32_t& shared = uniform_[flat[0]];
      if (uniform && shared) {
        pages_[page] = shared - 1;
        continue;
      }
      pages_[page] = static_cast<uint32_t>(values_.size());
      if (uniform) shared = pages_[page] + 1;
      values_.insert(values_.end(), flat, flat + 256);
    }
  }
  uint32_t of(uint32_t p) const { return values_[pages_[p >> 8] + (p & 255)]; }

 private:
  std::array<uint32_t, 0x1100> pages_{};
  std::array<uint32_t, 1024> uniform_{};  // place + 1
  std::vector<uint16_t> values_;
};

const Classes& classes() {
  static const Classes table;
  return table;
}

Char classify_slow(uint32_t p) {
  const uint32_t c = classes().of(p < 0x110000 ? p : 0xFFFF);
  return p | (c & 31) << 21 | (c >> 5 & 15) << 28 | (white_space(p) ? kCharSpace : 0);
}

const std::array<Char, 128>& ascii_table() {
  static const std::array<Char, 128> table = [] {
    std::array<Char, 128> t{};
    for (uint32_t p = 0; p < 128; ++p) t[p] = classify_slow(p);
    return t;
  }();
  return table;
}

}  // namespace

bool has_normal_form(uint32_t p) { return classes().of(p < 0x110000 ? p : 0xFFFF) >> 9; }

Char classify(uint32_t p) { return p < 128 ? ascii_table()[p] : classify_slow(p); }

Utf8 utf8_front(std::string_view text) {
  Utf8 r;
  if (text.empty()) return r;
  auto at = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  uint32_t b = at(0);
  if (b < 0x80) {
    r.bytes = 1;
    r.code_point = b;
    return r;
  }
  r.bad_bytes = 1;
  if (b < 0xC2 || b > 0xF4) return r;
  uint32_t n = b < 0xE0 ? 2 : b < 0xF0 ? 3 : 4;
  // The second byte's range keeps overlong forms, surrogates and numbers beyond U+10FFFF out.
  uint32_t low = b == 0xE0   ? 0xA0
                 : b == 0xF0 ? 0x90
                             : 0x80,
           high = b == 0xED   ? 0x9F
                  : b == 0xF4 ? 0x8F
                              : 0xBF;
  uint32_t p = b & (0x7FU >> n);
  for (uint32_t i = 1; i < n; ++i) {
    if (i == text.size()) {
      r.partial = true;
      return r;
    }
    uint32_t c = at(i);
    if (c < low || c > high) return r;
    low = 0x80;
    high = 0xBF;
    p = p << 6 | (c & 0x3F);
    r.bad_bytes = i + 1;
  }
  r.bytes = n;
  r.code_point = p;
  return r;
}

Front take_character(std::string_view& rest) {
  const Utf8 u = utf8_front(rest);
  const std::string_view bytes = rest.substr(0, u.bytes ? u.bytes : 1);
  rest.remove_prefix(bytes.size());
  return {bytes, u.bytes ? u.code_point : static_cast<unsigned char>(bytes[0]), u.bytes > 0};
}

void decode_utf8(std::string_view text, std::vector<Char>& out) {
  const std::array<Char, 128>& ascii = ascii_table();
  out.reserve(out.size() + text.size());
  for (size_t i = 0; i < text.size();) {
    auto b = static_cast<unsigned char>(text[i]);
    if (b < 0x80) {
      out.push_back(ascii[b]);
      ++i;
      continue;
    }
    Utf8 u = utf8_front(text.substr(i, 4));
    if (u.bytes == 0) {
      out.push_back(kCharRaw | static_cast<uint32_t>(UTF8PROC_CATEGORY_SO) << 21 | b);
      ++i;
    } else {
      out.push_back(classify_slow(u.code_point));
      i += u.bytes;
    }
  }
}

void append_utf8(std::string& out, uint32_t p) {
  auto put = [&](uint32_t b) { out.push_back(static_cast<char>(b)); };
  if (p < 0x80) {
    put(p);
  } else if (p < 0x800) {
    put(0xC0 | p >> 6);
    put(0x80 | (p & 0x3F));
  } else if (p < 0x10000) {
    put(0xE0 | p >> 12);
    put(0x80 | (p >> 6 & 0x3F));
    put(0x80 | (p & 0x3F));
  } else {
    put(0xF0 | p >> 18);
    put(0x80 | (p >> 12 & 0x3F));
    put(0x80 | (p >> 6 & 0x3F));
    put(0x80 | (p & 0x3F));
  }
}

}  // namespace mc
