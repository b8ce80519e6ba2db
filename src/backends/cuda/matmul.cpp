#include "backends/cuda/matmul.h"

#include <cublasLt.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "backends/cuda/jit.h"
#include "backends/cuda/library.h"
#include "backends/cuda/pointwise.h"
#include "mc/detail/str.h"
#include "mc/error.h"

namespace mc::cuda {
namespace {

constexpr size_t kWorkspace = size_t{32} << 20;

struct Lt {
  decltype(&cublasLtCreate) create;
  decltype(&cublasLtMatmul) matmul;
  decltype(&cublasLtMatmulDescCreate) desc_create;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set;
  decltype(&cublasLtMatrixLayoutCreate) layout_create;
  decltype(&cublasLtMatrixLayoutSetAttribute) layout_set;
  decltype(&cublasLtMatmulPreferenceCreate) pref_create;
  decltype(&cublasLtMatmulPreferenceDestroy) pref_destroy;
  decltype(&cublasLtMatmulPreferenceSetAttribute) pref_set;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic;
};
const Lt& lt() {
  static const Lt l = [] {
    Library& lib = cublaslt_library();
    Lt made;
    made.create = lib.get<decltype(made.create)>("cublasLtCreate");
    made.matmul = lib.get<decltype(made.matmul)>("cublasLtMatmul");
    made.desc_create = lib.get<decltype(made.desc_create)>("cublasLtMatmulDescCreate");
    made.desc_set = lib.get<decltype(made.desc_set)>("cublasLtMatmulDescSetAttribute");
    made.layout_create = lib.get<decltype(made.layout_create)>("cublasLtMatrixLayoutCreate");
    made.layout_set = lib.get<decltype(made.layout_set)>("cublasLtMatrixLayoutSetAttribute");
    made.pref_create = lib.get<decltype(made.pref_create)>("cublasLtMatmulPreferenceCreate");
    made.pref_destroy = lib.get<decltype(made.pref_destroy)>("cublasLtMatmulPreferenceDestroy");
    made.pref_set = lib.get<decltype(made.pref_set)>("cublasLtMatmulPreferenceSetAttribute");
    made.heuristic = lib.get<decltype(made.heuristic)>("cublasLtMatmulAlgoGetHeuristic");
    return made;
  }();
  return l;
}

void check_lt(cublasStatus_t s, const char* what) {
  if (s != CUBLAS_STATUS_SUCCESS)
    throw Error(s == CUBLAS_STATUS_ALLOC_FAILED ? ErrorCode::OutOfMemory : ErrorCode::Internal,
                cat("cuBLASLt's ", what, " failed with status ", static_cast<int>(s)), "matmul");
}

// Everything that decides a product but its addresses.
using Key = std::tuple<int, int, int64_t, int64_t, int64_t, int64_t, bool, int64_t, int64_t, bool, int64_t,
                       int64_t, unsigned>;

struct Planned {
  cublasLtMatmulDesc_t desc = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;
  cublasLtMatmulAlgo_t algo;
};
struct State {
  std::mutex mutex;
  std::map<int, cublasLtHandle_t> handles;
  std::map<int, Scratch> workspaces;  // one a device: its stream uses it in order
  std::map<Key, Planned> plans;
};
State& state() {
  static auto* s = new State;
  return *s;
}

struct Types {
  cudaDataType data, scale;
  cublasComputeType_t compute;
};
Types types_of(Dtype d) {
  switch (d) {
    case Dtype::F16: return {CUDA_R_16F, CUDA_R_32F, CUBLAS_COMPUTE_32F};
    case Dtype::BF16: return {CUDA_R_16BF, CUDA_R_32F, CUBLAS_COMPUTE_32F};
    case Dtype::F32: return {CUDA_R_32F, CUDA_R_32F, CUBLAS_COMPUTE_32F};
    case Dtype::F64: return {CUDA_R_64F, CUDA_R_64F, CUBLAS_COMPUTE_64F};
    case Dtype::C64: return {CUDA_C_32F, CUDA_C_32F, CUBLAS_COMPUTE_32F};
    default: return {CUDA_C_64F, CUDA_C_64F, CUBLAS_COMPUTE_64F};
  }
}

struct Form {
  bool by_rows;
  int64_t ld;
};
Form form_of(int64_t r, int64_t c, int64_t row, int64_t col) {
  if (c == 1) col = 1;
  if (r == 1 && row < c) row = c;
  if (col == 1 && row >= std::max<int64_t>(1, c)) return {true, row};
  if (r == 1) row = 1;
  if (c == 1 && col < r) col = r;
  if (row == 1 && col >= std::max<int64_t>(1, r)) return {false, col};
  return {true, 0};
}

unsigned alignment(const void* p) {
  const uintptr_t u = reinterpret_cast<uintptr_t>(p);
  unsigned n = 256;
  while (u % n) n /= 2;
  return n;
}

cublasLtMatrixLayout_t layout(cudaDataType type, int64_t rows, int64_t cols, int64_t ld, int64_t batches,
                              int64_t stride) {
  cublasLtMatrixLayout_t l = nullptr;
  check_lt(lt().layout_create(&l, type, static_cast<uint64_t>(rows), static_cast<uint64_t>(cols), ld),
           "layout");
  const int count = static_cast<int>(batches);
  check_lt(lt().layout_set(l, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count), "layout");
  check_lt(lt().layout_set(l, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride, sizeof stride), "layout");
  return l;
}

const Planned& planned(State& s, const Call& c, Dtype dtype, int64_t M, int64_t N, int64_t K, int64_t batches,
                       const Matrix& a, const Matrix& b, const std::byte* out) {
  // Row-major out is column-major outᵀ = bᵀ·aᵀ.
  const Form fa = form_of(M, K, a.row, a.col), fb = form_of(K, N, b.row, b.col);
  const unsigned align = std::min({alignment(a.data), alignment(b.data), alignment(out)});
  const Key key{c.device.index,
                static_cast<int>(dtype),
                M,
                N,
                K,
                batches,
                fa.by_rows,
                fa.ld,
                a.batch,
                fb.by_rows,
                fb.ld,
                b.batch,
                align};
  auto [it, fresh] = s.plans.try_emplace(key);
  Planned& p = it->second;
  if (!fresh) return p;
  try {
    const Types t = types_of(dtype);
    check_lt(lt().desc_create(&p.desc, t.compute, t.scale), "description");
    const cublasOperation_t op_b = fb.by_rows ? CUBLAS_OP_N : CUBLAS_OP_T,
                            op_a = fa.by_rows ? CUBLAS_OP_N : CUBLAS_OP_T;
    check_lt(lt().desc_set(p.desc, CUBLASLT_MATMUL_DESC_TRANSA, &op_b, sizeof op_b), "description");
    check_lt(lt().desc_set(p.desc, CUBLASLT_MATMUL_DESC_TRANSB, &op_a, sizeof op_a), "description");
    p.a = fb.by_rows ? layout(t.data, N, K, fb.ld, batches, b.batch)
                     : layout(t.data, K, N, fb.ld, batches, b.batch);
    p.b = fa.by_rows ? layout(t.data, K, M, fa.ld, batches, a.batch)
                     : layout(t.data, M, K, fa.ld, batches, a.batch);
    p.c = layout(t.data, N, M, N, batches, M * N);
    cublasLtMatmulPreference_t pref = nullptr;
    check_lt(lt().pref_create(&pref), "preference");
    const size_t workspace = kWorkspace;
    // Partial sums of a split product stay in the type that is computed in.
    const uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    lt().pref_set(pref, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace);
    lt().pref_set(pref, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &schemes, sizeof schemes);
    const uint32_t bytes = align;
    lt().pref_set(pref, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &bytes, sizeof bytes);
    lt().pref_set(pref, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &bytes, sizeof bytes);
    lt().pref_set(pref, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &bytes, sizeof bytes);
    lt().pref_set(pref, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &bytes, sizeof bytes);
    cublasLtMatmulHeuristicResult_t best{};
    int found = 0;
    const cublasStatus_t r =
        lt().heuristic(s.handles[c.device.index], p.desc, p.a, p.b, p.c, p.c, pref, 1, &best, &found);
    lt().pref_destroy(pref);
    check_lt(r, "choice of a kernel");
    if (!found)
      throw Error(ErrorCode::UnsupportedOp,
                  cat("cuBLASLt has no kernel for a product of ", M, "×", K, " and ", K, "×", N, " in ",
                      dtype_name(dtype)),
                  "matmul");
    p.algo = best.algo;
  } catch (...) {
    s.plans.erase(it);
    throw;
  }
  return p;
}

constexpr const char* kInteger = R"MC(
struct P { i64 m, n, k, ar, ac, br, bc; const T* a; const T* b; T* out; };
extern "C" __global__ void __launch_bounds__(256) mc_kernel(const __grid_constant__ P p) {
  const i64 t = (i64)blockIdx.x * 256 + threadIdx.x;
  if (t >= p.m * p.n) return;
  const i64 i = t / p.n, j = t % p.n;
  T sum = 0;
  for (i64 k = 0; k < p.k; ++k) sum = op_add(sum, op_mul(p.a[i * p.ar + k * p.ac], p.b[k * p.br + j * p.bc]));
  p.out[t] = sum;
}
)MC";

struct Batch {
  Shape dims, a, b;  // output dimensions before the matrices and the operands' strides there, merged
};
Batch batch_of(const Tensor& a, const Tensor& b, const Tensor& out) {
  const int na = a.shape.ndim(), nb = b.shape.ndim(), no = out.shape.ndim();
  auto stride = [&](const Tensor& t, int nd, int d) {
    const int own = d - (no - nd);
    return own < 0 || t.shape[own] == 1 ? int64_t{0} : t.strides[own];
  };
  Batch r;
  for (int d = 0; d < no - 2; ++d) {
    const int64_t n = out.shape[d], sa = stride(a, na, d), sb = stride(b, nb, d);
    if (n == 1) continue;
    const int last = r.dims.ndim() - 1;
    if (last >= 0 && r.a[last] == sa * n && r.b[last] == sb * n) {
      r.dims[last] *= n;
      r.a[last] = sa;
      r.b[last] = sb;
    } else {
      r.dims.push_back(n);
      r.a.push_back(sa);
      r.b.push_back(sb);
    }
  }
  return r;
}

Tensor dense(const Call& c, const Tensor& t) {
  Tensor d = t;
  d.data = c.scratch.take(static_cast<size_t>(std::max<int64_t>(1, t.numel())) * itemsize(t.dtype));
  copy_strided(t, d.data, c.stream);
  d.strides = row_major(t.shape);
  return d;
}

void matmul(const Call& c) {
  Tensor a = c.in[0], b = c.in[1];
  const Tensor& out = c.out[0];
  const int na = a.shape.ndim(), nb = b.shape.ndim();
  int64_t M = a.shape[na - 2];
  const int64_t K = a.shape[na - 1], N = b.shape[nb - 1];
  if (out.numel() == 0) return;
  const size_t item = itemsize(out.dtype);
  if (K == 0) {
    check(cudaMemsetAsync(out.data, 0, static_cast<size_t>(out.numel()) * item, c.stream), "clearing memory");
    return;
  }
  const bool floats = is_inexact(out.dtype);
  if (floats) {
    if (!readable(M, K, a.strides[na - 2], a.strides[na - 1])) a = dense(c, a);
    if (!readable(K, N, b.strides[nb - 2], b.strides[nb - 1])) b = dense(c, b);
  }
  Matrix ma{a.data, a.strides[na - 2], a.strides[na - 1]}, mb{b.data, b.strides[nb - 2], b.strides[nb - 1]};
  const Batch batch = batch_of(a, b, out);
  int64_t count = 1, outer = 1;
  const int last = batch.dims.ndim() - 1;
  if (last >= 0) {
    count = batch.dims[last];
    ma.batch = batch.a[last];
    mb.batch = batch.b[last];
    for (int d = 0; d < last; ++d) outer *= batch.dims[d];
  }
  // One matrix on the right for all: more rows of a single product.
  if (floats && count > 1 && mb.batch == 0 && (ma.col == 1 || K == 1) && ma.row >= K &&
      ma.batch == M * ma.row) {
    M *= count;
    count = 1;
    ma.batch = 0;
  }
  const int64_t items = static_cast<int64_t>(item);
  for (int64_t o = 0; o < outer; ++o) {
    int64_t rest = o;
    Matrix x = ma, y = mb;
    for (int d = last - 1; d >= 0; --d) {
      const int64_t at = rest % batch.dims[d];
      rest /= batch.dims[d];
      x.data += at * batch.a[d] * items;
      y.data += at * batch.b[d] * items;
    }
    std::byte* z = out.data + o * count * M * N * items;
    if (floats) {
      gemm(c, out.dtype, M, N, K, count, x, y, z);
      continue;
    }
    const JitKernel kernel =
        c.kernel_of([&] { return cat("typedef ", jit_stored(out.dtype), " T;\n", kInteger); });
    for (int64_t i = 0; i < count; ++i) {
      JitParams p;
      p.add(M), p.add(N), p.add(K), p.add(x.row), p.add(x.col), p.add(y.row), p.add(y.col);
      p.add(x.data + i * x.batch * items), p.add(y.data + i * y.batch * items), p.add(z + i * M * N * items);
      jit_launch(kernel, (M * N + 255) / 256, 256, 0, c.stream, p.bytes());
    }
  }
}

constexpr KernelRow kRows[] = {{Op::Matmul, matmul, kAnyStrides}};

}  // namespace

