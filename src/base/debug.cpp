#include "base/debug.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <execinfo.h>
#include <link.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <string_view>
#include <unordered_map>

#include "mc/detail/str.h"

namespace mc {
namespace {

struct Table {
  std::mutex mutex;
  std::unordered_map<const void*, Origin> origins;
};
Table& table() {
  static auto* t = new Table;
  return *t;
}

std::string readable(const char* symbol) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> name(abi::__cxa_demangle(symbol, nullptr, nullptr, &status),
                                                    std::free);
  return status == 0 && name ? name.get() : symbol;
}

std::string hex(uintptr_t v) {
  std::string out;
  do out.insert(out.begin(), "0123456789abcdef"[v % 16]);
  while (v /= 16);
  return "0x" + out;
}

// What addr2line counts from: the file's own addresses.
uintptr_t in_file(const Dl_info& image, uintptr_t address) {
  ElfW(Ehdr) header;
  std::memcpy(&header, image.dli_fbase, sizeof header);
  return header.e_type == ET_EXEC ? address : address - reinterpret_cast<uintptr_t>(image.dli_fbase);
}

}  // namespace

bool debug_mode() {
  static const bool on = [] {
    const char* v = std::getenv("MC_DEBUG");
    return v && *v && std::strcmp(v, "0") != 0;
  }();
  return on;
}

void remember_origin(const void* key) {
  Origin o;
  o.count = backtrace(o.frames, Origin::kFrames);
  std::lock_guard lock(table().mutex);
  table().origins[key] = o;
}

OriginText origin_of(const void* key) {
  Origin o;
  {
    std::lock_guard lock(table().mutex);
    const auto it = table().origins.find(key);
    if (it == table().origins.end()) return {};
    o = it->second;
  }
  Dl_info own{};
  dladdr(reinterpret_cast<void*>(&remember_origin), &own);
  // A sanitizer's own backtrace comes before the library's first function.
  int first = 0;
  for (Dl_info frame{}; first < o.count; ++first)
    if (dladdr(o.frames[first], &frame) && frame.dli_fbase == own.dli_fbase) break;
  // Where the library is part of the program, its own functions are known by their namespace.
  for (const bool by_name : {false, true})
    for (int i = first; i < o.count; ++i) {
      // The address of the call, not of what comes after it.
      const uintptr_t at = reinterpret_cast<uintptr_t>(o.frames[i]) - 1;
      Dl_info frame{};
      if (!dladdr(reinterpret_cast<void*>(at), &frame) || !frame.dli_fname) continue;
      const std::string symbol = frame.dli_sname ? readable(frame.dli_sname) : "";
      if (by_name ? symbol.empty() || symbol.find("mc::") != std::string::npos
                  : frame.dli_fbase == own.dli_fbase)
        continue;
      const std::string offset = hex(in_file(frame, at));
      OriginText t;
      t.where = symbol.empty() ? cat(frame.dli_fname, "+", offset)
                               : cat(symbol, "+", hex(at - reinterpret_cast<uintptr_t>(frame.dli_saddr)),
                                     " in ", frame.dli_fname);
      t.lookup = cat("addr2line -Cfie ", frame.dli_fname, " ", offset);
      return t;
    }
  return {};
}

}  // namespace mc
