#include "backends/numpy/kernels/pointwise.h"

#include <iterator>

#include "backends/numpy/kernels/tile_table.h"
#include "backends/numpy/simd/dispatch.h"

namespace mc::kernels {
namespace {

constexpr const char* kNames[] = {
    "copy",        "negative",    "abs",         "sign",         "sqrt",       "rsqrt",       "square",
    "reciprocal",  "exp",         "expm1",       "exp2",         "log",        "log1p",       "log2",
    "sin",         "cos",         "tan",         "arcsin",       "arccos",     "arctan",      "sinh",
    "cosh",        "tanh",        "erf",         "erfinv",       "sigmoid",    "silu",        "gelu",
    "gelu_tanh",   "floor",       "ceil",        "round",        "isnan",      "isinf",       "isfinite",
    "logical_not", "bitwise_not", "conj",        "real",         "imag",       "add",         "subtract",
    "multiply",    "divide",      "power",       "floor_divide", "remainder",  "maximum",     "minimum",
    "arctan2",     "equal",       "not_equal",   "less",         "less_equal", "greater",     "greater_equal",
    "logical_and", "logical_or",  "logical_xor", "bitwise_and",  "bitwise_or", "bitwise_xor", "left_shift",
    "right_shift", "complex",     "where"};
static_assert(std::size(kNames) == kPwOpCount);
constexpr int kInputs[] = {
#define MC_PW_INPUTS(name, inputs) inputs,
    MC_PW_OPS(MC_PW_INPUTS)
#undef MC_PW_INPUTS
};

#if defined(__x86_64__)
template <class T>
const T& pick(const T& scalar, const T& avx2, const T& avx512) {
  const simd::Isa isa = simd::active_isa();
  return isa == simd::Isa::Avx512 ? avx512 : isa == simd::Isa::Avx2 ? avx2 : scalar;
}
#define MC_PICK(name) pick(name##Scalar, name##Avx2, name##Avx512)
#define MC_PICK2(name) pick(name##Scalar, name##Avx2, name##Avx2)
#else
#define MC_PICK(name) name##Scalar
#define MC_PICK2(name) name##Scalar
#endif

int log2_size(Dtype d) {
  switch (itemsize(d)) {
    case 1: return 0;
    case 2: return 1;
    case 4: return 2;
    case 8: return 3;
    default: return 4;
  }
}

}  // namespace

int pw_inputs(PwOp op) { return kInputs[static_cast<int>(op)]; }
const char* pw_name(PwOp op) { return kNames[static_cast<int>(op)]; }

TileFn tile_fn(PwOp op, Dtype dtype) {
  const IntTiles& ints = MC_PICK2(kTileInt);
  if (op == PwOp::Where) return ints.where[log2_size(dtype)];
  if (op == PwOp::Copy) return ints.copy[log2_size(dtype)];
  const bool real = op == PwOp::Real || op == PwOp::Conj;
  switch (dtype) {
    case Dtype::F32: {
      if (real) return ints.copy[2];
      const TileFn f = MC_PICK(kTileF32)[op];
      return f ? f : kTileF32Any[op];
    }
    case Dtype::F64: {
      if (real) return ints.copy[3];
      const TileFn f = MC_PICK(kTileF64)[op];
      return f ? f : kTileF64Any[op];
    }
    case Dtype::F16: return real ? ints.copy[1] : kTileF16[op];
    case Dtype::BF16: return real ? ints.copy[1] : kTileBf16[op];
    case Dtype::C64: return MC_PICK(kTileComplex).c64[op];
    case Dtype::C128: return MC_PICK(kTileComplex).c128[op];
    default: return ints.row[static_cast<int>(dtype)][op];
  }
}

namespace {
// Of the operations that come in pairs; -1 for others.
int pair_index(PwOp op) {
  constexpr PwOp kOrder[] = {PwOp::Add, PwOp::Subtract, PwOp::Multiply, PwOp::Maximum, PwOp::Minimum};
  static_assert(std::size(kOrder) == kPairOps);
  for (int i = 0; i < kPairOps; ++i)
    if (kOrder[i] == op) return i;
  return -1;
}
const PairTiles& pair_tiles() { return MC_PICK(kPairTiles); }
const PairTiles& streamed_tiles() { return MC_PICK2(kPairTiles); }
}  // namespace

PairFn pair_fn(PwOp first, PwOp second, bool swapped, Reach reach, Dtype dtype) {
  const int a = pair_index(first), b = second == PwOp::Copy ? kPairOps : pair_index(second);
  if (dtype != Dtype::F32 || a < 0 || b < 0) return nullptr;
  const PairTiles& tiles = reach == Reach::Cache ? pair_tiles() : streamed_tiles();
  return (reach == Reach::Past ? tiles.streaming : tiles.fn)[a][b][swapped];
}

StreamFn stream_fn() { return streamed_tiles().stream; }

Dtype tile_result(PwOp op, Dtype dtype) {
  switch (op) {
    case PwOp::IsNan:
    case PwOp::IsInf:
    case PwOp::IsFinite:
    case PwOp::LogicalNot:
    case PwOp::Equal:
    case PwOp::NotEqual:
    case PwOp::Less:
    case PwOp::LessEqual:
    case PwOp::Greater:
    case PwOp::GreaterEqual:
    case PwOp::LogicalAnd:
    case PwOp::LogicalOr:
    case PwOp::LogicalXor: return Dtype::Bool;
    case PwOp::Abs:
    case PwOp::Real:
    case PwOp::Imag: return real_dtype(dtype);
    case PwOp::Complex: return dtype == Dtype::F64 ? Dtype::C128 : Dtype::C64;
    default: return dtype;
  }
}

}  // namespace mc::kernels
