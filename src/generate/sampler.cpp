#include "sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/fast.h"
#include "mc/ops.h"
#include "mc/random.h"

namespace mc {
namespace {

void require(bool ok, std::string_view option, std::string_view range, double got) {
  if (!ok)
    throw Error(ErrorCode::InvalidArgument, cat(option, " must be ", range, ", got ", got),
                std::string(option));
}

struct Candidate {
  float probability;
  int32_t id;
};
// More probable first, the lower id among equals.
bool before(const Candidate& a, const Candidate& b) {
  return a.probability != b.probability ? a.probability > b.probability : a.id < b.id;
}

// A bijection of 64 bits (the finisher of splitmix64).
uint64_t mixed(uint64_t z) {
  z += 0x9e3779b97f4a7c15ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

}  // namespace

Sampler::Sampler(const Sampling& o) : options_(o) {
  require(o.temperature >= 0 && std::isfinite(o.temperature), "temperature", "0 or more", o.temperature);
  require(o.top_k >= 0, "top-k", "0 or more", static_cast<double>(o.top_k));
  require(o.top_p > 0 && o.top_p <= 1, "top-p", "above 0 and at most 1", o.top_p);
  require(o.min_p >= 0 && o.min_p <= 1, "min-p", "from 0 to 1", o.min_p);
  require(o.repetition_penalty > 0 && std::isfinite(o.repetition_penalty), "repetition-penalty", "above 0",
          o.repetition_penalty);
}

int32_t Sampler::choose(const Array& logits) {
  Array l = logits;
  if (options_.repetition_penalty != 1 && !seen_.empty()) {
    std::vector<float> v = l.to_vector<float>();
    const float p = static_cast<float>(options_.repetition_penalty);
    for (int32_t id : seen_) {
      float& x = v[static_cast<size_t>(id)];
      x = x > 0 ? x / p : x * p;
    }
    l = Array(v, {static_cast<int64_t>(v.size())});
  }
  const Array largest = max(l);
  const double top = largest.item<double>();
  if (std::isnan(top) || top == std::numeric_limits<double>::infinity())
    throw Error(ErrorCode::NotFinite, "the model's logits hold a NaN or an infinity", "sample",
                "the weights may be damaged: check the file, for example by `mc score`");
  if (options_.temperature == 0) return argmax(l).item<int32_t>();

  // Probabilities by the library's own exp: the same bits wherever the logits are the same. Differences from
  // the largest do not overflow however low the temperature is. The largest is an operand, so that each
  // token's program is one and the same.
  const std::vector<float> p =
      softmax((l - largest) * (1.0 / std::max(options_.temperature, 1e-30))).to_vector<float>();
  std::vector<Candidate> c;
  for (size_t i = 0; i < p.size(); ++i)
    if (p[i] > 0) c.push_back({p[i], static_cast<int32_t>(i)});
  size_t keep = c.size();
  if (options_.top_k > 0) keep = std::min(keep, static_cast<size_t>(options_.top_k));
  if (keep < c.size())
    std::nth_element(c.begin(), c.begin() + static_cast<std::ptrdiff_t>(keep), c.end(), before);
  c.resize(keep);
  double total = 0;
  if (options_.top_p < 1) {
    std::sort(c.begin(), c.end(), before);
    for (const Candidate& x : c) total += x.probability;
    double mass = 0;
    size_t n = 0;
    while (n < c.size() && mass < options_.top_p * total) mass += c[n++].probability;
    c.resize(std::max<size_t>(n, 1));
  }
  const float floor = static_cast<float>(options_.min_p) * *std::max_element(p.begin(), p.end());
  std::erase_if(c, [&](const Candidate& x) { return x.probability < floor; });
  std::sort(c.begin(), c.end(), [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
  total = 0;
  for (const Candidate& x : c) total += x.probability;
  // A key of its own for each draw of each seed.
  const uint64_t k = mixed(mixed(options_.seed) + draws_++);
  const Array key =
      Array(std::vector<uint32_t>{static_cast<uint32_t>(k), static_cast<uint32_t>(k >> 32)}, {2});
  const double u = random::uniform(0, 1, {}, Dtype::F64, key).item<double>() * total;
  double sum = 0;
  for (const Candidate& x : c) {
    sum += x.probability;
    if (u < sum) return x.id;
  }
  return c.back().id;
}

}  // namespace mc
