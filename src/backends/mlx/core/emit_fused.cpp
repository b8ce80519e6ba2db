#include <algorithm>
#include <cmath>
#include <limits>

#include "backends/mlx/core/emit.h"

namespace mc::mlx_engine {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// What each query sees, as a bool array that broadcasts to (batch, heads, tokens, keys); and the additive
// mask.
struct Masks {
  std::optional<mx::array> seen, added;
};

Masks masks_of(const Emit& e, const AttentionAttrs& a) {
  const mx::Stream& s = e.s;
  Masks m;
  const auto batch = static_cast<int32_t>(e.shape(0)[0]), tokens = static_cast<int32_t>(e.shape(0)[2]),
             keys = static_cast<int32_t>(e.shape(1)[2]);
  auto also = [&](const mx::array& seen) { m.seen = m.seen ? mx::logical_and(*m.seen, seen, s) : seen; };
  size_t next = 3;
  if (a.has_mask) {
    const mx::array& mask = e.in[next];
    if (is_bool(e.in_avals[next].dtype))
      also(mask);
    else
      m.added = mx::astype(mask, mx::float32, s);
    ++next;
  }
  const mx::array key = mx::reshape(mx::arange(0, keys, 1, s), {1, 1, 1, keys}, s);
  if (a.causal) {
    mx::array query = mx::reshape(mx::arange(0, tokens, 1, s), {1, 1, tokens, 1}, s);
    query = mx::add(query,
                    a.has_start ? mx::reshape(mx::astype(e.in[next++], mx::int32, s), {batch, 1, 1, 1}, s)
                                : mx::array(keys - tokens),
                    s);
    also(mx::less_equal(key, query, s));
    if (a.window > 0 && a.window <= std::numeric_limits<int32_t>::max())
      also(mx::greater(key, mx::subtract(query, mx::array(static_cast<int32_t>(a.window)), s), s));
  } else if (a.has_start) {
    ++next;
  }
  if (a.has_len)
    also(mx::less(key, mx::reshape(mx::astype(e.in[next], mx::int32, s), {batch, 1, 1, 1}, s), s));
  return m;
}

// On a GPU libmlx lays the result out as the query lies, which cuDNN refuses for one that is broadcast along
// its last axis.
mx::array query_of(const Emit& e, mx::Dtype type) {
  const mx::array q = mx::astype(e.in[0], type, e.s);
  return e.gpu ? mx::contiguous(q, false, e.s) : q;
}

// Causal attention over a cache of which it is known how far it is filled: the keys that some query sees are
// a view, and those that one query or all queries see need no mask.
bool known_causal(const Emit& e, const AttentionAttrs& a, mx::Dtype type, float scale) {
  if (!a.causal || a.has_mask || a.has_len) return false;
  const auto starts =
      a.has_start ? e.known(3) : std::optional(std::vector<int64_t>{e.shape(1)[2] - e.shape(0)[2]});
  if (!starts || starts->empty()) return false;
  const mx::Stream& s = e.s;
  const int64_t start = starts->front(), tokens = e.shape(0)[2], end = start + tokens;
  if (std::any_of(starts->begin(), starts->end(), [&](int64_t b) { return b != start; })) return false;
  if (start < 0 || end > e.shape(1)[2]) return false;
  // The oldest key that the first query sees.
  const int64_t first = a.window > 0 ? std::max<int64_t>(0, start - a.window + 1) : 0;
  auto seen = [&](const mx::array& x) {
    mx::Shape lo(4, 0), hi = x.shape();
    lo[2] = static_cast<int32_t>(first);
    hi[2] = static_cast<int32_t>(end);
    return mx::astype(mx::slice(x, lo, hi, s), type, s);
  };
  std::string mode;
  std::optional<mx::array> mask;
  if (tokens > 1 && (a.window <= 0 || a.window >= end)) {
    mode = "causal";
  } else if (tokens > 1) {
    const auto n = static_cast<int32_t>(tokens), keys = static_cast<int32_t>(end - first);
    const mx::array query = mx::reshape(mx::arange(keys - n, keys, 1, s), {n, 1}, s),
                    key = mx::reshape(mx::arange(0, keys, 1, s), {1, keys}, s);
    mode = "array";
    mask = mx::logical_and(
        mx::less_equal(key, query, s),
        mx::greater(key, mx::subtract(query, mx::array(static_cast<int32_t>(a.window)), s), s), s);
  }
  return e.give(
      mx::astype(mx::fast::scaled_dot_product_attention(query_of(e, type), seen(e.in[1]), seen(e.in[2]),
                                                        scale, mode, mask, {}, false, s),
                 mlx_dtype(e.dtype()), s));
}

bool attention(const Emit& e) {
  const auto& a = e.as<AttentionAttrs>();
  const mx::Stream& s = e.s;
  const mx::Dtype type = e.gpu ? mlx_dtype(e.dtype()) : mx::float32;
  const double scale = a.scale > 0 ? a.scale : 1 / std::sqrt(static_cast<double>(e.shape(0)[3]));
  if (known_causal(e, a, type, static_cast<float>(scale))) return true;
  Masks m = masks_of(e, a);
  std::optional<mx::array> none;  // rows that see no key: zeros
  std::optional<mx::array> mask;
  if (m.added) {
    if (m.seen) m.added = mx::where(*m.seen, *m.added, mx::array(-kInf), s);
    none = mx::equal(mx::max(*m.added, -1, true, s), mx::array(-kInf), s);
    // libmlx would make NaN of such a row: it sees everything, and is dropped afterwards.
    mask = mx::astype(mx::where(*none, mx::array(0.0f), *m.added, s), type, s);
  } else if (m.seen) {
    none = mx::logical_not(mx::any(*m.seen, -1, true, s), s);
    mask = mx::logical_or(*m.seen, *none, s);
  }
  const mx::array y = mx::fast::scaled_dot_product_attention(
      query_of(e, type), mx::astype(e.in[1], type, s), mx::astype(e.in[2], type, s),
      static_cast<float>(scale), mask ? "array" : "", mask, {}, false, s);
  const mx::array kept = none ? mx::where(*none, mx::zeros({}, y.dtype(), s), y, s) : y;
  return e.give(mx::astype(kept, mlx_dtype(e.dtype()), s));
}

}  // namespace

