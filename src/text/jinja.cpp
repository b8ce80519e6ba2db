// Runs a template.
#include <algorithm>
#include <chrono>
#include <ctime>
#include <optional>

#include "jinja_ast.h"
#include "mc/detail/str.h"
#include "mc/error.h"

namespace mc::jinja {
namespace {

constexpr int kMaxDepth = 800;  // of calls within calls
constexpr int64_t kMaxRange = 100'000;

struct Scope {
  std::shared_ptr<Scope> parent;
  std::vector<std::pair<std::string, Value>> names;
  void set(const std::string& name, Value v) {
    for (auto& [n, x] : names)
      if (n == name) {
        x = std::move(v);
        return;
      }
    names.emplace_back(name, std::move(v));
  }
};
using ScopePtr = std::shared_ptr<Scope>;

enum class Flow : uint8_t { On, Break, Continue };

class Run {
 public:
  Run(const Items& globals, int64_t now) {
    context_.now = now;
    scope_ = std::make_shared<Scope>();
    builtins();
    scope_ = child(scope_);
    for (const auto& [name, v] : globals) scope_->set(name.string(), v);
  }
  // Macros hold the scope that holds them.
  ~Run() {
    for (const ScopePtr& s : held_) s->names.clear();
  }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  std::string whole(const Node& root) {
    try {
      body(root);
    } catch (const Failure& f) {
      bad_template(line_, f.message);
    }
    return std::move(out_);
  }

 private:
  static ScopePtr child(ScopePtr parent) {
    auto s = std::make_shared<Scope>();
    s->parent = std::move(parent);
    return s;
  }
  // A scope of its own until the end of the block.
  struct Inner {
    Inner(Run& r, ScopePtr parent) : r_(r), before_(std::exchange(r.scope_, child(std::move(parent)))) {}
    ~Inner() { r_.scope_ = std::move(before_); }
    Inner(const Inner&) = delete;
    Inner& operator=(const Inner&) = delete;
    Run& r_;
    ScopePtr before_;
  };
  struct Deeper {
    explicit Deeper(Run& r) : r_(r) {
      if (++r_.depth_ > kMaxDepth) {
        --r_.depth_;
        fail("calls nest too deeply");
      }
    }
    ~Deeper() { --r_.depth_; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;
    Run& r_;
  };

  void builtins() {
    auto add = [&](const char* name, Function f) { scope_->set(name, Value::function(name, std::move(f))); };
    add("range", [](Call& c) {
      c.takes({"start", "stop", "step"});
      const int64_t first = c.whole(0, "start", 0);
      const bool one = c.args.size() == 1;
      const int64_t from = one ? 0 : first, to = one ? first : c.whole(1, "stop", 0),
                    by = c.whole(2, "step", 1);
      if (by == 0) fail("range() arg 3 must not be zero");
      Values v;
      for (int64_t i = from; by > 0 ? i < to : i > to;) {
        if (static_cast<int64_t>(v.size()) >= kMaxRange)
          fail(cat("Range too big. The sandbox blocks ranges larger than MAX_RANGE (", kMaxRange, ")."));
        v.push_back(Value::of(i));
        if (__builtin_add_overflow(i, by, &i)) break;
      }
      return Value::list(std::move(v));
    });
    auto gather = [](Call& c) {
      Items items;
      if (!c.args.empty()) {
        if (c.args[0].is(Type::Dict)) {
          items = c.args[0].items();
        } else {
          for (const Value& pair : iterate(c.args[0])) {
            const Values two = iterate(pair);
            if (two.size() != 2) fail("dict() takes a dict, or pairs of a key and a value");
            assign(items, two[0], two[1]);
          }
        }
      }
      for (auto& [name, v] : c.named) assign(items, Value::of(name), v);
      return items;
    };
    add("dict", [gather](Call& c) { return Value::dict(gather(c)); });
    add("namespace", [gather](Call& c) { return Value::space(gather(c)); });
    add("raise_exception", [](Call& c) -> Value { fail(c.text(0, "message")); });
    add("strftime_now", [this](Call& c) {
      const std::string form = c.text(0, "format");
      if (form.size() > 200) fail("strftime_now's format is too long");
      const std::time_t t = context_.now >= 0
                                ? static_cast<std::time_t>(context_.now)
                                : std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
      std::tm tm{};
      localtime_r(&t, &tm);
      char buffer[4000];
      const size_t n = form.empty() ? 0 : std::strftime(buffer, sizeof buffer, form.c_str(), &tm);
      return Value::of(std::string(buffer, n));
    });
  }

  // ---- statements

