// Device memory: a caching allocator with statistics and a limit. Blocks come back as soon as their last use
// is enqueued: the device has one stream, so a later user of the block runs later.
#pragma once

#include "backends/cuda/device.h"

namespace mc::cuda {

BufferPtr allocate(const Device& device, size_t bytes);
MemoryStats memory(int device, const Backend::MemoryRequest& request);

// A block for the time of its life.
class Scratch {
 public:
  Scratch() = default;
  Scratch(int device, size_t bytes);
  ~Scratch();
  Scratch(Scratch&& o) noexcept { *this = std::move(o); }
  Scratch& operator=(Scratch&& o) noexcept {
    std::swap(device_, o.device_);
    std::swap(bytes_, o.bytes_);
    std::swap(data_, o.data_);
    return *this;
  }
  std::byte* data() const { return data_; }

 private:
  int device_ = 0;
  size_t bytes_ = 0;
  std::byte* data_ = nullptr;
};

}  // namespace mc::cuda
