// The template language of chat templates: what Jinja 2 does in Transformers' sandbox (blocks trimmed and
// stripped, loop controls, an immutable sandbox), over values of Python's kinds.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mc::jinja {

enum class Type : uint8_t {
  Undefined,
  None,
  Bool,
  Int,
  Float,
  String,
  List,
  Tuple,
  Dict,
  Namespace,
  Function
};

class Value;
using Values = std::vector<Value>;
using Items = std::vector<std::pair<Value, Value>>;
struct Call;  // the arguments of a call
using Function = std::function<Value(Call&)>;

// What values hold, counted while it lives: templates that would fill the memory fail instead.
void hold(int64_t bytes);  // negative: let go
template <class T>
struct Held {
  Held(T v, size_t n) : value(std::move(v)), bytes(static_cast<int64_t>(n)) { hold(bytes); }
  ~Held() { hold(-bytes); }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  T value;
  int64_t bytes;
};

// A value as Python has it. Strings, lists, dicts and namespaces are shared by copies.
class Value {
 public:
  Value() = default;
  static Value undefined(std::string why) {
    Value v;
    v.set(std::move(why));
    return v;
  }
  static Value none() { return Value(Type::None); }
  static Value of(bool b) {
    Value v(Type::Bool);
    v.i_ = b;
    return v;
  }
  static Value of(int64_t i) {
    Value v(Type::Int);
    v.i_ = i;
    return v;
  }
  static Value of(double f) {
    Value v(Type::Float);
    v.f_ = f;
    return v;
  }
  static Value of(std::string s) {
    Value v(Type::String);
    v.set(std::move(s));
    return v;
  }
  static Value of(std::string_view s) { return of(std::string(s)); }
  static Value of(const char* s) { return of(std::string(s)); }
  static Value list(Values v = {}) { return Value(Type::List, std::move(v)); }
  static Value tuple(Values v = {}) { return Value(Type::Tuple, std::move(v)); }
  static Value dict(Items v = {}) { return Value(Type::Dict, std::move(v)); }
  static Value space(Items v = {}) { return Value(Type::Namespace, std::move(v)); }
  static Value function(std::string name, Function f) {
    Value v(Type::Function);
    v.set(std::move(name));
    v.function_ = std::make_shared<const Function>(std::move(f));
    return v;
  }

  Type type() const { return type_; }
  bool is(Type t) const { return type_ == t; }
  bool is_sequence() const { return is(Type::List) || is(Type::Tuple); }
  bool is_integer() const { return is(Type::Int) || is(Type::Bool); }
  bool is_number() const { return is_integer() || is(Type::Float); }
  int64_t integer() const { return i_; }  // of Bool and Int
  double real() const { return is(Type::Float) ? f_ : static_cast<double>(i_); }
  // Of String; of Undefined why it is; of Function its name.
  const std::string& string() const {
    static const std::string none;
    return s_ ? s_->value : none;
  }
  const Values& values() const { return values_->value; }  // of List and Tuple
  const Items& items() const { return items_->value; }     // of Dict and Namespace
  Items& members() { return items_->value; }
  const Function& function() const { return *function_; }
  // Whether this is a namespace or has one within.
  bool holds_space() const { return is(Type::Namespace) || space_; }
  // Same object, as `is sameas` asks.
  bool same(const Value& o) const;

 private:
  explicit Value(Type t) : type_(t) {}
  Value(Type t, Values v);
  Value(Type t, Items v);
  void set(std::string s) {
    const size_t n = s.size() + 64;
    s_ = std::make_shared<const Held<std::string>>(std::move(s), n);
  }
  void contains(const Value& v);
  Type type_ = Type::Undefined;
  bool space_ = false;
  int depth_ = 0;  // of values within values
  int64_t i_ = 0;
  double f_ = 0;
  std::shared_ptr<const Held<std::string>> s_;
  std::shared_ptr<Held<Values>> values_;
  std::shared_ptr<Held<Items>> items_;
  std::shared_ptr<const Function> function_;
};

// Thrown within a template and told with its line: `message` only.
struct Failure {
  std::string message;
};
[[noreturn]] void fail(std::string message);

