#include "base/debug.h"
#include "core/op_names.h"
#include "mc/ops.h"
#include "prims/op_def.h"
#include "prims/shape_check.h"

namespace mc {
namespace {

Node* make_node(Op op, std::span<const Array> in, Attrs attrs) {
  Node* node = new Node(op, std::move(attrs), in.size(), 0);
  if (debug_mode()) remember_origin(node);
  Array guard(node, 0);  // frees the node if infer throws
  for (size_t i = 0; i < in.size(); ++i) {
    in[i].shape();  // throws for an empty Array
    node->tracer |= in[i].node()->tracer;
    node->inputs[i] = in[i];
  }
  thread_local std::vector<Aval> out;
  out.clear();
  InferCtx ctx{op, node->inputs.span(), node->attrs, out};
  op_def(op).infer(ctx);
  for (const Aval& a : out) check_countable(ctx, a.shape);
  node->set_outputs(out);
  node->refs.fetch_add(1, std::memory_order_relaxed);
  return node;
}

void debug_eval(const Arrays& outs) {
  for (const Array& a : outs)
    if (a.node()->tracer) return;
  eval(outs);
}

}  // namespace

void InferCtx::fail(ErrorCode code, std::string message, std::string next) const {
  throw Error(code, std::move(message), std::string(op_name(op)), std::move(next));
}

Array apply1(Op op, std::span<const Array> in, Attrs attrs) {
  Array out(make_node(op, in, std::move(attrs)), 0);
  if (debug_mode()) debug_eval({out});
  return out;
}

Arrays apply(Op op, std::span<const Array> in, Attrs attrs) {
  Node* node = make_node(op, in, std::move(attrs));
  Arrays outs;
  outs.reserve(node->outs.size());
  for (uint32_t i = 0; i < node->outs.size(); ++i) outs.push_back(i == 0 ? Array(node, 0) : share(node, i));
  if (debug_mode()) debug_eval(outs);
  return outs;
}

Array VmapCtx::batch(size_t i) const {
  if (batched[i]) return in[i];
  Shape s = in[i].shape();
  s.insert(0, size);
  return broadcast_to(in[i], s);
}

Shape broadcast_shapes(const Shape& a, const Shape& b, std::string_view where) {
  const int n = std::max(a.ndim(), b.ndim());
  Shape out = Shape::filled(n, 1);
  for (int i = 1; i <= n; ++i) {
    const int64_t x = i <= a.ndim() ? a[a.ndim() - i] : 1, y = i <= b.ndim() ? b[b.ndim() - i] : 1;
    if (x != y && x != 1 && y != 1)
      throw Error(ErrorCode::ShapeMismatch,
                  cat("shapes ", a.str(), " and ", b.str(), " can't be broadcast together"),
                  std::string(where));
    out[n - i] = x == 1 ? y : x;
  }
  return out;
}

int normalize_axis(int64_t axis, int ndim, std::string_view where) {
  const int64_t a = axis < 0 ? axis + ndim : axis;
  if (a < 0 || a >= ndim)
    throw Error(ErrorCode::IndexOutOfRange,
                cat("axis ", axis, " is out of range for an array of ", ndim, " dimensions"),
                std::string(where));
  return static_cast<int>(a);
}

Axes normalize_axes(const Axes& axes, int ndim, std::string_view where) {
  bool seen[kMaxRank] = {};
  for (int64_t a : axes) {
    const int x = normalize_axis(a, ndim, where);
    if (seen[x])
      throw Error(ErrorCode::InvalidArgument, cat("axis ", a, " is given twice"), std::string(where));
    seen[x] = true;
  }
  Axes out;
  for (int i = 0; i < ndim; ++i)
    if (seen[i]) out.push_back(i);
  return out;
}

Array unbroadcast(const Array& g, const Shape& shape) {
  if (g.shape() == shape) return g;
  Axes axes;
  const int extra = g.ndim() - shape.ndim();
  for (int i = 0; i < g.ndim(); ++i)
    if (i < extra || (shape[i - extra] == 1 && g.shape()[i] != 1)) axes.push_back(i);
  return reshape(axes.empty() ? g : sum(g, axes), shape);
}

void require_dtype(const InferCtx& ctx, size_t input, uint32_t set) {
  if (in_set(ctx.dtype(input), set)) return;
  std::string names;
  for (int i = 0; i < kDtypeCount; ++i)
    if (in_set(static_cast<Dtype>(i), set))
      names += cat(names.empty() ? "" : ", ", dtype_name(static_cast<Dtype>(i)));
  ctx.fail(ErrorCode::DtypeMismatch,
           cat("input ", input, " has dtype ", dtype_name(ctx.dtype(input)), "; accepted: ", names));
}

void infer_elementwise(InferCtx& ctx) {
  const OpDef& def = op_def(ctx.op);
  Shape shape = ctx.shape(0);
  require_dtype(ctx, 0, def.samples.dtypes);
  for (size_t i = 1; i < ctx.in.size(); ++i) {
    if (ctx.dtype(i) != ctx.dtype(0))
      ctx.fail(ErrorCode::DtypeMismatch,
               cat("dtypes ", dtype_name(ctx.dtype(0)), " and ", dtype_name(ctx.dtype(i)), " differ"));
    if (!(ctx.shape(i) == shape)) shape = broadcast_shapes(shape, ctx.shape(i), op_name(ctx.op));
  }
  ctx.push(shape, def.has(kPredicate) ? Dtype::Bool : ctx.dtype(0));
}

}  // namespace mc
