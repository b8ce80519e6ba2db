// From lazy nodes to a flat graph.
#pragma once

#include <functional>
#include <unordered_map>
#include <vector>

#include "core/graph.h"

namespace mc {

struct Capture {
  Graph graph;
  std::vector<Array> inputs;   // the array behind each graph input, in order
  std::vector<Array> outputs;  // the array behind each graph output, in order
};

// The unevaluated part behind `outputs`. Evaluated nodes become inputs. `args`, if given, are placeholders
// that become the first inputs in their order, used or not; other placeholders are an error. With
// `keep_held`, nodes that someone else still holds become outputs too, so that nothing is computed twice. The
// caller holds graph_mutex().
// With `foreign`, a tracer of another transform becomes an input, too: one that does not depend on `args`.
struct Dependence;
Capture capture(const Arrays& outputs, const Arrays& args, bool keep_held,
                const Dependence* foreign = nullptr);
// The same into an empty Capture, whose vectors may have memory already.
void capture(Capture& into, const Arrays& outputs, const Arrays& args, bool keep_held,
             const Dependence* foreign = nullptr);

// Which nodes behind a traced function's outputs depend on its arguments (placeholders). The other tracers
// among them belong to transforms around it: a function may close over their arguments.
struct Dependence {
  Dependence(const Arrays& outputs, const Arrays& args);
  bool on_args(const Node* n) const {
    const auto it = known.find(n);
    return it != known.end() && it->second;
  }
  std::unordered_map<const Node*, bool> known;  // tracers only
  std::vector<Node*> order;  // those that depend on the arguments, inputs first; no argument itself
  bool foreign = false;      // one is met that does not depend on the arguments
};

// Throws InvalidArgument for a function that holds nothing; `where` is the transform's name.
void require_callable(const std::function<std::vector<Array>(const std::vector<Array>&)>& f,
                      const char* where);

// For handlers of fork.
void lock_graph();
void unlock_graph();

// Serializes captures and evaluation.
class GraphLock {
 public:
  GraphLock();
  ~GraphLock();
};

// Evaluates what a traced function computed from arrays that are not its arguments, so that it becomes an
// input of the program instead of work at every call. Constants that are made by an operation stay.
void hoist(const Arrays& outputs, const Dependence& dependence);

}  // namespace mc
