#include "base/log.h"

#include <atomic>
#include <cstdio>

#include "mc/log.h"

namespace mc {
namespace {
std::atomic<int> level{2};
void write(const char* kind, std::string_view message) {
  std::fprintf(stderr, "mc: %s%.*s\n", kind, static_cast<int>(message.size()), message.data());
}
}  // namespace

void set_log_level(int l) { level = l; }
void log_info(std::string_view m) {
  if (level >= 2) write("", m);
}
void log_warning(std::string_view m) {
  if (level >= 1) write("warning: ", m);
}
void log_debug(std::string_view m) {
  if (level >= 3) write("debug: ", m);
}
}  // namespace mc
