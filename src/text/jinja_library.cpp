// Jinja's filters and tests: those that chat templates use.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

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
Value Call::get(size_t place, std::string_view key, const Value& fallback) const {
  const Value* v = find(place, key);
  return v ? *v : fallback;
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

// `attribute` of map, sort and their like: "a.b", an integer, or null.
Value path_of(const Value& of, const Value& path, const Value* fallback = nullptr) {
  auto or_fallback = [&](const Value& x) { return fallback && x.is(Type::Undefined) ? *fallback : x; };
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

// What a name stands for, and whether it takes nothing but its value.
constexpr bool kAlone = true;
template <class Result>
struct Row {
  using Function = Result (*)(Context& context, Call& c);
  template <class F>
  Row(F f, bool nothing_else = false) : function(f), alone(nothing_else) {}
  Result operator()(Context& context, Call& c) const {
    if (alone) c.takes({"value"});
    return function(context, c);
  }
  Function function;
  bool alone;
};

const std::map<std::string_view, Row<Value>>& filter_table() {
  static const std::map<std::string_view, Row<Value>> table = {
      {"abs",
       {[](Context&, Call& c) {
          if (!c.args[0].is_number()) fail(cat("bad operand type for abs(): '", type_name(c.args[0]), "'"));
          return c.args[0].is(Type::Float)
                     ? Value::of(std::fabs(c.args[0].real()))
                     : binary("*", c.args[0], Value::of(int64_t{c.args[0].integer() < 0 ? -1 : 1}));
        },
        kAlone}},
      {"attr",
       [](Context&, Call& c) {
         const std::string name = c.text(1, "name");
         return c.args[0].is(Type::Dict) ? method(c.args[0], name) : attribute(c.args[0], name);
       }},
      {"batch", [](Context&, Call& c) { return batched(c); }},
      {"capitalize", {[](Context&, Call& c) { return Value::of(capitalized(str(c.args[0]))); }, kAlone}},
      {"center",
       [](Context&, Call& c) {
         return Value::of(padded(str(c.args[0]), c.whole(1, "width", 80), " ", 0.5));
       }},
      {"count", {[](Context&, Call& c) { return Value::of(length(c.args[0])); }, kAlone}},
      {"d", [](Context&, Call& c) { return defaulted(c); }},
      {"default", [](Context&, Call& c) { return defaulted(c); }},
      {"dictsort", [](Context&, Call& c) { return dict_sorted(c); }},
      {"e", {[](Context&, Call& c) { return Value::of(escaped(str(c.args[0]))); }, kAlone}},
      {"escape", {[](Context&, Call& c) { return Value::of(escaped(str(c.args[0]))); }, kAlone}},
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
       {[](Context&, Call& c) {
          if (c.args[0].is(Type::Undefined)) return Value::list();
          if (!c.args[0].is(Type::Dict)) fail("Can only get item pairs from a mapping.");
          return pairs_of(c.args[0]);
        },
        kAlone}},
      {"join", [](Context&, Call& c) { return joined(c); }},
      {"last", [](Context&, Call& c) { return ends(c, false); }},
      {"length", {[](Context&, Call& c) { return Value::of(length(c.args[0])); }, kAlone}},
      {"list", {[](Context&, Call& c) { return Value::list(iterate(c.args[0])); }, kAlone}},
      {"lower", {[](Context&, Call& c) { return Value::of(lower(str(c.args[0]))); }, kAlone}},
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
      {"reverse", {[](Context&, Call& c) { return reversed(c); }, kAlone}},
      {"round", [](Context&, Call& c) { return rounded(c); }},
      {"safe", {[](Context&, Call& c) { return Value::of(str(c.args[0])); }, kAlone}},
      {"select", [](Context& x, Call& c) { return selected(x, c, false, true); }},
      {"selectattr", [](Context& x, Call& c) { return selected(x, c, true, true); }},
      {"sort", [](Context&, Call& c) { return sorted(c); }},
      {"string", {[](Context&, Call& c) { return Value::of(str(c.args[0])); }, kAlone}},
      {"sum", [](Context&, Call& c) { return summed(c); }},
      {"title", {[](Context&, Call& c) { return Value::of(titled(str(c.args[0]))); }, kAlone}},
      {"tojson", [](Context&, Call& c) { return to_json(c); }},
      {"trim",
       [](Context&, Call& c) {
         const Value* what = c.find(1, "chars");
         const std::string set = what && what->is(Type::String) ? what->string() : "";
         return Value::of(strip(str(c.args[0]), what && what->is(Type::String) ? &set : nullptr, true, true));
       }},
      {"unique", [](Context&, Call& c) { return unique(c); }},
      {"upper", {[](Context&, Call& c) { return Value::of(upper(str(c.args[0]))); }, kAlone}},
      {"wordcount",
       {[](Context&, Call& c) {
          int64_t n = 0;
          bool within = false;
          for (const std::string& x : characters(str(c.args[0]))) {
            const uint32_t p = utf8_front(x).code_point;
            const bool w = letter(p) || numeric(p) || p == '_';
            n += w && !within;
            within = w;
          }
          return Value::of(n);
        },
        kAlone}},
  };
  return table;
}

using Test = Row<bool>;
const std::map<std::string_view, Test>& test_table() {
  static const auto ordered = [](Call& c, const char* op) {
    return compare(c.args[0], c.need(1, "other"), op);
  };
  static const Test same = [](Context&, Call& c) { return equal(c.args[0], c.need(1, "other")); };
  static const Test other = [](Context&, Call& c) { return !equal(c.args[0], c.need(1, "other")); };
  static const Test ge = [](Context&, Call& c) { return ordered(c, ">=") >= 0; };
  static const Test gt = [](Context&, Call& c) { return ordered(c, ">") > 0; };
  static const Test le = [](Context&, Call& c) { return ordered(c, "<=") <= 0; };
  static const Test lt = [](Context&, Call& c) { return ordered(c, "<") < 0; };
  static const auto rest = [](Call& c, int64_t by) { return binary("%", c.args[0], Value::of(by)).real(); };
  static const std::map<std::string_view, Test> table = {
      {"boolean", {[](Context&, Call& c) { return c.args[0].is(Type::Bool); }, kAlone}},
      {"callable",
       {[](Context&, Call& c) { return c.args[0].is(Type::Function) || c.args[0].is(Type::Undefined); },
        kAlone}},
      {"defined", {[](Context&, Call& c) { return !c.args[0].is(Type::Undefined); }, kAlone}},
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
      {"even", {[](Context&, Call& c) { return rest(c, 2) == 0; }, kAlone}},
      {"odd", {[](Context&, Call& c) { return rest(c, 2) == 1; }, kAlone}},
      {"false", {[](Context&, Call& c) { return c.args[0].is(Type::Bool) && !c.args[0].integer(); }, kAlone}},
      {"true", {[](Context&, Call& c) { return c.args[0].is(Type::Bool) && c.args[0].integer(); }, kAlone}},
      {"filter", {[](Context&, Call& c) { return has_filter(c.text(0, "value")); }, kAlone}},
      {"test", {[](Context&, Call& c) { return has_test(c.text(0, "value")); }, kAlone}},
      {"float", [](Context&, Call& c) { return c.args[0].is(Type::Float); }},
      {"in", [](Context&, Call& c) { return contains(c.need(1, "seq"), c.args[0]); }},
      {"integer", {[](Context&, Call& c) { return c.args[0].is(Type::Int); }, kAlone}},
      {"iterable",
       {[](Context&, Call& c) {
          const Value& v = c.args[0];
          return v.is(Type::String) || v.is_sequence() || v.is(Type::Dict) || v.is(Type::Undefined);
        },
        kAlone}},
      {"lower",
       {[](Context&, Call& c) {
          return lower(str(c.args[0])) == str(c.args[0]) && upper(str(c.args[0])) != str(c.args[0]);
        },
        kAlone}},
      {"upper",
       {[](Context&, Call& c) {
          return upper(str(c.args[0])) == str(c.args[0]) && lower(str(c.args[0])) != str(c.args[0]);
        },
        kAlone}},
      {"mapping", {[](Context&, Call& c) { return c.args[0].is(Type::Dict); }, kAlone}},
      {"none", {[](Context&, Call& c) { return c.args[0].is(Type::None); }, kAlone}},
      {"number", {[](Context&, Call& c) { return c.args[0].is_number(); }, kAlone}},
      {"sameas", [](Context&, Call& c) { return c.args[0].same(c.need(1, "other")); }},
      {"sequence",
       {[](Context&, Call& c) {
          const Value& v = c.args[0];
          return v.is(Type::String) || v.is_sequence() || v.is(Type::Dict) || v.is(Type::Undefined);
        },
        kAlone}},
      {"string", {[](Context&, Call& c) { return c.args[0].is(Type::String); }, kAlone}},
      {"undefined", {[](Context&, Call& c) { return c.args[0].is(Type::Undefined); }, kAlone}},
  };
  return table;
}

}  // namespace

bool has_filter(std::string_view name) { return filter_table().count(name) > 0; }
bool has_test(std::string_view name) { return test_table().count(name) > 0; }
Value filter(Context& context, std::string_view name, Call& call) {
  return filter_table().at(name)(context, call);
}
bool test(Context& context, std::string_view name, Call& call) {
  return test_table().at(name)(context, call);
}

}  // namespace mc::jinja
