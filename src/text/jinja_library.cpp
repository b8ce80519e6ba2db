// Jinja's filters and tests, Python's methods of strings, lists and dicts: those that chat templates use.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <set>

#include <utf8proc.h>

#include "jinja.h"
#include "mc/detail/str.h"
#include "unicode.h"

namespace mc::jinja {

const Value* Call::find(size_t place, std::string_view key) const {
  if (place < args.size()) return &args[place];
  for (const auto& [n, v] : named)
    if (n == key) return &v;
  return nullptr;
}
Value Call::get(size_t place, std::string_view key, Value fallback) const {
  const Value* v = find(place, key);
  return v ? *v : std::move(fallback);
}
const Value& Call::need(size_t place, std::string_view key) const {
  const Value* v = find(place, key);
  if (!v) fail(cat(name, "() misses the argument '", key, "'"));
  return *v;
}
std::string Call::text(size_t place, std::string_view key) const {
  const Value& v = need(place, key);
  if (!v.is(Type::String))
    fail(v.is(Type::Undefined) ? v.string() : cat(name, "() takes a str as '", key, "', not ", type_name(v)));
  return v.string();
}
int64_t Call::whole(size_t place, std::string_view key, int64_t fallback) const {
  const Value* v = find(place, key);
  if (!v || v->is(Type::None)) return fallback;
  if (!v->is_integer())
    fail(v->is(Type::Undefined) ? v->string()
                                : cat("'", type_name(*v), "' object cannot be interpreted as an integer"));
  return v->integer();
}
bool Call::flag(size_t place, std::string_view key, bool fallback) const {
  const Value* v = find(place, key);
  return v ? truth(*v) : fallback;
}
void Call::takes(std::initializer_list<std::string_view> names) const {
  if (args.size() > names.size())
    fail(cat(name, "() takes at most ", names.size(), " arguments, got ", args.size()));
  for (const auto& [n, v] : named)
    if (std::find(names.begin(), names.end(), n) == names.end())
      fail(cat(name, "() has no argument '", n, "'"));
}

namespace {

std::vector<std::string> split_lines(const std::string& s) {
  std::vector<std::string> out;
  size_t begin = 0;
  for (size_t i = 0; i < s.size(); ++i) {
    size_t n = 0;
    if (s[i] == '\n' || s[i] == '\v' || s[i] == '\f' || (s[i] >= 0x1C && s[i] <= 0x1E)) n = 1;
    if (s[i] == '\r') n = i + 1 < s.size() && s[i + 1] == '\n' ? 2 : 1;
    if (s.compare(i, 2, "\xC2\x85") == 0) n = 2;
    if (s.compare(i, 3, "\xE2\x80\xA8") == 0 || s.compare(i, 3, "\xE2\x80\xA9") == 0) n = 3;
    if (n == 0) continue;
    out.push_back(s.substr(begin, i - begin));
    i += n - 1;
    begin = i + 1;
  }
  if (begin < s.size()) out.push_back(s.substr(begin));
  return out;
}

Values split(const std::string& s, const Value* by, int64_t most, bool from_right) {
  Values out;
  auto put = [&](std::string_view part) { out.push_back(Value::of(part)); };
  if (!by || by->is(Type::None)) {
    std::string rest = strip(s, nullptr, true, true);
    if (rest.empty()) return out;
    const std::vector<std::string> cs = characters(rest);
    auto space = [&](size_t i) { return strip(cs[i], nullptr, true, false).empty(); };
    std::vector<std::pair<size_t, size_t>> words;
    for (size_t i = 0; i < cs.size();) {
      if (space(i)) {
        ++i;
        continue;
      }
      const size_t begin = i;
      while (i < cs.size() && !space(i)) ++i;
      words.emplace_back(begin, i);
    }
    auto text = [&](size_t a, size_t b) {
      std::string t;
      for (size_t i = a; i < b; ++i) t += cs[i];
      return t;
    };
    const size_t n = words.size(), keep = most < 0 ? n : static_cast<size_t>(most);
    if (keep + 1 >= n) {
      for (auto [a, b] : words) put(text(a, b));
    } else if (from_right) {
      put(text(0, words[n - 1 - keep].second));
      for (size_t i = n - keep; i < n; ++i) put(text(words[i].first, words[i].second));
    } else {
      for (size_t i = 0; i < keep; ++i) put(text(words[i].first, words[i].second));
      put(text(words[keep].first, cs.size()));
    }
    return out;
  }
  if (!by->is(Type::String)) fail(cat("must be str or None, not ", type_name(*by)));
  const std::string& sep = by->string();
  if (sep.empty()) fail("empty separator");
  std::string_view rest = s;
  if (from_right) {
    for (int64_t n = 0; most < 0 || n < most; ++n) {
      const size_t at = rest.rfind(sep);
      if (at == std::string_view::npos) break;
      put(rest.substr(at + sep.size()));
      rest = rest.substr(0, at);
    }
    put(rest);
    std::reverse(out.begin(), out.end());
    return out;
  }
  for (int64_t n = 0; most < 0 || n < most; ++n) {
    const size_t at = rest.find(sep);
    if (at == std::string_view::npos) break;
    put(rest.substr(0, at));
    rest = rest.substr(at + sep.size());
  }
  put(rest);
  return out;
}

std::string replaced(const std::string& s, const std::string& what, const std::string& by, int64_t most) {
  std::string out;
  size_t at = 0;
  int64_t n = 0;
  if (what.empty()) {
    for (const std::string& c : characters(s)) {
      if (most < 0 || n < most) out += by, ++n;
      out += c;
    }
    if (most < 0 || n < most) out += by;
    return out;
  }
  for (size_t hit; (most < 0 || n < most) && (hit = s.find(what, at)) != std::string::npos;
       at = hit + what.size(), ++n) {
    out.append(s, at, hit - at).append(by);
    check_size(out.size());
  }
  return out.append(s, at);
}

template <class Is>
bool every(const std::string& s, Is&& is) {
  if (s.empty()) return false;
  for (std::string_view rest = s; !rest.empty();) {
    const Utf8 u = utf8_front(rest);
    if (!u.bytes || !is(u.code_point)) return false;
    rest.remove_prefix(u.bytes);
  }
  return true;
}
bool letter(uint32_t c) {
  const uint32_t k = category(classify(c));
  return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}
bool digit(uint32_t c) {
  return category(classify(c)) == UTF8PROC_CATEGORY_ND || c == 0xB2 || c == 0xB3 || c == 0xB9;
}
bool numeric(uint32_t c) {
  const uint32_t k = category(classify(c));
  return k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO;
}

std::string python_title(const std::string& s) {
  std::string out;
  bool within = false;
  for (const std::string& c : characters(s)) {
    const Utf8 u = utf8_front(c);
    const bool l = u.bytes && letter(u.code_point);
    out += !l ? c : within ? lower(c) : title(c);
    within = l;
  }
  return out;
}

// "{}", "{0}", "{name}" without conversions.
std::string format_braces(const std::string& s, Call& c) {
  std::string out;
  size_t next = 0;
  for (size_t i = 0; i < s.size(); ++i) {
    if ((s[i] == '{' || s[i] == '}') && i + 1 < s.size() && s[i + 1] == s[i]) {
      out += s[i++];
      continue;
    }
    if (s[i] == '}') fail("Single '}' encountered in format string");
    if (s[i] != '{') {
      out += s[i];
      continue;
    }
    const size_t end = s.find('}', i);
    if (end == std::string::npos) fail("expected '}' before end of string");
    const std::string field = s.substr(i + 1, end - i - 1);
    i = end;
    if (field.find_first_of(":!.[") != std::string::npos)
      fail(cat("the format field '{", field.substr(0, 40), "}' is not supported"));
    size_t place = 0;
    if (field.empty())
      place = next++;
    else if (const auto r = std::from_chars(field.data(), field.data() + field.size(), place);
             r.ec != std::errc())
      place = c.args.size();
    const Value* v = c.find(place, field);
    if (!v) fail(cat("format() has no value for '{", field.substr(0, 40), "}'"));
    out += str(*v);
    check_size(out.size());
  }
  return out;
}

std::string padded(const std::string& s, int64_t width, const std::string& fill, double left) {
  const int64_t missing = width - length(Value::of(s));
  if (missing <= 0) return s;
  check_size(static_cast<size_t>(missing) * fill.size());
  // Python's center puts the odd one to the left where the width is odd.
  const int64_t before = left == 0.5 ? missing / 2 + (missing & width & 1) : left == 1 ? missing : 0;
  std::string out;
  for (int64_t i = 0; i < before; ++i) out += fill;
  out += s;
  for (int64_t i = before; i < missing; ++i) out += fill;
  return out;
}

bool any_affix(const Value& v, const std::string& s, bool front) {
  if (v.is(Type::Tuple))
    return std::any_of(v.values().begin(), v.values().end(),
                       [&](const Value& x) { return any_affix(x, s, front); });
  if (!v.is(Type::String))
    fail(cat(front ? "startswith" : "endswith", " first arg must be str or a tuple of str, not ",
             type_name(v)));
  return front ? s.starts_with(v.string()) : s.ends_with(v.string());
}

// Of characters, from and to as slices have them; -1 where there is none.
int64_t found(const std::string& s, Call& c, bool right) {
  const std::string what = c.text(0, "sub");
  const int64_t from = c.whole(1, "start", 0);
  const Value part = slice(Value::of(s), Value::of(from), c.get(2, "end", Value::none()), Value::none());
  const size_t at = right ? part.string().rfind(what) : part.string().find(what);
  if (at == std::string::npos) return -1;
  const int64_t n = length(Value::of(s)),
                begin = from < 0 ? std::max<int64_t>(from + n, 0) : std::min(from, n);
  return begin + length(Value::of(part.string().substr(0, at)));
}

using StringMethod = Value (*)(const std::string& s, Call& c);
const std::map<std::string_view, StringMethod>& string_methods() {
  auto stripped = [](const std::string& s, Call& c, bool left, bool right) {
    c.takes({"chars"});
    const Value* what = c.find(0, "chars");
    if (!what || what->is(Type::None)) return Value::of(strip(s, nullptr, left, right));
    const std::string set = c.text(0, "chars");
    return Value::of(strip(s, &set, left, right));
  };
  static const auto strip_with = stripped;
  static const std::map<std::string_view, StringMethod> table = {
      {"strip", [](const std::string& s, Call& c) { return strip_with(s, c, true, true); }},
      {"lstrip", [](const std::string& s, Call& c) { return strip_with(s, c, true, false); }},
      {"rstrip", [](const std::string& s, Call& c) { return strip_with(s, c, false, true); }},
      {"upper", [](const std::string& s, Call&) { return Value::of(upper(s)); }},
      {"lower", [](const std::string& s, Call&) { return Value::of(lower(s)); }},
      {"casefold", [](const std::string& s, Call&) { return Value::of(lower(s)); }},
      {"title", [](const std::string& s, Call&) { return Value::of(python_title(s)); }},
      {"capitalize", [](const std::string& s, Call&) { return Value::of(capitalized(s)); }},
      {"split",
       [](const std::string& s, Call& c) {
         c.takes({"sep", "maxsplit"});
         return Value::list(split(s, c.find(0, "sep"), c.whole(1, "maxsplit", -1), false));
       }},
      {"rsplit",
       [](const std::string& s, Call& c) {
         c.takes({"sep", "maxsplit"});
         return Value::list(split(s, c.find(0, "sep"), c.whole(1, "maxsplit", -1), true));
       }},
      {"splitlines",
       [](const std::string& s, Call& c) {
         c.takes({});
         Values v;
         for (std::string& line : split_lines(s)) v.push_back(Value::of(std::move(line)));
         return Value::list(std::move(v));
       }},
      {"partition",
       [](const std::string& s, Call& c) {
         const std::string by = c.text(0, "sep");
         const size_t at = by.empty() ? std::string::npos : s.find(by);
         if (at == std::string::npos) return Value::tuple({Value::of(s), Value::of(""), Value::of("")});
         return Value::tuple(
             {Value::of(s.substr(0, at)), Value::of(by), Value::of(s.substr(at + by.size()))});
       }},
      {"rpartition",
       [](const std::string& s, Call& c) {
         const std::string by = c.text(0, "sep");
         const size_t at = by.empty() ? std::string::npos : s.rfind(by);
         if (at == std::string::npos) return Value::tuple({Value::of(""), Value::of(""), Value::of(s)});
         return Value::tuple(
             {Value::of(s.substr(0, at)), Value::of(by), Value::of(s.substr(at + by.size()))});
       }},
      {"startswith",
       [](const std::string& s, Call& c) { return Value::of(any_affix(c.need(0, "prefix"), s, true)); }},
      {"endswith",
       [](const std::string& s, Call& c) { return Value::of(any_affix(c.need(0, "suffix"), s, false)); }},
      {"removeprefix",
       [](const std::string& s, Call& c) {
         const std::string p = c.text(0, "prefix");
         return Value::of(s.starts_with(p) ? s.substr(p.size()) : s);
       }},
      {"removesuffix",
       [](const std::string& s, Call& c) {
         const std::string p = c.text(0, "suffix");
         return Value::of(s.ends_with(p) ? s.substr(0, s.size() - p.size()) : s);
       }},
      {"replace",
       [](const std::string& s, Call& c) {
         return Value::of(replaced(s, c.text(0, "old"), c.text(1, "new"), c.whole(2, "count", -1)));
       }},
      {"find", [](const std::string& s, Call& c) { return Value::of(found(s, c, false)); }},
      {"rfind", [](const std::string& s, Call& c) { return Value::of(found(s, c, true)); }},
      {"index",
       [](const std::string& s, Call& c) {
         const int64_t at = found(s, c, false);
         if (at < 0) fail("substring not found");
         return Value::of(at);
       }},
      {"count",
       [](const std::string& s, Call& c) {
         const std::string what = c.text(0, "sub");
         if (what.empty()) return Value::of(length(Value::of(s)) + 1);
         int64_t n = 0;
         for (size_t at = 0; (at = s.find(what, at)) != std::string::npos; at += what.size()) ++n;
         return Value::of(n);
       }},
      {"join",
       [](const std::string& s, Call& c) {
         std::string out;
         bool first = true;
         for (const Value& v : iterate(c.need(0, "iterable"))) {
           if (!v.is(Type::String))
             fail(cat("sequence item: expected str instance, ", type_name(v), " found"));
           if (!first) out += s;
           out += v.string();
           check_size(out.size());
           first = false;
         }
         return Value::of(std::move(out));
       }},
      {"format", [](const std::string& s, Call& c) { return Value::of(format_braces(s, c)); }},
      {"zfill",
       [](const std::string& s, Call& c) {
         const bool sign = s.starts_with('-') || s.starts_with('+');
         const std::string rest =
             padded(s.substr(sign ? 1 : 0), c.whole(0, "width", 0) - (sign ? 1 : 0), "0", 1);
         return Value::of(sign ? s.substr(0, 1) + rest : rest);
       }},
      {"ljust",
       [](const std::string& s, Call& c) {
         return Value::of(
             padded(s, c.whole(0, "width", 0), c.get(1, "fillchar", Value::of(" ")).string(), 0));
       }},
      {"rjust",
       [](const std::string& s, Call& c) {
         return Value::of(
             padded(s, c.whole(0, "width", 0), c.get(1, "fillchar", Value::of(" ")).string(), 1));
       }},
      {"center",
       [](const std::string& s, Call& c) {
         return Value::of(
             padded(s, c.whole(0, "width", 0), c.get(1, "fillchar", Value::of(" ")).string(), 0.5));
       }},
      {"isdigit", [](const std::string& s, Call&) { return Value::of(every(s, digit)); }},
      {"isdecimal",
       [](const std::string& s, Call&) {
         return Value::of(every(s, [](uint32_t c) { return category(classify(c)) == UTF8PROC_CATEGORY_ND; }));
       }},
      {"isnumeric", [](const std::string& s, Call&) { return Value::of(every(s, numeric)); }},
      {"isalpha", [](const std::string& s, Call&) { return Value::of(every(s, letter)); }},
      {"isalnum",
       [](const std::string& s, Call&) {
         return Value::of(every(s, [](uint32_t c) { return letter(c) || numeric(c); }));
       }},
      {"isspace", [](const std::string& s,
                     Call&) { return Value::of(!s.empty() && strip(s, nullptr, true, false).empty()); }},
      {"isupper", [](const std::string& s, Call&) { return Value::of(upper(s) == s && lower(s) != s); }},
      {"islower", [](const std::string& s, Call&) { return Value::of(lower(s) == s && upper(s) != s); }},
  };
  return table;
}

constexpr std::string_view kChanging[] = {"append",  "extend", "insert", "remove",     "pop",    "clear",
                                          "reverse", "sort",   "update", "setdefault", "popitem"};

Value list_method(const Value& of, std::string_view name) {
  if (name == "index")
    return Value::function("index", [of](Call& c) {
      const Value& x = c.need(0, "value");
      for (size_t i = 0; i < of.values().size(); ++i)
        if (equal(of.values()[i], x)) return Value::of(static_cast<int64_t>(i));
      fail(cat(repr(x), " is not in list"));
    });
  if (name == "count")
    return Value::function("count", [of](Call& c) {
      const Value& x = c.need(0, "value");
      return Value::of(static_cast<int64_t>(std::count_if(of.values().begin(), of.values().end(),
                                                          [&](const Value& y) { return equal(x, y); })));
    });
  if (name == "copy" && of.is(Type::List))
    return Value::function("copy", [of](Call&) { return Value::list(of.values()); });
  return {};
}

Value pairs_of(const Value& dict) {
  Values v;
  for (const auto& [key, x] : dict.items()) v.push_back(Value::tuple({key, x}));
  return Value::list(std::move(v));
}

Value dict_method(const Value& of, std::string_view name) {
  if (name == "items") return Value::function("items", [of](Call&) { return pairs_of(of); });
  if (name == "keys") return Value::function("keys", [of](Call&) { return Value::list(iterate(of)); });
  if (name == "values")
    return Value::function("values", [of](Call&) {
      Values v;
      for (const auto& x : of.items()) v.push_back(x.second);
      return Value::list(std::move(v));
    });
  if (name == "get")
    return Value::function("get", [of](Call& c) {
      const Value* v = lookup(of.items(), c.need(0, "key"));
      return v ? *v : c.get(1, "default", Value::none());
    });
  if (name == "copy") return Value::function("copy", [of](Call&) { return Value::dict(of.items()); });
  return {};
}

// `attribute` of map, sort and their like: "a.b", an integer, or null.
Value path_of(const Value& of, const Value& path, const Value* fallback = nullptr) {
  auto or_fallback = [&](Value x) { return fallback && x.is(Type::Undefined) ? *fallback : x; };
  if (path.is_integer()) return or_fallback(item(of, path));
  Value v = of;
  std::string_view rest = path.string();
  for (;;) {
    const size_t dot = rest.find('.');
    const std::string part(rest.substr(0, dot));
    int64_t i = 0;
    const auto r = std::from_chars(part.data(), part.data() + part.size(), i);
    if (v.is(Type::Undefined)) fail(v.string());
    v = or_fallback(r.ec == std::errc() && r.ptr == part.data() + part.size() ? item(v, Value::of(i))
                                                                              : item(v, Value::of(part)));
    if (dot == std::string_view::npos) return v;
    rest.remove_prefix(dot + 1);
  }
}

Value folded(const Value& v, bool sensitive) {
  return !sensitive && v.is(Type::String) ? Value::of(lower(v.string())) : v;
}

double number_of(const std::string& s, bool& good) {
  const std::string t = strip(s, nullptr, true, true);
  double x = 0;
  const char* begin = t.c_str() + (t.starts_with('+') ? 1 : 0);
  const auto r = std::from_chars(begin, t.c_str() + t.size(), x);
  good = !t.empty() && r.ec == std::errc() && r.ptr == t.c_str() + t.size();
  return x;
}

Value to_int(Call& c) {
  c.takes({"value", "default", "base"});
  const Value& v = c.args[0];
  const Value fallback = c.get(1, "default", Value::of(int64_t{0}));
  if (v.is_integer()) return Value::of(v.integer());
  if (v.is(Type::Float))
    return std::isfinite(v.real()) && std::fabs(v.real()) < 9e18 ? Value::of(static_cast<int64_t>(v.real()))
                                                                 : fallback;
  if (!v.is(Type::String)) return fallback;
  std::string s = strip(v.string(), nullptr, true, true);
  std::erase(s, '_');
  int64_t i = 0;
  const char* begin = s.c_str() + (s.starts_with('+') ? 1 : 0);
  auto r = std::from_chars(begin, s.c_str() + s.size(), i,
                           static_cast<int>(std::clamp<int64_t>(c.whole(2, "base", 10), 2, 36)));
  if (!s.empty() && r.ec == std::errc() && r.ptr == s.c_str() + s.size()) return Value::of(i);
  bool good = false;
  const double x = number_of(s, good);
  return good && std::isfinite(x) && std::fabs(x) < 9e18 ? Value::of(static_cast<int64_t>(x)) : fallback;
}

Value to_float(Call& c) {
  c.takes({"value", "default"});
  const Value& v = c.args[0];
  if (v.is_number()) return Value::of(v.real());
  bool good = false;
  const double x = v.is(Type::String) ? number_of(v.string(), good) : 0;
  return good ? Value::of(x) : c.get(1, "default", Value::of(0.0));
}

Value rounded(Call& c) {
  c.takes({"value", "precision", "method"});
  const Value& v = c.args[0];
  if (!v.is_number()) fail(cat("type ", type_name(v), " doesn't define __round__ method"));
  const int64_t places = c.whole(1, "precision", 0);
  const std::string method = c.get(2, "method", Value::of("common")).string();
  if (method != "common" && method != "ceil" && method != "floor")
    fail("method must be common, ceil or floor");
  if (places < -300 || places > 300) fail("round()'s precision is out of range");
  if (method != "common") {
    const double scale = std::pow(10.0, static_cast<double>(places));
    return Value::of((method == "ceil" ? std::ceil(v.real() * scale) : std::floor(v.real() * scale)) / scale);
  }
  if (v.is_integer() && places >= 0) return Value::of(v.integer());
  if (places < 0) {
    const double scale = std::pow(10.0, static_cast<double>(-places));
    return Value::of(std::nearbyint(v.real() / scale) * scale);
  }
  char buffer[800];
  std::snprintf(buffer, sizeof buffer, "%.*f", static_cast<int>(places), v.real());
  return Value::of(std::strtod(buffer, nullptr));
}

std::string escaped(const std::string& s) {
  std::string out;
  for (char ch : s) {
    if (ch == '&')
      out += "&amp;";
    else if (ch == '<')
      out += "&lt;";
    else if (ch == '>')
      out += "&gt;";
    else if (ch == '\'')
      out += "&#39;";
    else if (ch == '"')
      out += "&#34;";
    else
      out += ch;
  }
  return out;
}

std::string titled(const std::string& s) {
  std::string out;
  bool within = false;
  for (const std::string& c : characters(s)) {
    const bool cut =
        std::string_view("-({[<").find(c) != std::string_view::npos || strip(c, nullptr, true, false).empty();
    out += cut ? c : within ? lower(c) : upper(c);
    within = !cut;
  }
  return out;
}

Value indented(Call& c) {
  c.takes({"s", "width", "first", "blank"});
  const Value width = c.get(1, "width", Value::of(int64_t{4}));
  if (width.is_integer() && (width.integer() < 0 || width.integer() > 10000))
    fail("indent()'s width is out of range");
  const std::string by =
      width.is(Type::String) ? width.string() : std::string(static_cast<size_t>(width.integer()), ' ');
  const std::vector<std::string> lines = split_lines(str(c.args[0]) + "\n");
  std::string out = c.flag(2, "first", false) ? by : "";
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out += "\n";
    if (i > 0 && (c.flag(3, "blank", false) || !lines[i].empty())) out += by;
    out += lines[i];
    check_size(out.size());
  }
  return Value::of(std::move(out));
}

Value sorted(Call& c) {
  c.takes({"value", "reverse", "case_sensitive", "attribute"});
  Values v = iterate(c.args[0]);
  const bool sensitive = c.flag(2, "case_sensitive", false), back = c.flag(1, "reverse", false);
  const Value by = c.get(3, "attribute", Value::none());
  std::vector<std::pair<Value, Value>> keyed;
  for (Value& x : v) {
    Value key = folded(by.is(Type::None) ? x : path_of(x, by), sensitive);
    keyed.emplace_back(std::move(key), std::move(x));
  }
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    const int o = compare(a.first, b.first, "<");
    return back ? o > 0 : o < 0;
  });
  v.clear();
  for (auto& [key, x] : keyed) v.push_back(std::move(x));
  return Value::list(std::move(v));
}

