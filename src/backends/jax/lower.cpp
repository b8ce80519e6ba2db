#include "backends/jax/lower.h"

#include <array>

namespace mc::jax_engine {

const LowerRow* find_row(Op op) {
  static const auto table = [] {
    std::array<const LowerRow*, kOpCount> t{};
    for (const auto rows : {elementwise_rows(), shape_rows(), reduce_rows(), index_rows(), sort_rows(),
                            product_rows(), quant_rows(), random_rows(), fft_rows()})
      for (const LowerRow& r : rows) t[static_cast<size_t>(r.op)] = &r;
    return t;
  }();
  return table[static_cast<size_t>(op)];
}

}  // namespace mc::jax_engine
