// Attention's inner part, once for all instruction sets.
#pragma once

#include "backends/numpy/kernels/attention_table.h"
#include "backends/numpy/simd/lanes_io.h"
#include "backends/numpy/simd/math_f32.h"

namespace mc::simd::MC_SIMD_NS {

using kernels::AttentionArgs;
using kernels::AttentionBlock;
using kernels::AttentionScratch;
using kernels::kKeyTile;

#if MC_SIMD_TARGET == 2
inline constexpr int kRows = 6, kCols = 4;
#elif MC_SIMD_TARGET == 1
inline constexpr int kRows = 6, kCols = 1;
#else
inline constexpr int kRows = 2, kCols = 1;
#endif

enum class Start { Zero, FromC, AddToC };

// c[r][j] = chain over ascending i of fma(a[r][i], b[i][j], ·), from zero or from c, or c plus a chain from
// zero.
template <int R, int V, Start S>
MC_INL void micro(const float* a, int64_t as, const float* b, int64_t bs, int n, float* c, int64_t cs) {
  F32 acc[R][V];
  for (int r = 0; r < R; ++r)
    for (int j = 0; j < V; ++j) acc[r][j] = S == Start::FromC ? F32::load(c + r * cs + 16 * j) : F32::zero();
  for (int i = 0; i < n; ++i) {
    F32 bv[V];
    for (int j = 0; j < V; ++j) bv[j] = F32::load(b + i * bs + 16 * j);
    for (int r = 0; r < R; ++r) {
      const F32 x = F32::set(a[r * as + i]);
      for (int j = 0; j < V; ++j) acc[r][j] = fma(x, bv[j], acc[r][j]);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int j = 0; j < V; ++j)
      F32::store(c + r * cs + 16 * j,
                 S == Start::AddToC ? F32::load(c + r * cs + 16 * j) + acc[r][j] : acc[r][j]);
}
template <int V, Start S>
static void micro_rows(int rows, const float* a, int64_t as, const float* b, int64_t bs, int n, float* c,
                       int64_t cs) {
  while (rows >= kRows) {
    micro<kRows, V, S>(a, as, b, bs, n, c, cs);
    rows -= kRows, a += kRows * as, c += kRows * cs;
  }
  if constexpr (kRows == 6) {
    if (rows == 5) micro<5, V, S>(a, as, b, bs, n, c, cs);
    if (rows == 4) micro<4, V, S>(a, as, b, bs, n, c, cs);
    if (rows == 3) micro<3, V, S>(a, as, b, bs, n, c, cs);
    if (rows == 2) micro<2, V, S>(a, as, b, bs, n, c, cs);
  }
  if (rows == 1) micro<1, V, S>(a, as, b, bs, n, c, cs);
}
// cols: a multiple of 16.
template <Start S>
static void small_gemm(int rows, int cols, const float* a, int64_t as, const float* b, int64_t bs, int n,
                       float* c, int64_t cs) {
  int j = 0;
  for (; j + 16 * kCols <= cols; j += 16 * kCols) micro_rows<kCols, S>(rows, a, as, b + j, bs, n, c + j, cs);
  if constexpr (kCols > 1)
    for (; j < cols; j += 16) micro_rows<1, S>(rows, a, as, b + j, bs, n, c + j, cs);
}

// kt[d][key] = k[key][d] for keys [from, to) of the tile, zeros for the rest of each group of 16; d up to a
// multiple of 16.
template <class T>
static void transpose_keys(const T* k, int64_t stride, int from, int to, int dim, float* kt) {
  for (int g = from & ~15; g < to; g += 16)
    for (int d = 0; d < dim; d += 16) {
      const int n = dim - d < 16 ? dim - d : 16;
      if (g >= from && g + 16 <= to)
        transpose16([&](int i) MC_LAMBDA { return vload_n(k + (g + i) * stride + d, n); },
                    kt + d * kKeyTile + g, kKeyTile);
      else
        transpose16(
            [&](int i) MC_LAMBDA {
              return g + i >= from && g + i < to ? vload_n(k + (g + i) * stride + d, n) : F32::zero();
            },
            kt + d * kKeyTile + g, kKeyTile);
    }
}

// The n elements from index `at` on as float32; dst has room for whole vectors.
static void widen_row(Dtype dtype, const void* src, int64_t at, float* dst, int n) {
  with_float_type(dtype, [&](auto* t) {
    const auto* p = static_cast<decltype(t)>(const_cast<void*>(src)) + at;
    for_vectors(n, [&](int64_t i, int k) MC_LAMBDA { vstore(dst + i, vload_n(p + i, k)); });
  });
}

struct TileRow {  // what the scores of one row need
  const char* mask;
  int from, to;  // visible keys within the tile
};

static F32 mask_value(const AttentionArgs& a, const char* mask, int64_t j) {
  // 16 mask entries from tile key j on, as values to add.
  const int64_t s = a.mask_stride[3];
  float v[16];
  for (int i = 0; i < 16; ++i) {
    const int64_t o = (j + i) * s;
    if (a.mask_dtype == Dtype::Bool)
      v[i] = mask[o] ? 0.0f : -__builtin_inff();
    else if (a.mask_dtype == Dtype::F32)
      std::memcpy(v + i, mask + 4 * o, 4);
    else if (a.mask_dtype == Dtype::BF16) {
      uint32_t u = 0;
      std::memcpy(reinterpret_cast<char*>(&u) + 2, mask + 2 * o, 2);
      std::memcpy(v + i, &u, 4);
    } else {
      uint16_t h[16] = {};
      std::memcpy(h, mask + 2 * o, 2);
      v[i] = first(load_f16(h));
    }
  }
  return F32::load(v);
}

// The scores of one row and tile, scaled, masked, -inf where a key is not visible.
static void visible_scores(const AttentionArgs& a, const float* s, const TileRow& t, F32 (&x)[4]) {
  const F32 low = F32::set(-__builtin_inff());
  for (int j = 0; j < 4; ++j) {
    x[j] = low;
    if (t.to <= 16 * j || t.from >= 16 * j + 16) continue;
    x[j] = F32::load(s + 16 * j) * F32::set(a.scale);
    if (a.softcap > 0) x[j] = tanh(x[j] / F32::set(a.softcap)) * F32::set(a.softcap);
    const bool whole = t.from <= 16 * j && t.to >= 16 * j + 16;
    if (t.mask) {
      if (whole && a.mask_dtype == Dtype::F32 && a.mask_stride[3] == 1)
        x[j] = x[j] + F32::load(reinterpret_cast<const float*>(t.mask) + 16 * j);
      else if (whole)
        x[j] = x[j] + mask_value(a, t.mask, 16 * j);
      else {
        // Entries outside the visible keys may lie outside the mask's memory.
        float v[16] = {};
        for (int i = 0; i < 16; ++i)
          if (16 * j + i >= t.from && 16 * j + i < t.to) {
            const int64_t o = (16 * j + i) * a.mask_stride[3];
            if (a.mask_dtype == Dtype::Bool)
              v[i] = t.mask[o] ? 0.0f : -__builtin_inff();
            else if (a.mask_dtype == Dtype::F32)
              std::memcpy(v + i, t.mask + 4 * o, 4);
            else {
              uint16_t h[16] = {};
              std::memcpy(h, t.mask + 2 * o, 2);
              v[i] = first(a.mask_dtype == Dtype::BF16 ? load_bf16(h) : load_f16(h));
            }
          }
        x[j] = x[j] + F32::load(v);
      }
    }
    if (!whole) {
      const int to = t.to - 16 * j, from = t.from - 16 * j;
      M32 keep = first_lanes(to < 16 ? to : 16);
      if (from > 0) keep = keep & ~first_lanes(from);
      x[j] = select(keep, x[j], low);
    }
  }
}

// Scores of one row and tile to probabilities, in place; updates running max and sum and rescales the row's
// output. False: nothing visible, leave the row alone.
static bool softmax_tile(const AttentionArgs& a, float* s, const TileRow& t, float* max_io, float* sum_io,
                         float* out, int out_n) {
  F32 x[4];
  if (t.from <= 0 && t.to >= 64 && !t.mask && !(a.softcap > 0)) {  // most tiles: without a branch
    const F32 scale = F32::set(a.scale);
    for (int j = 0; j < 4; ++j) x[j] = F32::load(s + 16 * j) * scale;
  } else {
    F32 some[4];  // of its own: x stays in registers
    visible_scores(a, s, t, some);
    for (int j = 0; j < 4; ++j) x[j] = some[j];
  }
  const float tile_max = max_lanes(max(max(x[0], x[1]), max(x[2], x[3])));
  const bool nan = any(is_nan(x[0]) | is_nan(x[1]) | is_nan(x[2]) | is_nan(x[3]));
  if (nan) {  // a maximum does not see NaN in every lane
    *sum_io = first(nan32());
    return false;
  }
  if (tile_max == -__builtin_inff()) return false;
  const float old = *max_io;
  if (tile_max > old) {
    *max_io = tile_max;
    if (old != -__builtin_inff()) {
      const F32 c = exp(F32::set(old - tile_max));
      *sum_io = *sum_io * first(c);
      for (int i = 0; i < out_n; i += 16) F32::store(out + i, F32::load(out + i) * c);
    }
  }
  const F32 m = F32::set(*max_io);
  for (int j = 0; j < 4; ++j) {
    x[j] = exp(x[j] - m);
    F32::store(s + 16 * j, x[j]);
  }
  *sum_io = *sum_io + sum_lanes((x[0] + x[1]) + (x[2] + x[3]));
  return true;
}

static void attention_block(const AttentionArgs& a, const AttentionBlock& w, const AttentionScratch& z) {
  const int group = static_cast<int>(a.heads / a.kv_heads), dim = static_cast<int>(a.dim);
  const int vd = static_cast<int>(a.v_dim), vp = (vd + 15) & ~15, dp = (dim + 15) & ~15;
  int lo = INT32_MAX, hi = 0;
  for (int r = 0; r < w.rows; ++r) {
    const int64_t t = (w.row + r) / group, h = w.kv_head * group + (w.row + r) % group;
    widen_row(a.dtype, a.q, w.b * a.q_stride[0] + h * a.q_stride[1] + t * a.q_stride[2], z.q + r * dp, dim);
    int64_t l, u;
    kernels::key_range(a, w.b, t, l, u);
    z.range[2 * r] = static_cast<int32_t>(l), z.range[2 * r + 1] = static_cast<int32_t>(u);
    if (l < u) {
      lo = l < lo ? static_cast<int>(l) : lo;
      hi = u > hi ? static_cast<int>(u) : hi;
    }
    z.max[r] = -__builtin_inff();
    z.sum[r] = 0;
    for (int i = 0; i < vp; i += 16) F32::store(z.out + r * vp + i, F32::zero());
  }
  const int64_t k0 = w.b * a.k_stride[0] + w.kv_head * a.k_stride[1];
  const int64_t v0 = w.b * a.v_stride[0] + w.kv_head * a.v_stride[1];
  const int mask_size = a.mask_dtype == Dtype::F32 ? 4 : a.mask_dtype == Dtype::Bool ? 1 : 2;

  for (int tile = lo & ~(kKeyTile - 1); tile < hi; tile += kKeyTile) {
    const int from = lo > tile ? lo - tile : 0, to = hi - tile < kKeyTile ? hi - tile : kKeyTile;
    const int c0 = from & ~15, c1 = (to + 15) & ~15;
    with_float_type(a.kv_dtype, [&](auto* t) {
      transpose_keys(static_cast<decltype(t)>(const_cast<void*>(a.k)) + k0 + tile * a.k_stride[2],
                     a.k_stride[2], from, to, dim, z.kt);
    });
    for (int d = 0; d < dim; d += 256) {
      const int n = dim - d < 256 ? dim - d : 256;
      if (d == 0)
        small_gemm<Start::Zero>(w.rows, c1 - c0, z.q, dp, z.kt + c0, kKeyTile, n, z.scores + c0, kKeyTile);
      else
        small_gemm<Start::AddToC>(w.rows, c1 - c0, z.q + d, dp, z.kt + d * kKeyTile + c0, kKeyTile, n,
                                  z.scores + c0, kKeyTile);
    }
    const float* vt = z.v;
    int64_t vs = vp;
    if (a.kv_dtype == Dtype::F32 && vp == vd)
      vt = static_cast<const float*>(a.v) + v0 + tile * a.v_stride[2], vs = a.v_stride[2];
    else
      for (int i = from; i < to; ++i)
        widen_row(a.kv_dtype, a.v, v0 + (tile + i) * a.v_stride[2], z.v + i * vp, vd);
    int row_from[kRows], row_to[kRows];
    for (int r0 = 0; r0 < w.rows; r0 += kRows) {
      const int nr = w.rows - r0 < kRows ? w.rows - r0 : kRows;
      int all_from = 0, all_to = kKeyTile;  // keys that every row of the group sees
      for (int i = 0; i < nr; ++i) {
        const int r = r0 + i;
        int f = z.range[2 * r] - tile, u = z.range[2 * r + 1] - tile;
        f = f < 0 ? 0 : f, u = u > kKeyTile ? kKeyTile : u;
        bool seen = f < u;
        if (seen) {
          TileRow t{nullptr, f, u};
          const int64_t q = w.row + r;
          if (a.mask)
            t.mask =
                static_cast<const char*>(a.mask) +
                mask_size * (w.b * a.mask_stride[0] + (w.kv_head * group + q % group) * a.mask_stride[1] +
                             q / group * a.mask_stride[2] + tile * a.mask_stride[3]);
          seen = softmax_tile(a, z.scores + r * kKeyTile, t, z.max + r, z.sum + r, z.out + r * vp, vp);
        }
        if (!seen) f = u = 0;
        row_from[i] = f, row_to[i] = u;
        all_from = f > all_from ? f : all_from;
        all_to = u < all_to ? u : all_to;
      }
      // Each row's chain runs over exactly the keys it sees, in order: what only some rows see comes before
      // and after.
      const auto edge = [&](int i, int f, int u) {
        if (f < u)
          small_gemm<Start::FromC>(1, vp, z.scores + (r0 + i) * kKeyTile + f, kKeyTile, vt + f * vs, vs,
                                   u - f, z.out + (r0 + i) * vp, vp);
      };
      if (all_from >= all_to) {
        for (int i = 0; i < nr; ++i) edge(i, row_from[i], row_to[i]);
        continue;
      }
      for (int i = 0; i < nr; ++i) edge(i, row_from[i], all_from);
      small_gemm<Start::FromC>(nr, vp, z.scores + r0 * kKeyTile + all_from, kKeyTile, vt + all_from * vs, vs,
                               all_to - all_from, z.out + r0 * vp, vp);
      for (int i = 0; i < nr; ++i) edge(i, all_to, row_to[i]);
    }
  }
  for (int r = 0; r < w.rows; ++r) {
    const int64_t t = (w.row + r) / group, h = w.kv_head * group + (w.row + r) % group;
    const int64_t o = w.b * a.out_stride[0] + h * a.out_stride[1] + t * a.out_stride[2];
    const F32 scale = F32::set(z.sum[r] == 0 ? 0.0f : 1.0f / z.sum[r]);
    with_float_type(a.dtype, [&](auto* p) {
      auto* out = static_cast<decltype(p)>(a.out) + o;
      for_vectors(vd, [&](int64_t i, int n)
                          MC_LAMBDA { vstore_n(out + i, F32::load(z.out + r * vp + i) * scale, n); });
    });
  }
}

}  // namespace mc::simd::MC_SIMD_NS
