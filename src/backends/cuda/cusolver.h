// cuSOLVER's functions for float32 and float64 under one name each.
#pragma once

#include <cusolverDn.h>

#include "backends/cuda/kernel.h"

namespace mc::cuda {

template <class T>
struct Solver {
  using H = cusolverDnHandle_t;
  using S = cusolverStatus_t;
  S (*gesvd_size)(H, int, int, int*);
  S (*gesvd)(H, signed char, signed char, int, int, T*, int, T*, T*, int, T*, int, T*, int, T*, int*);
  S (*syevd_size)(H, cusolverEigMode_t, cublasFillMode_t, int, const T*, int, const T*, int*);
  S (*syevd)(H, cusolverEigMode_t, cublasFillMode_t, int, T*, int, T*, T*, int, int*);
  S (*geqrf_size)(H, int, int, T*, int, int*);
  S (*geqrf)(H, int, int, T*, int, T*, T*, int, int*);
  S (*orgqr_size)(H, int, int, int, const T*, int, const T*, int*);
  S (*orgqr)(H, int, int, int, T*, int, const T*, T*, int, int*);
  S (*potrf_size)(H, cublasFillMode_t, int, T*, int, int*);
  S (*potrf)(H, cublasFillMode_t, int, T*, int, T*, int, int*);
  S (*getrf_size)(H, int, int, T*, int, int*);
  S (*getrf)(H, int, int, T*, int, T*, int*, int*);
  S (*getrs)(H, cublasOperation_t, int, int, const T*, int, const int*, T*, int, int*);
};
template <class T>
const Solver<T>& solver();

// The device's handle, on its stream. Held under DeviceLock.
cusolverDnHandle_t solver_handle(const Call& c);
void check_solver(cusolverStatus_t status, const char* what);

}  // namespace mc::cuda
