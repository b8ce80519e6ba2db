#include "backends/numpy/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "mc/detail/str.h"
#include "mc/system.h"

namespace mc::numpy {
namespace {

constexpr size_t kCheckFrom = 64u << 20;  // look at the machine's free memory before taking this much
constexpr size_t kHugeFrom = 4u << 20;    // ask for huge pages from here

// MC_GUARD=1: bytes before and behind each block that nobody may write to, looked at when it is given back.
constexpr size_t kGuard = 64;
constexpr unsigned char kGuardByte = 0xa5;
size_t guard_width() {
  static const size_t n = [] {
    const char* env = std::getenv("MC_GUARD");
    return env && std::strcmp(env, "1") == 0 ? kGuard : size_t{0};
  }();
  return n;
}
std::atomic<size_t> guard_faults_{0};
bool whole(const std::byte* p, size_t n) {
  return std::all_of(p, p + n, [](std::byte b) { return b == std::byte{kGuardByte}; });
}

// Blocks come in classes of at most 12.5 % waste, so that freed ones are found again by their class alone.
size_t class_bytes(size_t bytes) {
  if (bytes > SIZE_MAX / 4)
    throw Error(ErrorCode::OutOfMemory, cat("no machine has ", bytes, " bytes"), "memory");
  bytes = std::max<size_t>(bytes, 64);
  size_t step = 64;
  while (step * 16 < bytes) step *= 2;
  return (bytes + step - 1) / step * step;
}

class Pool {
 public:
  std::byte* take(size_t bytes) {
    const size_t guard = guard_bytes();
    if (!guard) return take_block(bytes);
    std::byte* p = take_block(bytes + 2 * guard);
    std::memset(p, kGuardByte, guard);
    std::memset(p + guard + bytes, kGuardByte, guard);
    return p + guard;
  }

  void give(void* data, size_t bytes) {
    const size_t guard = guard_bytes();
    if (!guard) return give_block(data, bytes);
    auto* p = static_cast<std::byte*>(data) - guard;
    if (!whole(p, guard) || !whole(p + guard + bytes, guard)) guard_faults_.fetch_add(1);
    give_block(p, bytes + 2 * guard);
  }

  std::byte* take_block(size_t bytes) {
    const size_t size = class_bytes(bytes);
    {
      std::lock_guard lock(mutex_);
      if (limit_ && stats_.active + size > limit_)
        throw Error(ErrorCode::MemoryLimit,
                    cat("an allocation of ", bytes, " bytes would pass the limit of ", limit_, " bytes (",
                        stats_.active, " in use)"),
                    "memory");
      if (auto it = free_.find(size); it != free_.end() && !it->second.blocks.empty()) {
        std::byte* p = it->second.blocks.back();
        it->second.blocks.pop_back();
        it->second.used = ++clock_;
        stats_.cached -= size;
        use(size);
        return p;
      }
      stats_.active += size;  // reserved, so that two threads do not pass the limit together
      trim_locked(keep());
    }
    try {
      std::byte* p = fresh(bytes, size);
      std::lock_guard lock(mutex_);
      stats_.peak = std::max(stats_.peak, stats_.active);
      return p;
    } catch (...) {
      std::lock_guard lock(mutex_);
      stats_.active -= size;
      throw;
    }
  }

  std::byte* fresh(size_t bytes, size_t size) {
    if (size >= kCheckFrom) {
      const size_t available = available_memory();
      if (available && size > available) {
        trim(0);
        if (const size_t now = available_memory(); size > now)
          throw Error(
              ErrorCode::OutOfMemory,
              cat("an allocation of ", bytes, " bytes needs more than the ", now, " bytes that are free"),
              "memory");
      }
    }
    void* p = std::aligned_alloc(size >= kHugeFrom ? (2u << 20) : 64,
                                 size >= kHugeFrom ? (size + (2u << 20) - 1) >> 21 << 21 : size);
    if (!p)
      throw Error(ErrorCode::OutOfMemory, cat("the system refused an allocation of ", bytes, " bytes"),
                  "memory");
    if (size >= kHugeFrom) madvise(p, size, MADV_HUGEPAGE);
    return static_cast<std::byte*>(p);
  }

