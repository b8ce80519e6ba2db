// A tree of results and its JSON and YAML forms.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace mc::tool {

// null, bool, integer, number, string, list, or object (members keep their order).
class Value {
 public:
  using List = std::vector<Value>;
  using Object = std::vector<std::pair<std::string, Value>>;

  Value() = default;
  Value(std::nullptr_t) {}
  template <std::same_as<bool> T>
  Value(T v) : v_(v) {}
  template <std::integral T>
  requires(!std::same_as<T, bool>) Value(T v) : v_(static_cast<int64_t>(v)) {}
  Value(double v) : v_(v) {}
  Value(const char* v) : v_(std::string(v)) {}
  Value(std::string_view v) : v_(std::string(v)) {}
  Value(std::string v) : v_(std::move(v)) {}
  template <class T>
  Value(const std::optional<T>& v) {
    if (v) *this = Value(*v);
  }
  static Value list() { return Value(List{}); }
  static Value object() { return Value(Object{}); }
  template <class R>
  static Value list_of(const R& range) {
    Value out = list();
    for (const auto& x : range) out.push(x);
    return out;
  }

  // Of an object; returns *this.
  Value& set(std::string_view key, Value v);
  // Of a list; returns *this.
  Value& push(Value v);

  // One line. Numbers that JSON does not have become the strings "NaN", "Infinity", "-Infinity". Bytes that
  // are not UTF-8 become U+FFFD.
  std::string json() const;
  // Block style, readable by YAML 1.1 and 1.2 parsers, ends with a line feed.
  std::string yaml() const;

 private:
  explicit Value(List v) : v_(std::move(v)) {}
  explicit Value(Object v) : v_(std::move(v)) {}
  void write_json(std::string& out) const;
  void write_yaml(std::string& out, int indent, bool after_dash) const;
  bool is_block() const;

  std::variant<std::nullptr_t, bool, int64_t, double, std::string, List, Object> v_ = nullptr;
};

}  // namespace mc::tool
