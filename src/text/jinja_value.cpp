// Values as Python shows, compares and combines them.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include <utf8proc.h>

#include "jinja.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "unicode.h"

namespace mc::jinja {
namespace {

constexpr size_t kMaxBytes = size_t{64} << 20;
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

int64_t floor_divide(int64_t a, int64_t b) {
  const int64_t q = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}

[[noreturn]] void too_large() { fail("an integer is too large"); }

Value integers(std::string_view op, int64_t a, int64_t b) {
  int64_t r = 0;
  if (op == "+" && !__builtin_add_overflow(a, b, &r)) return Value::of(r);
  if (op == "-" && !__builtin_sub_overflow(a, b, &r)) return Value::of(r);
  if (op == "*" && !__builtin_mul_overflow(a, b, &r)) return Value::of(r);
  if (op == "/" || op == "//" || op == "%") {
    if (b == 0) fail("division by zero");
    if (op == "/") return Value::of(static_cast<double>(a) / static_cast<double>(b));
    if (b == -1 && a == std::numeric_limits<int64_t>::min()) too_large();
    const int64_t q = floor_divide(a, b);
    return Value::of(op == "//" ? q : a - q * b);
  }
  if (op == "**") {
    if (b < 0) return Value::of(std::pow(static_cast<double>(a), static_cast<double>(b)));
    r = 1;
    for (int64_t k = 0; k < b; ++k) {
      if (__builtin_mul_overflow(r, a, &r)) too_large();
      if (r == 0 || (r == 1 && a == 1)) break;
      if (a == -1) {
        r = b % 2 ? -1 : 1;
        break;
      }
    }
    return Value::of(r);
  }
  too_large();
}

Value reals(std::string_view op, double a, double b) {
  if (op == "+") return Value::of(a + b);
  if (op == "-") return Value::of(a - b);
  if (op == "*") return Value::of(a * b);
  if (op == "**") return Value::of(std::pow(a, b));
  if (b == 0) fail("division by zero");
  if (op == "/") return Value::of(a / b);
  if (op == "//") return Value::of(std::floor(a / b));
  const double r = std::fmod(a, b);
  return Value::of(r != 0 && (r < 0) != (b < 0) ? r + b : r);
}

Value repeated(const Value& v, int64_t n) {
  const auto times = static_cast<size_t>(std::max<int64_t>(n, 0));
  if (v.is(Type::String)) {
    if (times && v.string().size() > kMaxBytes / times) check_size(kMaxBytes + 1);
    std::string out;
    for (size_t i = 0; i < times; ++i) out += v.string();
    return Value::of(std::move(out));
  }
  if (times && v.values().size() > kMaxBytes / sizeof(Value) / times) check_size(kMaxBytes + 1);
  Values out;
  for (size_t i = 0; i < times; ++i) out.insert(out.end(), v.values().begin(), v.values().end());
  return v.is(Type::List) ? Value::list(std::move(out)) : Value::tuple(std::move(out));
}

// "%s" and its like: what `"..." % values` takes.
std::string percent(const std::string& form, const Value& v) {
  const Values args = v.is(Type::Tuple) ? v.values() : Values{v};
  size_t next = 0;
  std::string out;
  for (size_t i = 0; i < form.size(); ++i) {
    if (form[i] != '%') {
      out += form[i];
      continue;
    }
    if (++i == form.size()) fail("incomplete format");
    if (form[i] == '%') {
      out += '%';
      continue;
    }
    if (next >= args.size()) fail("not enough arguments for format string");
    const Value& x = args[next++];
    if (form[i] == 's')
      out += str(x);
    else if (form[i] == 'r')
      out += repr(x);
    else if ((form[i] == 'd' || form[i] == 'i') && x.is_number()) {
      if (x.is(Type::Float) && !(std::fabs(x.real()) < 9e18))
        fail("%d is asked for a float that fits no integer");
      out += std::to_string(x.is(Type::Float) ? static_cast<int64_t>(x.real()) : x.integer());
    } else
      fail(cat("the format '%", form.substr(i, 1), "' is not read; %s, %r and %d are"));
  }
  if (next < args.size() && !v.is(Type::Dict)) fail("not all arguments converted during string formatting");
  return out;
}

}  // namespace

void fail(std::string message) { throw Failure{std::move(message)}; }

void check_size(size_t bytes) {
  if (bytes > kMaxBytes) fail("a value takes more than 64 MiB");
}

void hold(int64_t bytes) {
  constexpr int64_t kMost = int64_t{1} << 30;
  static thread_local int64_t held = 0;
  if (bytes > 0 && held + bytes > kMost) fail("the template's values take more than 1 GiB");
  held += bytes;
}

// Deep values would be let go of in deep calls, and namespaces within themselves never.
void Value::contains(const Value& v) {
  depth_ = std::max(depth_, v.depth_ + 1);
  space_ = space_ || v.holds_space();
  if (depth_ > 500) fail("values nest too deeply");
}
Value::Value(Type t, Values v) : type_(t) {
  for (const Value& x : v) contains(x);
  const size_t n = v.size() * sizeof(Value) + 64;
  values_ = std::make_shared<Held<Values>>(std::move(v), n);
}
Value::Value(Type t, Items v) : type_(t) {
  for (const auto& [key, x] : v) contains(x);
  const size_t n = v.size() * 2 * sizeof(Value) + 64;
  items_ = std::make_shared<Held<Items>>(std::move(v), n);
}

bool Value::same(const Value& o) const {
  if (type_ != o.type_) return false;
  if (values_ || items_ || function_)
    return values_ == o.values_ && items_ == o.items_ && function_ == o.function_;
  return equal(*this, o);
}

std::string type_name(const Value& v) {
  switch (v.type()) {
    case Type::Undefined: return "Undefined";
    case Type::None: return "None";
    case Type::Bool: return "bool";
    case Type::Int: return "int";
    case Type::Float: return "float";
    case Type::String: return "str";
    case Type::List: return "list";
    case Type::Tuple: return "tuple";
    case Type::Dict: return "dict";
    case Type::Namespace: return "Namespace";
    case Type::Function: return "function";
  }
  return "?";
}

bool truth(const Value& v) {
  switch (v.type()) {
    case Type::Undefined:
    case Type::None: return false;
    case Type::Bool:
    case Type::Int: return v.integer() != 0;
    case Type::Float: return v.real() != 0;
    case Type::String: return !v.string().empty();
    case Type::List:
    case Type::Tuple: return !v.values().empty();
    case Type::Dict: return !v.items().empty();
    default: return true;
  }
}

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

bool equal(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number())
    return a.is_integer() && b.is_integer() ? a.integer() == b.integer() : a.real() == b.real();
  if (a.type() != b.type()) return false;
  switch (a.type()) {
    case Type::Undefined:
    case Type::None: return true;
    case Type::String: return a.string() == b.string();
    case Type::List:
    case Type::Tuple:
      return std::equal(a.values().begin(), a.values().end(), b.values().begin(), b.values().end(), equal);
    case Type::Dict:
      return a.items().size() == b.items().size() &&
             std::all_of(a.items().begin(), a.items().end(), [&](const auto& x) {
               const Value* y = lookup(b.items(), x.first);
               return y && equal(x.second, *y);
             });
    default: return a.same(b);
  }
}

