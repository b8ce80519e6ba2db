#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/measures.h"
#include "mc/ops.h"

namespace mc {
namespace {

// Centred, of unit Frobenius norm, float64.
Array shape_of(const SampleSet& set, size_t i) {
  const Array x = astype(set.load(i), Dtype::F64), c = x - mean(x, {0}, true);
  const double size = std::sqrt(sum(square(c)).item<double>());
  if (!(size > 0))
    throw Error(ErrorCode::InvalidArgument, cat(set.name(i), " does not vary: it has no shape"),
                "procrustes");
  return (c * (1 / size)).eval();
}

Interval wilson(int64_t hits, int64_t n) {
  const double z = 1.959963984540054, m = static_cast<double>(n), p = static_cast<double>(hits) / m;
  const double centre = p + z * z / (2 * m), half = z * std::sqrt(p * (1 - p) / m + z * z / (4 * m * m)),
               down = 1 + z * z / m;
  return {std::max(0.0, (centre - half) / down), std::min(1.0, (centre + half) / down)};
}

// Rows in a shuffled order, and how many of them train.
struct Split {
  std::vector<size_t> order;
  size_t train = 0;
};
Split split_of(int64_t n, double share, uint64_t seed) {
  Split s;
  s.order.resize(static_cast<size_t>(n));
  std::iota(s.order.begin(), s.order.end(), size_t{0});
  std::mt19937_64 random(seed);
  for (size_t i = s.order.size() - 1; i > 0; --i) std::swap(s.order[i], s.order[random() % (i + 1)]);
  const auto wanted = static_cast<size_t>(std::lround(share * static_cast<double>(n)));
  s.train = std::clamp<size_t>(wanted, 1, s.order.size() - 1);
  return s;
}

}  // namespace

ProcrustesResult procrustes(const SampleSet& a, size_t i, const SampleSet& b, size_t j) {
  if (a.rows() != b.rows())
    throw Error(ErrorCode::ShapeMismatch, cat(a.rows(), " samples here, ", b.rows(), " there"), "procrustes",
                "compare matrices over the same samples, in the same order");
  const Array product = matmul(transpose(shape_of(a, i)), shape_of(b, j));
  const double nuclear = sum(svdvals(product)).item<double>();
  return {a.name(i), b.name(j), std::sqrt(std::max(0.0, 2 - 2 * nuclear))};
}

DirectionResult mean_direction(const SampleSet& positive, size_t i, const SampleSet& negative, size_t j,
                               const DirectionOptions& o) {
  DirectionResult r;
  r.name = positive.name(i);
  r.width = positive.width(i);
  if (negative.width(j) != r.width)
    throw Error(ErrorCode::ShapeMismatch,
                cat("one class has ", r.width, " features, the other ", negative.width(j)), r.name);
  if (positive.rows() < 2 || negative.rows() < 2)
    throw Error(ErrorCode::InvalidArgument, "each class needs at least 2 samples: some train, some test",
                r.name);
  if (!(o.train > 0 && o.train < 1))
    throw Error(ErrorCode::InvalidArgument, cat("the share that trains is between 0 and 1, got ", o.train),
                "train");
  const std::vector<float> x[2] = {positive.load(i).to_vector<float>(), negative.load(j).to_vector<float>()};
  const Split parts[2] = {split_of(positive.rows(), o.train, o.seed),
                          split_of(negative.rows(), o.train, o.seed + 1)};
  const size_t d = static_cast<size_t>(r.width);
  std::vector<double> mean[2];
  for (int c = 0; c < 2; ++c) {
    mean[c].assign(d, 0);
    for (size_t k = 0; k < parts[c].train; ++k)
      for (size_t f = 0; f < d; ++f)
        mean[c][f] +=
            static_cast<double>(x[c][parts[c].order[k] * d + f]) / static_cast<double>(parts[c].train);
  }
  std::vector<double> u(d);
  for (size_t f = 0; f < d; ++f) {
    u[f] = mean[0][f] - mean[1][f];
    r.norm += u[f] * u[f];
  }
  r.norm = std::sqrt(r.norm);
  if (!(r.norm > 0))
    throw Error(ErrorCode::InvalidArgument, "both classes have the same mean: there is no direction", r.name);
  double at[2] = {0, 0};
  for (size_t f = 0; f < d; ++f) {
    u[f] /= r.norm;
    r.direction.push_back(static_cast<float>(u[f]));
    for (int c = 0; c < 2; ++c) at[c] += u[f] * mean[c][f];
  }
  r.threshold = (at[0] + at[1]) / 2;
  std::vector<double> held[2];
  for (int c = 0; c < 2; ++c)
    for (size_t k = parts[c].train; k < parts[c].order.size(); ++k) {
      double p = 0;
      for (size_t f = 0; f < d; ++f) p += u[f] * static_cast<double>(x[c][parts[c].order[k] * d + f]);
      held[c].push_back(p);
    }
  int64_t hits = 0;
  for (double p : held[0]) hits += p > r.threshold;
  for (double p : held[1]) hits += p < r.threshold;
  double above = 0;
  for (double p : held[0])
    for (double q : held[1]) above += p > q ? 1 : p == q ? 0.5 : 0;
  r.train_positive = static_cast<int64_t>(parts[0].train);
  r.train_negative = static_cast<int64_t>(parts[1].train);
  r.test_positive = static_cast<int64_t>(held[0].size());
  r.test_negative = static_cast<int64_t>(held[1].size());
  const int64_t n = r.test_positive + r.test_negative;
  r.accuracy = static_cast<double>(hits) / static_cast<double>(n);
  r.accuracy_interval = wilson(hits, n);
  r.auc = above / static_cast<double>(r.test_positive * r.test_negative);
  return r;
}

std::vector<std::vector<float>> shuffled_directions(const SampleSet& positive, size_t i,
                                                    const SampleSet& negative, size_t j, int64_t count,
                                                    uint64_t seed) {
  const size_t d = static_cast<size_t>(positive.width(i)), n = static_cast<size_t>(positive.rows()),
               m = n + static_cast<size_t>(negative.rows());
  if (negative.width(j) != positive.width(i))
    throw Error(ErrorCode::ShapeMismatch,
                cat("one class has ", positive.width(i), " features, the other ", negative.width(j)),
                positive.name(i));
  std::vector<float> x = positive.load(i).to_vector<float>(), rest = negative.load(j).to_vector<float>();
  x.insert(x.end(), rest.begin(), rest.end());
  std::vector<double> total(d);
  for (size_t r = 0; r < m; ++r)
    for (size_t f = 0; f < d; ++f) total[f] += static_cast<double>(x[r * d + f]);
  std::vector<size_t> order(m);
  std::iota(order.begin(), order.end(), size_t{0});
  std::mt19937_64 random(seed);
  std::vector<std::vector<float>> out;
  while (static_cast<int64_t>(out.size()) < count) {
    for (size_t k = m - 1; k > 0; --k) std::swap(order[k], order[random() % (k + 1)]);
    std::vector<double> u(d);
    for (size_t k = 0; k < n; ++k)
      for (size_t f = 0; f < d; ++f) u[f] += static_cast<double>(x[order[k] * d + f]);
    double norm = 0;
    for (size_t f = 0; f < d; ++f) {
      u[f] = u[f] / static_cast<double>(n) - (total[f] - u[f]) / static_cast<double>(m - n);
      norm += u[f] * u[f];
    }
    norm = std::sqrt(norm);
    if (!(norm > 0))
      throw Error(ErrorCode::InvalidArgument, "the samples do not differ: there are no directions",
                  positive.name(i));
    out.emplace_back();
    for (double v : u) out.back().push_back(static_cast<float>(v / norm));
  }
  return out;
}

}  // namespace mc