Value unique(Call& c) {
  c.takes({"value", "case_sensitive", "attribute"});
  const Value by = c.get(2, "attribute", Value::none());
  Values out, seen;
  for (const Value& x : iterate(c.args[0])) {
    const Value key = folded(by.is(Type::None) ? x : path_of(x, by), c.flag(1, "case_sensitive", false));
    if (std::any_of(seen.begin(), seen.end(), [&](const Value& y) { return equal(key, y); })) continue;
    seen.push_back(key);
    out.push_back(x);
  }
  return Value::list(std::move(out));
}

Value extreme(Call& c, bool largest) {
  c.takes({"value", "case_sensitive", "attribute"});
  const Value by = c.get(2, "attribute", Value::none());
  Value best = Value::undefined("No aggregated item, sequence was empty.");
  Value best_key;
  bool any = false;
  for (const Value& x : iterate(c.args[0])) {
    Value key = folded(by.is(Type::None) ? x : path_of(x, by), c.flag(1, "case_sensitive", false));
    const int o = any ? compare(key, best_key, "<") : 0;
    if (any && (largest ? o <= 0 : o >= 0)) continue;
    best = x, best_key = std::move(key), any = true;
  }
  return best;
}

Value dict_sorted(Call& c) {
  c.takes({"value", "case_sensitive", "by", "reverse"});
  if (!c.args[0].is(Type::Dict)) fail("dictsort takes a dict");
  const std::string by = c.get(2, "by", Value::of("key")).string();
  if (by != "key" && by != "value") fail("You can only sort by either \"key\" or \"value\"");
  const bool back = c.flag(3, "reverse", false), sensitive = c.flag(1, "case_sensitive", false);
  Items items = c.args[0].items();
  std::stable_sort(items.begin(), items.end(), [&](const auto& a, const auto& b) {
    const int o = compare(folded(by == "key" ? a.first : a.second, sensitive),
                          folded(by == "key" ? b.first : b.second, sensitive), "<");
    return back ? o > 0 : o < 0;
  });
  return pairs_of(Value::dict(std::move(items)));
}

