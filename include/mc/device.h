// Engines and devices: which one computes, what memory it uses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mc/export.h"

namespace mc {

class Backend;

// One device of one engine. Cheap to copy.
struct Device {
  Backend* backend = nullptr;
  int index = 0;
  friend bool operator==(const Device&, const Device&) = default;
};

// "numpy:0" as engine:index.
MC_API std::string device_name(const Device& device);
// Parses "cuda", "cuda:1", "jax:tpu", "mlx:cpu" and loads the engine. Throws UnknownBackend or
// BackendMissing.
MC_API Device parse_device(std::string_view spec);

// The device that computes when no input says otherwise: the innermost DeviceScope, else set_default_device,
// else MODELCYPHER_BACKEND (alias MC_BACKEND), else the automatic choice, which prints one line on stderr
// saying why.
MC_API Device default_device();
MC_API void set_default_device(const Device& device);
// What default_device() is, or would be at its first call, outside of every DeviceScope; nothing is printed.
// Throws as default_device() does when the environment names an engine that is not there.
struct DeviceChoice {
  Device device;
  std::string why;
};
MC_API DeviceChoice default_choice();

// Makes `device` the default on this thread while it lives.
class MC_API DeviceScope {
 public:
  explicit DeviceScope(const Device& device);
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  Device previous_;
};

// What is known of an engine without using it.
struct BackendStatus {
  std::string name;
  bool available = false;
  std::string message;  // when not available: why, beginning with the guide's words
  std::string fix;      // the command that mends it
  std::vector<std::string> devices;
  std::vector<std::pair<std::string, std::string>> facts;  // what it stands on and which path it takes
};
// All engines that this build knows, in order of rank; probes each without raising.
MC_API std::vector<BackendStatus> backend_status();

// Bytes of device memory (host memory for the host engine).
struct MemoryStats {
  size_t active = 0;  // in live buffers
  size_t peak = 0;    // largest `active` since the last reset
  size_t cached = 0;  // kept for reuse
  size_t limit = 0;   // 0: none
};
MC_API MemoryStats memory_stats(const Device& device);
// Allocations that would pass `bytes` throw MemoryLimit; 0 removes the limit. Returns the old one.
MC_API size_t set_memory_limit(const Device& device, size_t bytes);
MC_API void reset_peak_memory(const Device& device);
// Returns cached memory to the system and drops compiled programs.
MC_API void clear_cache();
// Waits for all work on the device.
MC_API void synchronize(const Device& device);
MC_API void synchronize();

// Number of threads of the host engine: set_num_threads, else MC_NUM_THREADS, else affinity and cgroup quota.
MC_API int num_threads();
// n >= 1; 0 returns to the default. Takes effect at the next parallel region.
MC_API void set_num_threads(int n);

}  // namespace mc
