#include "json_text.h"

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
    const uint32_t n = u.taken();
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

}  // namespace mc::tokenizer_json
