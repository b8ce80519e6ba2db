// Kernels compiled when a program first needs them (NVRTC), kept in memory and on disk.
#pragma once

#include <cstring>
#include <span>
#include <string>

#include "backends/cuda/device.h"

namespace mc::cuda {

// Source that every generated kernel begins with: types, conversions, and the operations on them.
const std::string& jit_prelude();

// The machine code of a source for compute capability `arch` (90 for 9.0). Throws Internal with the
// compiler's log.
std::string jit_compile(const std::string& source, int arch);

// A generated kernel on one device.
using JitKernel = CUfunction;

// The kernel `mc_kernel` of prelude + source on a device: from memory, $MODELCYPHER_CACHE/v1/nvrtc, or
// compiled now.
JitKernel jit_kernel(DeviceState& device, const std::string& source);

struct JitStats {
  size_t compiled = 0, from_disk = 0;
};
JitStats jit_stats();
std::string jit_cache_folder();

// Launches a kernel that takes one struct by value, given as its bytes.
void jit_launch(JitKernel kernel, int64_t blocks, int threads, size_t shared, cudaStream_t stream,
                std::span<const std::byte> parameters);

// Builds such bytes: fields of 8 bytes in the order of the struct.
class JitParams {
 public:
  template <class T>
  void add(T value) {
    static_assert(sizeof(T) == 8);
    const auto* p = reinterpret_cast<const std::byte*>(&value);
    bytes_.insert(bytes_.end(), p, p + 8);
  }
  template <class T>
  void set(size_t at, T value) {
    static_assert(sizeof(T) == 8);
    std::memcpy(bytes_.data() + at, &value, 8);
  }
  void add_bytes(const std::byte* p, size_t n) { bytes_.insert(bytes_.end(), p, p + n); }
  size_t size() const { return bytes_.size(); }
  std::byte* data() { return bytes_.data(); }
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace mc::cuda
