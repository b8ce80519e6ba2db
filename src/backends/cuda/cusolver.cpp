#include "backends/cuda/cusolver.h"

#include <map>
#include <type_traits>

#include "backends/cuda/library.h"
#include "mc/detail/str.h"
#include "mc/error.h"

namespace mc::cuda {

template <class T>
const Solver<T>& solver() {
  static const Solver<T> s = [] {
    Library& l = cusolver_library();
    const std::string p = std::is_same_v<T, float> ? "cusolverDnS" : "cusolverDnD";
    Solver<T> made;
    auto get = [&](auto& f, const char* name) {
      f = l.get<std::remove_reference_t<decltype(f)>>((p + name).c_str());
    };
    get(made.gesvd_size, "gesvd_bufferSize"), get(made.gesvd, "gesvd");
    get(made.syevd_size, "syevd_bufferSize"), get(made.syevd, "syevd");
    get(made.geqrf_size, "geqrf_bufferSize"), get(made.geqrf, "geqrf");
    get(made.orgqr_size, "orgqr_bufferSize"), get(made.orgqr, "orgqr");
    get(made.potrf_size, "potrf_bufferSize"), get(made.potrf, "potrf");
    get(made.getrf_size, "getrf_bufferSize"), get(made.getrf, "getrf");
    get(made.getrs, "getrs");
    return made;
  }();
  return s;
}
template const Solver<float>& solver<float>();
template const Solver<double>& solver<double>();

void check_solver(cusolverStatus_t status, const char* what) {
  if (status != CUSOLVER_STATUS_SUCCESS)
    throw Error(status == CUSOLVER_STATUS_ALLOC_FAILED ? ErrorCode::OutOfMemory : ErrorCode::Internal,
                cat("cuSOLVER failed with status ", static_cast<int>(status)), what);
}

cusolverDnHandle_t solver_handle(const Call& c) {
  static auto* handles = new std::map<int, cusolverDnHandle_t>;
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  cusolverDnHandle_t& h = (*handles)[c.device.index];
  if (!h) {
    Library& l = cusolver_library();
    check_solver(l.get<decltype(&cusolverDnCreate)>("cusolverDnCreate")(&h), "linalg");
    check_solver(l.get<decltype(&cusolverDnSetStream)>("cusolverDnSetStream")(h, c.stream), "linalg");
  }
  return h;
}

}  // namespace mc::cuda
