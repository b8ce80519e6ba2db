#include "value.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "mc/detail/str.h"

namespace mc::tool {
namespace {

// Length of the UTF-8 sequence at s[i], or 0 if it is not one (overlong, surrogate, beyond U+10FFFF, cut
// off).
size_t utf8_length(std::string_view s, size_t i, uint32_t& code) {
  const auto byte = [&](size_t k) { return i + k < s.size() ? static_cast<uint8_t>(s[i + k]) : uint8_t{0}; };
  const uint8_t b = byte(0);
  const size_t n = b < 0x80                ? 1
                   : b >= 0xc2 && b < 0xe0 ? 2
                   : b >= 0xe0 && b < 0xf0 ? 3
                   : b >= 0xf0 && b < 0xf5 ? 4
                                           : 0;
  if (n <= 1) {
    code = b;
    return n;
  }
  code = b & (0xffu >> (n + 1));
  for (size_t k = 1; k < n; ++k) {
    if ((byte(k) & 0xc0) != 0x80) return 0;
    code = code << 6 | (byte(k) & 0x3fu);
  }
  if (n == 3 && (code < 0x800 || (code >= 0xd800 && code < 0xe000))) return 0;
  if (n == 4 && (code < 0x10000 || code > 0x10ffff)) return 0;
  return n;
}

// Characters that are legal in JSON but that YAML or a terminal would take for something else.
bool must_escape(uint32_t c) {
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 || c == 0xfeff || c == 0xfffe ||
         c == 0xffff;
}

void append_quoted(std::string& out, std::string_view s) {
  constexpr std::string_view kHex = "0123456789abcdef";
  out.push_back('"');
  for (size_t i = 0; i < s.size();) {
    uint32_t c = 0;
    const size_t n = utf8_length(s, i, c);
    if (n == 0) {
      out.append("\xef\xbf\xbd");
      ++i;
      continue;
    }
    switch (c) {
      case '"': out.append("\\\""); break;
      case '\\': out.append("\\\\"); break;
      case '\n': out.append("\\n"); break;
      case '\r': out.append("\\r"); break;
      case '\t': out.append("\\t"); break;
      case '\b': out.append("\\b"); break;
      case '\f': out.append("\\f"); break;
      default:
        if (must_escape(c)) {
          out.append("\\u");
          for (int shift = 12; shift >= 0; shift -= 4) out.push_back(kHex[c >> shift & 15]);
        } else {
          out.append(s.substr(i, n));
        }
    }
    i += n;
  }
  out.push_back('"');
}

// Shortest form that reads back the same, always with a point, which YAML 1.1 wants of every number with an
// exponent.
std::string number(double v) {
  std::array<char, 40> buf;
  const auto r = std::to_chars(buf.data(), buf.data() + buf.size(), v);
  std::string out(buf.data(), r.ptr);
  if (out.find('.') != std::string::npos) return out;
  const size_t e = out.find('e');
  return out.insert(e == std::string::npos ? out.size() : e, ".0");
}

// Plain only where no parser can read anything but this string.
bool is_plain(std::string_view s) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  if (s.empty() || s.size() > 200 || !letter(s[0]) || s.back() == ' ') return false;
  for (char c : s)
    if (!letter(c) && !(c >= '0' && c <= '9') && c != ' ' && c != '.' && c != '/' && c != '-' && c != '+')
      return false;
  std::string low(s);
  std::transform(low.begin(), low.end(), low.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  constexpr std::array kReserved = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"};
  return std::find(kReserved.begin(), kReserved.end(), low) == kReserved.end();
}

void append_yaml_string(std::string& out, std::string_view s) {
  if (is_plain(s))
    out.append(s);
  else
    append_quoted(out, s);
}

}  // namespace

Value& Value::set(std::string_view key, Value v) {
  std::get<Object>(v_).emplace_back(std::string(key), std::move(v));
  return *this;
}

Value& Value::push(Value v) {
  std::get<List>(v_).push_back(std::move(v));
  return *this;
}

std::string Value::json() const {
  std::string out;
  write_json(out);
  return out;
}

void Value::write_json(std::string& out) const {
  if (std::holds_alternative<std::nullptr_t>(v_)) {
    out.append("null");
  } else if (const bool* b = std::get_if<bool>(&v_)) {
    append(out, *b);
  } else if (const int64_t* i = std::get_if<int64_t>(&v_)) {
    append(out, *i);
  } else if (const double* d = std::get_if<double>(&v_)) {
    if (std::isfinite(*d))
      out.append(number(*d));
    else
      out.append(std::isnan(*d) ? "\"NaN\"" : *d > 0 ? "\"Infinity\"" : "\"-Infinity\"");
  } else if (const std::string* s = std::get_if<std::string>(&v_)) {
    append_quoted(out, *s);
  } else if (const List* l = std::get_if<List>(&v_)) {
    out.push_back('[');
    for (const Value& v : *l) {
      if (&v != l->data()) out.append(", ");
      v.write_json(out);
    }
    out.push_back(']');
  } else {
    const Object& o = std::get<Object>(v_);
    out.push_back('{');
    for (const auto& member : o) {
      if (&member != o.data()) out.append(", ");
      append_quoted(out, member.first);
      out.append(": ");
      member.second.write_json(out);
    }
    out.push_back('}');
  }
}

bool Value::is_block() const {
  if (const List* l = std::get_if<List>(&v_)) return !l->empty();
  if (const Object* o = std::get_if<Object>(&v_)) return !o->empty();
  return false;
}

std::string Value::yaml() const {
  std::string out;
  write_yaml(out, 0, true);
  if (!is_block()) out.push_back('\n');
  return out;
}

// after_dash: the first line continues the current one ("- key: …").
void Value::write_yaml(std::string& out, int indent, bool after_dash) const {
  const auto begin_line = [&] {
    if (!after_dash) out.append(static_cast<size_t>(indent), ' ');
    after_dash = false;
  };
  if (const double* d = std::get_if<double>(&v_); d && !std::isfinite(*d)) {
    out.append(std::isnan(*d) ? ".nan" : *d > 0 ? ".inf" : "-.inf");
  } else if (const std::string* s = std::get_if<std::string>(&v_)) {
    append_yaml_string(out, *s);
  } else if (!is_block()) {
    write_json(out);
  } else if (const List* l = std::get_if<List>(&v_)) {
    for (const Value& v : *l) {
      begin_line();
      out.append("- ");
      v.write_yaml(out, indent + 2, true);
      if (!v.is_block()) out.push_back('\n');
    }
  } else {
    for (const auto& [key, v] : std::get<Object>(v_)) {
      begin_line();
      append_yaml_string(out, key);
      out.push_back(':');
      if (v.is_block()) {
        out.push_back('\n');
        v.write_yaml(out, indent + 2, false);
      } else {
        out.push_back(' ');
        v.write_yaml(out, 0, true);
        out.push_back('\n');
      }
    }
  }
}

}  // namespace mc::tool
