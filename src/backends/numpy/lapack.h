// LAPACK, loaded when a decomposition is first needed.
#pragma once

#include <complex>

namespace mc::numpy {

// Column-major, 32-bit integers, arguments by address: the Fortran interface.
template <class T>
struct LapackOfAny {  // without real parts of their own: real and complex numbers have the same form
  void (*geqrf)(const int*, const int*, T*, const int*, T*, T*, const int*, int*);
  void (*orgqr)(const int*, const int*, const int*, T*, const int*, const T*, T*, const int*, int*);
  void (*potrf)(const char*, const int*, T*, const int*, int*);
  void (*getrf)(const int*, const int*, T*, const int*, int*, int*);
  void (*getrs)(const char*, const int*, const int*, const T*, const int*, const int*, T*, const int*, int*);
  void (*trtrs)(const char*, const char*, const char*, const int*, const int*, const T*, const int*, T*,
                const int*, int*);
};
template <class T>
struct Lapack : LapackOfAny<T> {
  void (*gesdd)(const char*, const int*, const int*, T*, const int*, T*, T*, const int*, T*, const int*, T*,
                const int*, int*, int*);
  void (*syevd)(const char*, const char*, const int*, T*, const int*, T*, T*, const int*, int*, const int*,
                int*);
};

template <class R>
struct Lapack<std::complex<R>> : LapackOfAny<std::complex<R>> {
  using T = std::complex<R>;
  void (*gesdd)(const char*, const int*, const int*, T*, const int*, R*, T*, const int*, T*, const int*, T*,
                const int*, R*, int*, int*);
  void (*syevd)(const char*, const char*, const int*, T*, const int*, R*, T*, const int*, R*, const int*,
                int*, const int*, int*);
  void (*geev)(const char*, const char*, const int*, T*, const int*, T*, T*, const int*, T*, const int*, T*,
               const int*, R*, int*);
};

// float, double or complex ones of them. Throws BackendMissing naming the library and the command that
// installs it.
template <class T>
const Lapack<T>& lapack();

}  // namespace mc::numpy