bool fused_is_native(Op op, std::span<const Aval> in, const Attrs& attrs) {
  if (in.empty()) return false;
  const Dtype d = in[0].dtype;
  switch (op) {
    case Op::Softmax: return d != Dtype::F64;
    case Op::RmsNorm:
    case Op::LayerNorm: return d != Dtype::F64;
    case Op::Attention: {
      for (const Aval& a : in)
        if (a.dtype == Dtype::F64) return false;
      return attrs.as<AttentionAttrs>().softcap == 0 && in[1].shape[2] > 0 && in[1].shape[1] > 0;
    }
    case Op::QuantizedMatmul:
    case Op::QuantizedMatmulWhere:
    case Op::QuantizedTake: return true;
    // Angles in float64 and sigmoid are the host's on the CPU anyway: one node in place of twenty. A GPU
    // takes the decomposition, most of which it computes itself.
    case Op::Rope:
    case Op::Swiglu: return !library().has_gpu();
    default: return false;
  }
}

bool emit_fused(const Emit& e) {
  if (!fused_is_native(e.op, e.in_avals, e.attrs)) return false;
  const mx::Stream& s = e.s;
  const mx::Dtype type = mlx_dtype(e.dtype());
  switch (e.op) {
    case Op::Softmax: {
      mx::array x = mx::astype(e.x(), mx::float32, s);
      const mx::array empty = mx::equal(mx::max(x, -1, true, s), mx::array(-kInf), s);
      const mx::array y = mx::softmax(mx::where(empty, mx::array(0.0f), x, s), -1, true, s);
      return e.give(mx::astype(mx::where(empty, mx::array(0.0f), y, s), type, s));
    }
    case Op::RmsNorm:
    case Op::LayerNorm: {
      const auto& a = e.as<NormAttrs>();
      std::optional<mx::array> weight, bias;
      if (a.has_weight) weight = mx::astype(e.in[1], mx::float32, s);
      if (a.has_bias) bias = mx::astype(e.in[a.has_weight ? 2 : 1], mx::float32, s);
      const mx::array x = mx::astype(e.x(), mx::float32, s);
      const auto eps = static_cast<float>(a.eps);
      return e.give(mx::astype(e.op == Op::RmsNorm ? mx::fast::rms_norm(x, weight, eps, s)
                                                   : mx::fast::layer_norm(x, weight, bias, eps, s),
                               type, s));
    }
    case Op::Attention: return attention(e);
    default: return false;
  }
}

bool emit(const Emit& e) {
  return emit_elementwise(e) || emit_shape(e) || emit_reduce(e) || emit_index(e) || emit_product(e) ||
         emit_fused(e);
}

}  // namespace mc::mlx_engine