// map and its like: the rest of the arguments belongs to the filter or test.
Call rest_of(const Call& c, size_t from, const std::string& name, const Value& x) {
  Call r{name, {x}, c.named};
  for (size_t i = from; i < c.args.size(); ++i) r.args.push_back(c.args[i]);
  return r;
}

Value mapped(Context& context, Call& c) {
  Values out;
  if (c.args.size() == 1) {
    const Value by = c.get(9, "attribute", Value::none());
    if (by.is(Type::None)) fail("map requires a filter argument");
    for (const auto& [n, v] : c.named)
      if (n != "attribute" && n != "default") fail(cat("Unexpected keyword argument '", n, "'"));
    for (const Value& x : iterate(c.args[0])) out.push_back(path_of(x, by, c.find(9, "default")));
  } else {
    const std::string name = c.text(1, "filter");
    if (!has_filter(name)) fail(cat("No filter named '", name, "'."));
    for (const Value& x : iterate(c.args[0])) {
      context.tick();
      Call r = rest_of(c, 2, name, x);
      out.push_back(filter(context, name, r));
    }
  }
  return Value::list(std::move(out));
}

Value selected(Context& context, Call& c, bool by_attribute, bool wanted) {
  Values out;
  const size_t first = by_attribute ? 2 : 1;
  if (by_attribute && c.args.size() < 2) fail("Missing parameter for attribute name");
  const std::string name = c.args.size() > first ? c.text(first, "test") : "";
  if (!name.empty() && !has_test(name)) fail(cat("No test named '", name, "'."));
  for (const Value& x : iterate(c.args[0])) {
    context.tick();
    const Value v = by_attribute ? path_of(x, c.args[1]) : x;
    bool yes = truth(v);
    if (!name.empty()) {
      Call r = rest_of(c, first + 1, name, v);
      yes = test(context, name, r);
    }
    if (yes == wanted) out.push_back(x);
  }
  return Value::list(std::move(out));
}

