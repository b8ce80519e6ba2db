#include "backends/cuda/memory.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "mc/detail/str.h"
#include "mc/error.h"

namespace mc::cuda {
namespace {

constexpr size_t kSmallest = 512;
constexpr size_t kReserve = size_t{64} << 20;  // left to the driver for modules and launches

// Classes of at most 12.5 % waste, so that freed blocks are found by their class alone.
struct Class {
  size_t bytes, index;
};
Class class_of(size_t bytes) {
  bytes = std::max(bytes, kSmallest);
  size_t step = kSmallest, octave = 0;
  while (step * 16 < bytes) step *= 2, ++octave;
  const size_t steps = (bytes + step - 1) / step;
  return {steps * step, octave * 16 + steps - 1};
}
constexpr size_t kClasses = 16 * 50;  // more than an address can tell

class Pool {
 public:
  std::byte* take(int device, size_t bytes) {
    const auto [size, index] = class_of(bytes);
    if (index >= kClasses) throw Error(ErrorCode::OutOfMemory, cat("no GPU has ", bytes, " bytes"), "memory");
    std::lock_guard lock(mutex_);
    if (limit_ && stats_.active + size > limit_)
      throw Error(ErrorCode::MemoryLimit,
                  cat("an allocation of ", bytes, " bytes would pass the limit of ", limit_, " bytes (",
                      stats_.active, " in use)"),
                  "memory");
    if (List& list = free_[index]; !list.blocks.empty()) {
      std::byte* p = list.blocks.back();
      list.blocks.pop_back();
      stats_.cached -= size;
      return used(p, size);
    }
    use(device);
    void* p = nullptr;
    if (cudaMalloc(&p, size) != cudaSuccess || short_of_memory()) {
      cudaGetLastError();
      if (p) cudaFree(p);
      p = nullptr;
      trim_locked(device);
      if (const cudaError_t s = cudaMalloc(&p, size); s != cudaSuccess) {
        cudaGetLastError();
        if (s != cudaErrorMemoryAllocation) check(s, "taking memory");
        size_t available = 0, total = 0;
        cudaMemGetInfo(&available, &total);
        throw Error(ErrorCode::OutOfMemory,
                    cat("an allocation of ", bytes, " bytes needs more than the ", available, " bytes of ",
                        total, " that are free on cuda:", device, " (", stats_.active, " in use here)"),
                    "memory");
      }
    }
    return used(static_cast<std::byte*>(p), size);
  }

  void give(std::byte* p, size_t bytes) {
    const auto [size, index] = class_of(bytes);
    std::lock_guard lock(mutex_);
    stats_.active -= size;
    stats_.cached += size;
    free_[index].bytes = size;
    free_[index].blocks.push_back(p);
  }

  MemoryStats request(int device, const Backend::MemoryRequest& r) {
    std::lock_guard lock(mutex_);
    if (r.clear) trim_locked(device);
    if (r.set_limit) limit_ = r.limit;
    if (r.reset_peak) stats_.peak = stats_.active;
    MemoryStats s = stats_;
    s.limit = limit_;
    return s;
  }

 private:
  bool short_of_memory() {
    size_t available = 0, total = 0;
    return cudaMemGetInfo(&available, &total) == cudaSuccess && available < kReserve && stats_.cached > 0;
  }
  std::byte* used(std::byte* p, size_t size) {
    stats_.active += size;
    stats_.peak = std::max(stats_.peak, stats_.active);
    return p;
  }
  // cudaFree waits for the device: what still reads a block has ended before it goes.
  void trim_locked(int device) {
    use(device);
    for (List& list : free_) {
      for (std::byte* p : list.blocks) cudaFree(p);
      stats_.cached -= list.bytes * list.blocks.size();
      list.blocks.clear();
    }
  }
  struct List {
    size_t bytes = 0;  // of a block
    std::vector<std::byte*> blocks;
  };
  std::mutex mutex_;
  std::vector<List> free_{kClasses};
  MemoryStats stats_;
  size_t limit_ = 0;
};

Pool& pool(int device) {
  // Buffers may outlive everything else.
  static Pool* const pools = new Pool[static_cast<size_t>(device_count())];
  return pools[device];
}

}  // namespace

BufferPtr allocate(const Device& device, size_t bytes) {
  BufferPtr b(new Buffer);
  b->data = pool(device.index).take(device.index, bytes);
  b->bytes = bytes;
  b->device = device;
  b->release = [](Buffer& x) { pool(x.device.index).give(static_cast<std::byte*>(x.data), x.bytes); };
  return b;
}

MemoryStats memory(int device, const Backend::MemoryRequest& request) {
  return pool(device).request(device, request);
}

Scratch::Scratch(int device, size_t bytes) : device_(device), bytes_(bytes) {
  if (bytes) data_ = pool(device).take(device, bytes);
}
Scratch::~Scratch() {
  if (data_) pool(device_).give(data_, bytes_);
}

}  // namespace mc::cuda
