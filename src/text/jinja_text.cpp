// Values as Python writes them, and characters of strings.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include <utf8proc.h>

#include "jinja.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "unicode.h"

namespace mc::jinja {
namespace {

constexpr int kMaxDepth = 100;  // of values within values

bool python_space(std::string_view c) {
  const Utf8 u = utf8_front(c);
  return (u.code_point >= 0x1C && u.code_point <= 0x1F) || is_space(classify(u.code_point));
}

// As Python writes a float: the shortest digits that read back, an exponent below 1e-4 and from 1e16 on.
std::string float_text(double x, bool json) {
  if (std::isnan(x)) return json ? "NaN" : "nan";
  if (std::isinf(x)) return cat(x < 0 ? "-" : "", json ? "Infinity" : "inf");
  char buffer[400];
  const double size = std::fabs(x);
  const bool plain = x == 0 || (size >= 1e-4 && size < 1e16);
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, x,
                                 plain ? std::chars_format::fixed : std::chars_format::scientific)
                       .ptr;
  std::string s(buffer, end);
  if (plain && s.find('.') == std::string::npos) s += ".0";
  return s;
}

std::string python_quoted(std::string_view s) {
  const char mark =
      s.find('\'') != std::string_view::npos && s.find('"') == std::string_view::npos ? '"' : '\'';
  std::string out(1, mark);
  for (std::string_view rest = s; !rest.empty();) {
    const Front front = take_character(rest);
    const uint32_t c = front.code_point;
    const uint32_t k = category(classify(c));
    const bool hidden = (k >= UTF8PROC_CATEGORY_ZS && c != ' ') || k == UTF8PROC_CATEGORY_CN;
    if (c == static_cast<uint32_t>(mark) || c == '\\') {
      out += {'\\', static_cast<char>(c)};
    } else if (c == '\n' || c == '\r' || c == '\t') {
      out += {'\\', c == '\n' ? 'n' : c == '\r' ? 'r' : 't'};
    } else if (c < 0x20 || c == 0x7F || hidden) {
      char hex[12];
      std::snprintf(hex, sizeof hex, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
      out += hex;
    } else {
      out.append(front.bytes);
    }
  }
  return out + mark;
}

std::string json_string(std::string_view s, bool ascii) {
  std::string out = "\"";
  char hex[16];
  for (; !s.empty();) {
    const Front front = take_character(s);
    const uint32_t c = front.valid ? front.code_point : 0xFFFD;
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      default:
        if (c < 0x20 || (ascii && c > 0x7E && c < 0x10000)) {
          std::snprintf(hex, sizeof hex, "\\u%04x", c);
          out += hex;
        } else if (ascii && c >= 0x10000) {
          std::snprintf(hex, sizeof hex, "\\u%04x\\u%04x", 0xD800 + ((c - 0x10000) >> 10),
                        0xDC00 + (c & 0x3FF));
          out += hex;
        } else {
          append_utf8(out, c);
        }
    }
  }
  return out + "\"";
}

std::string repr_of(const Value& v, int depth) {
  if (depth > kMaxDepth) fail("values nest too deeply");
  std::string out;
  auto joined = [&](const Values& list) {
    for (const Value& x : list) {
      if (&x != &list[0]) out += ", ";
      out += repr_of(x, depth + 1);
      check_size(out.size());
    }
  };
  switch (v.type()) {
    case Type::Undefined: return "Undefined";
    case Type::None: return "None";
    case Type::Bool: return v.integer() ? "True" : "False";
    case Type::Int: return std::to_string(v.integer());
    case Type::Float: return float_text(v.real(), false);
    case Type::String: return python_quoted(v.string());
    case Type::List:
      out = "[";
      joined(v.values());
      return out + "]";
    case Type::Tuple:
      out = "(";
      joined(v.values());
      return out + (v.values().size() == 1 ? ",)" : ")");
    case Type::Dict:
    case Type::Namespace:
      out = v.is(Type::Dict) ? "{" : "<Namespace {";
      for (const auto& [key, x] : v.items()) {
        if (&key != &v.items()[0].first) out += ", ";
        out += repr_of(key, depth + 1) + ": " + repr_of(x, depth + 1);
        check_size(out.size());
      }
      return out + (v.is(Type::Dict) ? "}" : "}>");
    case Type::Function: return cat("<function ", v.string(), ">");
  }
  return out;
}

struct JsonForm {
  int indent;
  bool ascii, sorted;
  const std::string &comma, &colon;
};

void json_of(const Value& v, const JsonForm& f, int depth, std::string& out) {
  if (depth > kMaxDepth) fail("values nest too deeply");
  check_size(out.size());
  auto line = [&](int level) {
    if (f.indent >= 0)
      out += "\n" + std::string(static_cast<size_t>(f.indent) * static_cast<size_t>(level), ' ');
  };
  switch (v.type()) {
    case Type::None: out += "null"; return;
    case Type::Bool: out += v.integer() ? "true" : "false"; return;
    case Type::Int: out += std::to_string(v.integer()); return;
    case Type::Float: out += float_text(v.real(), true); return;
    case Type::String: out += json_string(v.string(), f.ascii); return;
    case Type::List:
    case Type::Tuple:
      if (v.values().empty()) {
        out += "[]";
        return;
      }
      out += "[";
      for (size_t i = 0; i < v.values().size(); ++i) {
        if (i > 0) out += f.comma;
        line(depth + 1);
        json_of(v.values()[i], f, depth + 1, out);
      }
      line(depth);
      out += "]";
      return;
    case Type::Dict: {
      if (v.items().empty()) {
        out += "{}";
        return;
      }
      std::vector<const std::pair<Value, Value>*> order;
      for (const auto& x : v.items()) order.push_back(&x);
      if (f.sorted)
        std::stable_sort(order.begin(), order.end(),
                         [](auto* a, auto* b) { return compare(a->first, b->first, "sort_keys") < 0; });
      out += "{";
      for (size_t i = 0; i < order.size(); ++i) {
        if (i > 0) out += f.comma;
        line(depth + 1);
        const Value& key = order[i]->first;
        std::string name;
        if (key.is(Type::String))
          name = key.string();
        else if (key.is_number() || key.is(Type::None))
          json_of(key, f, depth + 1, name);
        else
          fail(cat("a key of JSON can't be a ", type_name(key)));
        out += json_string(name, f.ascii) + f.colon;
        json_of(order[i]->second, f, depth + 1, out);
      }
      line(depth);
      out += "}";
      return;
    }
    default: fail(cat("a value of the type ", type_name(v), " has no JSON"));
  }
}

// Objects keep their members' order.
using Ordered = nlohmann::ordered_json;
Value from(const Ordered& j, int depth) {
  if (depth > kMaxDepth) throw Failure{"the JSON nests too deeply"};
  if (j.is_object()) {
    Items items;
    for (const auto& [key, x] : j.items()) items.emplace_back(Value::of(key), from(x, depth + 1));
    return Value::dict(std::move(items));
  }
  if (j.is_array()) {
    Values v;
    for (const auto& x : j) v.push_back(from(x, depth + 1));
    return Value::list(std::move(v));
  }
  if (j.is_null()) return Value::none();
  if (j.is_boolean()) return Value::of(j.get<bool>());
  if (j.is_number_unsigned() && j.get<uint64_t>() > INT64_MAX) throw Failure{"an integer is too large"};
  if (j.is_number_integer()) return Value::of(j.get<int64_t>());
  if (j.is_number_float()) return Value::of(j.get<double>());
  return Value::of(j.get<std::string>());
}

}  // namespace

