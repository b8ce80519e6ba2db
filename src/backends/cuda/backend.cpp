// The NVIDIA engine behind the waist.
#include "backends/cuda/executable.h"
#include "backends/cuda/library.h"
#include "backends/cuda/samples.h"
#include "core/op_names.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "runtime/engine_entry.h"

namespace mc {
namespace cuda {
namespace {

constexpr int32_t kDlCuda = 2;  // DLPack's kDLCUDA

class CudaBackend final : public Backend {
 public:
  CudaBackend() { start(); }
  std::string_view name() const override { return "cuda"; }
  std::vector<DeviceInfo> devices() override {
    std::vector<DeviceInfo> out;
    for (int i = 0; i < device_count(); ++i) {
      const DeviceState& d = device_state(i);
      out.push_back({"gpu",
                     cat(d.name, ", compute capability ", d.major, ".", d.minor, ", ", d.multiprocessors,
                         " multiprocessors"),
                     d.memory_bytes});
    }
    return out;
  }
  bool has_dtype(Dtype) const override { return true; }
  Support supports(Op op, std::span<const Aval> in, const Attrs& attrs) const override {
    if (op == Op::Full || is_view(op) || is_pointwise(op)) return {true, {}};
    const KernelRow* k = find_kernel(op);
    if (!k) return {false, "the CUDA engine has no kernel of its own for it"};
    if (k->when && !k->when(in, attrs))
      return {false, "the CUDA engine's kernel does not take these dtypes or sizes"};
    return {true, {}};
  }
  BufferPtr allocate(const Device& d, size_t bytes) override {
    use(d.index);
    return cuda::allocate(d, bytes);
  }
  void upload(const Device& d, const void* host, const Value& dst, size_t bytes) override {
    if (!bytes) return;
    DeviceLock hold(d.index);
    // From pageable memory: the host's bytes have been read when this returns.
    check(cudaMemcpyAsync(dst.host(), host, bytes, cudaMemcpyHostToDevice, device_state(d.index).stream),
          "copying to the device");
  }
  void download(const Value& src, void* host, size_t bytes) override {
    if (!bytes) return;
    const int d = src.buffer->device.index;
    DeviceLock hold(d);
    check(cudaMemcpyAsync(host, src.host(), bytes, cudaMemcpyDeviceToHost, device_state(d).stream),
          "copying from the device");
    cuda::synchronize(d);
  }
  Value adopt(const Device&, const Value&) override { return {}; }
  std::unique_ptr<Executable> compile(const Graph& graph, const CompileOptions& options) override {
    return std::make_unique<CudaExecutable>(graph, options);
  }
  void synchronize(const Device& d) override { cuda::synchronize(d.index); }
  SharedDevice shared_device(const Device& d) override {
    use(d.index);
    const DeviceState& state = device_state(d.index);
    return {kDlCuda, state.index, reinterpret_cast<uintptr_t>(state.stream)};
  }
  void settle(const Device& d) override {
    DeviceLock hold(d.index);
    check(cudaDeviceSynchronize(), "work on the device");
  }
  MemoryStats memory(const Device& d, const MemoryRequest& r) override { return cuda::memory(d.index, r); }
  std::vector<std::pair<std::string, std::string>> facts() override {
    int runtime = 0;
    cudaRuntimeGetVersion(&runtime);
    std::vector<std::pair<std::string, std::string>> out = {
        {"driver", cat("CUDA ", driver_version())},
        {"runtime", cat("CUDA ", runtime / 1000, ".", runtime % 1000 / 10)}};
    auto library = [&](const char* what, Library& l) {
      out.emplace_back(what, l.try_load() ? l.path() : "not found: operations that need it are refused");
    };
    library("NVRTC", nvrtc_library());
    library("cuBLASLt", cublaslt_library());
    library("cuSOLVER", cusolver_library());
    out.emplace_back("generated kernels", jit_cache_folder());
    return out;
  }
};

// NVRTC needs no GPU: this compiles every operation that the generator knows on every dtype, for a compute
// capability.
int compile_samples(int arch, char* log, size_t size) {
  int done = 0;
  try {
    for (const std::string& s : generated_samples()) {
      jit_compile(s, arch);
      ++done;
    }
  } catch (const std::exception& e) {
    if (size) log[std::string_view(e.what()).copy(log, size - 1)] = 0;
    return -1;
  }
  return done;
}

}  // namespace
}  // namespace cuda
}  // namespace mc

MC_ENGINE(new mc::cuda::CudaBackend)

// For tests: the number of kernels compiled, or -1 and why.
extern "C" MC_API int mc_cuda_compile_samples(int arch, char* log, size_t size) {
  return mc::cuda::compile_samples(arch, log, size);
}
