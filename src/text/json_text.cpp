#include "json_text.h"

#include <array>

#include "mc/detail/str.h"
#include "mc/error.h"

namespace mc::tokenizer_json {

void refuse(const std::string& what) {
  throw Error(ErrorCode::BadTokenizer, what, "tokenizer.json", "use the model's GGUF file");
}

std::string type_of(const Json& j) {
  if (!j.is_object()) refuse("a part of the tokenizer is no object");
  return required_string(j, "type");
}

bool flag(const Json& j, const char* key, bool fallback) {
  const auto it = j.find(key);
  if (it == j.end() || it->is_null()) return fallback;
  if (!it->is_boolean()) refuse(cat("\"", key, "\" is neither true nor false"));
  return it->get<bool>();
}

std::string string(const Json& j, const char* key, std::string_view fallback) {
  const auto it = j.find(key);
  if (it == j.end() || it->is_null()) return std::string(fallback);
  if (!it->is_string()) refuse(cat("\"", key, "\" is no string"));
  return it->get<std::string>();
}

std::string required_string(const Json& j, const char* key) {
  if (!j.contains(key)) refuse(cat("\"", key, "\" is missing"));
  return string(j, key, "");
}

const Json& list(const Json& j, const char* key) {
  const auto it = j.find(key);
  if (it == j.end() || !it->is_array()) refuse(cat("the list \"", key, "\" is missing"));
  return *it;
}

void read_utf8(std::string_view text, uint32_t origin, Glyphs& out) {
  out.chars.reserve(out.size() + text.size());
  out.at.reserve(out.size() + text.size());
  for (size_t i = 0; i < text.size();) {
    const auto at = origin + static_cast<uint32_t>(i);
    const auto b = static_cast<unsigned char>(text[i]);
    if (b < 0x80) {
      out.push(classify(b), {at, at + 1});
      ++i;
      continue;
    }
    const Utf8 u = utf8_front(text.substr(i));
    const uint32_t n = u.bytes ? u.bytes : u.bad_bytes;
    out.push(classify(u.bytes ? u.code_point : 0xFFFD), {at, at + n});
    i += n;
  }
}

std::vector<Char> characters(std::string_view text) {
  Glyphs g;
  read_utf8(text, 0, g);
  return g.chars;
}

std::string utf8(const Glyphs& g, size_t begin, size_t end) {
  std::string s;
  for (size_t i = begin; i < end; ++i) append_utf8(s, code_point(g.chars[i]));
  return s;
}

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

}  // namespace mc::tokenizer_json
