#include "mc/op_table.h"

#include <algorithm>

#include "core/op_names.h"
#include "prims/attrs.h"
#include "prims/op_def.h"
#include "runtime/registry.h"

namespace mc {
namespace {

// Inputs and attributes that the operation takes, its first input being of `dtype`.
struct Example {
  std::vector<Aval> in;
  Attrs attrs;
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
    for (size_t i = 0; i < c.shapes.size(); ++i)
      e.in.push_back({c.shapes[i], i < c.fixed.size() ? c.fixed[i].value_or(dtype) : dtype});
    e.attrs = c.attrs;
    if (d.op == Op::Astype || d.op == Op::Bitcast) {  // their cases name both dtypes
      e.in[0].dtype = dtype;
      e.attrs = AstypeAttrs{dtype};
    }
    return e;
  }
  for (int n = arity(d.samples.oracle); n > 0; --n) e.in.push_back({Shape::filled(2, 4), dtype});
  return e;
}

OpSupport support(Backend& backend, const OpDef& d, Dtype dtype) {
  const Example e = example_of(d, dtype);
  if (std::all_of(e.in.begin(), e.in.end(), [&](const Aval& a) { return backend.has_dtype(a.dtype); }) &&
      backend.supports(d.op, e.in, e.attrs).native)
    return OpSupport::Native;
  return d.decompose && backend.has_dtype(dtype) ? OpSupport::Decomposed : OpSupport::None;
}

const char* kind_name(OpKind kind) {
  return kind == OpKind::Core ? "core" : kind == OpKind::Fused ? "fused" : "host";
}

}  // namespace

std::vector<OpInfo> op_table() {
  std::vector<std::pair<std::string, Backend*>> engines;
  for (const EngineRow& row : engine_rows()) {
    if (row.hidden) continue;
    try {
      engines.emplace_back(row.name, &get_backend(row.name));
    } catch (const Error&) {
      engines.emplace_back(row.name, nullptr);
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
    for (const auto& [name, backend] : engines) {
      OpOnEngine on{name, {}};
      for (Dtype dtype : info.dtypes)
        on.support.push_back(backend ? support(*backend, d, dtype) : OpSupport::Unknown);
      info.engines.push_back(std::move(on));
    }
    out.push_back(std::move(info));
  }
  return out;
}

}  // namespace mc