Value joined(Call& c) {
  c.takes({"value", "d", "attribute"});
  const std::string by = str(c.get(1, "d", Value::of("")));
  const Value path = c.get(2, "attribute", Value::none());
  std::string out;
  bool first = true;
  for (const Value& x : iterate(c.args[0])) {
    if (!first) out += by;
    out += str(path.is(Type::None) ? x : path_of(x, path));
    check_size(out.size());
    first = false;
  }
  return Value::of(std::move(out));
}

Value to_json(Call& c) {
  c.takes({"x", "ensure_ascii", "indent", "separators", "sort_keys"});
  const Value indent = c.get(2, "indent", Value::none());
  const bool lines = !indent.is(Type::None);
  std::string comma = lines ? "," : ", ", colon = ": ";
  if (const Value* s = c.find(3, "separators"); s && !s->is(Type::None)) {
    const Values two = iterate(*s);
    if (two.size() != 2 || !two[0].is(Type::String) || !two[1].is(Type::String))
      fail("separators must be two strings");
    comma = two[0].string(), colon = two[1].string();
  }
  if (lines && (!indent.is_integer() || indent.integer() > 100))
    fail("tojson's indent must be an integer up to 100");
  return Value::of(json(c.args[0], lines ? static_cast<int>(std::max<int64_t>(indent.integer(), 0)) : -1,
                        c.flag(1, "ensure_ascii", false), c.flag(4, "sort_keys", false), comma, colon));
}

