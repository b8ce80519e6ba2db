// The options of generation that `infer` and `chat` share.
#pragma once

#include <vector>

#include "cli.h"
#include "mc/generate.h"

namespace mc::tool {
// max-tokens, temperature and its like, stop, chunk.
std::vector<Option> sampling_options();
// Edits and logprobs are not among them.
GenerateOptions sampling_from(const Args& args);
double per_second(double n, double seconds);
}  // namespace mc::tool