bool readable(int64_t r, int64_t c, int64_t row, int64_t col) { return form_of(r, c, row, col).ld > 0; }

void gemm(const Call& c, Dtype dtype, int64_t M, int64_t N, int64_t K, int64_t batches, const Matrix& a,
          const Matrix& b, std::byte* out) {
  State& s = state();
  std::lock_guard lock(s.mutex);
  cublasLtHandle_t& handle = s.handles[c.device.index];
  if (!handle) {
    check_lt(lt().create(&handle), "start");
    s.workspaces[c.device.index] = Scratch(c.device.index, kWorkspace);
  }
  const Planned& p = planned(s, c, dtype, M, N, K, batches, a, b, out);
  const double one[2] = {1, 0}, zero[2] = {0, 0};
  const float onef[2] = {1, 0}, zerof[2] = {0, 0};
  const bool wide = dtype == Dtype::F64 || dtype == Dtype::C128;
  const void* alpha = wide ? static_cast<const void*>(one) : onef;
  const void* beta = wide ? static_cast<const void*>(zero) : zerof;
  check_lt(lt().matmul(handle, p.desc, alpha, b.data, p.a, a.data, p.b, beta, out, p.c, out, p.c, &p.algo,
                       s.workspaces[c.device.index].data(), kWorkspace, c.stream),
           "product");
}

std::span<const KernelRow> matmul_kernels() { return kRows; }

}  // namespace mc::cuda
