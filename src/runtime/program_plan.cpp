// A function's program and what it needs, without running it.
#include "mc/detail/str.h"
#include "mc/plan.h"
#include "prims/op_def.h"
#include "prims/random_state.h"
#include "runtime/exec_cache.h"
#include "runtime/run.h"
#include "transforms/cse.h"
#include "transforms/trace.h"

namespace mc {

ProgramPlan plan(const Function& f, const Arrays& args, const std::vector<int>& donate) {
  Arrays placeholders;
  for (const Array& a : args) {
    a.shape();  // throws for an empty Array
    placeholders.push_back(make_placeholder(aval_of(a)));
  }
  for (int d : donate)
    if (d < 0 || d >= static_cast<int>(args.size()))
      throw Error(ErrorCode::IndexOutOfRange, cat("donate names argument ", d, " of ", args.size()), "plan");
  Arrays outputs;
  {
    RandomTrace random;
    outputs = f(placeholders);
    if (random.count()) placeholders.push_back(random.input());
  }
  GraphLock lock;
  const Dependence dependence(outputs, placeholders);
  if (dependence.foreign)
    throw Error(ErrorCode::InvalidArgument, "the function uses an argument of a transform around it", "plan",
                "plan the whole function");
  hoist(outputs, dependence);
  const Capture c = capture(outputs, placeholders, false);
  CompileOptions options;
  options.device =
      device_of(Arrays(c.inputs.begin() + static_cast<std::ptrdiff_t>(placeholders.size()), c.inputs.end()));
  if (!donate.empty()) options.donated.resize(c.inputs.size());
  for (int d : donate) options.donated[static_cast<size_t>(d)] = true;
  const PlanInfo info = executable_of(simplify(c.graph), options)->plan();
  return {info.constant_bytes, info.temp_bytes, info.output_bytes, info.steps};
}

}  // namespace mc
