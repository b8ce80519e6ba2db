#include "backends/cuda/device.h"

#include <pthread.h>

#include <atomic>
#include <memory>

#include "mc/detail/str.h"
#include "mc/error.h"

namespace mc::cuda {
namespace {

constexpr const char* kMessage = "CUDA is required for the CUDA backend";
constexpr int kOldest = 80;  // compute capability 8.0

struct Machine {
  std::atomic<bool> forked{false};  // this process is a child of the one that started CUDA
  int driver = 0;
  std::vector<std::unique_ptr<DeviceState>> devices;
};
Machine& machine() {
  static auto* m = new Machine;
  return *m;
}

[[noreturn]] void missing(const std::string& why, const std::string& fix) {
  throw Error(ErrorCode::BackendMissing, cat(kMessage, ": ", why), {}, fix);
}

std::string version_text(int v) { return cat(v / 1000, ".", v % 1000 / 10); }

}  // namespace

std::string error_text(cudaError_t status) {
  return cat(cudaGetErrorName(status), ": ", cudaGetErrorString(status));
}

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // clears it where it can be cleared
  if (status == cudaErrorMemoryAllocation)
    throw Error(ErrorCode::OutOfMemory, cat("the GPU has not enough memory (", what, ")"), "cuda");
  const bool lost = status == cudaErrorDevicesUnavailable || status == cudaErrorNoDevice ||
                    status == cudaErrorIllegalAddress || status == cudaErrorLaunchFailure ||
                    status == cudaErrorECCUncorrectable || status == cudaErrorHardwareStackError;
  throw Error(lost ? ErrorCode::DeviceUnavailable : ErrorCode::Internal,
              cat(what, " failed with ", error_text(status)), "cuda",
              lost ? "the device's context is lost: start the program again" : "");
}

void start() {
  Machine& m = machine();
  if (!m.devices.empty()) return;
  pthread_atfork(nullptr, nullptr, [] { machine().forked = true; });
  int driver = 0, runtime = 0, count = 0;
  cudaRuntimeGetVersion(&runtime);
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0)
    missing("the NVIDIA driver is not there (libcuda.so.1 can't be loaded)",
            cat("install a driver for CUDA ", version_text(runtime),
                " or later, for example apt-get install nvidia-open"));
  if (driver / 1000 < runtime / 1000)
    missing(
        cat("the driver speaks CUDA ", version_text(driver), ", this engine needs ", version_text(runtime)),
        cat("install a driver for CUDA ", version_text(runtime), " or later"));
  if (const cudaError_t s = cudaGetDeviceCount(&count); s != cudaSuccess || count == 0) {
    cudaGetLastError();
    missing(s == cudaSuccess || s == cudaErrorNoDevice
                ? "the driver finds no GPU"
                : cat("the driver can't list GPUs (", error_text(s), ")"),
            "check nvidia-smi; in a container, start it with --gpus all; check CUDA_VISIBLE_DEVICES");
  }
  m.driver = driver;
  std::string old;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp p;
    if (cudaGetDeviceProperties(&p, i) != cudaSuccess) continue;
    if (p.major * 10 + p.minor < kOldest) {
      old += cat(old.empty() ? "" : ", ", p.name, " (", p.major, ".", p.minor, ")");
      continue;
    }
    auto d = std::make_unique<DeviceState>();
    d->index = i;
    d->name = p.name;
    d->memory_bytes = p.totalGlobalMem;
    d->major = p.major;
    d->minor = p.minor;
    d->multiprocessors = p.multiProcessorCount;
    d->shared_optin = static_cast<int>(p.sharedMemPerBlockOptin);
    d->l2_bytes = static_cast<size_t>(p.l2CacheSize);
    m.devices.push_back(std::move(d));
  }
  if (m.devices.empty())
    missing(cat("no GPU has compute capability 8.0 or later: ", old),
            "use a GPU of the Ampere generation or later");
}

int device_count() { return static_cast<int>(machine().devices.size()); }
std::string driver_version() { return version_text(machine().driver); }

DeviceState& device_state(int index) {
  Machine& m = machine();
  if (index < 0 || index >= device_count())
    throw Error(ErrorCode::DeviceUnavailable, cat("there is no cuda:", index), "cuda",
                cat("use cuda:0 to cuda:", device_count() - 1));
  if (m.forked.load(std::memory_order_relaxed))
    throw Error(ErrorCode::DeviceUnavailable,
                "CUDA can't be used in a forked child of a process that used it", "cuda",
                "start the process with spawn instead of fork");
  return *m.devices[static_cast<size_t>(index)];
}

const Driver& driver() {
  static const Driver d = [] {
    auto find = [](const char* name, auto& f) {
      void* p = nullptr;
      cudaDriverEntryPointQueryResult found;
      check(cudaGetDriverEntryPointByVersion(name, &p, 12000, cudaEnableDefault, &found), name);
      if (!p)
        throw Error(ErrorCode::Internal, cat("the NVIDIA driver has no ", name), "cuda",
                    "install a newer driver");
      f = reinterpret_cast<std::remove_reference_t<decltype(f)>>(p);
    };
    Driver made;
    find("cuCtxGetCurrent", made.current);
    find("cuKernelGetFunction", made.function);
    find("cuLaunchKernel", made.launch);
    return made;
  }();
  return d;
}

void DeviceState::begin() {
  std::call_once(once, [&] {
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "making a stream");
    check(static_cast<cudaError_t>(driver().current(&context)), "asking for the context");
  });
}

void use(int index) { use(device_state(index)); }

void use(DeviceState& d) {
  // Other libraries of the process may have chosen another since; to ask is cheap, to choose is not.
  thread_local CUcontext chosen = nullptr;
  CUcontext now = nullptr;
  if (chosen && chosen == d.context && driver().current(&now) == CUDA_SUCCESS && now == chosen) return;
  check(cudaSetDevice(d.index), "choosing the device");
  d.begin();
  chosen = d.context;
}

void synchronize(int index) {
  DeviceLock hold(index);
  check(cudaStreamSynchronize(device_state(index).stream), "work on the device");
}

}  // namespace mc::cuda