  Flow body(const Node& n) {
    for (const NodePtr& k : n.kids)
      if (const Flow f = statement(*k); f != Flow::On) return f;
    return Flow::On;
  }
  void write(std::string_view s) {
    check_size(out_.size() + s.size());
    out_.append(s);
  }
  // What a body writes.
  std::string captured(const Node& n) {
    std::string before = std::exchange(out_, {});
    struct Restore {
      std::string &out, &before;
      ~Restore() { out = std::move(before); }
    };
    std::string text;
    {
      Restore restore{out_, before};
      body(n);
      text = std::move(out_);
    }
    return text;
  }

  Flow statement(const Node& n) {
    context_.tick();
    line_ = n.line;
    Deeper deeper(*this);
    switch (n.kind) {
      case Kind::Body: return body(n);
      case Kind::Text: write(n.text); return Flow::On;
      case Kind::Print: write(str(value(*n.kids[0]))); return Flow::On;
      case Kind::If: {
        size_t i = 0;
        for (; i + 1 < n.kids.size(); i += 2)
          if (truth(value(*n.kids[i]))) return body(*n.kids[i + 1]);
        return i < n.kids.size() ? body(*n.kids[i]) : Flow::On;
      }
      case Kind::For: return loop(n);
      case Kind::Set: set(n, value(*n.kids[0])); return Flow::On;
      case Kind::SetBlock: {
        Value v;
        {
          Inner inner(*this, scope_);
          v = Value::of(captured(*n.kids[0]));
        }
        for (size_t i = 1; i < n.kids.size(); ++i) v = filtered(*n.kids[i], std::move(v));
        set(n, std::move(v));
        return Flow::On;
      }
      case Kind::Macro: {
        held_.push_back(scope_);
        std::vector<const Node*> defaults;
        for (size_t i = 1; i < n.kids.size(); ++i) defaults.push_back(n.kids[i].get());
        scope_->set(n.text, macro(n.text, n, *n.kids[0], defaults, scope_));
        return Flow::On;
      }
      case Kind::CallBlock: {
        held_.push_back(scope_);
        std::vector<const Node*> defaults;
        for (size_t i = 2; i < n.kids.size(); ++i) defaults.push_back(n.kids[i].get());
        const Value caller = macro("caller", n, *n.kids[1], defaults, scope_);
        write(str(call(*n.kids[0], &caller)));
        return Flow::On;
      }
      case Kind::FilterBlock: {
        std::string text;
        {
          Inner inner(*this, scope_);
          text = captured(*n.kids[1]);
        }
        write(str(filters(*n.kids[0], Value::of(std::move(text)))));
        return Flow::On;
      }
      case Kind::With: {
        Values values;
        for (size_t i = 1; i < n.kids.size(); ++i) values.push_back(value(*n.kids[i]));
        Inner inner(*this, scope_);
        for (size_t i = 0; i < n.names.size(); ++i) scope_->set(n.names[i], values[i]);
        return body(*n.kids[0]);
      }
      case Kind::Break: return Flow::Break;
      case Kind::Continue: return Flow::Continue;
      default: fail("a statement is not known");
    }
  }

  void unpack(const std::vector<std::string>& names, const Value& v) {
    if (names.size() == 1) {
      scope_->set(names[0], v);
      return;
    }
    const Values parts = iterate(v);
    if (parts.size() != names.size())
      fail(parts.size() < names.size()
               ? cat("not enough values to unpack (expected ", names.size(), ", got ", parts.size(), ")")
               : cat("too many values to unpack (expected ", names.size(), ")"));
    for (size_t i = 0; i < names.size(); ++i) scope_->set(names[i], parts[i]);
  }

  void set(const Node& n, Value v) {
    if (n.text.empty()) {
      unpack(n.names, v);
      return;
    }
    Value space = variable(n.names[0]);
    if (!space.is(Type::Namespace)) fail("cannot assign attribute on non-namespace object");
    if (v.holds_space()) fail("a namespace within a namespace is not supported in chat templates");
    assign(space.members(), Value::of(n.text), std::move(v));
  }

