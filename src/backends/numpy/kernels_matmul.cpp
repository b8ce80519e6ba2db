// Matrix products of graph operands.
#include <vector>

#include "backends/numpy/gemm.h"
#include "backends/numpy/kernel.h"

namespace mc::numpy {
namespace {

void matmul(const Call& c) {
  const Tensor &a = c.in[0], &b = c.in[1], &out = c.out[0];
  const int na = a.shape.ndim(), nb = b.shape.ndim(), no = out.shape.ndim();
  const int64_t m = a.shape[na - 2], k = a.shape[na - 1], n = b.shape[nb - 1];
  if (out.numel() == 0) return;
  const MatIn x{a.data, a.dtype, a.strides[na - 2], a.strides[na - 1]},
      y{b.data, b.dtype, b.strides[nb - 2], b.strides[nb - 1]};
  const MatOut z{out.data, out.dtype, n};
  const int64_t batch = out.numel() / (m * n);
  if (batch == 1) return gemm(m, n, k, x, y, z);
  // One matrix on the right for all: more rows of a single product. The rows must be all there: a batch
  // dimension of 1 that the result repeats has no rows to add.
  bool shared = true, dense = na == no;
  for (int d = 0; d < nb - 2; ++d) shared = shared && (b.shape[d] == 1 || b.strides[d] == 0);
  int64_t expect = m * a.strides[na - 2];
  for (int d = na - 3; dense && d >= 0; --d) {
    dense = dense && a.shape[d] == out.shape[d];
    if (a.shape[d] == 1) continue;
    dense = dense && a.strides[d] == expect;
    expect *= a.shape[d];
  }
  if (shared && dense) return gemm(batch * m, n, k, x, y, z);
  auto stride = [&](const Tensor& t, int nd,
                    int d) {  // of output dimension d in an operand, 0 where it is broadcast
    const int own = d - (no - nd);
    return own < 0 || t.shape[own] == 1 ? 0 : t.strides[own];
  };
  gemm_batched(batch, m, n, k, x, y, z, [&](int64_t i) {
    BatchOffsets o{0, 0, i * m * n};
    for (int d = no - 3; d >= 0; --d) {
      const int64_t at = i % out.shape[d];
      i /= out.shape[d];
      o.a += at * stride(a, na, d);
      o.b += at * stride(b, nb, d);
    }
    return o;
  });
}

constexpr KernelRow kRows[] = {{Op::Matmul, matmul, kAnyStrides}};

}  // namespace

std::span<const KernelRow> matmul_kernels() { return kRows; }

}  // namespace mc::numpy
