// What a program would need, without running it.
#pragma once

#include <cstddef>
#include <vector>

#include "mc/transforms.h"

namespace mc {

// Bytes of one program beside its arguments.
struct ProgramPlan {
  size_t weights = 0;    // the engine's packed forms of constants
  size_t workspace = 0;  // live during a run only
  size_t outputs = 0;    // those that do not take over a donated argument's memory
  size_t steps = 0;      // calls of kernels
};
// Of compile(f, false, donate) called with `args`, of which only shapes and dtypes matter: they are not
// evaluated. The program is compiled and kept for the call that follows.
MC_API ProgramPlan plan(const Function& f, const Arrays& args, const std::vector<int>& donate = {});

}  // namespace mc
