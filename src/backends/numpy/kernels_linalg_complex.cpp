// Decompositions of complex matrices, and eigenvalues that are complex.
#include "backends/numpy/linalg.h"

namespace mc::numpy {
namespace {

template <class F>
void with_complex(Dtype d, F f) {
  if (d == Dtype::C64)
    f(float{});
  else
    f(double{});
}

}  // namespace

void complex_svd(const Call& c) {
  const auto [m, n, batch] = dims_of(c.in[0], "svd");
  const int k = std::min(m, n), large = std::max(m, n);
  with_complex(c.in[0].dtype, [&, m = m, n = n, batch = batch](auto tag) {
    using R = decltype(tag);
    using T = std::complex<R>;
    if (k == 0) return;
    // As for real matrices: aᵀ = vᵀ·S·uᵀ, without conjugates.
    std::vector<T> a(area(m, n)), work(1);
    std::vector<R> rwork(
        std::max(area(5 * k, k) + area(5, k), area(2 * large, k) + area(2 * k, k) + area(1, k)));
    std::vector<int> iwork(area(8, k));
    for (int64_t b = 0; b < batch; ++b) {
      std::copy_n(c.in[0].as<T>() + b * static_cast<int64_t>(a.size()), a.size(), a.begin());
      T* u = c.out[0].as<T>() + b * m * k;
      R* s = c.out[1].as<R>() + b * k;
      T* vt = c.out[2].as<T>() + b * k * n;
      if (!finite(a)) failed("svd", "the matrix holds a NaN or an infinity");
      int info = 0, size = -1;
      for (int pass = 0; pass < 2; ++pass) {
        lapack<T>().gesdd("S", &n, &m, a.data(), &n, s, vt, &n, u, &k, work.data(), &size, rwork.data(),
                          iwork.data(), &info);
        if (pass == 0) {
          size = static_cast<int>(work[0].real());
          work.resize(static_cast<size_t>(size));
        }
      }
      if (info != 0) failed("svd", cat("the iteration did not converge (info ", info, ")"));
    }
  });
}

void complex_eigh(const Call& c) {
  const auto [m, n, batch] = dims_of(c.in[0], "eigh");
  (void)m;
  with_complex(c.in[0].dtype, [&, n = n, batch = batch](auto tag) {
    using R = decltype(tag);
    using T = std::complex<R>;
    if (n == 0) return;
    std::vector<T> a(area(n, n)), work(1);
    std::vector<R> rwork(1);
    std::vector<int> iwork(1);
    for (int64_t b = 0; b < batch; ++b) {
      std::copy_n(c.in[0].as<T>() + b * static_cast<int64_t>(a.size()), a.size(), a.begin());
      if (!finite(a)) failed("eigh", "the matrix holds a NaN or an infinity");
      int info = 0, size = -1, rsize = -1, isize = -1;
      for (int pass = 0; pass < 2; ++pass) {
        // Our lower triangle is the upper one of the transpose, which is the conjugate matrix.
        lapack<T>().syevd("V", "U", &n, a.data(), &n, c.out[0].as<R>() + b * n, work.data(), &size,
                          rwork.data(), &rsize, iwork.data(), &isize, &info);
        if (pass == 0) {
          size = static_cast<int>(work[0].real());
          rsize = static_cast<int>(rwork[0]);
          isize = iwork[0];
          work.resize(static_cast<size_t>(size));
          rwork.resize(static_cast<size_t>(rsize));
          iwork.resize(static_cast<size_t>(isize));
        }
      }
      if (info != 0) failed("eigh", cat("the iteration did not converge (info ", info, ")"));
      for (T& x : a) x = std::conj(x);
      transpose(a.data(), n, n, c.out[1].as<T>() + b * n * n);
    }
  });
}

void eig(const Call& c) {
  const auto [m, n, batch] = dims_of(c.in[0], "eig");
  (void)m;
  with_number(c.in[0].dtype, [&, n = n, batch = batch](auto tag) {
    using In = decltype(tag);
    using R = decltype(std::real(In{}));
    using T = std::complex<R>;
    if (n == 0) return;
    // Real matrices, too, are given as complex ones: conjugate pairs need no unpacking.
    std::vector<T> a(area(n, n)), v(area(n, n)), work(1);
    std::vector<R> rwork(area(2, n));
    const int one = 1;
    for (int64_t b = 0; b < batch; ++b) {
      const In* from = c.in[0].as<In>() + b * n * n;
      for (int i = 0; i < n; ++i)
        for (int j = 0; j < n; ++j) a[area(j, n) + static_cast<size_t>(i)] = T(from[i * n + j]);
      if (!finite(a)) failed("eig", "the matrix holds a NaN or an infinity");
      int info = 0, size = -1;
      for (int pass = 0; pass < 2; ++pass) {
        lapack<T>().geev("N", "V", &n, a.data(), &n, c.out[0].as<T>() + b * n, nullptr, &one, v.data(), &n,
                         work.data(), &size, rwork.data(), &info);
        if (pass == 0) {
          size = static_cast<int>(work[0].real());
          work.resize(static_cast<size_t>(size));
        }
      }
      if (info != 0) failed("eig", cat("the iteration did not converge (info ", info, ")"));
      transpose(v.data(), n, n, c.out[1].as<T>() + b * n * n);
    }
  });
}

}  // namespace mc::numpy
