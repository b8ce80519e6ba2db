// What an operation knows besides its inputs. A plain struct with a field list gives equality, hash and text.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "mc/detail/str.h"
#include "mc/dtype.h"
#include "mc/shape.h"

namespace mc {

inline uint64_t hash_mix(uint64_t h, uint64_t v) {
  h ^= v + 0x9e3779b97f4a7c15ull + (h << 6) + (h >> 2);
  h *= 0xff51afd7ed558ccdull;
  return h ^ (h >> 32);
}

struct Graph;

namespace attr {
// A traced function as an attribute; defined in prims/attrs.h.
uint64_t hash(const Graph* g);
bool same(const Graph* a, const Graph* b);
std::string text(const Graph* g);

inline uint64_t hash(bool v) { return v ? 2 : 1; }
inline uint64_t hash(int v) { return static_cast<uint64_t>(v) * 0x9ddfea08eb382d69ull + 3; }
inline uint64_t hash(int64_t v) { return static_cast<uint64_t>(v) * 0x9ddfea08eb382d69ull + 5; }
inline uint64_t hash(double v) {
  uint64_t u;
  std::memcpy(&u, &v, 8);
  return u * 0x9ddfea08eb382d69ull + 7;
}
template <class E>
requires(std::is_enum_v<E>) uint64_t hash(E v) { return static_cast<uint64_t>(v) + 11; }
inline uint64_t hash(const std::string& s) { return std::hash<std::string>{}(s); }
inline uint64_t hash(const Shape& s) {
  uint64_t h = static_cast<uint64_t>(s.size()) + 13;
  for (int64_t d : s) h = hash_mix(h, static_cast<uint64_t>(d));
  return h;
}
template <class T>
uint64_t hash(const std::vector<T>& v) {
  uint64_t h = v.size() + 17;
  for (const T& x : v) h = hash_mix(h, hash(x));
  return h;
}

// Equality as the hash sees it: a NaN equals itself, zeros of both signs differ.
template <class T>
bool same(const T& a, const T& b) {
  return a == b;
}
inline bool same(double a, double b) { return std::memcmp(&a, &b, 8) == 0; }

inline std::string text(bool v) { return v ? "true" : "false"; }
inline std::string text(int v) { return cat(v); }
inline std::string text(int64_t v) { return cat(v); }
inline std::string text(double v) { return cat(v); }
inline std::string text(Dtype v) { return std::string(dtype_name(v)); }
template <class E>
requires(std::is_enum_v<E>) std::string text(E v) { return cat(static_cast<int>(v)); }
inline std::string text(const std::string& s) { return "'" + s + "'"; }
inline std::string text(const Shape& s) { return s.str(); }
template <class T>
std::string text(const std::vector<T>& v) {
  std::string out = "[";
  for (size_t i = 0; i < v.size(); ++i) out += (i ? ", " : "") + text(v[i]);
  return out + "]";
}
}  // namespace attr

class AttrsBase {
 public:
  virtual ~AttrsBase() = default;
  virtual bool equals(const AttrsBase& other) const = 0;  // other is of the same op, hence of the same type
  virtual std::string text() const = 0;
  uint64_t hash() const { return hash_; }

 protected:
  uint64_t hash_ = 0;

 private:
  friend class Attrs;
  mutable std::atomic<int> refs_{0};
};

template <class T>
class AttrsOf final : public AttrsBase {
 public:
  explicit AttrsOf(T v) : value(std::move(v)) {
    std::apply([&](const auto&... f) { ((hash_ = hash_mix(hash_, attr::hash(f))), ...); }, value.fields());
  }
  bool equals(const AttrsBase& other) const override {
    const auto a = value.fields(), b = static_cast<const AttrsOf&>(other).value.fields();
    return [&]<size_t... I>(std::index_sequence<I...>) {
      return (attr::same(std::get<I>(a), std::get<I>(b)) && ...);
    }
    (std::make_index_sequence<std::tuple_size_v<decltype(a)>>());
  }
  std::string text() const override {
    std::string_view names = T::kNames;
    std::string out;
    std::apply(
        [&](const auto&... f) {
          auto one = [&](const auto& x) {
            const size_t comma = names.find(',');
            out += cat(out.empty() ? "" : ", ", names.substr(0, comma), "=") + attr::text(x);
            names = comma == std::string_view::npos ? std::string_view() : names.substr(comma + 2);
          };
          (one(f), ...);
        },
        value.fields());
    return out;
  }
  const T value;
};

// A shared handle; null for operations without attributes.
class Attrs {
 public:
  Attrs() = default;
  template <class T>
  requires requires(const T& t) { t.fields(); }
  Attrs(T value) : p_(new AttrsOf<T>(std::move(value))) {  // NOLINT: any attribute struct is an Attrs
    p_->refs_.store(1, std::memory_order_relaxed);
  }
  Attrs(const Attrs& o) noexcept : p_(o.p_) {
    if (p_) p_->refs_.fetch_add(1, std::memory_order_relaxed);
  }
  Attrs(Attrs&& o) noexcept : p_(o.p_) { o.p_ = nullptr; }
  Attrs& operator=(Attrs o) noexcept {
    std::swap(p_, o.p_);
    return *this;
  }
  ~Attrs() {
    if (p_ && p_->refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete p_;
  }
  explicit operator bool() const { return p_ != nullptr; }
  const AttrsBase* get() const { return p_; }
  // The struct that the op's row says it has.
  template <class T>
  const T& as() const {
    return static_cast<const AttrsOf<T>*>(p_)->value;
  }
  uint64_t hash() const { return p_ ? p_->hash() : 0; }
  friend bool operator==(const Attrs& a, const Attrs& b) {
    if (a.p_ == b.p_) return true;
    return a.p_ && b.p_ && a.p_->hash() == b.p_->hash() && a.p_->equals(*b.p_);
  }

 private:
  const AttrsBase* p_ = nullptr;
};

// Declares the field list inside an attribute struct: MC_FIELDS(axes, keepdims).
#define MC_FIELDS(...)                                  \
  auto fields() const { return std::tie(__VA_ARGS__); } \
  static constexpr std::string_view kNames = #__VA_ARGS__

}  // namespace mc
