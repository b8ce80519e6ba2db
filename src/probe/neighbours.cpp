#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <queue>
#include <random>
#include <unordered_map>

#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/interrupt.h"
#include "mc/measures.h"
#include "mc/ops.h"

namespace mc {
namespace {

constexpr int64_t kTile = 256;
constexpr int64_t kMore = 16;  // candidates beyond k that float64 looks at

struct Candidate {
  double distance;
  int32_t index;
  bool operator<(const Candidate& o) const {
    return distance < o.distance || (distance == o.distance && index < o.index);
  }
};

// Square of the distance in float64.
double exact(const float* a, const float* b, int64_t d) {
  double s[4] = {0, 0, 0, 0};
  int64_t i = 0;
  for (; i + 4 <= d; i += 4)
    for (int64_t j = 0; j < 4; ++j) {
      const double v = static_cast<double>(a[i + j]) - static_cast<double>(b[i + j]);
      s[j] += v * v;
    }
  for (; i < d; ++i) {
    const double v = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    s[0] += v * v;
  }
  return (s[0] + s[1]) + (s[2] + s[3]);
}

}  // namespace

Neighbours nearest_neighbours(const Array& given, int64_t k) {
  const int64_t n = given.shape(0), d = given.shape(1);
  if (k < 1 || k >= n)
    throw Error(ErrorCode::InvalidArgument, cat(k, " neighbours of ", n, " points"), "neighbours",
                n < 2 ? "give two samples or more" : cat("use 1 to ", n - 1));
  Neighbours out;
  out.n = n;
  out.k = k;
  out.index.resize(static_cast<size_t>(n * k));
  out.distance.resize(static_cast<size_t>(n * k));
  const std::vector<float> x = given.to_vector<float>();
  // A common shift changes no distance, and what float32 loses is relative to the norms.
  const Array wide = astype(given, Dtype::F64),
              centred = astype(wide - mean(wide, {0}, true), Dtype::F32).eval();
  const Array squares = sum(square(centred), {1}).eval();
  const std::vector<float> norm = squares.to_vector<float>();
  const float largest = *std::max_element(norm.begin(), norm.end());
  const Array columns = transpose(centred);
  const int64_t m = std::min(n - 1, k + kMore);
  const double unit = 4 * std::sqrt(static_cast<double>(d)) * 0x1p-23;
  std::vector<Candidate> near, all;
  for (int64_t at = 0; at < n; at += kTile) {
    check_interrupt();
    const int64_t end = std::min(at + kTile, n);
    // |y|² - 2xy: the square of the distance less |x|², which no order depends on.
    const std::vector<float> tile =
        (expand_dims(squares, {0}) - matmul(slice_axis(centred, 0, at, end), columns) * 2.0f)
            .to_vector<float>();
    for (int64_t i = at; i < end; ++i) {
      const float* row = tile.data() + (i - at) * n;
      near.clear();
      float worst = INFINITY;
      for (int64_t j = 0; j < n; ++j) {
        if (!(row[j] < worst) || j == i) continue;
        near.push_back({static_cast<double>(row[j]), static_cast<int32_t>(j)});
        std::push_heap(near.begin(), near.end());
        if (static_cast<int64_t>(near.size()) > m) {
          std::pop_heap(near.begin(), near.end());
          near.pop_back();
        }
        if (static_cast<int64_t>(near.size()) == m) worst = static_cast<float>(near.front().distance);
      }
      const double cut = static_cast<double>(worst) + static_cast<double>(norm[static_cast<size_t>(i)]);
      for (Candidate& c : near) c.distance = exact(x.data() + i * d, x.data() + c.index * d, d);
      std::sort(near.begin(), near.end());
      // Somebody whom float32 left out may be nearer than the k-th: then all are looked at.
      const double doubt = unit * static_cast<double>(norm[static_cast<size_t>(i)] + largest);
      const std::vector<Candidate>* from = &near;
      if (m < n - 1 && !(near[static_cast<size_t>(k - 1)].distance + doubt < cut)) {
        all.clear();
        for (int64_t j = 0; j < n; ++j)
          if (j != i) all.push_back({exact(x.data() + i * d, x.data() + j * d, d), static_cast<int32_t>(j)});
        std::partial_sort(all.begin(), all.begin() + k, all.end());
        from = &all;
      }
      for (int64_t j = 0; j < k; ++j) {
        const Candidate& c = (*from)[static_cast<size_t>(j)];
        out.index[static_cast<size_t>(i * k + j)] = c.index;
        out.distance[static_cast<size_t>(i * k + j)] = std::sqrt(c.distance);
      }
    }
  }
  return out;
}

namespace {

// The rows that are not the same, bit for bit, as an earlier one (-0 is 0).
Array distinct(const Array& x, int64_t& dropped) {
  const Array plain = (x + 0.0f).eval();
  const std::vector<float> v = plain.to_vector<float>();
  const size_t d = static_cast<size_t>(x.shape(1));
  std::unordered_map<std::string_view, int> seen;
  std::vector<int32_t> keep;
  for (int64_t i = 0; i < x.shape(0); ++i) {
    const std::string_view row(reinterpret_cast<const char*>(v.data() + static_cast<size_t>(i) * d), d * 4);
    if (seen.emplace(row, 0).second) keep.push_back(static_cast<int32_t>(i));
  }
  dropped = x.shape(0) - static_cast<int64_t>(keep.size());
  return dropped ? take(x, Array(keep, {static_cast<int64_t>(keep.size())}), 0).eval() : x;
}

Interval middle(std::vector<double>& v) {
  std::sort(v.begin(), v.end());
  const double last = static_cast<double>(v.size() - 1);
  return {v[static_cast<size_t>(std::lround(0.025 * last))],
          v[static_cast<size_t>(std::lround(0.975 * last))]};
}

// 1/mean of resampled values.
Interval bootstrap(const std::vector<double>& v, int64_t times, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<double> out;
  for (int64_t b = 0; b < times; ++b) {
    double s = 0;
    for (size_t i = 0; i < v.size(); ++i) s += v[random() % v.size()];
    out.push_back(static_cast<double>(v.size()) / s);
  }
  return middle(out);
}

}  // namespace

DimensionResult intrinsic_dimension(const SampleSet& set, size_t i, const DimensionOptions& o) {
  DimensionResult r;
  r.name = set.name(i);
  r.rows = set.rows();
  if (o.k < 3) throw Error(ErrorCode::InvalidArgument, cat("k must be at least 3, got ", o.k), "k");
  const Array x = distinct(set.load(i), r.duplicates);
  const int64_t n = x.shape(0);
  if (n < std::max<int64_t>(o.k + 1, 10))
    throw Error(
        ErrorCode::InvalidArgument,
        cat("dimension needs at least ", std::max<int64_t>(o.k + 1, 10), " different samples, got ", n),
        r.name, "capture more prompts, or use a smaller k");
  const Neighbours near = nearest_neighbours(x, std::max<int64_t>(o.k, 2));
  auto distance = [&](int64_t p, int64_t j) { return near.distance[static_cast<size_t>(p * near.k + j)]; };
  std::vector<double> logs;
  for (int64_t p = 0; p < n; ++p) logs.push_back(std::log(distance(p, 1) / distance(p, 0)));
  const double count = static_cast<double>(n);
  r.twonn_mle = count / std::accumulate(logs.begin(), logs.end(), 0.0);
  // -ln(1 - F) on ln μ through the origin, F = rank/N, without the largest tenth.
  std::vector<double> sorted = logs;
  std::sort(sorted.begin(), sorted.end());
  double xy = 0, xx = 0;
  for (int64_t p = 0; p < n * 9 / 10; ++p) {
    const double lx = sorted[static_cast<size_t>(p)], y = -std::log(1 - static_cast<double>(p + 1) / count);
    xy += lx * y;
    xx += lx * lx;
  }
  r.twonn_regression = xy / xx;
  // Inverse of each point's estimate: mean over j < k of ln(T_k/T_j).
  std::vector<double> inverse;
  for (int64_t p = 0; p < n; ++p) {
    double s = 0;
    for (int64_t j = 0; j + 1 < o.k; ++j) s += std::log(distance(p, o.k - 1) / distance(p, j));
    inverse.push_back(s / static_cast<double>(o.k - 1));
  }
  r.levina_bickel = count / std::accumulate(inverse.begin(), inverse.end(), 0.0);
  if (o.bootstrap > 0) {
    r.twonn_interval = bootstrap(logs, o.bootstrap, o.seed);
    r.levina_bickel_interval = bootstrap(inverse, o.bootstrap, o.seed + 1);
  }
  return r;
}

MutualResult mutual_neighbours(const SampleSet& a, const SampleSet* b, int64_t k) {
  if (b && b->rows() != a.rows())
    throw Error(ErrorCode::ShapeMismatch, cat("one side has ", a.rows(), " samples, the other ", b->rows()),
                "neighbours", "compare matrices over the same samples, in the same order");
  MutualResult r;
  r.rows = a.rows();
  r.k = k;
  r.chance = static_cast<double>(k) / static_cast<double>(r.rows - 1);
  // Each point's neighbours, sorted by index.
  auto lists = [&](const SampleSet& set, std::vector<std::string>& names) {
    std::vector<std::vector<int32_t>> out;
    for (size_t i = 0; i < set.size(); ++i) {
      names.push_back(set.name(i));
      Neighbours near = nearest_neighbours(set.load(i), k);
      for (int64_t p = 0; p < near.n; ++p)
        std::sort(near.index.begin() + p * k, near.index.begin() + (p + 1) * k);
      out.push_back(std::move(near.index));
    }
    return out;
  };
  const auto left = lists(a, r.left);
  if (!b) r.right = r.left;
  const auto right = b ? lists(*b, r.right) : left;
  for (const auto& l : left)
    for (const auto& m : right) {
      int64_t common = 0;
      for (int64_t p = 0; p < r.rows; ++p)
        for (size_t i = static_cast<size_t>(p * k), j = i, end = i + static_cast<size_t>(k);
             i < end && j < end;) {
          common += l[i] == m[j];
          const bool first = l[i] <= m[j], second = m[j] <= l[i];
          i += first;
          j += second;
        }
      r.values.push_back(static_cast<double>(common) / static_cast<double>(r.rows * k));
    }
  return r;
}

GeodesicResult geodesic(const SampleSet& set, size_t which, int64_t k, bool keep) {
  GeodesicResult r;
  r.name = set.name(which);
  r.rows = set.rows();
  r.k = k;
  const Array x = set.load(which);
  const int64_t n = r.rows, d = x.shape(1);
  const Neighbours near = nearest_neighbours(x, k);
  struct Edge {
    int32_t to;
    double length;
  };
  std::vector<std::vector<Edge>> graph(static_cast<size_t>(n));
  for (int64_t p = 0; p < n; ++p)
    for (int64_t j = 0; j < k; ++j) {
      const size_t at = static_cast<size_t>(p * k + j);
      const int32_t q = near.index[at];
      graph[static_cast<size_t>(p)].push_back({q, near.distance[at]});
      const auto begin = near.index.begin() + q * k;
      if (std::find(begin, begin + k, static_cast<int32_t>(p)) == begin + k)
        graph[static_cast<size_t>(q)].push_back({static_cast<int32_t>(p), near.distance[at]});
    }
  for (const auto& e : graph) r.edges += static_cast<int64_t>(e.size());
  r.edges /= 2;
  const std::vector<float> v = x.to_vector<float>();
  std::vector<double> reach(static_cast<size_t>(n));
  std::vector<bool> counted(static_cast<size_t>(n));
  double sum = 0;
  int64_t pairs = 0;
  using Item = std::pair<double, int32_t>;
  for (int64_t s = 0; s < n; ++s) {
    check_interrupt();
    std::fill(reach.begin(), reach.end(), INFINITY);
    std::priority_queue<Item, std::vector<Item>, std::greater<>> queue;
    reach[static_cast<size_t>(s)] = 0;
    queue.emplace(0.0, static_cast<int32_t>(s));
    int64_t found = 0;
    while (!queue.empty()) {
      const auto [length, p] = queue.top();
      queue.pop();
      if (length > reach[static_cast<size_t>(p)]) continue;
      ++found;
      for (const Edge& e : graph[static_cast<size_t>(p)])
        if (length + e.length < reach[static_cast<size_t>(e.to)]) {
          reach[static_cast<size_t>(e.to)] = length + e.length;
          queue.emplace(length + e.length, e.to);
        }
    }
    if (!counted[static_cast<size_t>(s)]) {
      ++r.components;
      r.largest = std::max(r.largest, found);
    }
    for (int64_t q = 0; q < n; ++q) {
      const double g = reach[static_cast<size_t>(q)];
      if (std::isinf(g)) continue;
      counted[static_cast<size_t>(q)] = true;
      r.diameter = std::max(r.diameter, g);
      if (q <= s) continue;
      const double straight = std::sqrt(exact(v.data() + s * d, v.data() + q * d, d));
      if (!(straight > 0)) continue;  // the same point twice has no ratio
      sum += g / straight;
      r.max_ratio = std::max(r.max_ratio, g / straight);
      ++pairs;
    }
    if (keep) r.distances.insert(r.distances.end(), reach.begin(), reach.end());
  }
  r.mean_ratio = pairs ? sum / static_cast<double>(pairs) : NAN;
  return r;
}

}  // namespace mc
