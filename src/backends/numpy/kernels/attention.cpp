#include "backends/numpy/kernels/attention.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <memory>

#include "backends/numpy/kernels/attention_table.h"
#include "backends/numpy/simd/dispatch.h"
#include "base/thread_pool.h"
#include "mc/detail/str.h"
#include "mc/error.h"

namespace mc::kernels {
namespace {

const AttentionTable& table() {
  switch (simd::active_isa()) {
#if defined(__x86_64__)
    case simd::Isa::Avx512: return kAttentionAvx512;
    case simd::Isa::Avx2: return kAttentionAvx2;
#endif
    default: return kAttentionScalar;
  }
}

bool is_float(Dtype d) { return d == Dtype::F32 || d == Dtype::F16 || d == Dtype::BF16; }

// Memory that a thread keeps between calls.
class Workspace {
 public:
  float* floats(size_t n) {
    if (n > size_) {
      data_.reset(static_cast<float*>(std::aligned_alloc(64, (n * sizeof(float) + 63) / 64 * 64)));
      size_ = data_ ? n : 0;
      if (!data_)
        throw Error(ErrorCode::OutOfMemory, cat("no memory for ", n * sizeof(float), " bytes of workspace"),
                    "attention");
      std::fill_n(data_.get(), n, 0.0f);  // lanes past a short axis are computed with, then dropped
    }
    return data_.get();
  }

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float, Free> data_;
  size_t size_ = 0;
};
thread_local Workspace workspace;

AttentionScratch scratch(const AttentionArgs& a, int rows) {
  const auto up = [](int64_t n) { return static_cast<size_t>((n + 15) / 16 * 16); };
  const size_t d = up(a.dim), v = up(a.v_dim), r = up(rows);
  const size_t parts[] = {r * d, r * kKeyTile, r * v, d * kKeyTile, v * kKeyTile, r, r, 2 * r};
  size_t total = 0;
  for (size_t p : parts) total += p;
  float* at[8];
  float* next = workspace.floats(total);
  for (int i = 0; i < 8; ++i) at[i] = next, next += parts[i];
  return {at[0], at[1], at[2], at[3], at[4], at[5], at[6], reinterpret_cast<int32_t*>(at[7])};
}

}  // namespace

void attention(const AttentionArgs& a) {
  const char* where = "scaled_dot_product_attention";
  if (!is_float(a.dtype) || !is_float(a.kv_dtype))
    throw Error(ErrorCode::DtypeMismatch,
                cat("float32, float16 or bfloat16 expected, got ", dtype_name(a.dtype), " and ",
                    dtype_name(a.kv_dtype)),
                where);
  if (a.mask && !is_float(a.mask_dtype) && a.mask_dtype != Dtype::Bool)
    throw Error(ErrorCode::DtypeMismatch,
                cat("the mask must be bool or a 16- or 32-bit float, got ", dtype_name(a.mask_dtype)), where);
  if (a.kv_heads < 1 || a.heads % a.kv_heads)
    throw Error(ErrorCode::ShapeMismatch,
                cat(a.heads, " query heads are no multiple of ", a.kv_heads, " key heads"), where);
  if (a.dim > 65536 || a.v_dim > 65536 || a.kv_size > INT32_MAX - kKeyTile)
    throw Error(ErrorCode::InvalidArgument,
                cat("head size ", std::max(a.dim, a.v_dim), " or ", a.kv_size, " keys: too large"), where);
  const int64_t group = a.heads / a.kv_heads, total = group * a.q_len;
  if (a.batch <= 0 || total <= 0 || a.v_dim <= 0) return;
  const int block = a.dim > 128 ? 48 : 96;
  const int64_t blocks = (total + block - 1) / block, items = a.batch * a.kv_heads * blocks;
  const AttentionTable& t = table();
  std::atomic<int64_t> next{0};
  const auto work = [&] {
    const AttentionScratch z = scratch(a, static_cast<int>(std::min<int64_t>(block, total)));
    for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < items;) {
      // Later rows see more keys: they go first, so that the threads end together.
      const int64_t head = i % (a.batch * a.kv_heads),
                    row = (blocks - 1 - i / (a.batch * a.kv_heads)) * block;
      t.block(a,
              {head / a.kv_heads, head % a.kv_heads, row,
               static_cast<int>(std::min<int64_t>(block, total - row))},
              z);
    }
  };
  if (items == 1)
    work();
  else
    parallel_region([&](int, int) { work(); });
}

}  // namespace mc::kernels