std::string str(const Value& v) {
  if (v.is(Type::String)) return v.string();
  if (v.is(Type::Undefined)) return "";
  return repr_of(v, 0);
}
std::string repr(const Value& v) { return repr_of(v, 0); }

std::string json(const Value& v, int indent, bool ascii, bool sorted, const std::string& comma,
                 const std::string& colon) {
  std::string out;
  json_of(v, {indent, ascii, sorted, comma, colon}, 0, out);
  return out;
}

std::vector<std::string> characters(std::string_view s) {
  std::vector<std::string> out;
  while (!s.empty()) out.emplace_back(take_character(s).bytes);
  return out;
}

namespace {
template <class Map>
std::string mapped(std::string_view s, Map&& map) {
  std::string out;
  while (!s.empty()) {
    const Front c = take_character(s);
    if (c.valid)
      map(c.code_point, out);
    else
      out += c.bytes;
  }
  return out;
}
}  // namespace

std::string upper(std::string_view s) {
  return mapped(s, [](uint32_t c, std::string& out) {
    if (c == 0xDF)
      out += "SS";
    else
      append_utf8(out, static_cast<uint32_t>(utf8proc_toupper(static_cast<int32_t>(c))));
  });
}
std::string lower(std::string_view s) {
  return mapped(s, [](uint32_t c, std::string& out) {
    append_utf8(out, static_cast<uint32_t>(utf8proc_tolower(static_cast<int32_t>(c))));
    if (c == 0x130) append_utf8(out, 0x307);
  });
}
std::string title(std::string_view s) {
  return mapped(s, [](uint32_t c, std::string& out) {
    if (c == 0xDF)
      out += "Ss";
    else
      append_utf8(out, static_cast<uint32_t>(utf8proc_totitle(static_cast<int32_t>(c))));
  });
}
std::string capitalized(std::string_view s) {
  if (s.empty()) return {};
  const std::string first = title(take_character(s).bytes);
  return first + lower(s);
}

std::string strip(std::string_view s, const std::string* what, bool left, bool right) {
  const std::vector<std::string> set = what ? characters(*what) : std::vector<std::string>();
  auto goes = [&](std::string_view c) {
    return what ? std::find(set.begin(), set.end(), c) != set.end() : python_space(c);
  };
  for (std::string_view rest = s; left && !rest.empty() && goes(take_character(rest).bytes);) s = rest;
  while (right && !s.empty()) {
    size_t at = s.size() - 1;
    while (at > 0 && (static_cast<unsigned char>(s[at]) & 0xC0) == 0x80) --at;
    if (!goes(s.substr(at))) break;
    s = s.substr(0, at);
  }
  return std::string(s);
}

Value from_json(std::string_view text, const std::string& where) {
  const Ordered j = Ordered::parse(text, nullptr, false);
  if (j.is_discarded()) throw Error(ErrorCode::BadData, "is no JSON", where);
  try {
    return from(j, 0);
  } catch (const Failure& f) {
    throw Error(ErrorCode::BadData, f.message, where);
  }
}

}  // namespace mc::jinja
