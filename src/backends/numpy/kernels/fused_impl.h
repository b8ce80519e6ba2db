// The row kernels of fused.h, once for all instruction sets.
#pragma once

#include "backends/numpy/kernels/fused_table.h"
#include "backends/numpy/simd/lanes_io.h"
#include "backends/numpy/simd/math_f32.h"

namespace mc::simd::MC_SIMD_NS {

using kernels::Gate;
using kernels::RopeArgs;
using kernels::RowsArgs;

// Maximum of a row and the sum of exp(x - max); with a NaN in the row the sum is NaN.
struct MaxSum {
  float max, sum;
};
template <class T, class Keep>
MC_INL MaxSum max_sum(const T* x, int64_t n, Keep keep) {
  const float m = reduce_max(n, [&](int64_t i, int k) MC_LAMBDA { return vload_n(x + i, k); });
  // All -inf: subtracting 0 in place of the maximum makes every term 0.
  const F32 shift = F32::set(m == -__builtin_inff() ? 0.0f : m);
  const float s = reduce_sum(n, [&](int64_t i, int k) MC_LAMBDA {
    F32 e = exp(vload_n(x + i, k) - shift);
    if (k < 16) e = select(first_lanes(k), e, F32::zero());
    keep(i, k, e);
    return e;
  });
  return {m, s};
}

template <class T>
static void softmax_row(const T* x, T* out, int64_t n, bool log) {
  if (log) {
    const MaxSum r = max_sum(x, n, [](int64_t, int, F32) {});
    const bool empty = r.max == -__builtin_inff() && r.sum == 0;
    const F32 m = F32::set(empty ? 0.0f : r.max);
    const F32 l = empty ? F32::zero() : log_of(r.sum);
    for_vectors(n, [&](int64_t i, int k) MC_LAMBDA { vstore_n(out + i, vload_n(x + i, k) - m - l, k); });
    return;
  }
  if constexpr (sizeof(T) == 4) {
    const MaxSum r = max_sum(x, n, [&](int64_t i, int k, F32 e) MC_LAMBDA { vstore_n(out + i, e, k); });
    const F32 scale = F32::set(r.sum == 0 ? 0.0f : 1.0f / r.sum);
    for_vectors(n, [&](int64_t i, int k) MC_LAMBDA { vstore_n(out + i, vload_n(out + i, k) * scale, k); });
  } else {
    const MaxSum r = max_sum(x, n, [](int64_t, int, F32) {});
    const F32 shift = F32::set(r.max == -__builtin_inff() ? 0.0f : r.max);
    const F32 scale = F32::set(r.sum == 0 ? 0.0f : 1.0f / r.sum);
    for_vectors(
        n, [&](int64_t i, int k) MC_LAMBDA { vstore_n(out + i, exp(vload_n(x + i, k) - shift) * scale, k); });
  }
}
static void softmax_rows(const RowsArgs& a, bool log, int64_t begin, int64_t end) {
  with_float_type(a.dtype, [&](auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    for (int64_t r = begin; r < end; ++r)
      softmax_row(static_cast<const T*>(a.x) + r * a.x_stride, static_cast<T*>(a.out) + r * a.out_stride, a.n,
                  log);
  });
}

template <class T>
MC_INL float row_logsumexp(const T* x, int64_t n) {
  const MaxSum r = max_sum(x, n, [](int64_t, int, F32) {});
  if (r.max == __builtin_inff() && r.sum != r.sum) {
    // exp(inf - inf) made the NaN unless the row has one.
    bool nan = false;
    for_vectors(n, [&](int64_t i, int k) MC_LAMBDA { nan |= any(is_nan(vload_n(x + i, k))); });
    return nan ? r.sum : r.max;
  }
  if (r.sum == 0) return r.max;
  return (r.max == -__builtin_inff() ? 0.0f : r.max) + first(log_of(r.sum));
}
static void logsumexp_rows(const RowsArgs& a, float* out, int64_t begin, int64_t end) {
  with_float_type(a.dtype, [&](auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    for (int64_t r = begin; r < end; ++r)
      out[r] = row_logsumexp(static_cast<const T*>(a.x) + r * a.x_stride, a.n);
  });
}
static void cross_entropy_rows(const RowsArgs& a, const void* labels, Dtype label_dtype, float* out,
                               int64_t begin, int64_t end) {
  with_float_type(a.dtype, [&](auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    for (int64_t r = begin; r < end; ++r) {
      const T* x = static_cast<const T*>(a.x) + r * a.x_stride;
      int64_t label = label_dtype == Dtype::I64 ? static_cast<const int64_t*>(labels)[r]
                                                : static_cast<const int32_t*>(labels)[r];
      if (label < 0) label += a.n;
      if (label < 0 || label >= a.n) {
        out[r] = first(nan32());
        continue;
      }
      const MaxSum s = max_sum(x, a.n, [](int64_t, int, F32) {});
      out[r] = first(log_of(s.sum)) - (first(vload(x + label, 1)) - s.max);
    }
  });
}

static void rms_norm_rows(const RowsArgs& a, const float* weight, float eps, int64_t begin, int64_t end) {
  with_float_type(a.dtype, [&](auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    for (int64_t r = begin; r < end; ++r) {
      const T* x = static_cast<const T*>(a.x) + r * a.x_stride;
      T* out = static_cast<T*>(a.out) + r * a.out_stride;
      const float ss = reduce_sum(a.n, [&](int64_t i, int k) MC_LAMBDA {
        const F32 v = vload_n(x + i, k);
        return v * v;
      });
      const F32 scale = F32::set(1) / sqrt(F32::set(ss) / F32::set(static_cast<float>(a.n)) + F32::set(eps));
      if (weight)
        for_vectors(a.n, [&](int64_t i, int k) MC_LAMBDA {
          vstore_n(out + i, vload_n(x + i, k) * scale * vload_n(weight + i, k), k);
        });
      else
        for_vectors(a.n,
                    [&](int64_t i, int k) MC_LAMBDA { vstore_n(out + i, vload_n(x + i, k) * scale, k); });
    }
  });
}

static void layer_norm_rows(const RowsArgs& a, const float* weight, const float* bias, float eps,
                            int64_t begin, int64_t end) {
  with_float_type(a.dtype, [&](auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    for (int64_t r = begin; r < end; ++r) {
      const T* x = static_cast<const T*>(a.x) + r * a.x_stride;
      T* out = static_cast<T*>(a.out) + r * a.out_stride;
      const float n = static_cast<float>(a.n);
      const F32 mean =
          F32::set(reduce_sum(a.n, [&](int64_t i, int k) MC_LAMBDA { return vload_n(x + i, k); }) / n);
      const float ss = reduce_sum(a.n, [&](int64_t i, int k) MC_LAMBDA {
        F32 d = vload_n(x + i, k) - mean;
        if (k < 16) d = select(first_lanes(k), d, F32::zero());
        return d * d;
      });
      const F32 scale = F32::set(1) / sqrt(F32::set(ss / n) + F32::set(eps));
      for_vectors(a.n, [&](int64_t i, int k) MC_LAMBDA {
        F32 y = (vload_n(x + i, k) - mean) * scale;
        if (weight) y = y * vload_n(weight + i, k);
        if (bias) y = y + vload_n(bias + i, k);
        vstore_n(out + i, y, k);
      });
    }
  });
}

// Elements [begin, end) of one row.
static void gated_range(const RowsArgs& a, const void* up, int64_t up_stride, Gate act, int64_t row,
                        int64_t begin, int64_t end) {
  with_float_type(a.dtype, [&](auto* t) {
    using T = std::remove_pointer_t<decltype(t)>;
    const T* g = static_cast<const T*>(a.x) + row * a.x_stride + begin;
    const T* u = static_cast<const T*>(up) + row * up_stride + begin;
    T* out = static_cast<T*>(a.out) + row * a.out_stride + begin;
    const auto run = [&](auto f) MC_LAMBDA {
      for_vectors(end - begin, [&](int64_t i, int k) MC_LAMBDA {
        vstore_n(out + i, f(vload_n(g + i, k)) * vload_n(u + i, k), k);
      });
    };
    if (act == Gate::Silu)
      run([](F32 x) MC_LAMBDA { return silu(x); });
    else if (act == Gate::Gelu)
      run([](F32 x) MC_LAMBDA { return gelu(x); });
    else
      run([](F32 x) MC_LAMBDA { return gelu_tanh(x); });
  });
}

// cs and sn as rope_rows lays them out: by halves, or for pairs of neighbours twice each, sines of alternate
// sign.
template <class T>
static void rope_row(const RopeArgs& a, const T* x, T* out, const float* cs, const float* sn) {
  const int half = a.dims / 2;
  if (a.traditional) {
    // Products and sum each rounded, as in the other form.
    for_vectors(a.dims, [&](int64_t i, int k) MC_LAMBDA {
      const F32 p = vload_n(x + i, k);
      float v[16], swapped[16];
      F32::store(v, p);
      for (int l = 0; l < 16; ++l) swapped[l] = v[l ^ 1];
      vstore_n(out + i, p * F32::load(cs + i) + F32::load(swapped) * F32::load(sn + i), k);
    });
  } else {
    for_vectors(half, [&](int64_t i, int k) MC_LAMBDA {
      const F32 c = vload_n(cs + i, k), s = vload_n(sn + i, k);
      const F32 p = vload_n(x + i, k), q = vload_n(x + half + i, k);
      vstore_n(out + i, p * c - q * s, k);
      vstore_n(out + half + i, p * s + q * c, k);
    });
  }
  if (static_cast<const void*>(x) != out)
    for (int64_t i = a.dims; i < a.dim; ++i) out[i] = x[i];
}
static void rope_rows(const RopeArgs& a, int64_t begin, int64_t end) {
  constexpr int kMaxHalf = 1024;
  alignas(64) float cs[kMaxHalf], sn[kMaxHalf], cs2[2 * kMaxHalf], sn2[2 * kMaxHalf];
  const int half = a.dims / 2;
  if (a.traditional)
    for (int i = a.dims; i < (a.dims + 15) / 16 * 16; ++i) cs2[i] = sn2[i] = 0;
  with_float_type(a.dtype, [&](auto* tag) {
    using T = std::remove_pointer_t<decltype(tag)>;
    for (int64_t bt = begin; bt < end; ++bt) {
      const int64_t b = bt / a.time, t = bt % a.time;
      const double pos = a.positions[b * a.position_stride[0] + t * a.position_stride[1]] * a.scale;
      for_vectors(half, [&](int64_t i, int k) MC_LAMBDA {
        const F64 p = F64::set(pos);
        const F64 lo = F64::load(a.inv_freq + i, k < 8 ? k : 8),
                  hi = k > 8 ? F64::load(a.inv_freq + i + 8, k - 8) : F64::zero();
        const SinCos r = sincos_reduced(reduce_angle(p * lo, p * hi));
        vstore_n(sn + i, r.s, k);
        vstore_n(cs + i, r.c, k);
      });
      if (a.traditional)
        for (int i = 0; i < half; ++i) {
          cs2[2 * i] = cs2[2 * i + 1] = cs[i];
          sn2[2 * i] = -sn[i];
          sn2[2 * i + 1] = sn[i];
        }
      for (int64_t h = 0; h < a.heads; ++h)
        rope_row(a, static_cast<const T*>(a.x) + b * a.x_stride[0] + h * a.x_stride[1] + t * a.x_stride[2],
                 static_cast<T*>(a.out) + b * a.out_stride[0] + h * a.out_stride[1] + t * a.out_stride[2],
                 a.traditional ? cs2 : cs, a.traditional ? sn2 : sn);
    }
  });
}

inline constexpr kernels::FusedTable kFusedRow = {
    softmax_rows, rms_norm_rows, layer_norm_rows, cross_entropy_rows, logsumexp_rows, gated_range, rope_rows};

}  // namespace mc::simd::MC_SIMD_NS
