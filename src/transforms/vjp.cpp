// Reverse-mode differentiation on the graph of lazy nodes, by the rows' vjp rules.
#include <unordered_map>

#include "core/op_names.h"
#include "mc/ops.h"
#include "mc/transforms.h"
#include "prims/op_def.h"
#include "transforms/trace.h"
#include "transforms/walk.h"

namespace mc {
namespace {

// The identity, as a node of its own: where differentiation ends, and through which an outer one goes on.
Array make_tracer(const Array& a) {
  Array t = apply1(Op::Barrier, {a});
  t.node()->tracer = true;
  return t;
}

// Tracers of the differentiations that this thread is in the middle of: an inner one that is over must leave
// them alone.
thread_local std::vector<Node*> live_tracers;
class LiveTracers {
 public:
  explicit LiveTracers(const Arrays& tracers) : before_(live_tracers.size()) {
    for (const Array& t : tracers) live_tracers.push_back(t.node());
  }
  LiveTracers(const LiveTracers&) = delete;
  LiveTracers& operator=(const LiveTracers&) = delete;
  ~LiveTracers() { live_tracers.resize(before_); }

 private:
  size_t before_;
};

// Differentiation is over: nodes that depend on its tracers only are ordinary again, so that evaluation frees
// what is behind them (a training loop would else keep every step alive).
void settle(const Arrays& roots, const Arrays& tracers, const Arrays& primals) {
  std::unordered_map<Node*, bool> done;
  for (Node* t : live_tracers) done[t] = true;
  for (size_t i = 0; i < tracers.size(); ++i) {
    tracers[i].node()->tracer = primals[i].node()->tracer;
    done[tracers[i].node()] = true;
  }
  walk_graph(
      roots, [&](Node* n) { return n->tracer && n->inputs.size() > 0 && done.emplace(n, true).second; },
      [&](Node* n) {
        n->tracer = false;
        for (const Array& in : n->inputs) n->tracer = n->tracer || in.node()->tracer;
        if (!n->tracer && n->evaluated.load(std::memory_order_acquire)) n->inputs.clear();
      });
}

Arrays through_decompose(const VjpCtx& c) {
  const DecomposeFn decompose = op_def(c.op).decompose;
  const Attrs attrs = c.attrs;
  return vjp([&](const Arrays& in) { return decompose(in, attrs); }, Arrays(c.in.begin(), c.in.end()),
             Arrays(c.cot.begin(), c.cot.end()))
      .second;
}

Arrays pull_back(const VjpCtx& c) {
  const OpDef& def = op_def(c.op);
  if (def.vjp) return def.vjp(c);
  if (def.has(kNoGrad)) return Arrays(c.in.size());
  if (def.decompose) return through_decompose(c);
  throw Error(ErrorCode::NotDifferentiable, cat(op_name(c.op), " has no derivative"),
              std::string(op_name(c.op)));
}

}  // namespace

namespace {

// `beside`: values that f leaves there beside its outputs; ordinary arrays again when this returns.
std::pair<Arrays, Arrays> pull(const Function& f, const Arrays& primals, const Arrays& cotangents,
                               const Arrays* beside) {
  Arrays tracers;
  for (const Array& p : primals) tracers.push_back(make_tracer(p));
  const LiveTracers live_here(tracers);
  Arrays outputs = f(tracers);
  if (cotangents.size() != outputs.size())
    throw Error(ErrorCode::InvalidArgument,
                cat("the function has ", outputs.size(), " outputs, got ", cotangents.size(), " cotangents"),
                "vjp");
  for (size_t i = 0; i < outputs.size(); ++i)
    if (!(cotangents[i].shape() == outputs[i].shape()))
      throw Error(ErrorCode::ShapeMismatch,
                  cat("output ", i, " has shape ", outputs[i].shape().str(), ", its cotangent ",
                      cotangents[i].shape().str()),
                  "vjp");

  const Dependence live(outputs, tracers);
  std::unordered_map<Node*, Arrays> grads;
  auto add_grad = [&](const Array& to, const Array& g) {
    Arrays& list = grads[to.node()];
    if (list.empty()) list.resize(to.node()->outs.size());
    Array& sum = list[to.index()];
    sum = sum.defined() ? add(sum, g) : g;
  };
  for (size_t i = 0; i < outputs.size(); ++i)
    if (live.on_args(outputs[i].node()) && is_inexact(outputs[i].dtype()))
      add_grad(outputs[i], astype(cotangents[i], outputs[i].dtype()));

  for (size_t i = live.order.size(); i-- > 0;) {
    Node* n = live.order[i];
    auto found = grads.find(n);
    if (found == grads.end()) continue;
    Arrays cot = std::move(found->second);
    grads.erase(found);
    Arrays out;
    for (uint32_t k = 0; k < n->outs.size(); ++k) {
      out.push_back(share(n, k));
      if (!cot[k].defined())
        cot[k] = zeros(n->outs[k].shape, is_inexact(n->outs[k].dtype) ? n->outs[k].dtype : Dtype::F32);
    }
    std::unique_ptr<bool[]> needs(new bool[n->inputs.size()]);
    bool any = false;
    for (uint32_t k = 0; k < n->inputs.size(); ++k) {
      needs[k] = live.on_args(n->inputs[k].node()) && is_inexact(n->inputs[k].dtype());
      any = any || needs[k];
    }
    if (!any) continue;
    const VjpCtx ctx{n->op, n->inputs.span(), out, cot, n->attrs, {needs.get(), n->inputs.size()}};
    const Arrays in_grads = pull_back(ctx);
    for (uint32_t k = 0; k < n->inputs.size(); ++k)
      if (needs[k] && k < in_grads.size() && in_grads[k].defined()) add_grad(n->inputs[k], in_grads[k]);
  }

  Arrays result;
  for (size_t i = 0; i < primals.size(); ++i) {
    auto found = grads.find(tracers[i].node());
    if (found != grads.end() && found->second[0].defined())
      result.push_back(found->second[0]);
    else
      result.push_back(
          zeros(primals[i].shape(), is_inexact(primals[i].dtype()) ? primals[i].dtype() : Dtype::F32));
  }
  Arrays roots = outputs;
  roots.insert(roots.end(), result.begin(), result.end());
  if (beside) roots.insert(roots.end(), beside->begin(), beside->end());
  settle(roots, tracers, primals);
  return {std::move(outputs), std::move(result)};
}

}  // namespace

std::pair<Arrays, Arrays> vjp(const Function& f, const Arrays& primals, const Arrays& cotangents) {
  require_callable(f, "vjp");
  return pull(f, primals, cotangents, nullptr);
}

std::function<std::pair<Arrays, Arrays>(const Arrays&)> value_and_grad(const Function& f,
                                                                       std::vector<int> argnums) {
  require_callable(f, "grad");
  return [f, argnums = std::move(argnums)](const Arrays& args) {
    Arrays primals;
    for (int a : argnums) {
      if (a < 0 || a >= static_cast<int>(args.size()))
        throw Error(ErrorCode::IndexOutOfRange, cat("argnums names argument ", a, " of ", args.size()),
                    "grad");
      if (!is_inexact(args[static_cast<size_t>(a)].dtype()))
        throw Error(ErrorCode::DtypeMismatch,
                    cat("argument ", a, " has dtype ", dtype_name(args[static_cast<size_t>(a)].dtype()),
                        "; a gradient needs a floating one"),
                    "grad", "convert it with astype");
      primals.push_back(args[static_cast<size_t>(a)]);
    }
    Arrays rest;  // outputs beside the first carry values only
    auto first = [&](const Arrays& p) {
      Arrays all = args;
      for (size_t i = 0; i < p.size(); ++i) all[static_cast<size_t>(argnums[i])] = p[i];
      Arrays out = f(all);
      if (out.empty() || out[0].size() != 1 || !is_floating(out[0].dtype()))
        throw Error(ErrorCode::ShapeMismatch,
                    out.empty() ? std::string("the function returned nothing")
                                : cat("the function's first output must be one real number, got shape ",
                                      out[0].shape().str(), " of ", dtype_name(out[0].dtype())),
                    "grad", "reduce it with sum or mean");
      rest.assign(out.begin() + 1, out.end());
      for (const Array& a : rest) a.shape();  // throws for an empty Array
      return Arrays{reshape(out[0], {})};
    };
    const Aval one{{}, Dtype::F32};
    auto [value, grads] = pull(first, primals, {ones({}, one.dtype)}, &rest);
    Arrays values = std::move(value);
    values.insert(values.end(), rest.begin(), rest.end());
    return std::pair<Arrays, Arrays>(std::move(values), std::move(grads));
  };
}

GradFunction grad(const Function& f, std::vector<int> argnums) {
  return [both = value_and_grad(f, std::move(argnums))](const Arrays& args) { return both(args).second; };
}

}  // namespace mc
