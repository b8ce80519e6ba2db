// A traced function as one operation, whose gradient computes it again.
#include "mc/transforms.h"
#include "prims/attrs.h"
#include "prims/op_def.h"
#include "transforms/trace.h"

namespace mc {

Function checkpoint(const Function& f) {
  require_callable(f, "checkpoint");
  return [f](const Arrays& args) {
    Arrays placeholders;
    for (const Array& a : args) placeholders.push_back(make_placeholder(aval_of(a)));
    const Arrays outputs = f(placeholders);
    Capture c;
    {
      GraphLock lock;
      const Dependence dependence(outputs, placeholders);
      hoist(outputs, dependence);
      c = capture(outputs, placeholders, false, &dependence);
    }
    c.graph.compute_hash();
    // Arrays that f captured follow the arguments, those of transforms around it, too: they have gradients.
    Arrays in = args;
    in.insert(in.end(), c.inputs.begin() + static_cast<std::ptrdiff_t>(args.size()), c.inputs.end());
    return apply(Op::Checkpoint, in, CheckpointAttrs{std::make_shared<const Graph>(std::move(c.graph))});
  };
}

}  // namespace mc