  void give_block(void* p, size_t bytes) {
    const size_t size = class_bytes(bytes);
    std::lock_guard lock(mutex_);
    stats_.active -= size;
    Class& c = free_[size];
    c.blocks.push_back(static_cast<std::byte*>(p));
    c.used = ++clock_;
    stats_.cached += size;
    trim_locked(keep());
  }

  void trim(size_t keep) {
    std::lock_guard lock(mutex_);
    trim_locked(keep);
  }
  // Kept blocks never take the process past what was in use at once before: memory that varies in size from
  // pass to pass costs no more than its largest pass. The least recently used sizes go first.
  size_t keep() {
    most_ = std::max(most_, stats_.active);
    const size_t bound = limit_ ? std::min(limit_, most_) : most_;
    const size_t room = bound > stats_.active ? bound - stats_.active : 0;
    return limit_ && limit_ <= most_ ? room : std::clamp(room, kKeepAlways, kKeep);
  }
  void trim_locked(size_t keep) {
    while (stats_.cached > keep) {
      auto oldest = free_.end();
      for (auto it = free_.begin(); it != free_.end(); ++it)
        if (!it->second.blocks.empty() && (oldest == free_.end() || it->second.used < oldest->second.used))
          oldest = it;
      if (oldest == free_.end()) return;
      std::vector<std::byte*>& blocks = oldest->second.blocks;
      while (!blocks.empty() && stats_.cached > keep) {
        std::free(blocks.back());
        blocks.pop_back();
        stats_.cached -= oldest->first;
      }
      if (blocks.empty()) free_.erase(oldest);
    }
  }

  MemoryStats request(const Backend::MemoryRequest& r) {
    if (r.clear) trim(0);
    std::lock_guard lock(mutex_);
    if (r.set_limit) limit_ = r.limit;
    if (r.reset_peak) stats_.peak = stats_.active;
    MemoryStats s = stats_;
    s.limit = limit_;
    return s;
  }

 private:
  static constexpr size_t kKeep = size_t{1} << 30, kKeepAlways = 4u << 20;
  struct Class {
    std::vector<std::byte*> blocks;
    uint64_t used = 0;
  };
  void use(size_t size) {
    stats_.active += size;
    stats_.peak = std::max(stats_.peak, stats_.active);
  }
  std::mutex mutex_;
  std::map<size_t, Class> free_;  // by size
  uint64_t clock_ = 0;
  MemoryStats stats_;
  size_t most_ = 0;  // in use at once so far
  size_t limit_ = 0;
};

Pool& pool() {
  static auto* p = new Pool;  // buffers may outlive everything else
  return *p;
}

}  // namespace

BufferPtr allocate(const Device& device, size_t bytes) {
  BufferPtr b(new Buffer);
  b->data = pool().take(bytes);
  b->bytes = bytes;
  b->device = device;
  b->release = [](Buffer& x) { pool().give(x.data, x.bytes); };
  return b;
}

size_t guard_bytes() { return guard_width(); }
void set_guard(std::byte* p) { std::memset(p, kGuardByte, kGuard); }
void check_guard(const std::byte* p) {
  if (!whole(p, kGuard)) guard_faults_.fetch_add(1);
}
std::optional<size_t> guard_faults() {
  return guard_bytes() ? std::optional(guard_faults_.load()) : std::nullopt;
}

MemoryStats memory(const Backend::MemoryRequest& request) { return pool().request(request); }

Scratch::Scratch(size_t bytes) : bytes_(bytes), data_(bytes ? pool().take(bytes) : nullptr) {}
Scratch::~Scratch() {
  if (data_) pool().give(data_, bytes_);
}

}  // namespace mc::numpy
