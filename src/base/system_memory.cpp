#include "mc/system.h"

#include "base/cgroup.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>

namespace mc {
namespace {

// The number after `key` in a file of "key value" lines, in units of `unit` bytes; 0 if not there.
size_t read_field(const char* path, const char* key, size_t unit) {
  std::FILE* f = std::fopen(path, "r");
  if (!f) return 0;
  char line[256];
  size_t out = 0;
  const size_t n = std::strlen(key);
  while (std::fgets(line, sizeof line, f)) {
    unsigned long long v;
    if (std::strncmp(line, key, n) == 0 && std::sscanf(line + n, "%llu", &v) == 1) {
      out = static_cast<size_t>(v) * unit;
      break;
    }
  }
  std::fclose(f);
  return out;
}

size_t read_number(const char* path) { return read_field(path, "", 1); }

}  // namespace

size_t available_memory() {
  size_t best = read_field("/proc/meminfo", "MemAvailable:", 1024);
  each_cgroup([&](const std::string& group) {
    const size_t limit = read_number((group + "/memory.max").c_str());
    if (!limit) return;
    const size_t used = read_number((group + "/memory.current").c_str());
    // File pages in the cgroup's use can be dropped.
    const size_t file = read_field((group + "/memory.stat").c_str(), "file ", 1);
    const size_t held = used > file ? used - file : 0;
    const size_t left = limit > held ? limit - held : 1;
    best = best ? std::min(best, left) : left;
  });
  return best;
}

size_t peak_rss_bytes() { return read_field("/proc/self/status", "VmHWM:", 1024); }
size_t rss_bytes() { return read_field("/proc/self/status", "VmRSS:", 1024); }

}  // namespace mc
