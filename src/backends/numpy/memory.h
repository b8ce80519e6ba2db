// Host memory of the engine: a caching allocator with statistics and a limit.
#pragma once

#include <optional>

#include "runtime/backend.h"

namespace mc::numpy {

// 64-byte aligned, uninitialised. Throws MemoryLimit or OutOfMemory before the system would kill the process.
BufferPtr allocate(const Device& device, size_t bytes);
MemoryStats memory(const Backend::MemoryRequest& request);
// Blocks returned so far around which something was written (MC_GUARD=1); nothing where blocks have no
// guards.
std::optional<size_t> guard_faults();
// Bytes of a guard, 0 without MC_GUARD=1; puts one at `p`, or looks whether it is whole (else it counts).
size_t guard_bytes();
void set_guard(std::byte* p);
void check_guard(const std::byte* p);

// Scratch for one run, returned to the cache at the end of its life.
class Scratch {
 public:
  explicit Scratch(size_t bytes);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  std::byte* data() const { return data_; }

 private:
  size_t bytes_;
  std::byte* data_ = nullptr;
};

}  // namespace mc::numpy
