// Choosing a token from logits, on the host.
#pragma once

#include <cstdint>
#include <set>
#include <vector>

#include "mc/generate.h"

namespace mc {

class Sampler {
 public:
  // Throws InvalidArgument for settings that make no sense.
  explicit Sampler(const Sampling& options);
  bool greedy() const { return options_.temperature == 0 && options_.repetition_penalty == 1; }
  // Tokens that the repetition penalty counts as seen.
  void see(int32_t id) { seen_.insert(id); }
  // logits (vocab,).
  int32_t choose(const Array& logits);

 private:
  Sampling options_;
  std::set<int32_t> seen_;
  uint64_t draws_ = 0;
};

}  // namespace mc
