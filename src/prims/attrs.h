// The attribute structs of the primitives, one for each that has attributes.
#pragma once

#include <memory>
#include <vector>

#include "core/attrs.h"
#include "core/graph.h"

namespace mc {

struct AstypeAttrs {  // Astype, Bitcast
  Dtype dtype;
  MC_FIELDS(dtype);
};
// Full: one value for all elements. The bits of the value as the dtype's widest form: i for integers and
// bool, re/im else.
struct FullAttrs {
  Shape shape;
  Dtype dtype;
  double re, im;
  int64_t i;
  MC_FIELDS(shape, dtype, re, im, i);
};
struct ArangeAttrs {  // start + i·step for i < n, computed in float64 or int64 and rounded once
  int64_t n;
  Dtype dtype;
  double start, step;
  int64_t istart, istep;
  MC_FIELDS(n, dtype, start, step, istart, istep);
};
struct RandomBitsAttrs {  // input: key uint32 (…, 2); output uint32 key.shape[:-1] + shape
  Shape shape;
  MC_FIELDS(shape);
};
struct ShapeAttrs {  // Reshape, BroadcastTo
  Shape shape;
  MC_FIELDS(shape);
};
struct TransposeAttrs {
  Axes axes;
  MC_FIELDS(axes);
};
struct SliceAttrs {  // Slice, SliceUpdate: normalized, 0 <= start, positive step, stop exclusive
  Shape start, stop, step;
  MC_FIELDS(start, stop, step);
};
struct DynamicSliceAttrs {
  Shape sizes;
  MC_FIELDS(sizes);
};
struct DynamicUpdateAttrs {  // axis < 0: starts (ndim,), clamped; else starts (shape[0],) along axis, dropped
                             // if it does not fit
  int axis;
  MC_FIELDS(axis);
};
struct PadAttrs {  // inputs: a, scalar value
  Shape low, high;
  MC_FIELDS(low, high);
};
struct AxisAttrs {  // Concatenate, Sort, ArgSort, TakeAlongAxis, ScatterAddAxis, Softmax, LogSoftmax
  int axis;
  MC_FIELDS(axis);
};
struct FlipAttrs {
  Axes axes;
  MC_FIELDS(axes);
};
struct ReduceAttrs {  // Sum … All: sorted axes
  Axes axes;
  bool keepdims;
  MC_FIELDS(axes, keepdims);
};
struct ArgReduceAttrs {
  int axis;
  bool keepdims;
  MC_FIELDS(axis, keepdims);
};
struct ScanAttrs {
  int axis;
  bool reverse;
  MC_FIELDS(axis, reverse);
};
struct GatherAttrs {  // inputs: a, one index array for each axis, all of one shape (int32 or int64)
  Axes axes;
  Shape sizes;
  MC_FIELDS(axes, sizes);
};
struct ScatterAttrs {  // inputs: a, index arrays, updates; mode is a ScatterMode
  Axes axes;
  int mode;
  MC_FIELDS(axes, mode);
};
struct SearchAttrs {
  bool right;
  MC_FIELDS(right);
};
struct AffineAttrs {  // AffineQuantize (w) -> packed, scales, biases; AffineDequantize (packed, scales,
                      // biases) -> w
  int bits, group;
  MC_FIELDS(bits, group);
};
struct BlockAttrs {  // BlockDequantize (bytes) -> f32 (rows, cols); format is a BlockFormat
  int format;
  int64_t rows, cols;
  MC_FIELDS(format, rows, cols);
};
// QuantizedMatmul (x, parts…), QuantizedMatmulWhere (x, parts…, rows), QuantizedTake (ids, parts…). kind is a QTensor::Kind.
struct QuantAttrs {
  int kind, format, bits, group;
  int64_t rows, cols;
  bool fast;
  MC_FIELDS(kind, format, bits, group, rows, cols, fast);
};
struct NormAttrs {  // RmsNorm (x, [weight]), LayerNorm (x, [weight], [bias])
  double eps;
  bool has_weight, has_bias;
  MC_FIELDS(eps, has_weight, has_bias);
};
struct RopeAttrs {  // (x, positions int32 (T,) or (B, T), [inv_freq (dims/2,)])
  int dims;
  bool traditional;
  double base, scale;
  bool has_freqs;
  MC_FIELDS(dims, traditional, base, scale, has_freqs);
};
struct AttentionAttrs {  // (q, k, v, [mask], [q_start], [kv_len]) in this order, those that are there
  double scale;
  bool causal;
  int64_t window;
  double softcap;
  bool has_mask, has_start, has_len;
  MC_FIELDS(scale, causal, window, softcap, has_mask, has_start, has_len);
};
struct TriangularAttrs {
  bool upper;
  MC_FIELDS(upper);
};
// Fft: one transform along the last axis, of which n numbers are read or, where the transform gives real
// ones, made; sums without a factor.
struct FftAttrs {
  enum Kind : int { Forward, Inverse, Real, ToReal };
  int kind;
  int64_t n;
  MC_FIELDS(kind, n);
};
// Checkpoint: a traced function as an operation.
struct CheckpointAttrs {
  std::shared_ptr<const Graph> body;
  std::tuple<const Graph*> fields() const { return {body.get()}; }
  static constexpr std::string_view kNames = "body";
};
namespace attr {
inline bool same(const Graph* a, const Graph* b) { return a == b || a->same_as(*b); }
inline uint64_t hash(const Graph* g) { return g->hash; }
inline std::string text(const Graph* g) { return cat("graph of ", g->nodes.size(), " nodes"); }
}  // namespace attr

}  // namespace mc