  Flow loop(const Node& n) {
    Values all = iterate_checked(value(*n.kids[0])), some;
    const ScopePtr outside = scope_;
    if (n.kids[1]) {
      for (const Value& v : all) {
        Inner inner(*this, outside);
        unpack(n.names, v);
        if (truth(value(*n.kids[1]))) some.push_back(v);
      }
      all = std::move(some);
    }
    if (all.empty()) {
      if (!n.kids[3]) return Flow::On;
      Inner inner(*this, outside);
      return body(*n.kids[3]);
    }
    const auto size = static_cast<int64_t>(all.size());
    const int64_t depth = ++loop_depth_;
    struct Leave {
      int64_t& depth;
      ~Leave() { --depth; }
    } leave{loop_depth_};
    auto last_changed = std::make_shared<std::optional<Values>>();
    for (int64_t i = 0; i < size; ++i) {
      Inner inner(*this, outside);
      const auto at = static_cast<size_t>(i);
      Items l;
      auto put = [&](const char* name, Value v) { l.emplace_back(Value::of(name), std::move(v)); };
      put("index", Value::of(i + 1));
      put("index0", Value::of(i));
      put("first", Value::of(i == 0));
      put("last", Value::of(i + 1 == size));
      put("length", Value::of(size));
      put("revindex", Value::of(size - i));
      put("revindex0", Value::of(size - i - 1));
      put("depth", Value::of(depth));
      put("depth0", Value::of(depth - 1));
      put("previtem", i > 0 ? all[at - 1] : Value::undefined("there is no previous item"));
      put("nextitem", i + 1 < size ? all[at + 1] : Value::undefined("there is no next item"));
      put("cycle", Value::function("cycle", [i](Call& c) -> Value {
            if (c.args.empty()) fail("no items for cycling given");
            return c.args[static_cast<size_t>(i) % c.args.size()];
          }));
      put("changed", Value::function("changed", [last_changed](Call& c) -> Value {
            const bool changed = !*last_changed || !equal(Value::list(**last_changed), Value::list(c.args));
            *last_changed = c.args;
            return Value::of(changed);
          }));
      scope_->set("loop", Value::space(std::move(l)));
      unpack(n.names, all[at]);
      const Flow f = body(*n.kids[2]);
      if (f == Flow::Break) break;
    }
    return Flow::On;
  }

  Values iterate_checked(const Value& v) {
    Values all = iterate(v);
    context_.steps += static_cast<int64_t>(all.size());
    context_.tick();
    return all;
  }

  Value macro(const std::string& name, const Node& n, const Node& content, std::vector<const Node*> defaults,
              const ScopePtr& where) {
    return Value::function(name, [this, name, &n, &content, defaults = std::move(defaults), where](Call& c) {
      Deeper deeper(*this);
      Inner inner(*this, where);
      const size_t count = n.names.size(), optional = count - defaults.size();
      Values rest;
      Items more;
      std::vector<std::optional<Value>> given(count);
      for (size_t i = 0; i < c.args.size(); ++i) {
        if (i < count)
          given[i] = c.args[i];
        else
          rest.push_back(c.args[i]);
      }
      for (const auto& [key, v] : c.named) {
        const auto it = std::find(n.names.begin(), n.names.end(), key);
        if (it != n.names.end())
          given[static_cast<size_t>(it - n.names.begin())] = v;
        else if (key == "caller")
          scope_->set("caller", v);
        else
          more.emplace_back(Value::of(key), v);
      }
      for (size_t i = 0; i < count; ++i) {
        if (!given[i])
          given[i] = i < optional ? Value::undefined(cat("parameter '", n.names[i], "' was not provided"))
                                  : value(*defaults[i - optional]);
        scope_->set(n.names[i], *given[i]);
      }
      const bool wants_rest = uses(content, "varargs"), wants_more = uses(content, "kwargs");
      if (!rest.empty() && !wants_rest)
        fail(cat("macro '", name, "' takes not more than ", count, " argument(s)"));
      if (!more.empty() && !wants_more)
        fail(cat("macro '", name, "' takes no keyword argument '", more[0].first.string(), "'"));
      if (wants_rest) scope_->set("varargs", Value::tuple(std::move(rest)));
      if (wants_more) scope_->set("kwargs", Value::dict(std::move(more)));
      const int line = line_;
      std::string text = captured(content);
      line_ = line;
      return Value::of(std::move(text));
    });
  }
  static bool uses(const Node& n, std::string_view name) {
    if (n.kind == Kind::Name && n.text == name) return true;
    return std::any_of(n.kids.begin(), n.kids.end(), [&](const NodePtr& k) { return k && uses(*k, name); }) ||
           std::any_of(n.named.begin(), n.named.end(), [&](const auto& k) { return uses(*k.second, name); });
  }

  // ---- expressions

  Value variable(const std::string& name) const {
    for (const Scope* s = scope_.get(); s; s = s->parent.get())
      for (const auto& [n, v] : s->names)
        if (n == name) return v;
    return Value::undefined(cat("'", name, "' is undefined"));
  }

