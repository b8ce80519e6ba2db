// String building without iostreams: cat("x = ", 3, ", y = ", 0.5).
#pragma once

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

namespace mc {

inline void append(std::string& out, std::string_view s) { out.append(s); }
template <class T>
requires(std::is_arithmetic_v<T>) inline void append(std::string& out, T v) {
  if constexpr (std::is_same_v<T, char>) {
    out.push_back(v);
  } else if constexpr (std::is_same_v<T, bool>) {
    out.append(v ? "true" : "false");
  } else {
    char buf[64];
    auto r = std::to_chars(buf, buf + sizeof buf, v);
    out.append(buf, r.ptr);
  }
}

template <class... Ts>
std::string cat(const Ts&... parts) {
  std::string out;
  (append(out, parts), ...);
  return out;
}

// "a, b, c" over any range of appendable things.
template <class R>
std::string join(const R& range, std::string_view sep = ", ") {
  std::string out;
  bool first = true;
  for (const auto& x : range) {
    if (!first) out.append(sep);
    first = false;
    append(out, x);
  }
  return out;
}

}  // namespace mc
