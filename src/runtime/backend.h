// The waist: what an engine must be able to do. It gets whole graphs, never single operations.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/graph.h"
#include "mc/device.h"
#include "mc/error.h"
#include "mc/share.h"

namespace mc {

struct DeviceInfo {
  std::string kind;         // "cpu", "gpu", "tpu"
  std::string description;  // what a user recognises
  size_t memory_bytes = 0;
};

// Whether an engine runs a node natively; `reason` says why not.
struct Support {
  bool native = false;
  std::string reason;
};

struct CompileOptions {
  Device device;
  std::vector<bool> donated;  // by input; may be shorter than the inputs
};

// Exact bytes that one run needs beyond its inputs.
struct PlanInfo {
  size_t temp_bytes = 0;  // scratch, live during the run only
  size_t output_bytes = 0;
  size_t constant_bytes = 0;  // engine-private packed forms of constants
  size_t steps = 0;
};

class Executable {
 public:
  virtual ~Executable() = default;
  // inputs: row-major values on the device, in the graph's order; donated ones are moved from. Fills all
  // outputs.
  virtual void run(std::span<Value> inputs, std::span<Value> outputs) = 0;
  virtual PlanInfo plan() const = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string_view name() const = 0;
  virtual std::vector<DeviceInfo> devices() = 0;
  virtual bool has_dtype(Dtype dtype) const = 0;
  virtual Support supports(Op op, std::span<const Aval> in, const Attrs& attrs) const = 0;
  // Uninitialised memory on the device.
  virtual BufferPtr allocate(const Device& device, size_t bytes) = 0;
  virtual void upload(const Device& device, const void* host, const Value& dst, size_t bytes) = 0;
  virtual void download(const Value& src, void* host, size_t bytes) = 0;
  // Host memory as it stands, for engines that compute on it without a copy; else an empty Value.
  virtual Value adopt(const Device& device, const Value& host) = 0;
  virtual std::unique_ptr<Executable> compile(const Graph& graph, const CompileOptions& options) = 0;
  virtual void synchronize(const Device& device) = 0;
  // How DLPack names the device where buffers are plain addresses on it.
  virtual SharedDevice shared_device(const Device&) { return {}; }
  // Waits for everything on the device, other libraries' work too.
  virtual void settle(const Device& device) { synchronize(device); }
  // Bytes now; `limit` and `reset_peak` act first when asked.
  struct MemoryRequest {
    bool set_limit = false, reset_peak = false, clear = false;
    size_t limit = 0;
  };
  virtual MemoryStats memory(const Device& device, const MemoryRequest& request) = 0;
  // Lines for `mc doctor`: what it stands on and which path it takes.
  virtual std::vector<std::pair<std::string, std::string>> facts() = 0;
};

}  // namespace mc
