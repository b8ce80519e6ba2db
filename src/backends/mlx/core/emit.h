// Operations as libmlx's own. Each function gives lazy arrays, or says that libmlx's operation is not the
// contract's: then the node is the host's.
#pragma once

#include "backends/mlx/core/common.h"

namespace mc::mlx_engine {

struct Emit {
  Op op;
  const Attrs& attrs;
  std::span<const Aval> in_avals, out_avals;
  std::vector<mx::array>& in;
  std::vector<mx::array>& out;
  mx::Stream s;
  bool gpu;
  std::span<const Value>
      sources;  // values of inputs that come from outside (else empty): packed forms are kept there

  Dtype dtype() const { return in_avals.empty() ? out_avals[0].dtype : in_avals[0].dtype; }
  const mx::array& x() const { return in[0]; }
  const mx::array& y() const { return in[1]; }
  bool give(mx::array a) const {
    out.push_back(std::move(a));
    return true;
  }
  template <class T>
  const T& as() const {
    return attrs.as<T>();
  }
  const Shape& shape(size_t i) const { return in_avals[i].shape; }
  // The integers of operand `i` where they lie on the host already: a window whose place is known is a view
  // or a write in place of libmlx's, not a chain of its operations.
  std::optional<std::vector<int64_t>> known(size_t i) const;
};

bool emit_elementwise(const Emit& e);
bool emit_shape(const Emit& e);
bool emit_reduce(const Emit& e);
bool emit_index(const Emit& e);
bool emit_product(const Emit& e);  // matmul and quantized products
bool emit_fused(const Emit& e);
bool emit(const Emit& e);

// Whether emit() has it, by dtypes and attributes alone.
bool fused_is_native(Op op, std::span<const Aval> in, const Attrs& attrs);

inline bool is_half(Dtype d) { return d == Dtype::F16 || d == Dtype::BF16; }
mx::array scalar_of(double value, mx::Dtype dtype);
// Sums over the last axis in blocks, so that the error does not grow with the length.
mx::array sum_last(mx::array x, bool product, const mx::Stream& s);

}  // namespace mc::mlx_engine
