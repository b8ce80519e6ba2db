// Walking the lazy graph.
#pragma once

#include <utility>
#include <vector>

#include "core/node.h"

namespace mc {

// Over the nodes behind `roots`, depth first and without recursion: inputs before what uses them.
// enter(node) says whether to go on into a node; it is asked at every edge and must say no the second time.
// leave(node): its inputs have been left. Throws for an empty Array among the roots.
template <class Enter, class Leave>
void walk_graph(const Arrays& roots, Enter enter, Leave leave) {
  std::vector<std::pair<Node*, uint32_t>> stack;
  auto visit = [&](Node* n) {
    if (enter(n)) stack.push_back({n, 0});
  };
  for (const Array& r : roots) {
    r.shape();
    visit(r.node());
    while (!stack.empty()) {
      auto& [n, next] = stack.back();
      if (next < n->inputs.size()) {
        visit(n->inputs[next++].node());
        continue;
      }
      leave(n);
      stack.pop_back();
    }
  }
}

}  // namespace mc