int compare(const Value& a, const Value& b, const char* what) {
  if (a.is_number() && b.is_number()) {
    if (a.is_integer() && b.is_integer()) return a.integer() < b.integer() ? -1 : a.integer() > b.integer();
    return a.real() < b.real() ? -1 : a.real() > b.real();
  }
  if (a.is(Type::String) && b.is(Type::String))
    return a.string().compare(b.string());  // UTF-8 sorts as code points
  if (a.is_sequence() && a.type() == b.type()) {
    for (size_t i = 0; i < a.values().size() && i < b.values().size(); ++i)
      if (!equal(a.values()[i], b.values()[i])) return compare(a.values()[i], b.values()[i], what);
    return a.values().size() < b.values().size() ? -1 : a.values().size() > b.values().size();
  }
  for (const Value* v : {&a, &b})
    if (v->is(Type::Undefined)) fail(v->string());
  fail(cat("'", what, "' not supported between instances of '", type_name(a), "' and '", type_name(b), "'"));
}

bool contains(const Value& in, const Value& x) {
  switch (in.type()) {
    case Type::Undefined: return false;
    case Type::String:
      if (!x.is(Type::String)) fail(cat("'in <string>' requires string as left operand, not ", type_name(x)));
      return in.string().find(x.string()) != std::string::npos;
    case Type::List:
    case Type::Tuple:
      return std::any_of(in.values().begin(), in.values().end(), [&](const Value& y) { return equal(x, y); });
    case Type::Dict: return lookup(in.items(), x) != nullptr;
    default: fail(cat("argument of type '", type_name(in), "' is not iterable"));
  }
}

Values iterate(const Value& v) {
  Values out;
  switch (v.type()) {
    case Type::Undefined: return out;
    case Type::String:
      for (std::string& c : characters(v.string())) out.push_back(Value::of(std::move(c)));
      return out;
    case Type::List:
    case Type::Tuple: return v.values();
    case Type::Dict:
      for (const auto& x : v.items()) out.push_back(x.first);
      return out;
    default: fail(cat("'", type_name(v), "' object is not iterable"));
  }
}

int64_t length(const Value& v) {
  switch (v.type()) {
    case Type::Undefined: return 0;
    case Type::String:
      return std::count_if(v.string().begin(), v.string().end(), [](char c) { return (c & 0xC0) != 0x80; });
    case Type::List:
    case Type::Tuple: return static_cast<int64_t>(v.values().size());
    case Type::Dict: return static_cast<int64_t>(v.items().size());
    default: fail(cat("object of type '", type_name(v), "' has no len()"));
  }
}

const Value* lookup(const Items& items, const Value& key) {
  for (const auto& [k, v] : items)
    if (equal(k, key)) return &v;
  return nullptr;
}

void assign(Items& items, Value key, Value to) {
  for (auto& [k, v] : items)
    if (equal(k, key)) {
      v = std::move(to);
      return;
    }
  items.emplace_back(std::move(key), std::move(to));
}

