#include "mc/op_table.h"

#include <algorithm>

#include "core/op_names.h"
#include "mc/quantize.h"
#include "prims/attrs.h"
#include "prims/op_def.h"
#include "runtime/registry.h"

namespace mc {
namespace {

// Inputs and attributes that the operation takes, its first input being of `dtype`.
struct Example {
  std::vector<Aval> in;
  Attrs attrs;
  bool known = true;
};

// How many inputs an elementwise operation has, read off its oracle ("np.where(in0, in1, in2)").
int arity(const char* oracle) {
  int n = 1;
  for (const std::string_view name : {"in1", "in2"})
    if (oracle && std::string_view(oracle).find(name) != std::string_view::npos) ++n;
  return n;
}

Example example_of(const OpDef& d, Dtype dtype) {
  Example e;
  if (d.samples.cases) {
    const std::vector<SampleCase> cases = d.samples.cases();
    const SampleCase& c = cases.front();
    for (size_t i = 0; i < c.shapes.size(); ++i) {
      // float32 stands for the dtype that is swept; the others (indices, masks) are as they are.
      const bool fixed = i < c.fixed.size() && c.fixed[i] != Dtype::F32;
      e.in.push_back({c.shapes[i], fixed ? c.fixed[i] : dtype});
    }
    e.attrs = c.attrs;
    return e;
  }
  constexpr int kBits = 4, kGroup = 32;
  const Shape rows{4, 64};
  const auto packed = [&](Dtype scales) {
    e.in.push_back({Shape{4, 8}, Dtype::U32});
    e.in.push_back({Shape{4, 2}, scales});
    e.in.push_back({Shape{4, 2}, scales});
  };
  const QuantAttrs quant{static_cast<int>(QTensor::Kind::Affine), 0, kBits, kGroup, 4, 64, false};
  switch (d.op) {
    case Op::Full: e.attrs = FullAttrs{{2}, dtype, 0, 0, 0}; break;
    case Op::Arange: e.attrs = ArangeAttrs{2, dtype, 0, 1, 0, 1}; break;
    case Op::RandomBits:
      e.in = {{Shape{2}, Dtype::U32}};
      e.attrs = RandomBitsAttrs{{2}};
      break;
    case Op::Astype:
    case Op::Bitcast:
      e.in = {{rows, dtype}};
      e.attrs = AstypeAttrs{dtype};
      break;
    case Op::AffineQuantize:
      e.in = {{rows, dtype}};
      e.attrs = AffineAttrs{kBits, kGroup};
      break;
    case Op::AffineDequantize:
      packed(dtype);
      e.attrs = AffineAttrs{kBits, kGroup};
      break;
    case Op::QuantizedMatmul:
      e.in = {{Shape{3, 64}, dtype}};
      packed(Dtype::F32);
      e.attrs = quant;
      break;
    case Op::QuantizedTake:
      e.in = {{Shape{3}, Dtype::I32}};
      packed(dtype);
      e.attrs = quant;
      break;
    case Op::BlockDequantize:
      e.in = {{Shape{2, 34}, Dtype::U8}};
      e.attrs = BlockAttrs{static_cast<int>(BlockFormat::Q8_0), 2, 32};
      break;
    default:
      if (d.has(kElementwise) || d.samples.oracle)
        for (int n = arity(d.samples.oracle); n > 0; --n) e.in.push_back({Shape::filled(2, 4), dtype});
      else
        e.known = false;  // carries a program of its own (checkpoint): always expanded
  }
  if (d.op == Op::Where) e.in[0].dtype = Dtype::Bool;
  return e;
}

OpSupport support(Backend& backend, const OpDef& d, Dtype dtype) {
  const Example e = example_of(d, dtype);
  if (e.known &&
      std::all_of(e.in.begin(), e.in.end(), [&](const Aval& a) { return backend.has_dtype(a.dtype); }) &&
      backend.supports(d.op, e.in, e.attrs).native)
    return OpSupport::Native;
  return d.decompose && backend.has_dtype(dtype) ? OpSupport::Decomposed : OpSupport::None;
}

const char* kind_name(OpKind kind) {
  return kind == OpKind::Core ? "core" : kind == OpKind::Fused ? "fused" : "host";
}

}  // namespace

std::vector<OpInfo> op_table() {
  std::vector<Backend*> engines;
  for (const EngineRow& row : engine_rows()) {
    if (row.hidden) continue;
    try {
      engines.push_back(&get_backend(row.name));
    } catch (const Error&) {  // not here: `mc backends` says why
    }
  }
  std::vector<OpInfo> out;
  for (int i = 0; i < kOpCount; ++i) {
    const OpDef& d = op_def(static_cast<Op>(i));
    OpInfo info;
    info.name = op_name(d.op);
    info.kind = kind_name(op_kind(d.op));
    info.doc = d.doc;
    info.differentiable = !d.has(kNoGrad) && (d.vjp || d.decompose);
    for (int t = 0; t <= static_cast<int>(Dtype::C128); ++t)
      if (in_set(static_cast<Dtype>(t), d.samples.dtypes)) info.dtypes.push_back(static_cast<Dtype>(t));
    for (Backend* b : engines) {
      OpOnEngine on{std::string(b->name()), {}};
      for (Dtype dtype : info.dtypes) on.support.push_back(support(*b, d, dtype));
      info.engines.push_back(std::move(on));
    }
    out.push_back(std::move(info));
  }
  return out;
}

}  // namespace mc
