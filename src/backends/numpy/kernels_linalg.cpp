// Decompositions by LAPACK, one matrix of the batch after another. LAPACK is column-major: a row-major matrix
// is its transpose there.
#include "backends/numpy/linalg.h"

namespace mc::numpy {
namespace {

void svd(const Call& c) {
  if (is_complex(c.in[0].dtype)) return complex_svd(c);
  const auto [m, n, batch] = dims_of(c.in[0], "svd");
  const int k = std::min(m, n);
  with_float(c.in[0].dtype, [&, m = m, n = n, batch = batch](auto tag) {
    using T = decltype(tag);
    if (k == 0) return;
    // aᵀ = V·S·Uᵀ: the row-major matrix is n×m there, and its left factor is our vᵀ, row-major.
    std::vector<T> a(area(m, n)), work(1);
    std::vector<int> iwork(static_cast<size_t>(8) * static_cast<size_t>(k));
    for (int64_t b = 0; b < batch; ++b) {
      std::copy_n(c.in[0].as<T>() + b * static_cast<int64_t>(a.size()), a.size(), a.begin());
      T* u = c.out[0].as<T>() + b * m * k;
      T* s = c.out[1].as<T>() + b * k;
      T* vt = c.out[2].as<T>() + b * k * n;
      if (!finite(a)) failed("svd", "the matrix holds a NaN or an infinity");
      int info = 0, size = -1;
      for (int pass = 0; pass < 2; ++pass) {
        lapack<T>().gesdd("S", &n, &m, a.data(), &n, s, vt, &n, u, &k, work.data(), &size, iwork.data(),
                          &info);
        if (pass == 0) {
          size = static_cast<int>(work[0]);
          work.resize(static_cast<size_t>(size));
        }
      }
      if (info != 0) failed("svd", cat("the iteration did not converge (info ", info, ")"));
      // vt came as n×k column-major, which is k×n row-major; u as k×m column-major, which is m×k row-major.
    }
  });
}

void eigh(const Call& c) {
  if (is_complex(c.in[0].dtype)) return complex_eigh(c);
  const auto [m, n, batch] = dims_of(c.in[0], "eigh");
  (void)m;
  with_float(c.in[0].dtype, [&, n = n, batch = batch](auto tag) {
    using T = decltype(tag);
    if (n == 0) return;
    std::vector<T> a(area(n, n)), work(1);
    std::vector<int> iwork(1);
    for (int64_t b = 0; b < batch; ++b) {
      std::copy_n(c.in[0].as<T>() + b * static_cast<int64_t>(a.size()), a.size(), a.begin());
      if (!finite(a)) failed("eigh", "the matrix holds a NaN or an infinity");
      int info = 0, size = -1, isize = -1;
      for (int pass = 0; pass < 2; ++pass) {
        // Our lower triangle is the upper one there.
        lapack<T>().syevd("V", "U", &n, a.data(), &n, c.out[0].as<T>() + b * n, work.data(), &size,
                          iwork.data(), &isize, &info);
        if (pass == 0) {
          size = static_cast<int>(work[0]);
          isize = iwork[0];
          work.resize(static_cast<size_t>(size));
          iwork.resize(static_cast<size_t>(isize));
        }
      }
      if (info != 0) failed("eigh", cat("the iteration did not converge (info ", info, ")"));
      transpose(a.data(), n, n, c.out[1].as<T>() + b * n * n);
    }
  });
}

// What the diagonal element d of r is divided by, so that it is real and not negative; and what it becomes.
template <class T>
T phase_of(T d) {
  if constexpr (std::is_floating_point_v<T>) {
    return d < 0 ? T(-1) : T(1);
  } else {
    const auto size = std::hypot(d.real(), d.imag());
    return size > 0 ? d / size : T(1);
  }
}
template <class T>
T without_phase(T d) {
  if constexpr (std::is_floating_point_v<T>)
    return phase_of(d) * d;
  else
    return T(std::hypot(d.real(), d.imag()));
}
template <class T>
T conjugate(T x) {
  if constexpr (std::is_floating_point_v<T>)
    return x;
  else
    return std::conj(x);
}

void qr(const Call& c) {
  const auto [m, n, batch] = dims_of(c.in[0], "qr");
  const int k = std::min(m, n);
  with_number(c.in[0].dtype, [&, m = m, n = n, batch = batch](auto tag) {
    using T = decltype(tag);
    if (k == 0) {
      std::fill_n(c.out[1].as<T>(), c.out[1].numel(), T(0));
      return;
    }
    std::vector<T> a(area(m, n)), tau(area(1, k)), phase(area(1, k)), work(area(64, std::max(m, n)));
    const int size = static_cast<int>(work.size());
    const auto at = [&](int i, int j) -> T { return a[area(j, m) + static_cast<size_t>(i)]; };
    for (int64_t b = 0; b < batch; ++b) {
      transpose(c.in[0].as<T>() + b * static_cast<int64_t>(a.size()), m, n, a.data());  // to column-major
      int info = 0;
      lapack<T>().geqrf(&m, &n, a.data(), &m, tau.data(), work.data(), &size, &info);
      T* q = c.out[0].as<T>() + b * m * k;
      T* r = c.out[1].as<T>() + b * k * n;
      for (int i = 0; i < k; ++i) {
        const T p = phase[static_cast<size_t>(i)] = phase_of(at(i, i));
        for (int j = 0; j < n; ++j)
          r[i * n + j] = j < i ? T(0) : j == i ? without_phase(at(i, i)) : conjugate(p) * at(i, j);
      }
      lapack<T>().orgqr(&m, &k, &k, a.data(), &m, tau.data(), work.data(), &size, &info);
      for (int i = 0; i < m; ++i)
        for (int j = 0; j < k; ++j)
          q[static_cast<int64_t>(i) * k + j] = phase[static_cast<size_t>(j)] * at(i, j);
    }
  });
}

void cholesky(const Call& c) {
  const auto [m, n, batch] = dims_of(c.in[0], "cholesky");
  (void)m;
  with_number(c.in[0].dtype, [&, n = n, batch = batch](auto tag) {
    using T = decltype(tag);
    for (int64_t b = 0; b < batch; ++b) {
      T* l = c.out[0].as<T>() + b * n * n;
      std::copy_n(c.in[0].as<T>() + b * n * n, area(n, n), l);
      int info = 0;
      if (n) lapack<T>().potrf("U", &n, l, &n, &info);  // the upper triangle there is our lower one
      if (info != 0)
        failed("cholesky", cat("the leading minor of order ", info,
                               " is not positive: the matrix is not positive definite"));
      for (int i = 0; i < n; ++i)
        std::fill(l + static_cast<int64_t>(i) * n + i + 1, l + static_cast<int64_t>(i + 1) * n, T(0));
    }
  });
}

void solve(const Call& c) {
  const auto [m, n, batch] = dims_of(c.in[0], "solve");
  (void)m;
  const int k = static_cast<int>(c.in[1].shape.at(-1));
  with_number(c.in[0].dtype, [&, n = n, batch = batch](auto tag) {
    using T = decltype(tag);
    if (n == 0 || k == 0) return;
    std::vector<T> a(area(n, n)), x(area(n, k));
    std::vector<int> pivot(static_cast<size_t>(n));
    for (int64_t b = 0; b < batch; ++b) {
      std::copy_n(c.in[0].as<T>() + b * n * n, a.size(), a.begin());
      transpose(c.in[1].as<T>() + b * n * k, n, k, x.data());
      int info = 0;
      lapack<T>().getrf(&n, &n, a.data(), &n, pivot.data(), &info);
      if (info != 0) failed("solve", cat("the matrix is singular: pivot ", info, " is 0"));
      lapack<T>().getrs("T", &n, &k, a.data(), &n, pivot.data(), x.data(), &n,
                        &info);  // row-major is the transpose
      transpose(x.data(), k, n, c.out[0].as<T>() + b * n * k);
    }
  });
}

void solve_triangular(const Call& c) {
  const bool upper = c.attr<TriangularAttrs>().upper;
  const auto [m, n, batch] = dims_of(c.in[0], "solve_triangular");
  (void)m;
  const int k = static_cast<int>(c.in[1].shape.at(-1));
  with_number(c.in[0].dtype, [&, n = n, batch = batch](auto tag) {
    using T = decltype(tag);
    if (n == 0 || k == 0) return;
    std::vector<T> x(area(n, k));
    for (int64_t b = 0; b < batch; ++b) {
      transpose(c.in[1].as<T>() + b * n * k, n, k, x.data());
      int info = 0;
      lapack<T>().trtrs(upper ? "L" : "U", "T", "N", &n, &k, c.in[0].as<T>() + b * n * n, &n, x.data(), &n,
                        &info);
      if (info != 0)
        failed("solve_triangular", cat("the matrix is singular: diagonal element ", info - 1, " is 0"));
      transpose(x.data(), k, n, c.out[0].as<T>() + b * n * k);
    }
  });
}

void det(const Call& c) {
  const auto [m, n, batch] = dims_of(c.in[0], "det");
  (void)m;
  with_number(c.in[0].dtype, [&, n = n, batch = batch](auto tag) {
    using T = decltype(tag);
    std::vector<T> a(area(n, n));
    std::vector<int> pivot(static_cast<size_t>(n));
    for (int64_t b = 0; b < batch; ++b) {
      std::copy_n(c.in[0].as<T>() + b * n * n, a.size(), a.begin());
      int info = 0;
      if (n) lapack<T>().getrf(&n, &n, a.data(), &n, pivot.data(), &info);
      T d = 1;
      for (int i = 0; i < n; ++i) {
        d *= a[area(i, n) + static_cast<size_t>(i)];
        if (pivot[static_cast<size_t>(i)] != i + 1) d = -d;
      }
      c.out[0].as<T>()[b] = d;
    }
  });
}

constexpr KernelRow kRows[] = {{Op::Svd, svd},     {Op::Eigh, eigh},
                               {Op::Qr, qr},       {Op::Cholesky, cholesky},
                               {Op::Solve, solve}, {Op::SolveTriangular, solve_triangular},
                               {Op::Det, det},     {Op::Eig, eig}};

}  // namespace

std::span<const KernelRow> linalg_kernels() { return kRows; }

}  // namespace mc::numpy
