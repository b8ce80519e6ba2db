// The Chrome trace behind profile_start.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace mc {

bool profiling();
int64_t profile_now_ns();
// A complete event; `size` is shown as its argument.
void profile_event(std::string_view name, int64_t start_ns, int64_t end_ns, size_t size);

class ProfileScope {
 public:
  ProfileScope(std::string_view name, size_t size)
      : name_(name), size_(size), start_(profiling() ? profile_now_ns() : -1) {}
  ~ProfileScope() {
    if (start_ >= 0) profile_event(name_, start_, profile_now_ns(), size_);
  }

 private:
  std::string_view name_;
  size_t size_;
  int64_t start_;
};

}  // namespace mc
