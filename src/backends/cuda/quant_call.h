#pragma once

#include "backends/cuda/kernel.h"

namespace mc::cuda {

class JoinedProducts;

// Whether one kernel computes products of a vector with these weights (QuantAttrs).
bool joins_products(const std::vector<Attrs>& weights);
// Products of x, of any number of rows if they are joined with nothing.
void run_products(const Call& c, const JoinedProducts& p);

}  // namespace mc::cuda
