#pragma once

#include "backends/cuda/kernel.h"

namespace mc::cuda {

class JoinedProducts;

// Whether one kernel computes products of m vectors of this dtype with these weights (QuantAttrs).
bool joins_products(const std::vector<Attrs>& weights, Dtype dtype, int64_t m);
// Products of x, of any number of rows if they are joined with nothing.
void run_products(const Call& c, const JoinedProducts& p);

}  // namespace mc::cuda
