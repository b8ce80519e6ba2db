// Batching on the graph of lazy nodes, by the rows' vmap rules.
#include <unordered_map>

#include "core/op_names.h"
#include "mc/ops.h"
#include "mc/transforms.h"
#include "prims/op_def.h"
#include "transforms/trace.h"
#include "transforms/walk.h"

namespace mc {
namespace {

struct Batched {
  Array value;
  bool has_batch = false;  // as axis 0
};

Arrays vmap_graph(const Arrays& outputs, const Arrays& placeholders, const Arrays& values, int64_t size);

// Inserts ones after the batch axis, so that broadcasting aligns the examples' dimensions.
Array align(const Array& a, int rank) {
  Shape s = a.shape();
  while (s.ndim() - 1 < rank) s.insert(1, 1);
  return reshape(a, s);
}

Arrays batch_node(Node* n, const std::vector<Batched>& in, int64_t size) {
  const OpDef& def = op_def(n->op);
  Arrays args;
  std::unique_ptr<bool[]> batched(new bool[in.size()]);
  for (size_t i = 0; i < in.size(); ++i) {
    args.push_back(in[i].value);
    batched[i] = in[i].has_batch;
  }
  if (def.vmap) return def.vmap({n->op, args, {batched.get(), in.size()}, size, n->attrs});
  if (def.has(kElementwise)) {
    int rank = 0;
    for (const Array& a : n->inputs) rank = std::max(rank, a.ndim());
    for (size_t i = 0; i < in.size(); ++i)
      if (batched[i]) args[i] = align(args[i], rank);
    return apply(n->op, args, n->attrs);
  }
  if (def.decompose) {
    Arrays inner;  // what the rule sees: placeholders for batched inputs
    Arrays placeholders, values;
    for (size_t i = 0; i < in.size(); ++i) {
      if (!batched[i]) {
        inner.push_back(args[i]);
        continue;
      }
      placeholders.push_back(make_placeholder(aval_of(n->inputs[i])));
      values.push_back(args[i]);
      inner.push_back(placeholders.back());
    }
    return vmap_graph(def.decompose(inner, n->attrs), placeholders, values, size);
  }
  throw Error(ErrorCode::UnsupportedOp, cat(op_name(n->op), " can't be batched"), "vmap",
              "write the function with a batch dimension");
}

// `outputs` with placeholders replaced by batched values; every result has the batch as axis 0.
Arrays vmap_graph(const Arrays& outputs, const Arrays& placeholders, const Arrays& values, int64_t size) {
  std::unordered_map<Node*, std::vector<Batched>> done;
  for (size_t i = 0; i < placeholders.size(); ++i) done[placeholders[i].node()] = {{values[i], true}};
  auto batched_of = [&](const Array& a) -> Batched {
    auto it = done.find(a.node());
    return it == done.end() ? Batched{a, false} : it->second[a.index()];
  };
  std::unordered_map<Node*, bool> seen;
  walk_graph(
      outputs, [&](Node* n) { return n->tracer && !done.count(n) && seen.emplace(n, true).second; },
      [&](Node* n) {
        std::vector<Batched> in;
        bool any = false;
        for (const Array& a : n->inputs) {
          in.push_back(batched_of(a));
          any = any || in.back().has_batch;
        }
        if (!any) return;
        std::vector<Batched> out;
        for (Array& a : batch_node(n, in, size)) out.push_back({std::move(a), true});
        done[n] = std::move(out);
      });
  Arrays result;
  for (const Array& o : outputs) {
    const Batched b = batched_of(o);
    if (b.has_batch) {
      result.push_back(b.value);
    } else {
      Shape s = o.shape();
      s.insert(0, size);
      result.push_back(broadcast_to(b.value, s));
    }
  }
  return result;
}

}  // namespace

Function vmap(const Function& f, std::vector<int> in_axes, std::vector<int> out_axes) {
  require_callable(f, "vmap");
  return [f, in_axes = std::move(in_axes), out_axes = std::move(out_axes)](const Arrays& args) {
    if (!in_axes.empty() && in_axes.size() != args.size())
      throw Error(ErrorCode::InvalidArgument,
                  cat("in_axes has ", in_axes.size(), " entries for ", args.size(), " arguments"), "vmap");
    int64_t size = -1;
    Arrays inner, placeholders, values;
    for (size_t i = 0; i < args.size(); ++i) {
      const int wanted = in_axes.empty() ? 0 : in_axes[i];
      if (wanted == kNoAxis) {
        inner.push_back(args[i]);
        continue;
      }
      const int axis = normalize_axis(wanted, args[i].ndim(), "vmap");
      if (size >= 0 && args[i].shape(axis) != size)
        throw Error(ErrorCode::ShapeMismatch,
                    cat("argument ", i, " has ", args[i].shape(axis),
                        " elements along its mapped axis, others have ", size),
                    "vmap");
      size = args[i].shape(axis);
      Shape s = args[i].shape();
      s.erase(axis);
      placeholders.push_back(make_placeholder({s, args[i].dtype()}));
      values.push_back(moveaxis(args[i], axis, 0));
      inner.push_back(placeholders.back());
    }
    if (size < 0)
      throw Error(ErrorCode::InvalidArgument, "no argument is mapped", "vmap",
                  "give at least one axis in in_axes");
    Arrays out = vmap_graph(f(inner), placeholders, values, size);
    if (!out_axes.empty() && out_axes.size() != out.size())
      throw Error(ErrorCode::InvalidArgument,
                  cat("out_axes has ", out_axes.size(), " entries for ", out.size(), " outputs"), "vmap");
    for (size_t i = 0; i < out.size(); ++i)
      if (!out_axes.empty() && out_axes[i] != 0)
        out[i] = moveaxis(out[i], 0, normalize_axis(out_axes[i], out[i].ndim(), "vmap"));
    return out;
  };
}

}  // namespace mc