struct Call {
  std::string name;  // of what is called, for messages
  Values args;
  std::vector<std::pair<std::string, Value>> named;
  // The argument at `place` or by name, and taken out of `named`; null if it is not given.
  const Value* find(size_t place, std::string_view name) const;
  Value get(size_t place, std::string_view name, const Value& fallback) const;
  const Value& need(size_t place, std::string_view name) const;
  std::string text(size_t place, std::string_view name) const;  // must be a string
  int64_t whole(size_t place, std::string_view name, int64_t fallback) const;
  bool flag(size_t place, std::string_view name, bool fallback) const;
  // Refuses more arguments than these names have.
  void takes(std::initializer_list<std::string_view> names) const;
};

// ---- Python's ways (jinja_value.cpp, jinja_text.cpp)

std::string type_name(const Value& v);  // "str", "dict", …
bool truth(const Value& v);
std::string str(const Value& v);
std::string repr(const Value& v);
std::string json(const Value& v, int indent, bool ascii, bool sorted, const std::string& comma,
                 const std::string& colon);
bool equal(const Value& a, const Value& b);
int compare(const Value& a, const Value& b, const char* what);  // <0, 0, >0; fails where Python does
bool contains(const Value& in, const Value& x);
// What a loop goes over: elements, keys, characters; fails for what can't be iterated.
Values iterate(const Value& v);
int64_t length(const Value& v);
const Value* lookup(const Items& items, const Value& key);
void assign(Items& items, Value key, Value to);
Value binary(std::string_view op, const Value& a, const Value& b);
Value item(const Value& of, const Value& key);            // of[key]; Undefined where there is none
Value attribute(const Value& of, std::string_view name);  // of.name, methods included
Value slice(const Value& of, const Value& from, const Value& to, const Value& step);
// Strings count characters.
std::vector<std::string> characters(std::string_view s);
std::string upper(std::string_view s);
std::string lower(std::string_view s);
std::string title(std::string_view s);  // each character's title case
std::string capitalized(std::string_view s);
// `what`: characters to take away, white space if null.
std::string strip(std::string_view s, const std::string* what, bool left, bool right);
void check_size(size_t bytes);  // of a string or a list that is made

// ---- parts of methods that filters share (jinja_methods.cpp)

std::vector<std::string> split_lines(const std::string& s);
std::string replaced(const std::string& s, const std::string& what, const std::string& by, int64_t most);
bool letter(uint32_t c);
bool numeric(uint32_t c);
std::string padded(const std::string& s, int64_t width, const std::string& fill, double left);
Value pairs_of(const Value& dict);  // a list of tuples

// ---- methods (jinja_methods.cpp), filters and tests (jinja_library.cpp)

struct Context {  // of a rendering
  int64_t steps = 0;
  int64_t now = -1;
  std::chrono::steady_clock::time_point begun = std::chrono::steady_clock::now();
  // Bounds how long a template may run: by the clock, too, as a step may search or sort 64 MiB.
  void tick() {
    if (++steps > 20'000'000 || std::chrono::steady_clock::now() - begun > std::chrono::seconds(10))
      fail("the template runs too long");
  }
};
Value method(const Value& of, std::string_view name);  // Undefined if there is none
bool has_filter(std::string_view name);
bool has_test(std::string_view name);
Value filter(Context& c, std::string_view name, Call& call);  // args[0] is what it is applied to
bool test(Context& c, std::string_view name, Call& call);

// ---- the template (jinja_parse.cpp, jinja.cpp)

struct Node;
class Template {
 public:
  // Throws Error(BadTemplate) with the line and the construct that is not known.
  explicit Template(std::string_view source);
  ~Template();
  Template(Template&&) noexcept;
  // `globals`: the variables. `now`: seconds since 1970 for strftime_now, or -1 for the clock's.
  std::string render(const Items& globals, int64_t now = -1) const;

 private:
  std::unique_ptr<Node> root_;
};

// The value that a JSON text stands for. Throws Error(BadData).
Value from_json(std::string_view text, const std::string& where);

}  // namespace mc::jinja
