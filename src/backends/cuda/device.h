// Devices, their streams, and errors of the runtime as mc::Error.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <mutex>
#include <string>
#include <vector>

#include "runtime/backend.h"

namespace mc::cuda {

// Throws unless `status` is a success: OutOfMemory, DeviceUnavailable where the device is lost, else
// Internal.
void check(cudaError_t status, const char* what);

// What the runtime's own call costs more than the driver's, on the way of every small launch.
struct Driver {
  CUresult (*current)(CUcontext*);
  CUresult (*function)(CUfunction*, CUkernel);
  CUresult (*launch)(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                     CUstream, void**, void**);
};
const Driver& driver();

struct DeviceState {
  int index = 0;
  std::string name;
  size_t memory_bytes = 0;
  int major = 0, minor = 0, multiprocessors = 0;
  int shared_optin = 0;  // bytes of shared memory that a block may ask for
  size_t l2_bytes = 0;
  cudaStream_t stream = nullptr;  // all work of the device is in its order
  CUcontext context = nullptr;    // the device's own, in which the runtime works
  void begin();                   // makes both, once; the device is current
  std::once_flag once;
  std::recursive_mutex
      mutex;  // of the stream: what another thread enqueues must not end up in a graph being captured
};

// Finds driver and devices; throws BackendMissing with the step that failed.
void start();
int device_count();
DeviceState& device_state(int index);
std::string driver_version();

// Makes a device current on this thread. CUDA's calls act on the current one.
void use(int index);
void use(DeviceState& device);

// Holds a device's stream for this thread and makes the device current.
class DeviceLock {
 public:
  explicit DeviceLock(int index) : DeviceLock(device_state(index)) {}
  explicit DeviceLock(DeviceState& device) : lock_(device.mutex) { use(device); }

 private:
  std::lock_guard<std::recursive_mutex> lock_;
};

// Throws what went wrong on the device since the last look.
void synchronize(int index);

// cudaErrorMemoryAllocation and friends clear when read; a lost context stays lost.
std::string error_text(cudaError_t status);

}  // namespace mc::cuda
