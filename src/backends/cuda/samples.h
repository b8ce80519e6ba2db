// Sources that the generators make, a sample of each kind: tests compile them without a GPU.
#pragma once

#include <string>
#include <vector>

namespace mc::cuda {
std::vector<std::string> pointwise_samples();
std::vector<std::string> reduce_samples();
std::vector<std::string> index_samples();
inline std::vector<std::string> generated_samples() {
  std::vector<std::string> out = pointwise_samples();
  for (auto* more : {&reduce_samples, &index_samples})
    for (std::string& s : more()) out.push_back(std::move(s));
  return out;
}
}  // namespace mc::cuda
