// Choosing tokens: filters against a list computed here, draws against the distribution.
#include "generate/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "mc/mc.h"

namespace mc {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
const std::vector<float> kProbabilities = {0.05f, 0.4f, 0.2f, 0.1f, 0.1f, 0.15f};

Array logits_of(const std::vector<float>& p, float shift = 0) {
  std::vector<float> l;
  for (float x : p) l.push_back(std::log(x) + shift);
  return Array(l, {static_cast<int64_t>(l.size())});
}

std::map<int32_t, int> draw(Sampling options, int n, const Array& logits) {
  Sampler s(options);
  std::map<int32_t, int> count;
  for (int i = 0; i < n; ++i) ++count[s.choose(logits)];
  return count;
}
std::set<int32_t> support(Sampling options) {
  options.temperature = 1;
  std::set<int32_t> out;
  for (const auto& [id, n] : draw(options, 3000, logits_of(kProbabilities))) out.insert(id);
  return out;
}

TEST(Sampler, GreedyTakesTheFirstOfEqualOnes) {
  Sampler s({});
  EXPECT_EQ(s.choose(Array({1.f, 3.f, 3.f}, {3})), 1);
  EXPECT_EQ(s.choose(logits_of(kProbabilities)), 1);
}

TEST(Sampler, FiltersInTheirOrder) {
  EXPECT_EQ(support({.top_k = 2}), (std::set<int32_t>{1, 2}));
  EXPECT_EQ(support({.top_k = 4}), (std::set<int32_t>{1, 2, 3, 5}));  // of equal ones the lower id
  EXPECT_EQ(support({.top_p = 0.39}), (std::set<int32_t>{1}));
  EXPECT_EQ(support({.top_p = 0.5}), (std::set<int32_t>{1, 2}));
  EXPECT_EQ(support({.top_p = 0.7}), (std::set<int32_t>{1, 2, 5}));
  EXPECT_EQ(support({.min_p = 0.3}), (std::set<int32_t>{1, 2, 5}));
  // Of four candidates (0.85 in all) the most probable up to 0.8 of it are three; of those min-p leaves two.
  EXPECT_EQ(support({.top_k = 4, .top_p = 0.8, .min_p = 0.4}), (std::set<int32_t>{1, 2}));
  // min-p looks last: what it drops counts in the mass that top-p keeps.
  EXPECT_EQ(support({.top_p = 0.55, .min_p = 0.45}), (std::set<int32_t>{1, 2}));
  EXPECT_EQ(support({}), (std::set<int32_t>{0, 1, 2, 3, 4, 5}));
}

TEST(Sampler, DrawsHaveTheDistribution) {
  // Chi-square with 5 degrees of freedom stays under 25.7 in 9,999 of 10,000 cases; the seeds are fixed.
  for (uint64_t seed : {0u, 1u, 2u, 1000u}) {
    const int n = 5000;
    const auto count = draw({.temperature = 1, .seed = seed}, n, logits_of(kProbabilities, 50));
    double chi = 0;
    for (size_t i = 0; i < kProbabilities.size(); ++i) {
      const double want = n * static_cast<double>(kProbabilities[i]);
      const auto it = count.find(static_cast<int32_t>(i));
      const double got = it == count.end() ? 0 : it->second;
      chi += (got - want) * (got - want) / want;
    }
    EXPECT_LT(chi, 25.7) << seed;
  }
  const auto sharp = draw({.temperature = 0.5}, 2000, logits_of(kProbabilities));
  EXPECT_NEAR(sharp.at(1) / 2000.0, 0.16 / 0.245, 0.05);  // squares: 0.16 of 0.245
}

TEST(Sampler, SeedsAreRepeatableAndIndependent) {
  auto run = [](uint64_t seed) {
    Sampler s({.temperature = 1, .seed = seed});
    std::vector<int32_t> ids;
    for (int i = 0; i < 64; ++i) ids.push_back(s.choose(logits_of(kProbabilities)));
    return ids;
  };
  EXPECT_EQ(run(5), run(5));
  std::set<std::vector<int32_t>> different, sorted;
  for (uint64_t seed = 0; seed < 16; ++seed) {
    std::vector<int32_t> ids = run(seed);
    different.insert(ids);
    std::sort(ids.begin(), ids.end());
    sorted.insert(ids);
  }
  EXPECT_EQ(different.size(), 16u);
  EXPECT_GT(sorted.size(), 8u);  // not one list of numbers in other orders
}

TEST(Sampler, AnyTemperatureEndsInAToken) {
  for (double t : {1e-300, 1e-38, 1e-9, 1e-3})
    EXPECT_EQ(draw({.temperature = t}, 20, logits_of(kProbabilities)).count(1), 1u) << t;
  EXPECT_EQ(draw({.temperature = 1e30}, 600, logits_of(kProbabilities)).size(), 6u);
  const Array masked({-kInf, 2.f, -kInf}, {3});
  EXPECT_EQ(draw({.temperature = 1}, 20, masked).size(), 1u);
}

TEST(Sampler, DamagedLogitsAreRefused) {
  for (double t : {0.0, 1.0}) {
    Sampler s({.temperature = t});
    EXPECT_THROW(s.choose(Array({1.f, std::nanf(""), 0.f}, {3})), Error);
    EXPECT_THROW(s.choose(Array({1.f, kInf, 0.f}, {3})), Error);
  }
}

TEST(Sampler, RepetitionPenaltyMakesSeenTokensLessProbable) {
  Sampler s({.repetition_penalty = 2});
  const Array logits({3.f, 2.f, -1.f}, {3});
  EXPECT_EQ(s.choose(logits), 0);
  s.see(0);
  EXPECT_EQ(s.choose(logits), 1);  // 1.5 against 2
}

TEST(Sampler, OptionsOutOfRangeAreRefused) {
  for (const Sampling& o : {Sampling{.temperature = -1}, Sampling{.temperature = NAN}, Sampling{.top_k = -1},
                            Sampling{.top_p = 0}, Sampling{.top_p = 1.5}, Sampling{.min_p = 2},
                            Sampling{.repetition_penalty = 0}})
    EXPECT_THROW(Sampler{o}, Error);
}

}  // namespace
}  // namespace mc