  Values all(const Node& n, size_t first = 0) {
    Values v;
    for (size_t i = first; i < n.kids.size(); ++i) v.push_back(value(*n.kids[i]));
    return v;
  }
  Call arguments(const Node& n, std::string name) {
    Call c{std::move(name), all(n, 1), {}};
    for (const auto& [key, v] : n.named) c.named.emplace_back(key, value(*v));
    return c;
  }
  Value call(const Node& n, const Value* caller = nullptr) {
    const Value f = value(*n.kids[0]);
    if (!f.is(Type::Function))
      fail(f.is(Type::Undefined) ? f.string() : cat("'", type_name(f), "' object is not callable"));
    Call c = arguments(n, f.string());
    if (caller) c.named.emplace_back("caller", *caller);
    return f.function()(c);
  }
  Value filtered(const Node& n, Value input) {
    Call c = arguments(n, n.text);
    c.args.insert(c.args.begin(), std::move(input));
    return filter(context_, n.text, c);
  }
  // A chain of filters whose innermost has no input yet.
  Value filters(const Node& n, Value input) {
    if (n.kids[0]) input = filters(*n.kids[0], std::move(input));
    return filtered(n, std::move(input));
  }

  bool compared(const std::string& op, const Value& a, const Value& b) {
    if (op == "==") return equal(a, b);
    if (op == "!=") return !equal(a, b);
    if (op == "in") return contains(b, a);
    if (op == "not in") return !contains(b, a);
    const int c = compare(a, b, op.c_str());
    return op == "<" ? c < 0 : op == "<=" ? c <= 0 : op == ">" ? c > 0 : c >= 0;
  }

  Value value(const Node& n) {
    context_.tick();
    Deeper deeper(*this);
    auto kid = [&](size_t i) { return n.kids[i] ? value(*n.kids[i]) : Value::none(); };
    switch (n.kind) {
      case Kind::Const: return n.value;
      case Kind::Name: return variable(n.text);
      case Kind::Attribute: return attribute(kid(0), n.text);
      case Kind::Item: {
        const Value of = kid(0);
        return item(of, kid(1));
      }
      case Kind::Slice: {
        const Value of = kid(0), from = kid(1), to = kid(2);
        return slice(of, from, to, kid(3));
      }
      case Kind::CallOf: return call(n);
      case Kind::Filter: return filtered(n, kid(0));
      case Kind::Test: {
        Call c = arguments(n, n.text);
        c.args.insert(c.args.begin(), kid(0));
        return Value::of(test(context_, n.text, c));
      }
      case Kind::Minus:
      case Kind::Plus: {
        const Value v = kid(0);
        if (v.is(Type::Undefined)) fail(v.string());
        if (!v.is_number())
          fail(cat("bad operand type for unary ", n.kind == Kind::Minus ? "-" : "+", ": '", type_name(v),
                   "'"));
        return n.kind == Kind::Minus
                   ? binary("-", v.is(Type::Float) ? Value::of(-0.0) : Value::of(int64_t{0}), v)
                   : v;
      }
      case Kind::Not: return Value::of(!truth(kid(0)));
      case Kind::And: {
        Value v = kid(0);
        return truth(v) ? kid(1) : v;
      }
      case Kind::Or: {
        Value v = kid(0);
        return truth(v) ? v : kid(1);
      }
      case Kind::Binary: {
        const Value a = kid(0);
        return binary(n.text, a, kid(1));
      }
      case Kind::Compare: {
        Value a = kid(0);
        for (size_t i = 0; i < n.names.size(); ++i) {
          Value b = kid(i + 1);
          if (!compared(n.names[i], a, b)) return Value::of(false);
          a = std::move(b);
        }
        return Value::of(true);
      }
      case Kind::IfElse:
        if (truth(kid(1))) return kid(0);
        return n.kids[2]
                   ? kid(2)
                   : Value::undefined(
                         "the inline if-expression evaluated to false and no else section was defined.");
      case Kind::ListOf: return Value::list(all(n));
      case Kind::TupleOf: return Value::tuple(all(n));
      case Kind::DictOf: {
        Items items;
        for (size_t i = 0; i + 1 < n.kids.size(); i += 2) {
          Value key = kid(i);
          if (key.is(Type::List) || key.is(Type::Dict)) fail(cat("unhashable type: '", type_name(key), "'"));
          assign(items, std::move(key), kid(i + 1));
        }
        return Value::dict(std::move(items));
      }
      default: fail("an expression is not known");
    }
  }

  Context context_;
  ScopePtr scope_;
  std::vector<ScopePtr> held_;
  std::string out_;
  int line_ = 1, depth_ = 0;
  int64_t loop_depth_ = 0;
};

}  // namespace

Template::Template(std::string_view source) : root_(parse(source)) {}
Template::~Template() = default;
Template::Template(Template&&) noexcept = default;

std::string Template::render(const Items& globals, int64_t now) const {
  return Run(globals, now).whole(*root_);
}

}  // namespace mc::jinja
