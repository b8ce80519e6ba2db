#include "runtime/profile.h"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <string>

#include "mc/array.h"
#include "mc/detail/str.h"
#include "mc/error.h"

namespace mc {
namespace {
std::atomic<bool> on{false};
std::mutex mutex;
std::FILE* file = nullptr;
bool first = true;
}  // namespace

bool profiling() { return on.load(std::memory_order_relaxed); }

int64_t profile_now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void profile_event(std::string_view name, int64_t start_ns, int64_t end_ns, size_t size) {
  std::lock_guard lock(mutex);
  if (!file) return;
  std::fprintf(file,
               "%s\n{\"name\":\"%.*s\",\"ph\":\"X\",\"pid\":1,\"tid\":1,\"ts\":%.3f,\"dur\":%.3f,\"args\":{"
               "\"n\":%zu}}",
               first ? "" : ",", static_cast<int>(name.size()), name.data(),
               static_cast<double>(start_ns) / 1e3, static_cast<double>(end_ns - start_ns) / 1e3, size);
  first = false;
}

void profile_start(const std::string& path) {
  profile_stop();
  std::lock_guard lock(mutex);
  file = std::fopen(path.c_str(), "w");
  if (!file) throw Error(ErrorCode::FileWrite, "can't write the profile", path);
  std::fputs("[", file);
  first = true;
  on = true;
}

void profile_stop() {
  std::lock_guard lock(mutex);
  if (!file) return;
  on = false;
  std::fputs("\n]\n", file);
  std::fclose(file);
  file = nullptr;
}

}  // namespace mc