Value batched(Call& c) {
  c.takes({"value", "linecount", "fill_with"});
  const int64_t n = c.whole(1, "linecount", 0);
  if (n < 1 || n > 100000) fail("batch()'s linecount is out of range");
  Values out, part;
  for (const Value& x : iterate(c.args[0])) {
    if (static_cast<int64_t>(part.size()) == n) out.push_back(Value::list(std::exchange(part, {})));
    part.push_back(x);
  }
  if (const Value* fill = c.find(2, "fill_with"); fill && !fill->is(Type::None) && !part.empty())
    part.resize(static_cast<size_t>(n), *fill);
  if (!part.empty()) out.push_back(Value::list(std::move(part)));
  return Value::list(std::move(out));
}

Value summed(Call& c) {
  c.takes({"iterable", "attribute", "start"});
  Value total = c.get(2, "start", Value::of(int64_t{0}));
  const Value by = c.get(1, "attribute", Value::none());
  for (const Value& x : iterate(c.args[0]))
    total = binary("+", total, by.is(Type::None) ? x : path_of(x, by));
  return total;
}

Value defaulted(Call& c) {
  c.takes({"value", "default_value", "boolean"});
  const Value& v = c.args[0];
  return v.is(Type::Undefined) || (c.flag(2, "boolean", false) && !truth(v))
             ? c.get(1, "default_value", Value::of(""))
             : v;
}

