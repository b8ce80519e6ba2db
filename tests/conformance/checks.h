// What is checked of a case in this process. What needs an oracle (forward, decomposed) is only computed here
// and written down for check.py.
#pragma once

#include <string>

#include "cases.h"

namespace mc::conformance {

struct Context {
  Backend& backend;
  uint64_t seed = 0;
  bool exact = false;  // compiled, donated and batched results must have the same bits as eager ones
};

// The outputs of the operation, or of what it decomposes into, on the case's inputs.
Arrays forward(const Case& c, const Inputs& in);
Arrays decomposed(const Case& c, const Inputs& in);

// Each says what is wrong; an empty string is a pass. Only cases for which `applies` holds are asked.
struct Check {
  const char* mode;
  bool (*applies)(const Case& c);
  std::string (*run)(const Case& c, const Context& context);
};
std::span<const Check> checks();

}  // namespace mc::conformance
