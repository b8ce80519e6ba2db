// Memory on a device, shared by reference count.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <utility>

#include "mc/device.h"

namespace mc {

struct Buffer {
  std::atomic<int> refs{0};
  Device device;         // backend == nullptr: host memory that belongs to no engine yet
  void* data = nullptr;  // device address, or an engine's own handle
  size_t bytes = 0;
  bool constant = false;                 // a model weight: never written
  bool mapped = false;                   // pages of a file: an engine that has `packed` may drop them
  std::function<void(Buffer&)> release;  // frees `data`; null for memory that someone else keeps
  std::shared_ptr<const void> keep;      // owner of wrapped memory
  std::shared_ptr<void> packed;          // an engine's private form of the whole buffer, made at first use
  ~Buffer() {
    if (release) release(*this);
  }
};

class BufferPtr {
 public:
  BufferPtr() = default;
  explicit BufferPtr(Buffer* b) : b_(b) {
    if (b_) b_->refs.fetch_add(1, std::memory_order_relaxed);
  }
  BufferPtr(const BufferPtr& o) : BufferPtr(o.b_) {}
  BufferPtr(BufferPtr&& o) noexcept : b_(std::exchange(o.b_, nullptr)) {}
  BufferPtr& operator=(BufferPtr o) noexcept {
    std::swap(b_, o.b_);
    return *this;
  }
  ~BufferPtr() {
    if (b_ && b_->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) delete b_;
  }
  Buffer* get() const { return b_; }
  Buffer* operator->() const { return b_; }
  Buffer& operator*() const { return *b_; }
  explicit operator bool() const { return b_ != nullptr; }

 private:
  Buffer* b_ = nullptr;
};

// A row-major value in a buffer.
struct Value {
  BufferPtr buffer;
  size_t offset = 0;  // bytes
  std::byte* host() const { return static_cast<std::byte*>(buffer->data) + offset; }
};

}  // namespace mc