Value ends(Call& c, bool first) {
  c.takes({"seq"});
  const Values v = iterate(c.args[0]);
  if (v.empty()) return Value::undefined(cat("No ", first ? "first" : "last", " item, sequence was empty."));
  return first ? v.front() : v.back();
}

Value reversed(Call& c) {
  Values v = iterate(c.args[0]);
  std::reverse(v.begin(), v.end());
  if (!c.args[0].is(Type::String)) return Value::list(std::move(v));
  std::string s;
  for (const Value& x : v) s += x.string();
  return Value::of(std::move(s));
}

using FilterFn = Value (*)(Context& context, Call& c);
const std::map<std::string_view, FilterFn>& filter_table() {
  static const std::map<std::string_view, FilterFn> table = {
      {"abs",
       [](Context&, Call& c) {
         if (!c.args[0].is_number()) fail(cat("bad operand type for abs(): '", type_name(c.args[0]), "'"));
         return c.args[0].is(Type::Float)
                    ? Value::of(std::fabs(c.args[0].real()))
                    : binary("*", c.args[0], Value::of(int64_t{c.args[0].integer() < 0 ? -1 : 1}));
       }},
      {"attr",
       [](Context&, Call& c) {
         const std::string name = c.text(1, "name");
         return c.args[0].is(Type::Dict) ? method(c.args[0], name) : attribute(c.args[0], name);
       }},
      {"batch", [](Context&, Call& c) { return batched(c); }},
      {"capitalize", [](Context&, Call& c) { return Value::of(capitalized(str(c.args[0]))); }},
      {"center",
       [](Context&, Call& c) {
         return Value::of(padded(str(c.args[0]), c.whole(1, "width", 80), " ", 0.5));
       }},
      {"count", [](Context&, Call& c) { return Value::of(length(c.args[0])); }},
      {"d", [](Context&, Call& c) { return defaulted(c); }},
      {"default", [](Context&, Call& c) { return defaulted(c); }},
      {"dictsort", [](Context&, Call& c) { return dict_sorted(c); }},
      {"e", [](Context&, Call& c) { return Value::of(escaped(str(c.args[0]))); }},
      {"escape", [](Context&, Call& c) { return Value::of(escaped(str(c.args[0]))); }},
      {"first", [](Context&, Call& c) { return ends(c, true); }},
      {"float", [](Context&, Call& c) { return to_float(c); }},
      {"format",
       [](Context&, Call& c) {
         Values v(c.args.begin() + 1, c.args.end());
         return binary("%", Value::of(str(c.args[0])), Value::tuple(std::move(v)));
       }},
      {"indent", [](Context&, Call& c) { return indented(c); }},
      {"int", [](Context&, Call& c) { return to_int(c); }},
      {"items",
       [](Context&, Call& c) {
         if (c.args[0].is(Type::Undefined)) return Value::list();
         if (!c.args[0].is(Type::Dict)) fail("Can only get item pairs from a mapping.");
         return pairs_of(c.args[0]);
       }},
      {"join", [](Context&, Call& c) { return joined(c); }},
      {"last", [](Context&, Call& c) { return ends(c, false); }},
      {"length", [](Context&, Call& c) { return Value::of(length(c.args[0])); }},
      {"list", [](Context&, Call& c) { return Value::list(iterate(c.args[0])); }},
      {"lower", [](Context&, Call& c) { return Value::of(lower(str(c.args[0]))); }},
      {"map", [](Context& x, Call& c) { return mapped(x, c); }},
      {"max", [](Context&, Call& c) { return extreme(c, true); }},
      {"min", [](Context&, Call& c) { return extreme(c, false); }},
      {"reject", [](Context& x, Call& c) { return selected(x, c, false, false); }},
      {"rejectattr", [](Context& x, Call& c) { return selected(x, c, true, false); }},
      {"replace",
       [](Context&, Call& c) {
         c.takes({"s", "old", "new", "count"});
         return Value::of(
             replaced(str(c.args[0]), str(c.need(1, "old")), str(c.need(2, "new")), c.whole(3, "count", -1)));
       }},
      {"reverse", [](Context&, Call& c) { return reversed(c); }},
      {"round", [](Context&, Call& c) { return rounded(c); }},
      {"safe", [](Context&, Call& c) { return Value::of(str(c.args[0])); }},
      {"select", [](Context& x, Call& c) { return selected(x, c, false, true); }},
      {"selectattr", [](Context& x, Call& c) { return selected(x, c, true, true); }},
      {"sort", [](Context&, Call& c) { return sorted(c); }},
      {"string", [](Context&, Call& c) { return Value::of(str(c.args[0])); }},
      {"sum", [](Context&, Call& c) { return summed(c); }},
      {"title", [](Context&, Call& c) { return Value::of(titled(str(c.args[0]))); }},
      {"tojson", [](Context&, Call& c) { return to_json(c); }},
      {"trim",
       [](Context&, Call& c) {
         const Value* what = c.find(1, "chars");
         const std::string set = what && what->is(Type::String) ? what->string() : "";
         return Value::of(strip(str(c.args[0]), what && what->is(Type::String) ? &set : nullptr, true, true));
       }},
      {"unique", [](Context&, Call& c) { return unique(c); }},
      {"upper", [](Context&, Call& c) { return Value::of(upper(str(c.args[0]))); }},
      {"wordcount",
       [](Context&, Call& c) {
         int64_t n = 0;
         bool within = false;
         for (const std::string& x : characters(str(c.args[0]))) {
           const uint32_t p = utf8_front(x).code_point;
           const bool w = letter(p) || numeric(p) || p == '_';
           n += w && !within;
           within = w;
         }
         return Value::of(n);
       }},
  };
  return table;
}

