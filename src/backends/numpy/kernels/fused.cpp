#include "backends/numpy/kernels/fused.h"

#include <algorithm>
#include <vector>

#include "backends/numpy/kernels/fused_table.h"
#include "backends/numpy/simd/dispatch.h"
#include "base/thread_pool.h"
#include "mc/detail/str.h"
#include "mc/error.h"

namespace mc::kernels {
namespace {

const FusedTable& table() {
  switch (simd::active_isa()) {
#if defined(__x86_64__)
    case simd::Isa::Avx512: return kFusedAvx512;
    case simd::Isa::Avx2: return kFusedAvx2;
#endif
    default: return kFusedScalar;
  }
}

// Rows a thread must have to be worth waking: about 16k elements of light work.
int64_t row_grain(int64_t n, int64_t per_thread = 16384) {
  return std::max<int64_t>(1, per_thread / std::max<int64_t>(1, n));
}

void check_float(Dtype dtype, const char* where) {
  if (dtype != Dtype::F32 && dtype != Dtype::F16 && dtype != Dtype::BF16)
    throw Error(ErrorCode::DtypeMismatch,
                cat("float32, float16 or bfloat16 expected, got ", dtype_name(dtype)), where);
}

}  // namespace

void softmax(const RowsArgs& a, bool log) {
  check_float(a.dtype, "softmax");
  const FusedTable& t = table();
  parallel_for(a.rows, row_grain(a.n, 4096), [&](int64_t b, int64_t e) { t.softmax(a, log, b, e); });
}
void logsumexp(const RowsArgs& a, float* out) {
  check_float(a.dtype, "logsumexp");
  const FusedTable& t = table();
  parallel_for(a.rows, row_grain(a.n, 4096), [&](int64_t b, int64_t e) { t.logsumexp(a, out, b, e); });
}
void cross_entropy(const RowsArgs& a, const void* labels, Dtype label_dtype, float* out) {
  check_float(a.dtype, "cross_entropy");
  if (label_dtype != Dtype::I32 && label_dtype != Dtype::I64)
    throw Error(ErrorCode::DtypeMismatch, cat("labels must be int32 or int64, got ", dtype_name(label_dtype)),
                "cross_entropy");
  const FusedTable& t = table();
  parallel_for(a.rows, row_grain(a.n, 4096),
               [&](int64_t b, int64_t e) { t.cross_entropy(a, labels, label_dtype, out, b, e); });
}
void rms_norm(const RowsArgs& a, const float* weight, float eps) {
  check_float(a.dtype, "rms_norm");
  const FusedTable& t = table();
  parallel_for(a.rows, row_grain(a.n), [&](int64_t b, int64_t e) { t.rms_norm(a, weight, eps, b, e); });
}
void layer_norm(const RowsArgs& a, const float* weight, const float* bias, float eps) {
  check_float(a.dtype, "layer_norm");
  const FusedTable& t = table();
  parallel_for(a.rows, row_grain(a.n),
               [&](int64_t b, int64_t e) { t.layer_norm(a, weight, bias, eps, b, e); });
}

void gated(const RowsArgs& a, const void* up, int64_t up_stride, Gate act) {
  check_float(a.dtype, "gated activation");
  if (a.n <= 0) return;
  const FusedTable& t = table();
  parallel_for(a.rows * a.n, 4096, [&](int64_t b, int64_t e) {
    while (b < e) {
      const int64_t row = b / a.n, from = b % a.n, to = std::min(a.n, from + e - b);
      t.gated(a, up, up_stride, act, row, from, to);
      b += to - from;
    }
  });
}

void rope(const RopeArgs& a) {
  check_float(a.dtype, "rope");
  if (a.dims < 0 || a.dims % 2 || a.dims > a.dim || a.dims > 2048)
    throw Error(ErrorCode::InvalidArgument,
                cat("the number of rotated dimensions must be even, at most 2048 and at most the last axis (",
                    a.dim, "), got ", a.dims),
                "rope");
  const FusedTable& t = table();
  parallel_for(a.batch * a.time, row_grain(a.heads * a.dim), [&](int64_t b, int64_t e) { t.rope(a, b, e); });
}

}  // namespace mc::kernels
