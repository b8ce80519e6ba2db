// Operations as StableHLO, a file for each family.
#pragma once

#include <span>
#include <vector>

#include "backends/jax/hlo.h"
#include "prims/attrs.h"
#include "prims/op_def.h"

namespace mc::jax_engine {

struct Lower {
  Hlo& h;
  Op op;
  const Attrs& attrs;
  std::span<const Val> in;
  std::span<const Aval> out;
  std::vector<Val>& results;

  const Val& x() const { return in[0]; }
  const Val& y() const { return in[1]; }
  Dtype dtype() const { return in.empty() ? out[0].dtype : in[0].dtype(); }
  template <class T>
  const T& as() const {
    return attrs.as<T>();
  }
  void give(Val v) const { results.push_back(std::move(v)); }
};

struct LowerRow {
  Op op;
  void (*lower)(const Lower&);
  bool (*when)(std::span<const Aval> in, const Attrs& attrs) = nullptr;
};
std::span<const LowerRow> elementwise_rows();
std::span<const LowerRow> shape_rows();
std::span<const LowerRow> reduce_rows();
std::span<const LowerRow> index_rows();
std::span<const LowerRow> sort_rows();
std::span<const LowerRow> product_rows();
std::span<const LowerRow> quant_rows();
std::span<const LowerRow> random_rows();
std::span<const LowerRow> fft_rows();
// The row of an operation; null where there is none.
const LowerRow* find_row(Op op);

// --- shared by families

inline bool is_half(Dtype d) { return d == Dtype::F16 || d == Dtype::BF16; }
// float32 for 16-bit floats, else the dtype itself.
inline Dtype wide(Dtype d) { return is_half(d) ? Dtype::F32 : d; }
// The contract's conversion: float to integer truncates and saturates, everything else is rounded once.
Val cast(Hlo& h, const Val& a, Dtype to);
// What a read outside gives, as a scalar: NaN, the lowest integer, false.
Val fill_value(Hlo& h, Dtype d);
// Sums over axes of floats in blocks, so that the error does not grow with the length.
Val sum(Hlo& h, const Val& a, const Axes& axes);
// Any integers as int32 or int64 that may be compared and added: uint64 above 2^63 - 1 becomes that.
Val as_index(Hlo& h, const Val& a);
// A weight's bytes decoded to float32 (rows, cols).
Val decode_blocks(Hlo& h, const Val& bytes, int format, int64_t rows, int64_t cols);
// Packed groups as scale·q + bias in float32.
Val decode_affine(Hlo& h, const Val& packed, const Val& scales, const Val& biases, int bits, int group);
// less(a, b) with NaN as the largest, for bodies of sorts and for searches; operands of one shape.
Val less_nan_last(Hlo& h, const Val& a, const Val& b);

}  // namespace mc::jax_engine
