// Values as Python compares and combines them.
#include <algorithm>
#include <cmath>
#include <limits>

#include "jinja.h"
#include "mc/detail/str.h"

namespace mc::jinja {
namespace {

constexpr size_t kMaxBytes = size_t{64} << 20;

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

}  // namespace mc::jinja
