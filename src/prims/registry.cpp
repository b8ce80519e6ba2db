#include <array>
#include <cstdlib>

#include "core/op_names.h"
#include "prims/rows.h"

namespace mc {
namespace {

struct NameRow {
  std::string_view name;
  OpKind kind;
};
constexpr NameRow kNames[] = {
#define MC_OP(name, text, kind) {text, OpKind::kind},
#include "prims/ops.def"
#undef MC_OP
};

using Table = std::array<const OpDef*, kOpCount>;

const Table& table() {
  static const Table t = [] {
    Table t{};
    for (Rows rows : {unary_rows(), binary_rows(), cast_rows(), creation_rows(), shape_rows(), slice_rows(),
                      reduce_rows(), index_rows(), sort_rows(), random_rows(), matmul_rows(), quant_rows(),
                      norm_rows(), attention_rows(), linalg_rows(), fft_rows(), control_rows()})
      for (const OpDef& d : rows) t[static_cast<size_t>(d.op)] = &d;
    for (int i = 0; i < kOpCount; ++i) {
      const OpDef* d = t[static_cast<size_t>(i)];
      if (!d || !d->infer || (kNames[i].kind == OpKind::Fused && !d->decompose))
        throw Error(ErrorCode::Internal,
                    cat("the row of '", kNames[i].name, "' in the table of primitives is not complete"));
    }
    return t;
  }();
  return t;
}

}  // namespace

const OpDef& op_def(Op op) { return *table()[static_cast<size_t>(op)]; }
OpKind op_kind(Op op) { return kNames[static_cast<size_t>(op)].kind; }

std::string_view op_name(Op op) {
  if (op == kLeaf) return "leaf";
  if (op == kPlaceholder) return "argument";
  return kNames[static_cast<size_t>(op)].name;
}

std::optional<Op> find_op(std::string_view name) {
  for (int i = 0; i < kOpCount; ++i)
    if (kNames[i].name == name) return static_cast<Op>(i);
  return std::nullopt;
}

}  // namespace mc
