// Transformations of functions of arrays.
#pragma once

#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "mc/array.h"

namespace mc {

using Function = std::function<Arrays(const Arrays&)>;

// Outputs of f at `primals` and vector-Jacobian products for `cotangents` (shapes of the outputs), one per
// primal. Primals that f does not use get zeros. Integer primals get zeros of float32.
MC_API std::pair<Arrays, Arrays> vjp(const Function& f, const Arrays& primals, const Arrays& cotangents);
// f's first output must be a scalar; derivative with respect to the arguments `argnums`. grad of grad works.
using GradFunction = std::function<Arrays(const Arrays&)>;
MC_API GradFunction grad(const Function& f, std::vector<int> argnums = {0});
MC_API std::function<std::pair<Arrays, Arrays>(const Arrays&)> value_and_grad(const Function& f,
                                                                              std::vector<int> argnums = {0});
// Maps f over axis in_axes[i] of each argument (kNoAxis: not mapped) and stacks outputs at out_axes. Numbers
// that f draws without a key are the same for all examples: give each example its key.
inline constexpr int kNoAxis = INT32_MIN;
MC_API Function vmap(const Function& f, std::vector<int> in_axes = {}, std::vector<int> out_axes = {});
// Traces f once for each set of shapes and dtypes, then runs the optimized program. Arrays that f captures
// become part of the program. shapeless: the second set of shapes calls f once more; if what f does turned
// out not to depend on the dimensions that differ, other values of them do not call f again. donate:
// arguments whose memory the outputs may take over; such an Array must not be used afterwards.
MC_API Function compile(const Function& f, bool shapeless = false, std::vector<int> donate = {});
// f whose intermediate values are not kept for the gradient but computed again.
MC_API Function checkpoint(const Function& f);

}  // namespace mc
