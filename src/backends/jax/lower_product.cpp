// Products of matrices. Every one states its precision: float32 means float32.
#include "backends/jax/lower.h"
#include "mc/detail/str.h"

namespace mc::jax_engine {
namespace {

constexpr const char* kFull =
    ", precision_config = [#stablehlo<precision HIGHEST>, #stablehlo<precision HIGHEST>]";

std::string dims_text(int from, int to) {
  std::string out = "[";
  for (int d = from; d < to; ++d) out += cat(d > from ? ", " : "", d);
  return out + "]";
}

void lower_matmul(const Lower& l) {
  Hlo& h = l.h;
  const Dtype d = l.dtype();
  const Aval& out = l.out[0];
  Val a = l.x(), b = l.y();
  // The host's compiler multiplies 16-bit floats as float32 in any case; said here, the sum is float32, too.
  if (h.on_host()) {
    a = h.convert(a, wide(d));
    b = h.convert(b, wide(d));
  }
  const int rank = out.shape.ndim();
  Aval product{out.shape, wide(d)};
  std::string numbers;
  if (b.ndim() == 2 && a.ndim() >= 2) {
    numbers = cat("lhs_contracting_dimensions = [", a.ndim() - 1, "], rhs_contracting_dimensions = [0]");
  } else {
    Shape sa = out.shape, sb = out.shape;
    sa[rank - 2] = a.shape().at(-2);
    sa[rank - 1] = a.shape().at(-1);
    sb[rank - 2] = b.shape().at(-2);
    sb[rank - 1] = b.shape().at(-1);
    a = h.broadcast(a, sa);
    b = h.broadcast(b, sb);
    numbers = cat("lhs_batching_dimensions = ", dims_text(0, rank - 2),
                  ", rhs_batching_dimensions = ", dims_text(0, rank - 2), ", lhs_contracting_dimensions = [",
                  rank - 1, "], rhs_contracting_dimensions = [", rank - 2, "]");
  }
  const Val y = h.op("stablehlo.dot_general", {a, b}, product,
                     cat("dot_dimension_numbers = #stablehlo.dot<", numbers, ">", kFull));
  l.give(cast(h, y, d));
}

constexpr LowerRow kRows[] = {{Op::Matmul, lower_matmul}};

}  // namespace

std::span<const LowerRow> product_rows() { return kRows; }

}  // namespace mc::jax_engine
