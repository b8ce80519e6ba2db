#include "backends/cuda/library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <mutex>

#include "mc/detail/str.h"
#include "mc/error.h"

namespace mc::cuda {
namespace {

namespace fs = std::filesystem;

void add_packages(const fs::path& lib, std::vector<fs::path>& out) {
  std::error_code ignored;
  for (const auto& python : fs::directory_iterator(lib, ignored)) {
    if (python.path().filename().string().rfind("python3", 0) != 0) continue;
    for (const char* site : {"site-packages", "dist-packages"})
      for (const auto& package : fs::directory_iterator(python.path() / site / "nvidia", ignored))
        if (fs::exists(package.path() / "lib", ignored)) out.push_back(package.path() / "lib");
  }
}

std::vector<fs::path> folders() {
  std::vector<fs::path> out;
  if (const char* v = std::getenv("MODELCYPHER_CUDA_PATH")) {
    out.emplace_back(v);
    out.push_back(fs::path(v) / "lib64");
  }
  out.emplace_back();  // the linker's own search
  if (const char* v = std::getenv("VIRTUAL_ENV")) add_packages(fs::path(v) / "lib", out);
  for (const char* name : {"CUDA_HOME", "CUDA_PATH"})
    if (const char* v = std::getenv(name)) out.push_back(fs::path(v) / "lib64");
  out.emplace_back("/usr/local/cuda/lib64");
  add_packages("/usr/local/lib", out);
  add_packages("/usr/lib", out);
  return out;
}

std::mutex& load_mutex() {
  static std::mutex m;
  return m;
}

}  // namespace

bool Library::try_load() {
  std::lock_guard lock(load_mutex());
  if (handle_) return true;
  tried_.clear();
  for (const fs::path& folder : folders())
    for (const std::string& name : names_) {
      const std::string path = folder.empty() ? name : (folder / name).string();
      std::error_code ignored;
      if (!folder.empty() && !fs::exists(path, ignored)) continue;
      handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
      if (handle_) {
        path_ = path;
        return true;
      }
      const char* error = dlerror();
      tried_ += cat(tried_.empty() ? "" : "; ", error ? error : path);
    }
  return false;
}

void* Library::symbol(const char* name) {
  if (!try_load())
    throw Error(ErrorCode::BackendMissing,
                cat("CUDA is required for the CUDA backend: ", names_[0], " can't be loaded: ", tried_), {},
                cat("pip install ", package_, ", or set MODELCYPHER_CUDA_PATH to its folder"));
  void* p = dlsym(handle_, name);
  if (!p)
    throw Error(ErrorCode::BackendMissing,
                cat("CUDA is required for the CUDA backend: ", path_, " has no ", name), {},
                cat("pip install --upgrade ", package_));
  return p;
}

Library& nvrtc_library() {
  static auto* l = new Library({"libnvrtc.so.13", "libnvrtc.so"}, "nvidia-cuda-nvrtc");
  return *l;
}
Library& cublaslt_library() {
  static auto* l = new Library({"libcublasLt.so.13", "libcublasLt.so"}, "nvidia-cublas");
  return *l;
}
Library& cusolver_library() {
  static auto* l = new Library({"libcusolver.so.12", "libcusolver.so"}, "nvidia-cusolver");
  return *l;
}

}  // namespace mc::cuda
