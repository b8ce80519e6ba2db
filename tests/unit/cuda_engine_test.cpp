// What can be tested of the CUDA engine without a GPU: its library loads, a machine without a driver gets the
// reason and the fix, and everything that the generator writes is accepted by NVRTC.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "mc/device.h"
#include "mc/error.h"
#include "runtime/registry.h"

namespace mc {
namespace {

std::filesystem::path engine_file() {
  Dl_info here;
  if (!dladdr(reinterpret_cast<const void*>(&backend_status), &here)) return {};
  return std::filesystem::weakly_canonical(here.dli_fname).parent_path() / "libmc_engine_cuda.so";
}

TEST(CudaEngine, IsThereOrSaysWhyNot) {
  if (!std::filesystem::exists(engine_file()))
    GTEST_SKIP() << "this build has no CUDA engine: nvcc is not installed";
  for (const BackendStatus& s : backend_status()) {
    if (s.name != "cuda") continue;
    if (s.available) {
      EXPECT_FALSE(s.devices.empty());
      return;
    }
    EXPECT_NE(s.message.find("CUDA is required for the CUDA backend: "), std::string::npos) << s.message;
    EXPECT_FALSE(s.fix.empty());
    EXPECT_THROW(parse_device("cuda"), Error);
    return;
  }
  FAIL() << "no row is named cuda";
}

TEST(CudaEngine, GeneratedKernelsCompile) {
  if (!std::filesystem::exists(engine_file()))
    GTEST_SKIP() << "this build has no CUDA engine: nvcc is not installed";
  void* library = dlopen(engine_file().c_str(), RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(library, nullptr) << dlerror();
  const auto compile =
      reinterpret_cast<int (*)(int, char*, size_t)>(dlsym(library, "mc_cuda_compile_samples"));
  ASSERT_NE(compile, nullptr);
  static char log[65536];
  const int n = compile(80, log, sizeof log);
  if (n < 0 && std::string_view(log).find("can't be loaded") != std::string_view::npos)
    GTEST_SKIP() << "NVRTC is not installed";
  EXPECT_GT(n, 50) << log;
}

}  // namespace
}  // namespace mc
