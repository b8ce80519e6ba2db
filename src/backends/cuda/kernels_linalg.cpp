// Decompositions by cuSOLVER, one matrix of the batch after another. It is column-major: a row-major matrix
// is its transpose there. All of them wait for the device, since whether a matrix is singular is an error of
// the caller's.
#include <algorithm>
#include <cmath>

#include "backends/cuda/cusolver.h"
#include "backends/cuda/jit.h"
#include "backends/cuda/kernel.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "prims/attrs.h"

namespace mc::cuda {
namespace {

strided::MatrixDims dims_of(const Tensor& t, std::string_view where) {
  return strided::matrix_dims(t.shape, where, "cuSOLVER");
}

[[noreturn]] void failed(std::string_view op, std::string why) {
  throw Error(ErrorCode::SingularMatrix, std::move(why), std::string(op));
}

template <class T>
T* take(const Call& c, int64_t n) {
  return reinterpret_cast<T*>(c.scratch.take(static_cast<size_t>(std::max<int64_t>(1, n)) * sizeof(T)));
}
template <class T>
void copy(const Call& c, T* dst, const T* src, int64_t n) {
  check(cudaMemcpyAsync(dst, src, static_cast<size_t>(n) * sizeof(T), cudaMemcpyDeviceToDevice, c.stream),
        "copying on the device");
}
template <class T>
std::vector<T> fetch(const Call& c, const T* src, int64_t n) {
  std::vector<T> out(static_cast<size_t>(n));
  check(cudaMemcpyAsync(out.data(), src, out.size() * sizeof(T), cudaMemcpyDeviceToHost, c.stream),
        "copying from the device");
  check(cudaStreamSynchronize(c.stream), "work on the device");
  return out;
}
template <class T>
void send(const Call& c, T* dst, const std::vector<T>& src) {
  check(cudaMemcpyAsync(dst, src.data(), src.size() * sizeof(T), cudaMemcpyHostToDevice, c.stream),
        "copying to the device");
  check(cudaStreamSynchronize(c.stream), "work on the device");
}
// dst (cols × rows) = srcᵀ, both row-major.
template <class T>
void transpose(const Call& c, const T* src, int64_t rows, int64_t cols, T* dst) {
  Tensor t;
  t.data = reinterpret_cast<std::byte*>(const_cast<T*>(src));
  t.shape = {cols, rows};
  t.strides = {1, cols};
  t.dtype = std::is_same_v<T, float> ? Dtype::F32 : Dtype::F64;
  copy_strided(t, reinterpret_cast<std::byte*>(dst), c.stream);
}

template <class T>
void require_finite(const Call& c, const char* op) {
  for (T v : fetch(c, c.in[0].as<T>(), c.in[0].numel()))
    if (!std::isfinite(v)) failed(op, "the matrix holds a NaN or an infinity");
}

template <class F>
void with_float(Dtype d, F f) {
  if (d == Dtype::F32)
    f(float{});
  else
    f(double{});
}

void svd(const Call& c) {
  const auto [m, n, batch] = dims_of(c.in[0], "svd");
  const int k = std::min(m, n);
  with_float(c.in[0].dtype, [&, m = m, n = n, batch = batch](auto tag) {
    using T = decltype(tag);
    if (k == 0 || batch == 0) return;
    require_finite<T>(c, "svd");
    const Solver<T>& s = solver<T>();
    const auto h = solver_handle(c);
    // It wants at least as many rows as columns. A wide row-major matrix is a tall one there as it lies.
    const bool wide = n >= m;
    const int rows = wide ? n : m, cols = k;
    int size = 0;
    check_solver(s.gesvd_size(h, rows, cols, &size), "svd");
    T *a = take<T>(c, int64_t{m} * n), *work = take<T>(c, size), *rest = take<T>(c, k);
    T *left = take<T>(c, int64_t{rows} * k), *right = take<T>(c, int64_t{k} * k);
    int* info = take<int>(c, 1);
    for (int64_t b = 0; b < batch; ++b) {
      const T* in = c.in[0].as<T>() + b * m * n;
      T *u = c.out[0].as<T>() + b * m * k, *sv = c.out[1].as<T>() + b * k, *vt = c.out[2].as<T>() + b * k * n;
      if (wide)
        copy(c, a, in, int64_t{m} * n);
      else
        transpose(c, in, m, n, a);
      check_solver(
          s.gesvd(h, 'S', 'S', rows, cols, a, rows, sv, left, rows, right, k, work, size, rest, info), "svd");
      if (const int i = fetch(c, info, 1)[0])
        failed("svd", cat("the iteration did not converge (info ", i, ")"));
      if (wide) {
        copy(c, vt, left, int64_t{n} * k);
        copy(c, u, right, int64_t{k} * k);
      } else {
        transpose(c, left, k, m, u);
        transpose(c, right, k, k, vt);
      }
    }
  });
}

void eigh(const Call& c) {
  const auto [m, n, batch] = dims_of(c.in[0], "eigh");
  (void)m;
  with_float(c.in[0].dtype, [&, n = n, batch = batch](auto tag) {
    using T = decltype(tag);
    if (n == 0 || batch == 0) return;
    require_finite<T>(c, "eigh");
    const Solver<T>& s = solver<T>();
    const auto h = solver_handle(c);
    T* a = take<T>(c, int64_t{n} * n);
    int size = 0;
    // Our lower triangle is the upper one there.
    check_solver(
        s.syevd_size(h, CUSOLVER_EIG_MODE_VECTOR, CUBLAS_FILL_MODE_UPPER, n, a, n, c.out[0].as<T>(), &size),
        "eigh");
    T* work = take<T>(c, size);
    int* info = take<int>(c, 1);
    for (int64_t b = 0; b < batch; ++b) {
      copy(c, a, c.in[0].as<T>() + b * n * n, int64_t{n} * n);
      check_solver(s.syevd(h, CUSOLVER_EIG_MODE_VECTOR, CUBLAS_FILL_MODE_UPPER, n, a, n,
                           c.out[0].as<T>() + b * n, work, size, info),
                   "eigh");
      if (const int i = fetch(c, info, 1)[0])
        failed("eigh", cat("the iteration did not converge (info ", i, ")"));
      // The library leaves the sign of a vector open: here its largest element is positive.
      std::vector<T> v = fetch(c, a, int64_t{n} * n);
      for (int k = 0; k < n; ++k) {
        T* column = v.data() + static_cast<size_t>(k) * static_cast<size_t>(n);
        T top = 0;
        for (int i = 0; i < n; ++i)
          if (std::abs(column[i]) > std::abs(top)) top = column[i];
        if (top < 0)
          for (int i = 0; i < n; ++i) column[i] = -column[i];
      }
      send(c, a, v);
      transpose(c, a, n, n, c.out[1].as<T>() + b * n * n);
    }
  });
}

void qr(const Call& c) {
  const auto [m, n, batch] = dims_of(c.in[0], "qr");
  const int k = std::min(m, n);
  with_float(c.in[0].dtype, [&, m = m, n = n, batch = batch](auto tag) {
    using T = decltype(tag);
    if (k == 0 || batch == 0) {
      if (c.out[1].numel())
        check(cudaMemsetAsync(c.out[1].data, 0, static_cast<size_t>(c.out[1].numel()) * sizeof(T), c.stream),
              "clearing memory");
      return;
    }
    const Solver<T>& s = solver<T>();
    const auto h = solver_handle(c);
    T *a = take<T>(c, int64_t{m} * n), *tau = take<T>(c, k);
    int size = 0, more = 0;
    check_solver(s.geqrf_size(h, m, n, a, m, &size), "qr");
    check_solver(s.orgqr_size(h, m, k, k, a, m, tau, &more), "qr");
    size = std::max(size, more);
    T* work = take<T>(c, size);
    int* info = take<int>(c, 1);
    for (int64_t b = 0; b < batch; ++b) {
      transpose(c, c.in[0].as<T>() + b * m * n, m, n, a);
      check_solver(s.geqrf(h, m, n, a, m, tau, work, size, info), "qr");
      const std::vector<T> f = fetch(c, a, int64_t{m} * n);
      // The diagonal of r is made not negative, as on the host.
      auto sign = [&](int i) {
        return f[static_cast<size_t>(i) * static_cast<size_t>(m) + static_cast<size_t>(i)] < 0 ? T(-1) : T(1);
      };
      std::vector<T> r(static_cast<size_t>(k) * static_cast<size_t>(n)),
          q(static_cast<size_t>(m) * static_cast<size_t>(k));
      for (int i = 0; i < k; ++i)
        for (int j = i; j < n; ++j)
          r[static_cast<size_t>(i) * static_cast<size_t>(n) + static_cast<size_t>(j)] =
              sign(i) * f[static_cast<size_t>(j) * static_cast<size_t>(m) + static_cast<size_t>(i)];
      check_solver(s.orgqr(h, m, k, k, a, m, tau, work, size, info), "qr");
      const std::vector<T> g = fetch(c, a, int64_t{m} * k);
      for (int i = 0; i < m; ++i)
        for (int j = 0; j < k; ++j)
          q[static_cast<size_t>(i) * static_cast<size_t>(k) + static_cast<size_t>(j)] =
              sign(j) * g[static_cast<size_t>(j) * static_cast<size_t>(m) + static_cast<size_t>(i)];
      send(c, c.out[0].as<T>() + b * m * k, q);
      send(c, c.out[1].as<T>() + b * k * n, r);
    }
  });
}

void cholesky(const Call& c) {
  const auto [m, n, batch] = dims_of(c.in[0], "cholesky");
  (void)m;
  with_float(c.in[0].dtype, [&, n = n, batch = batch](auto tag) {
    using T = decltype(tag);
    if (n == 0 || batch == 0) return;
    const Solver<T>& s = solver<T>();
    const auto h = solver_handle(c);
    int size = 0;
    check_solver(s.potrf_size(h, CUBLAS_FILL_MODE_UPPER, n, c.out[0].as<T>(), n, &size), "cholesky");
    T* work = take<T>(c, size);
    int* info = take<int>(c, 1);
    const JitKernel lower =
        jit_kernel(c.device, cat("typedef ", sizeof(T) == 4 ? "f32" : "f64",
                                 " T; struct P { i64 n; T* a; };\nextern \"C\" __global__ void "
                                 "mc_kernel(const __grid_constant__ P p) {\n"
                                 "  const i64 t = (i64)blockIdx.x * 256 + threadIdx.x;\n"
                                 "  if (t < p.n * p.n && t % p.n > t / p.n) p.a[t] = 0;\n}\n"));
    for (int64_t b = 0; b < batch; ++b) {
      T* l = c.out[0].as<T>() + b * n * n;
      copy(c, l, c.in[0].as<T>() + b * n * n, int64_t{n} * n);
      check_solver(s.potrf(h, CUBLAS_FILL_MODE_UPPER, n, l, n, work, size, info), "cholesky");
      if (const int i = fetch(c, info, 1)[0])
        failed("cholesky", cat("the leading minor of order ", i,
                               " is not positive: the matrix is not positive definite"));
      JitParams p;
      p.add(int64_t{n}), p.add(l);
      jit_launch(lower, (int64_t{n} * n + 255) / 256, 256, 0, c.stream, p.bytes());
    }
  });
}

// LU with pivots of a row-major matrix: of its transpose there.
template <class T>
struct Lu {
  T *a, *work;
  int *pivot, *info;
  int size = 0;
  Lu(const Call& c, int n) : a(take<T>(c, int64_t{n} * n)), pivot(take<int>(c, n)), info(take<int>(c, 1)) {
    check_solver(solver<T>().getrf_size(solver_handle(c), n, n, a, n, &size), "linalg");
    work = take<T>(c, size);
  }
  int factor(const Call& c, const T* in, int n) {
    copy(c, a, in, int64_t{n} * n);
    check_solver(solver<T>().getrf(solver_handle(c), n, n, a, n, work, pivot, info), "linalg");
    return fetch(c, info, 1)[0];
  }
};

void solve(const Call& c) {
  const auto [m, n, batch] = dims_of(c.in[0], "solve");
  (void)m;
  const int k = static_cast<int>(c.in[1].shape.at(-1));
  with_float(c.in[0].dtype, [&, n = n, batch = batch](auto tag) {
    using T = decltype(tag);
    if (n == 0 || k == 0 || batch == 0) return;
    Lu<T> lu(c, n);
    T* x = take<T>(c, int64_t{n} * k);
    for (int64_t b = 0; b < batch; ++b) {
      if (const int i = lu.factor(c, c.in[0].as<T>() + b * n * n, n))
        failed("solve", cat("the matrix is singular: pivot ", i, " is 0"));
      transpose(c, c.in[1].as<T>() + b * n * k, n, k, x);
      check_solver(solver<T>().getrs(solver_handle(c), CUBLAS_OP_T, n, k, lu.a, n, lu.pivot, x, n, lu.info),
                   "solve");
      transpose(c, x, k, n, c.out[0].as<T>() + b * n * k);
    }
  });
}

void det(const Call& c) {
  const auto [m, n, batch] = dims_of(c.in[0], "det");
  (void)m;
  with_float(c.in[0].dtype, [&, n = n, batch = batch](auto tag) {
    using T = decltype(tag);
    std::vector<T> out(static_cast<size_t>(batch), T(1));
    if (n > 0 && batch > 0) {
      Lu<T> lu(c, n);
      for (int64_t b = 0; b < batch; ++b) {
        lu.factor(c, c.in[0].as<T>() + b * n * n, n);
        const std::vector<T> a = fetch(c, lu.a, int64_t{n} * n);
        const std::vector<int> pivot = fetch(c, lu.pivot, n);
        T d = 1;
        for (int i = 0; i < n; ++i) {
          d *= a[static_cast<size_t>(i) * static_cast<size_t>(n) + static_cast<size_t>(i)];
          if (pivot[static_cast<size_t>(i)] != i + 1) d = -d;
        }
        out[static_cast<size_t>(b)] = d;
      }
    }
    if (!out.empty()) send(c, c.out[0].as<T>(), out);
  });
}

// A thread has a column of the right-hand side.
constexpr const char* kTriangular = R"MC(
struct P { i64 n, k, batch, upper; const T* a; const T* b; T* x; };
extern "C" __global__ void mc_kernel(const __grid_constant__ P p) {
  const i64 t = (i64)blockIdx.x * 128 + threadIdx.x;
  if (t >= p.batch * p.k) return;
  const i64 m = t / p.k, j = t % p.k;
  const T* a = p.a + m * p.n * p.n;
  const T* b = p.b + m * p.n * p.k + j;
  T* x = p.x + m * p.n * p.k + j;
  for (i64 s = 0; s < p.n; ++s) {
    const i64 i = p.upper ? p.n - 1 - s : s;
    T v = b[i * p.k];
    for (i64 r = p.upper ? i + 1 : 0; r < (p.upper ? p.n : i); ++r) v = fma(-a[i * p.n + r], x[r * p.k], v);
    x[i * p.k] = v / a[i * p.n + i];
  }
}
)MC";

void solve_triangular(const Call& c) {
  const auto [m, n, batch] = dims_of(c.in[0], "solve_triangular");
  (void)m;
  const int k = static_cast<int>(c.in[1].shape.at(-1));
  with_float(c.in[0].dtype, [&, n = n, batch = batch](auto tag) {
    using T = decltype(tag);
    if (n == 0 || k == 0 || batch == 0) return;
    Tensor diagonal = c.in[0];
    diagonal.shape = {batch, n};
    diagonal.strides = {int64_t{n} * n, int64_t{n} + 1};
    T* d = take<T>(c, batch * n);
    copy_strided(diagonal, reinterpret_cast<std::byte*>(d), c.stream);
    const std::vector<T> values = fetch(c, d, batch * n);
    for (size_t i = 0; i < values.size(); ++i)
      if (values[i] == 0)
        failed("solve_triangular",
               cat("the matrix is singular: diagonal element ", i % static_cast<size_t>(n), " is 0"));
    JitParams p;
    p.add(int64_t{n}), p.add(int64_t{k}), p.add(batch), p.add(int64_t{c.attr<TriangularAttrs>().upper});
    p.add(c.in[0].data), p.add(c.in[1].data), p.add(c.out[0].data);
    jit_launch(jit_kernel(c.device, cat("typedef ", sizeof(T) == 4 ? "f32" : "f64", " T;\n", kTriangular)),
               (batch * k + 127) / 128, 128, 0, c.stream, p.bytes());
  });
}

// Complex matrices are the host's.
bool of_reals(std::span<const Aval> in, const Attrs&) { return !is_complex(in[0].dtype); }

constexpr KernelRow kRows[] = {
    {Op::Svd, svd, kWaits, of_reals},     {Op::Eigh, eigh, kWaits, of_reals},
    {Op::Qr, qr, kWaits, of_reals},       {Op::Cholesky, cholesky, kWaits, of_reals},
    {Op::Solve, solve, kWaits, of_reals}, {Op::SolveTriangular, solve_triangular, kWaits, of_reals},
    {Op::Det, det, kWaits, of_reals}};

}  // namespace

std::span<const KernelRow> linalg_kernels() { return kRows; }

}  // namespace mc::cuda
