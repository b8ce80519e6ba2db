// What lies behind a Buffer of this engine: bytes on the host until a program needs them on the device,
// arrays on the device, and forms of weights made for it.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "backends/jax/plugins.h"
#include "runtime/backend.h"

namespace mc::jax_engine {

// An array on a device; its bytes are counted while it lives.
class DeviceArray {
 public:
  DeviceArray(DeviceBuffer buffer, size_t bytes);
  ~DeviceArray();
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  PJRT_Buffer* get() const { return buffer_.get(); }

 private:
  DeviceBuffer buffer_;
  size_t bytes_;
};
using DeviceArrayPtr = std::shared_ptr<DeviceArray>;

// What a form of a weight is: the bytes as they are, or expanded to floats.
struct FormKey {
  size_t offset = 0;
  Aval aval;
  int decode = -1;  // -1: the bytes as they are; else a number for the packing
  // Of affine groups: the buffers of scales and biases (kept alive with the form) and the places in them.
  const void* beside[2] = {nullptr, nullptr};
  size_t beside_at[2] = {0, 0};
  friend bool operator==(const FormKey&, const FormKey&) = default;
};

struct Holder {
  std::mutex mutex;
  EngineDevice device;
  std::byte* host = nullptr;  // null once the device has it all
  size_t bytes = 0;
  std::shared_ptr<const void> owner;  // of host
  bool adopted = false;               // the memory is someone else's and stays as it is: used where it lies
  struct Form {
    FormKey key;
    DeviceArrayPtr array;
    std::shared_ptr<const void> owner;  // of memory that the device uses where it lies
    std::vector<Value> beside = {};
  };
  std::vector<Form> forms;

  DeviceArrayPtr find(const FormKey& key) const;
  // The bytes [offset, offset + size), wherever they are now. The caller holds the mutex.
  void read(size_t offset, void* dst, size_t size) const;
};

std::shared_ptr<Holder> holder_of(const Value& value);
BufferPtr buffer_of(const Device& device, std::shared_ptr<Holder> holder);
// Host memory of our own; the device gets a copy when a program needs it.
std::shared_ptr<Holder> allocate_host(const EngineDevice& device, size_t bytes);
// A result of a program.
std::shared_ptr<Holder> of_result(const EngineDevice& device, DeviceBuffer buffer, const Aval& aval);

// The value as an array of the device.
DeviceArrayPtr array_of(const Value& value, const Aval& aval);
// A packed weight as floats (rows, cols) of `dtype`; `parts` are its arrays, kept with the first one.
DeviceArrayPtr expanded(std::span<const Value> parts, std::span<const Aval> avals, const Attrs& quant,
                        Dtype dtype);

// Programs run in order, so that waiting for the last result of a device is waiting for all.
void remember_last(const EngineDevice& device, const std::shared_ptr<Holder>& result);
void wait_for_last(const EngineDevice& device);

// Throws MemoryLimit or OutOfMemory if so many bytes more can't be had.
void check_limit(const EngineDevice& device, size_t bytes, std::string_view where);
MemoryStats memory_of(const EngineDevice& device, const Backend::MemoryRequest& request);

}  // namespace mc::jax_engine
