#include "runtime/profile.h"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
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
std::string where;

// Threads in the order in which they first had something to say.
int thread_number() {
  static std::atomic<int> next{1};
  thread_local const int mine = next.fetch_add(1);
  return mine;
}

// Under the mutex. Whether all of it was written.
bool close_file() {
  on = false;
  std::fputs("\n]\n", file);
  const bool whole = std::ferror(file) == 0;
  const bool closed = std::fclose(file) == 0;
  file = nullptr;
  return whole && closed;
}
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
               "%s\n{\"name\":\"%.*s\",\"ph\":\"X\",\"pid\":1,\"tid\":%d,\"ts\":%.3f,\"dur\":%.3f,\"args\":{"
               "\"n\":%zu}}",
               first ? "" : ",", static_cast<int>(name.size()), name.data(), thread_number(),
               static_cast<double>(start_ns) / 1e3, static_cast<double>(end_ns - start_ns) / 1e3, size);
  first = false;
}

void profile_start(const std::string& path) {
  profile_stop();
  std::lock_guard lock(mutex);
  file = std::fopen(path.c_str(), "w");
  if (!file) throw Error(ErrorCode::FileWrite, "can't write the profile", path);
  static std::once_flag once;
  std::call_once(once, [] {
    std::atexit([] {  // a program that ends without profile_stop leaves a whole file, too
      std::lock_guard at_exit(mutex);
      if (file) close_file();
    });
  });
  where = path;
  std::fputs("[", file);
  first = true;
  on = true;
}

void profile_stop() {
  std::lock_guard lock(mutex);
  if (!file) return;
  if (!close_file())
    throw Error(ErrorCode::FileWrite, "the profile could not be written to its end", where,
                "look for a full disk");
}

}  // namespace mc
