// Python's methods of strings, lists and dicts: those that chat templates use.
#include <algorithm>
#include <charconv>
#include <map>

#include <utf8proc.h>

#include "jinja.h"
#include "mc/detail/str.h"
#include "unicode.h"

namespace mc::jinja {

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

bool letter(uint32_t c) {
  const uint32_t k = category(classify(c));
  return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}

bool numeric(uint32_t c) {
  const uint32_t k = category(classify(c));
  return k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO;
}

std::string padded(const std::string& s, int64_t width, const std::string& fill, double left) {
  const int64_t missing = std::max<int64_t>(width, 0) - length(Value::of(s));
  if (missing <= 0) return s;
  if (length(Value::of(fill)) != 1) fail("The fill character must be exactly one character long");
  check_size(static_cast<size_t>(missing));
  // Python's center puts the odd one to the left where the width is odd.
  const int64_t before = left == 0.5 ? missing / 2 + (missing & width & 1) : left == 1 ? missing : 0;
  std::string out;
  for (int64_t i = 0; i < before; ++i) out += fill;
  out += s;
  for (int64_t i = before; i < missing; ++i) out += fill;
  return out;
}

Value pairs_of(const Value& dict) {
  Values v;
  for (const auto& [key, x] : dict.items()) v.push_back(Value::tuple({key, x}));
  return Value::list(std::move(v));
}

namespace {

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

template <class Is>
bool every(const std::string& s, Is&& is) {
  if (s.empty()) return false;
  for (std::string_view rest = s; !rest.empty();)
    if (const Front c = take_character(rest); !c.valid || !is(c.code_point)) return false;
  return true;
}
bool digit(uint32_t c) {
  return category(classify(c)) == UTF8PROC_CATEGORY_ND || c == 0xB2 || c == 0xB3 || c == 0xB9;
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

// What a method does, and whether it takes no arguments.
constexpr bool kAlone = true;
struct StringMethod {
  template <class F>
  StringMethod(F f, bool nothing = false) : function(f), alone(nothing) {}
  Value operator()(const std::string& s, Call& c) const {
    if (alone) c.takes({});
    return function(s, c);
  }
  Value (*function)(const std::string& s, Call& c);
  bool alone;
};
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
      {"upper", {[](const std::string& s, Call&) { return Value::of(upper(s)); }, kAlone}},
      {"lower", {[](const std::string& s, Call&) { return Value::of(lower(s)); }, kAlone}},
      {"casefold", {[](const std::string& s, Call&) { return Value::of(lower(s)); }, kAlone}},
      {"title", {[](const std::string& s, Call&) { return Value::of(python_title(s)); }, kAlone}},
      {"capitalize", {[](const std::string& s, Call&) { return Value::of(capitalized(s)); }, kAlone}},
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
       {[](const std::string& s, Call&) {
          Values v;
          for (std::string& line : split_lines(s)) v.push_back(Value::of(std::move(line)));
          return Value::list(std::move(v));
        },
        kAlone}},
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
         const std::string rest = padded(
             s.substr(sign ? 1 : 0), std::max<int64_t>(c.whole(0, "width", 0), 1) - (sign ? 1 : 0), "0", 1);
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
      {"isdigit", {[](const std::string& s, Call&) { return Value::of(every(s, digit)); }, kAlone}},
      {"isdecimal",
       {[](const std::string& s, Call&) {
          return Value::of(
              every(s, [](uint32_t c) { return category(classify(c)) == UTF8PROC_CATEGORY_ND; }));
        },
        kAlone}},
      {"isnumeric", {[](const std::string& s, Call&) { return Value::of(every(s, numeric)); }, kAlone}},
      {"isalpha", {[](const std::string& s, Call&) { return Value::of(every(s, letter)); }, kAlone}},
      {"isalnum",
       {[](const std::string& s, Call&) {
          return Value::of(every(s, [](uint32_t c) { return letter(c) || numeric(c); }));
        },
        kAlone}},
      {"isspace",
       {[](const std::string& s, Call&) {
          return Value::of(!s.empty() && strip(s, nullptr, true, false).empty());
        },
        kAlone}},
      {"isupper",
       {[](const std::string& s, Call&) { return Value::of(upper(s) == s && lower(s) != s); }, kAlone}},
      {"islower",
       {[](const std::string& s, Call&) { return Value::of(lower(s) == s && upper(s) != s); }, kAlone}},
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

}  // namespace mc::jinja