using TestFn = bool (*)(Context& context, Call& c);
const std::map<std::string_view, TestFn>& test_table() {
  static const auto ordered = [](Call& c, const char* op) {
    return compare(c.args[0], c.need(1, "other"), op);
  };
  static const TestFn same = [](Context&, Call& c) { return equal(c.args[0], c.need(1, "other")); };
  static const TestFn other = [](Context&, Call& c) { return !equal(c.args[0], c.need(1, "other")); };
  static const TestFn ge = [](Context&, Call& c) { return ordered(c, ">=") >= 0; };
  static const TestFn gt = [](Context&, Call& c) { return ordered(c, ">") > 0; };
  static const TestFn le = [](Context&, Call& c) { return ordered(c, "<=") <= 0; };
  static const TestFn lt = [](Context&, Call& c) { return ordered(c, "<") < 0; };
  static const auto rest = [](Call& c, int64_t by) {
    const Value r = binary("%", c.args[0], Value::of(by));
    return r.is_integer() ? r.integer() : static_cast<int64_t>(r.real());
  };
  static const std::map<std::string_view, TestFn> table = {
      {"boolean", [](Context&, Call& c) { return c.args[0].is(Type::Bool); }},
      {"callable",
       [](Context&, Call& c) { return c.args[0].is(Type::Function) || c.args[0].is(Type::Undefined); }},
      {"defined", [](Context&, Call& c) { return !c.args[0].is(Type::Undefined); }},
      {"divisibleby", [](Context&, Call& c) { return rest(c, c.whole(1, "num", 1)) == 0; }},
      {"eq", same},
      {"equalto", same},
      {"==", same},
      {"ne", other},
      {"!=", other},
      {"ge", ge},
      {">=", ge},
      {"gt", gt},
      {"greaterthan", gt},
      {">", gt},
      {"le", le},
      {"<=", le},
      {"lt", lt},
      {"lessthan", lt},
      {"<", lt},
      {"even", [](Context&, Call& c) { return rest(c, 2) == 0; }},
      {"odd", [](Context&, Call& c) { return rest(c, 2) == 1; }},
      {"false", [](Context&, Call& c) { return c.args[0].is(Type::Bool) && !c.args[0].integer(); }},
      {"true", [](Context&, Call& c) { return c.args[0].is(Type::Bool) && c.args[0].integer(); }},
      {"filter", [](Context&, Call& c) { return has_filter(c.text(0, "value")); }},
      {"test", [](Context&, Call& c) { return has_test(c.text(0, "value")); }},
      {"float", [](Context&, Call& c) { return c.args[0].is(Type::Float); }},
      {"in", [](Context&, Call& c) { return contains(c.need(1, "seq"), c.args[0]); }},
      {"integer", [](Context&, Call& c) { return c.args[0].is(Type::Int); }},
      {"iterable",
       [](Context&, Call& c) {
         const Value& v = c.args[0];
         return v.is(Type::String) || v.is_sequence() || v.is(Type::Dict) || v.is(Type::Undefined);
       }},
      {"lower",
       [](Context&, Call& c) {
         return lower(str(c.args[0])) == str(c.args[0]) && upper(str(c.args[0])) != str(c.args[0]);
       }},
      {"upper",
       [](Context&, Call& c) {
         return upper(str(c.args[0])) == str(c.args[0]) && lower(str(c.args[0])) != str(c.args[0]);
       }},
      {"mapping", [](Context&, Call& c) { return c.args[0].is(Type::Dict); }},
      {"none", [](Context&, Call& c) { return c.args[0].is(Type::None); }},
      {"number", [](Context&, Call& c) { return c.args[0].is_number(); }},
      {"sameas", [](Context&, Call& c) { return c.args[0].same(c.need(1, "other")); }},
      {"sequence",
       [](Context&, Call& c) {
         const Value& v = c.args[0];
         return v.is(Type::String) || v.is_sequence() || v.is(Type::Dict) || v.is(Type::Undefined);
       }},
      {"string", [](Context&, Call& c) { return c.args[0].is(Type::String); }},
      {"undefined", [](Context&, Call& c) { return c.args[0].is(Type::Undefined); }},
  };
  return table;
}

}  // namespace

