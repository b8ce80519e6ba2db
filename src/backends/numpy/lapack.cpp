#include "backends/numpy/lapack.h"

#include <dlfcn.h>

#include <string>

#include "mc/detail/str.h"
#include "mc/error.h"

namespace mc::numpy {
namespace {

struct Library {
  void* handle = nullptr;
  std::string tried;
  Library() {
    for (const char* name : {"libopenblas.so.0", "libopenblas.so", "liblapack.so.3"}) {
      handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
      if (handle) break;
      tried += cat(tried.empty() ? "" : "; ", dlerror());
    }
    if (!handle) return;
    // One thread: the order of additions must not depend on how many there are.
    if (auto set = reinterpret_cast<void (*)(int)>(dlsym(handle, "openblas_set_num_threads"))) set(1);
  }
};

void* symbol(const char* name) {
  static const Library library;
  if (!library.handle)
    throw Error(ErrorCode::BackendMissing,
                cat("decompositions need OpenBLAS or LAPACK, which can't be loaded: ", library.tried),
                "linalg", "apt-get install libopenblas0-pthread");
  void* p = dlsym(library.handle, name);
  if (!p)
    throw Error(ErrorCode::BackendMissing, cat("the LAPACK library has no ", name), "linalg",
                "apt-get install libopenblas0-pthread");
  return p;
}

template <class T>
Lapack<T> load(char letter, bool complex) {
  Lapack<T> l;
  auto get = [&](auto& slot, const char* name) {
    slot = reinterpret_cast<std::remove_reference_t<decltype(slot)>>(symbol(cat(letter, name, "_").c_str()));
  };
  get(l.gesdd, "gesdd");
  get(l.syevd, complex ? "heevd" : "syevd");
  get(l.geqrf, "geqrf");
  get(l.orgqr, complex ? "ungqr" : "orgqr");
  get(l.potrf, "potrf");
  get(l.getrf, "getrf");
  get(l.getrs, "getrs");
  get(l.trtrs, "trtrs");
  if constexpr (requires { l.geev; }) get(l.geev, "geev");
  return l;
}

}  // namespace

template <>
const Lapack<float>& lapack<float>() {
  static const Lapack<float> l = load<float>('s', false);
  return l;
}
template <>
const Lapack<double>& lapack<double>() {
  static const Lapack<double> l = load<double>('d', false);
  return l;
}
template <>
const Lapack<std::complex<float>>& lapack<std::complex<float>>() {
  static const auto l = load<std::complex<float>>('c', true);
  return l;
}
template <>
const Lapack<std::complex<double>>& lapack<std::complex<double>>() {
  static const auto l = load<std::complex<double>>('z', true);
  return l;
}

}  // namespace mc::numpy
