#include <algorithm>
#include <cmath>

#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/measures.h"
#include "mc/ops.h"

namespace mc {
namespace {

constexpr int kGroups = 10;

// Eigenvalues of the covariance of x (n, d), descending. By the smaller of the two products that share them.
std::vector<double> eigenvalues(const Array& x) {
  const int64_t n = x.shape(0), d = x.shape(1);
  Array c = x - mean(x, {0}, true);
  c = (d <= n ? matmul(transpose(c), c) : matmul(c, transpose(c))) * (1.0 / static_cast<double>(n - 1));
  std::vector<double> v = eigh(c).first.to_vector<double>();
  std::reverse(v.begin(), v.end());
  for (double& e : v) e = std::max(e, 0.0);
  return v;
}

double entropy_of(const std::vector<double>& shares) {
  double total = 0, h = 0;
  for (double s : shares) total += s;
  for (double s : shares)
    if (s > 0) h -= s / total * std::log(s / total);
  return h;
}

double effective_rank_of(const std::vector<double>& eigen) {
  std::vector<double> singular;
  for (double e : eigen) singular.push_back(std::sqrt(e));
  return std::exp(entropy_of(singular));
}

double participation_of(const std::vector<double>& eigen) {
  double sum = 0, squares = 0;
  for (double e : eigen) {
    sum += e;
    squares += e * e;
  }
  return sum * sum / squares;
}

// Of estimates without each group: Efron & Stein 1981. t of 9 degrees of freedom.
Interval jackknife(double whole, const std::vector<double>& without) {
  const double g = static_cast<double>(without.size());
  double mean = 0, spread = 0;
  for (double v : without) mean += v / g;
  for (double v : without) spread += (v - mean) * (v - mean);
  const double half = 2.262 * std::sqrt(spread * (g - 1) / g);
  return {whole - half, whole + half};
}

void fit(SpectrumResult& r) {
  // From the 11th eigenvalue, where there are as many, to the 500th, and to half of the rank: the last ones
  // are the sample's, not the population's.
  r.fit_first = r.rank >= 40 ? 11 : 1;
  r.fit_last = std::min<int64_t>(500, r.rank / 2);
  const int64_t n = r.fit_last - r.fit_first + 1;
  if (n < 3) {
    r.fit_first = r.fit_last = 0;
    r.power_law = r.power_law_error = r.power_law_r2 = NAN;
    return;
  }
  double mx = 0, my = 0;
  for (int64_t i = r.fit_first; i <= r.fit_last; ++i) {
    mx += std::log(static_cast<double>(i)) / static_cast<double>(n);
    my += std::log(r.eigenvalues[static_cast<size_t>(i - 1)]) / static_cast<double>(n);
  }
  double xx = 0, xy = 0, yy = 0;
  for (int64_t i = r.fit_first; i <= r.fit_last; ++i) {
    const double x = std::log(static_cast<double>(i)) - mx,
                 y = std::log(r.eigenvalues[static_cast<size_t>(i - 1)]) - my;
    xx += x * x;
    xy += x * y;
    yy += y * y;
  }
  const double slope = xy / xx, rest = std::max(0.0, yy - slope * xy);
  r.power_law = -slope;
  r.power_law_error = std::sqrt(rest / static_cast<double>(n - 2) / xx);
  r.power_law_r2 = yy > 0 ? 1 - rest / yy : 1;
}

}  // namespace

SpectrumResult spectrum(const SampleSet& set, size_t i, bool intervals) {
  SpectrumResult r;
  r.name = set.name(i);
  r.rows = set.rows();
  r.width = set.width(i);
  if (r.rows < 3)
    throw Error(ErrorCode::InvalidArgument, cat("a spectrum needs at least 3 samples, got ", r.rows), r.name);
  const Array x = astype(set.load(i), Dtype::F64).eval();
  r.eigenvalues = eigenvalues(x);
  const double largest = std::sqrt(r.eigenvalues[0]);
  const double cut = static_cast<double>(std::max(r.rows, r.width)) * 0x1p-23 * largest;
  for (double e : r.eigenvalues) r.rank += std::sqrt(e) > cut && e > 0;
  if (r.rank == 0) {  // one point, many times
    r.power_law = r.power_law_error = r.power_law_r2 = NAN;
    return r;
  }
  r.effective_rank = effective_rank_of(r.eigenvalues);
  r.participation_ratio = participation_of(r.eigenvalues);
  double total = 0;
  for (double e : r.eigenvalues) total += e;
  r.stable_rank = total / r.eigenvalues[0];
  r.spectral_entropy = entropy_of(r.eigenvalues);
  fit(r);
  if (intervals && r.rows >= 3 * kGroups) {
    std::vector<double> ranks, ratios;
    for (int g = 0; g < kGroups; ++g) {
      std::vector<int32_t> keep;
      for (int64_t row = 0; row < r.rows; ++row)
        if (row % kGroups != g) keep.push_back(static_cast<int32_t>(row));
      const std::vector<double> e = eigenvalues(take(x, Array(keep, {static_cast<int64_t>(keep.size())}), 0));
      ranks.push_back(effective_rank_of(e));
      ratios.push_back(participation_of(e));
    }
    r.effective_rank_interval = jackknife(r.effective_rank, ranks);
    r.participation_ratio_interval = jackknife(r.participation_ratio, ratios);
  }
  return r;
}

}  // namespace mc