Value method(const Value& of, std::string_view name) {
  if (of.is(Type::String)) {
    const auto it = string_methods().find(name);
    if (it == string_methods().end()) return {};
    return Value::function(std::string(name), [s = of.string(), f = it->second](Call& c) { return f(s, c); });
  }
  if (of.is_sequence() || of.is(Type::Dict)) {
    Value m = of.is(Type::Dict) ? dict_method(of, name) : list_method(of, name);
    if (!m.is(Type::Undefined)) return m;
    const bool changes = !of.is(Type::Tuple) &&
                         std::find(std::begin(kChanging), std::end(kChanging), name) != std::end(kChanging);
    const bool its = of.is(Type::Dict) ? name == "pop" || name == "clear" || name == "update" ||
                                             name == "setdefault" || name == "popitem"
                                       : name != "update" && name != "setdefault" && name != "popitem";
    if (changes && its)
      return Value::function(std::string(name),
                             [name = std::string(name), kind = type_name(of)](Call&) -> Value {
                               fail(cat("the method '", name, "' would change a ", kind,
                                        ", which the sandbox of chat templates forbids"));
                             });
  }
  return {};
}

bool has_filter(std::string_view name) { return filter_table().count(name) > 0; }
bool has_test(std::string_view name) { return test_table().count(name) > 0; }
Value filter(Context& context, std::string_view name, Call& call) {
  return filter_table().at(name)(context, call);
}
bool test(Context& context, std::string_view name, Call& call) {
  return test_table().at(name)(context, call);
}

}  // namespace mc::jinja