Value binary(std::string_view op, const Value& a, const Value& b) {
  if (op == "~") {
    std::string s = str(a) + str(b);
    check_size(s.size());
    return Value::of(std::move(s));
  }
  for (const Value* v : {&a, &b})
    if (v->is(Type::Undefined)) fail(v->string());
  if (a.is_integer() && b.is_integer()) return integers(op, a.integer(), b.integer());
  if (a.is_number() && b.is_number()) return reals(op, a.real(), b.real());
  if (op == "%" && a.is(Type::String)) return Value::of(percent(a.string(), b));
  if (op == "+" && a.type() == b.type()) {
    if (a.is(Type::String)) {
      check_size(a.string().size() + b.string().size());
      return Value::of(a.string() + b.string());
    }
    if (a.is_sequence()) {
      Values v = a.values();
      v.insert(v.end(), b.values().begin(), b.values().end());
      check_size(v.size() * sizeof(Value));
      return a.is(Type::List) ? Value::list(std::move(v)) : Value::tuple(std::move(v));
    }
  }
  if (op == "*") {
    if ((a.is(Type::String) || a.is_sequence()) && b.is_integer()) return repeated(a, b.integer());
    if ((b.is(Type::String) || b.is_sequence()) && a.is_integer()) return repeated(b, a.integer());
  }
  if (op == "+" && a.is(Type::String))
    fail(cat("can only concatenate str (not \"", type_name(b), "\") to str"));
  fail(cat("unsupported operand type(s) for ", op, ": '", type_name(a), "' and '", type_name(b), "'"));
}

Value item(const Value& of, const Value& key) {
  if (of.is(Type::Undefined)) fail(of.string());
  if (of.is(Type::Dict)) {
    if (const Value* v = lookup(of.items(), key)) return *v;
  } else if ((of.is_sequence() || of.is(Type::String)) && key.is_integer()) {
    const int64_t n = length(of), i = key.integer() < 0 ? key.integer() + n : key.integer();
    if (i >= 0 && i < n) {
      if (of.is_sequence()) return of.values()[static_cast<size_t>(i)];
      return Value::of(characters(of.string())[static_cast<size_t>(i)]);
    }
    return Value::undefined(cat(type_name(of), " object has no element ", key.integer()));
  }
  if (key.is(Type::String)) {
    if (of.is(Type::Namespace))
      if (const Value* v = lookup(of.items(), key)) return *v;
    const Value m = method(of, key.string());
    if (!m.is(Type::Undefined)) return m;
    return Value::undefined(cat("'", type_name(of), " object' has no attribute '", key.string(), "'"));
  }
  return Value::undefined(cat(type_name(of), " object has no element ", repr(key)));
}

Value attribute(const Value& of, std::string_view name) {
  if (of.is(Type::Undefined)) fail(of.string());
  if (name.starts_with("__"))
    return Value::undefined(
        cat("access to attribute '", name, "' of '", type_name(of), "' object is unsafe."));
  if (!of.is(Type::Namespace)) {
    Value m = method(of, name);
    if (!m.is(Type::Undefined)) return m;
  }
  if (of.is(Type::Dict) || of.is(Type::Namespace))
    if (const Value* v = lookup(of.items(), Value::of(name))) return *v;
  return Value::undefined(cat("'", type_name(of), " object' has no attribute '", name, "'"));
}

Value slice(const Value& of, const Value& from, const Value& to, const Value& step) {
  auto number = [](const Value& v, int64_t fallback) {
    if (v.is(Type::None)) return fallback;
    if (!v.is_integer()) fail("slice indices must be integers or None or have an __index__ method");
    return v.integer();
  };
  if (of.is(Type::Undefined)) fail(of.string());
  if (!of.is_sequence() && !of.is(Type::String)) fail(cat("'", type_name(of), "' object can't be sliced"));
  const int64_t by = number(step, 1), n = length(of);
  if (by == 0) fail("slice step cannot be zero");
  auto place = [&](const Value& v, int64_t fallback) {
    if (v.is(Type::None)) return fallback;
    int64_t i = number(v, 0);
    if (i < 0) i = std::max(i + n, by < 0 ? int64_t{-1} : int64_t{0});
    return std::min(i, by < 0 ? n - 1 : n);
  };
  const int64_t begin = place(from, by < 0 ? n - 1 : 0), end = place(to, by < 0 ? -1 : n);
  const Values all = of.is(Type::String) ? Values() : of.values();
  const std::vector<std::string> text =
      of.is(Type::String) ? characters(of.string()) : std::vector<std::string>();
  Values out;
  std::string s;
  for (int64_t i = begin; by > 0 ? i < end : i > end; i += by) {
    if (of.is(Type::String))
      s += text[static_cast<size_t>(i)];
    else
      out.push_back(all[static_cast<size_t>(i)]);
    if (by > n || by < -n) break;
  }
  if (of.is(Type::String)) return Value::of(std::move(s));
  return of.is(Type::List) ? Value::list(std::move(out)) : Value::tuple(std::move(out));
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
