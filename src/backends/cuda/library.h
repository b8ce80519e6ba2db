// Vendor libraries, loaded when first needed: a machine without one of them can use all the rest.
#pragma once

#include <string>
#include <vector>

namespace mc::cuda {

// A shared library sought in MODELCYPHER_CUDA_PATH, the linker's folders, $VIRTUAL_ENV's and the system's
// Python packages (nvidia/*/lib), $CUDA_HOME and /usr/local/cuda.
class Library {
 public:
  // `package`: what to install if it is missing.
  Library(std::vector<std::string> names, std::string package)
      : names_(std::move(names)), package_(std::move(package)) {}
  // Throws BackendMissing with every place tried.
  void* symbol(const char* name);
  template <class F>
  F get(const char* name) {
    return reinterpret_cast<F>(symbol(name));
  }
  bool try_load();
  const std::string& path() const { return path_; }

 private:
  std::vector<std::string> names_;
  std::string package_, path_, tried_;
  void* handle_ = nullptr;
};

Library& nvrtc_library();
Library& cublaslt_library();
Library& cusolver_library();

}  // namespace mc::cuda
