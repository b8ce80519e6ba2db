#include "transforms/trace.h"

#include <mutex>

#include "mc/error.h"
#include "prims/op_def.h"
#include "transforms/walk.h"

namespace mc {
namespace {

std::recursive_mutex& graph_mutex() {
  static auto* m = new std::recursive_mutex;
  return *m;
}
uint64_t epoch = 0;  // under graph_mutex

struct Frame {
  Node* node;
  uint32_t next;
};

}  // namespace

void lock_graph() { graph_mutex().lock(); }
void unlock_graph() { graph_mutex().unlock(); }
GraphLock::GraphLock() { graph_mutex().lock(); }
GraphLock::~GraphLock() { graph_mutex().unlock(); }

Dependence::Dependence(const Arrays& outputs, const Arrays& args) {
  for (const Array& a : args) known[a.node()] = true;
  walk_graph(
      outputs, [&](Node* n) { return n->tracer && known.emplace(n, false).second; },
      [&](Node* n) {
        bool depends = false;
        for (const Array& in : n->inputs) depends = depends || on_args(in.node());
        if (depends) {
          known[n] = true;
          order.push_back(n);
        } else {
          foreign = true;
        }
      });
}

Capture capture(const Arrays& outputs, const Arrays& args, bool keep_held, const Dependence* foreign) {
  Capture c;
  capture(c, outputs, args, keep_held, foreign);
  return c;
}

void capture(Capture& c, const Arrays& outputs, const Arrays& args, bool keep_held,
             const Dependence* foreign) {
  const uint64_t now = ++epoch;
  // Inputs get ids at once; nodes after the walk, when the number of inputs is known.
  auto add_input = [&](Node* n, bool argument) {
    n->mark = now;
    n->id = static_cast<int32_t>(c.inputs.size());
    n->uses = 0;
    for (uint32_t i = 0; i < n->outs.size(); ++i) {
      const bool constant = !argument && n->values[i].buffer && n->values[i].buffer->constant;
      c.graph.add_input(n->outs[i], constant ? InputKind::Constant : InputKind::Value);
      c.inputs.push_back(share(n, i));
    }
  };
  for (const Array& a : args) add_input(a.node(), true);

  static thread_local std::vector<Frame> stack;
  static thread_local std::vector<Node*> order;
  stack.clear();
  order.clear();
  size_t operand_count = 0;
  auto visit = [&](Node* n) {
    if (n->mark == now) return;
    if (foreign && n->tracer && !foreign->on_args(n)) return add_input(n, false);
    if (n->evaluated.load(std::memory_order_acquire)) return add_input(n, false);
    if (n->op == kPlaceholder)
      throw Error(ErrorCode::InvalidArgument,
                  "an array being traced by compile, vmap or grad has no value yet", "eval",
                  "don't evaluate or read arrays inside a function that is transformed");
    n->mark = now;
    n->uses = 0;
    stack.push_back({n, 0});
  };
  for (const Array& out : outputs) {
    out.shape();  // throws for an empty Array
    visit(out.node());
    while (!stack.empty()) {
      Frame& f = stack.back();
      if (f.next < f.node->inputs.size()) {
        visit(f.node->inputs[f.next++].node());
        continue;
      }
      operand_count += f.node->inputs.size();
      order.push_back(f.node);
      stack.pop_back();
    }
  }

  Graph& g = c.graph;
  g.nodes.reserve(order.size());
  g.operands.reserve(operand_count);
  g.values.reserve(g.values.size() + order.size());
  static thread_local std::vector<ValueId> in;
  for (Node* n : order) {
    in.clear();
    for (const Array& a : n->inputs) {
      in.push_back(a.node()->id + static_cast<ValueId>(a.index()));
      ++a.node()->uses;
    }
    n->id = g.add_node(n->op, n->attrs, in, n->outs.span());
  }
  for (const Array& out : outputs) {
    g.outputs.push_back(out.node()->id + static_cast<ValueId>(out.index()));
    c.outputs.push_back(out);
    out.node()->uses |= 1 << 30;  // already an output
  }
  if (keep_held) {
    for (Node* n : order) {
      if ((n->uses & (1 << 30)) || static_cast<int64_t>(n->refs.load(std::memory_order_relaxed)) <= n->uses)
        continue;
      for (uint32_t i = 0; i < n->outs.size(); ++i) {
        g.outputs.push_back(n->id + static_cast<ValueId>(i));
        c.outputs.push_back(share(n, i));
      }
    }
  }
}

void hoist(const Arrays& outputs, const Dependence& dependence) {
  const uint64_t now = ++epoch;
  Arrays todo;
  std::vector<Node*> stack;
  auto visit = [&](const Array& a) {
    Node* n = a.node();
    if (n->mark == now || n->evaluated.load(std::memory_order_acquire)) return;
    n->mark = now;
    if (n->tracer) {
      if (dependence.on_args(n)) stack.push_back(n);
      return;
    }
    if (n->inputs.size() == 0) return;  // full, arange
    bool plain = true;                  // a view of such a constant
    for (const Array& in : n->inputs) plain = plain && in.node()->inputs.size() == 0 && !in.is_evaluated();
    if (!plain) todo.push_back(a);
  };
  for (const Array& o : outputs) visit(o);
  while (!stack.empty()) {
    Node* n = stack.back();
    stack.pop_back();
    for (const Array& in : n->inputs) visit(in);
  }
  if (!todo.empty()) eval(todo);
}

void require_callable(const std::function<Arrays(const Arrays&)>& f, const char* where) {
  if (!f) throw Error(ErrorCode::InvalidArgument, "the function is empty", where);
}

}  // namespace mc
