// The row of a primitive: everything that is known of it outside the engines, side by side. Family files
// under src/prims hold arrays of rows; registry.cpp puts them into one table indexed by Op.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "mc/array.h"
#include "mc/error.h"
#include "prims/op.h"

namespace mc {

// --- infer: the only place where shapes, dtypes and the user's errors are decided

struct InferCtx {
  Op op;
  std::span<const Array> in;
  const Attrs& attrs;
  std::vector<Aval>& out;  // empty on entry

  const Aval& aval(size_t i) const { return aval_of(in[i]); }
  const Shape& shape(size_t i) const { return aval(i).shape; }
  Dtype dtype(size_t i) const { return aval(i).dtype; }
  void push(Shape shape, Dtype dtype) { out.push_back({std::move(shape), dtype}); }
  template <class T>
  const T& as() const {
    return attrs.as<T>();
  }
  [[noreturn]] void fail(ErrorCode code, std::string message, std::string next = {}) const;
};
using InferFn = void (*)(InferCtx&);

// --- vjp: written with public operations, so that it can be differentiated, batched and compiled

struct VjpCtx {
  Op op;
  std::span<const Array> in;   // primal inputs
  std::span<const Array> out;  // primal outputs
  std::span<const Array> cot;  // one per output, of its shape; zeros where nothing flows
  const Attrs& attrs;
  std::span<const bool> needs;  // which inputs' gradients are used
  template <class T>
  const T& as() const {
    return attrs.as<T>();
  }
};
// One array per input; an undefined Array where the gradient is zero or not needed.
using VjpFn = Arrays (*)(const VjpCtx&);

// --- vmap

struct VmapCtx {
  Op op;
  std::span<const Array> in;      // batched inputs have the batch as axis 0
  std::span<const bool> batched;  // at least one is true
  int64_t size;                   // of the batch
  const Attrs& attrs;
  template <class T>
  const T& as() const {
    return attrs.as<T>();
  }
  // in[i] with a batch axis in front, broadcast if it has none.
  Array batch(size_t i) const;
};
// All outputs, each with the batch as axis 0.
using VmapFn = Arrays (*)(const VmapCtx&);

// --- decompose: a Fused primitive in Core ones; must give the same value up to rounding

using DecomposeFn = Arrays (*)(std::span<const Array> in, const Attrs& attrs);

// --- samples: what tests draw, and the oracle they compare with

enum DtypeSet : uint32_t {
  kDBool = 1u << 0,
  kDUnsigned = 0xfu << 1,
  kDSigned = 0xfu << 5,
  kDInts = kDUnsigned | kDSigned,
  kDHalf = 3u << 9,
  kDF32 = 1u << 11,
  kDF64 = 1u << 12,
  kDFloats = kDHalf | kDF32 | kDF64,
  kDComplex = 3u << 13,
  kDReal = kDInts | kDFloats,
  kDNumber = kDReal | kDComplex,
  kDAll = kDBool | kDNumber,
};
inline bool in_set(Dtype d, uint32_t set) { return (set >> static_cast<int>(d)) & 1u; }

// How a case's values are drawn: the first input's, or those of its uint8 inputs (blocks).
enum class Draw : uint8_t {
  Uniform,           // from [lo, hi)
  Sorted,            // ascending along the last axis
  Symmetric,         // matrices that equal their transpose
  PositiveDefinite,  // a·aᵀ + n·1
  Blocks,            // bytes of quantized blocks without infinite scales
  SmallBlocks,       // the same with scales below 2
};

// A case's dtype that is swept over Samples::dtypes.
inline constexpr std::nullopt_t kSwept = std::nullopt;

// One structured case: shapes of the inputs, attributes and a NumPy expression over in0, in1, … (float64
// inputs; integers and bool as they are).
struct SampleCase {
  std::vector<Shape> shapes;
  Attrs attrs;
  std::string oracle;
  std::vector<std::optional<Dtype>> fixed = {};  // dtype of each input, kSwept where swept; empty: all swept
  double int_hi = 4;                             // fixed integer inputs are drawn from [int_lo, int_hi)
  double int_lo = 0;
  Draw draw = Draw::Uniform;
};
struct Samples {
  double lo = -3, hi = 3;        // values are drawn from [lo, hi)
  uint32_t dtypes = kDFloats;    // swept over the inputs
  double c = 4;                  // error <= c·eps·g(n)·(the same expression on absolute values)
  const char* oracle = nullptr;  // NumPy expression over in0, in1, in2 for elementwise operations
  std::vector<SampleCase> (*cases)() = nullptr;  // for structured operations
  bool smooth = true;                            // finite differences make sense in [lo, hi)
  uint32_t no_grad = 0;                          // dtypes whose gradient is refused
};

// --- lowering to StableHLO

class HloBuilder;
using HloFn = void (*)(HloBuilder&, const struct GraphNode&);

enum Trait : uint32_t {
  kElementwise = 1u << 0,  // broadcasts; output i depends on input i only
  kCommutative = 1u << 1,
  kView = 1u << 2,  // moves no data on an engine with strides
  kRandom = 1u << 3,
  kNoGrad = 1u << 4,     // piecewise constant or integer: the gradient is zero
  kPredicate = 1u << 5,  // gives bool
};

struct OpDef {
  Op op;
  std::string_view doc;
  uint32_t traits = 0;
  InferFn infer = nullptr;
  VjpFn vjp = nullptr;              // null: kNoGrad, or through decompose
  VmapFn vmap = nullptr;            // null: elementwise default, or through decompose
  DecomposeFn decompose = nullptr;  // Fused only, and there required
  const char* hlo = nullptr;        // "stablehlo.exponential" for one-to-one operations
  HloFn hlo_fn = nullptr;
  Samples samples = {};
  bool has(Trait t) const { return (traits & t) != 0; }
};

// The table. Every Op has a row (checked at first use, and by a test).
MC_ENGINE_API const OpDef& op_def(Op op);
MC_ENGINE_API OpKind op_kind(Op op);
MC_ENGINE_API std::optional<Op> find_op(std::string_view name);

// Makes a node: infers and returns its outputs. apply1 for operations of one output.
MC_ENGINE_API Arrays apply(Op op, std::span<const Array> in, Attrs attrs = {});
MC_ENGINE_API Array apply1(Op op, std::span<const Array> in, Attrs attrs = {});
inline Array apply1(Op op, std::initializer_list<Array> in, Attrs attrs = {}) {
  return apply1(op, std::span<const Array>(in.begin(), in.size()), std::move(attrs));
}
inline Arrays apply(Op op, std::initializer_list<Array> in, Attrs attrs = {}) {
  return apply(op, std::span<const Array>(in.begin(), in.size()), std::move(attrs));
}

// --- helpers for rows

// NumPy's broadcasting; throws ShapeMismatch naming both.
Shape broadcast_shapes(const Shape& a, const Shape& b, std::string_view where);
// An axis of an n-dimensional array counted from 0; throws IndexOutOfRange.
int normalize_axis(int64_t axis, int ndim, std::string_view where);
// Sorted, unique, non-negative.
Axes normalize_axes(const Axes& axes, int ndim, std::string_view where);
// Sums `g` over the dimensions that broadcasting added, so that it has `shape`: the vjp of broadcasting.
Array unbroadcast(const Array& g, const Shape& shape);
// infer of elementwise rows: equal dtypes in (checked), broadcast shape, same dtype out (bool for
// kPredicate).
void infer_elementwise(InferCtx& ctx);
// Thrown out of infer for dtypes outside `set`.
void require_dtype(const InferCtx& ctx, size_t input, uint32_t set);

}  // namespace mc
