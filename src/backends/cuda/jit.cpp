#include "backends/cuda/jit.h"

#include <nvrtc.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>

#include "backends/cuda/library.h"
#include "mc/cache.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/sha256.h"
#include "runtime/disk_cache.h"

namespace mc::cuda {
namespace {

struct Nvrtc {
  decltype(&nvrtcCreateProgram) create;
  decltype(&nvrtcDestroyProgram) destroy;
  decltype(&nvrtcCompileProgram) compile;
  decltype(&nvrtcGetCUBINSize) cubin_size;
  decltype(&nvrtcGetCUBIN) cubin;
  decltype(&nvrtcGetPTXSize) ptx_size;
  decltype(&nvrtcGetPTX) ptx;
  decltype(&nvrtcGetProgramLogSize) log_size;
  decltype(&nvrtcGetProgramLog) log;
  decltype(&nvrtcVersion) version;
  decltype(&nvrtcGetNumSupportedArchs) arch_count;
  decltype(&nvrtcGetSupportedArchs) archs;
  decltype(&nvrtcGetErrorString) error;
};
const Nvrtc& nvrtc() {
  static const Nvrtc n = [] {
    Library& l = nvrtc_library();
    Nvrtc made;
    made.create = l.get<decltype(made.create)>("nvrtcCreateProgram");
    made.destroy = l.get<decltype(made.destroy)>("nvrtcDestroyProgram");
    made.compile = l.get<decltype(made.compile)>("nvrtcCompileProgram");
    made.cubin_size = l.get<decltype(made.cubin_size)>("nvrtcGetCUBINSize");
    made.cubin = l.get<decltype(made.cubin)>("nvrtcGetCUBIN");
    made.ptx_size = l.get<decltype(made.ptx_size)>("nvrtcGetPTXSize");
    made.ptx = l.get<decltype(made.ptx)>("nvrtcGetPTX");
    made.log_size = l.get<decltype(made.log_size)>("nvrtcGetProgramLogSize");
    made.log = l.get<decltype(made.log)>("nvrtcGetProgramLog");
    made.version = l.get<decltype(made.version)>("nvrtcVersion");
    made.arch_count = l.get<decltype(made.arch_count)>("nvrtcGetNumSupportedArchs");
    made.archs = l.get<decltype(made.archs)>("nvrtcGetSupportedArchs");
    made.error = l.get<decltype(made.error)>("nvrtcGetErrorString");
    return made;
  }();
  return n;
}

void check_nvrtc(nvrtcResult r, const char* what) {
  if (r != NVRTC_SUCCESS)
    throw Error(ErrorCode::Internal, cat("NVRTC's ", what, " failed: ", nvrtc().error(r)), "cuda");
}

std::string compiler_version() {
  int major = 0, minor = 0;
  nvrtc().version(&major, &minor);
  return cat(major, ".", minor);
}

struct Program {
  nvrtcProgram p = nullptr;
  ~Program() {
    if (p) nvrtc().destroy(&p);
  }
};

struct Cache {
  std::mutex mutex;
  std::map<std::pair<int, std::string>, JitKernel> kernels;  // device, source
  JitStats stats;
};
Cache& cache() {
  static auto* c = new Cache;
  return *c;
}

// The least recently used go first. Kernels are some kilobytes each.
DiskCache& disk() {
  static auto* d = new DiskCache("nvrtc", size_t{256} << 20);
  return *d;
}

JitKernel load(const std::string& code) {
  cudaLibrary_t library = nullptr;
  if (cudaLibraryLoadData(&library, code.data(), nullptr, nullptr, 0, nullptr, nullptr, 0) != cudaSuccess) {
    cudaGetLastError();
    return nullptr;
  }
  cudaKernel_t kernel = nullptr;
  JitKernel function = nullptr;
  if (cudaLibraryGetKernel(&kernel, library, "mc_kernel") != cudaSuccess ||
      driver().function(&function, kernel) != CUDA_SUCCESS) {
    cudaGetLastError();
    cudaLibraryUnload(library);
    return nullptr;
  }
  return function;
}

}  // namespace

std::string jit_cache_folder() {
  const std::string root = cache_folder();
  return root.empty() ? root : root + "/nvrtc";
}

std::string jit_compile(const std::string& source, int arch) {
  const Nvrtc& n = nvrtc();
  int count = 0;
  check_nvrtc(n.arch_count(&count), "list of architectures");
  std::vector<int> archs(static_cast<size_t>(count));
  check_nvrtc(n.archs(archs.data()), "list of architectures");
  // A chip newer than the compiler gets PTX of the newest that it knows.
  const bool known = std::find(archs.begin(), archs.end(), arch) != archs.end();
  int use = arch;
  if (!known) {
    use = 80;
    for (int a : archs)
      if (a <= arch) use = std::max(use, a);
  }
  Program program;
  const std::string whole = jit_prelude() + source;
  check_nvrtc(n.create(&program.p, whole.c_str(), "mc.cu", 0, nullptr, nullptr), "nvrtcCreateProgram");
  const std::string target = cat("--gpu-architecture=", known ? "sm_" : "compute_", use);
  const char* options[] = {target.c_str(), "--std=c++17", "--fmad=false",
                           "--device-as-default-execution-space", "--no-display-error-number"};
  const nvrtcResult r = n.compile(program.p, static_cast<int>(std::size(options)), options);
  if (r != NVRTC_SUCCESS) {
    size_t size = 0;
    n.log_size(program.p, &size);
    std::string log(size, ' ');
    n.log(program.p, log.data());
    throw Error(ErrorCode::Internal,
                cat("a generated kernel does not compile: ", log.substr(0, 2000), "\n", source), "cuda");
  }
  size_t size = 0;
  std::string code;
  if (known) {
    check_nvrtc(n.cubin_size(program.p, &size), "nvrtcGetCUBINSize");
    code.resize(size);
    check_nvrtc(n.cubin(program.p, code.data()), "nvrtcGetCUBIN");
  } else {
    check_nvrtc(n.ptx_size(program.p, &size), "nvrtcGetPTXSize");
    code.resize(size);
    check_nvrtc(n.ptx(program.p, code.data()), "nvrtcGetPTX");
  }
  return code;
}

JitKernel jit_kernel(DeviceState& device, const std::string& source) {
  Cache& c = cache();
  std::lock_guard lock(c.mutex);
  JitKernel& kernel = c.kernels[{device.index, source}];
  if (kernel) return kernel;
  use(device.index);
  const int arch = device.major * 10 + device.minor;
  const std::string whole =
      cat(compiler_version(), " ", driver_version(), " sm_", arch, "\n", jit_prelude(), source);
  const std::string key = sha256_hex(std::as_bytes(std::span(whole)));
  if (const std::optional<std::string> code = disk().read(key)) {
    kernel = load(*code);
    if (kernel) {
      ++c.stats.from_disk;
      return kernel;
    }
    disk().drop(key);
  }
  const std::string code = jit_compile(source, arch);
  kernel = load(code);
  if (!kernel) throw Error(ErrorCode::Internal, "a generated kernel can't be loaded", "cuda");
  ++c.stats.compiled;
  disk().write(key, code);
  return kernel;
}

JitStats jit_stats() {
  Cache& c = cache();
  std::lock_guard lock(c.mutex);
  return c.stats;
}

void jit_launch(JitKernel kernel, int64_t blocks, int threads, size_t shared, cudaStream_t stream,
                std::span<const std::byte> parameters) {
  if (blocks == 0) return;
  if (blocks > INT32_MAX)
    throw Error(ErrorCode::InvalidArgument, "an array is too large for one launch", "cuda");
  void* args[] = {const_cast<std::byte*>(parameters.data())};
  // The runtime's errors have the driver's numbers.
  check(static_cast<cudaError_t>(driver().launch(kernel, static_cast<unsigned>(blocks), 1, 1,
                                                 static_cast<unsigned>(threads), 1, 1,
                                                 static_cast<unsigned>(shared), stream, args, nullptr)),
        "launching a generated kernel");
}

}  // namespace mc::cuda
