#include "base/cache_size.h"

#include <algorithm>
#include <fstream>
#include <string>

#if defined(__APPLE__)
#include <sys/sysctl.h>
#else
#include <unistd.h>
#endif

namespace mc {
namespace {

int64_t measured() {
#if defined(__APPLE__)
  int64_t bytes = 0;
  size_t n = sizeof bytes;
  return sysctlbyname("hw.l2cachesize", &bytes, &n, nullptr, 0) == 0 ? bytes : 0;
#else
  // The kernel counts one instance of a shared cache. What glibc says comes from the processor and may be the
  // sum over a whole package: ten times as much on some virtual machines.
  int64_t largest = 0;
  for (int i = 0; i < 8; ++i) {
    std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(i) + "/size");
    int64_t n = 0;
    char unit = 0;
    if (!(file >> n)) break;
    file >> unit;
    largest = std::max(largest, unit == 'K' ? n << 10 : unit == 'M' ? n << 20 : n);
  }
  return largest > 0 ? largest : static_cast<int64_t>(sysconf(_SC_LEVEL3_CACHE_SIZE));
#endif
}

}  // namespace

int64_t last_level_cache() {
  static const int64_t size = [] {
    const int64_t n = measured();
    return n > 0 ? n : int64_t{32} << 20;
  }();
  return size;
}

}  // namespace mc
