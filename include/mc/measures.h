// Measures of representations: matrices of samples × features, from captures or files. docs/probing.md says
// what each means, and when it misleads.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "mc/array.h"
#include "mc/samples.h"

namespace mc {

struct Interval {
  double low = 0, high = 0;
};

// ---- centred kernel alignment ----

struct CkaOptions {
  bool debiased =
      true;  // HSIC by the U-statistic (Song et al. 2012); else the biased one (Kornblith et al. 2019)
  bool rbf = false;  // exp(-d²/(2σ²)), σ the median distance (of at most 1,000 samples) times `bandwidth`
  double bandwidth = 1;
  // Rows of the second matrix shuffled so many times, over at most `null_rows` samples: what unrelated
  // representations would give. Within one set each unordered pair is shuffled once: p(x, y) = p(y, x).
  int64_t permutations = 0, null_rows = 500;
  // 95 % by the delete-one jackknife over samples (Efron & Stein 1981), exact: every sample's own sum of the
  // centred Grams' product tells what CKA is without it. RBF keeps its σ.
  bool intervals = false;
  uint64_t seed = 0;
};
struct CkaResult {
  std::vector<std::string> left, right;
  int64_t rows = 0;
  std::vector<double> values;  // left × right, row-major; NaN where a matrix does not vary
  // With permutations: (1 + shuffles at least as large)/(1 + shuffles), on `null_rows` samples; the shuffles'
  // mean and 95th percentile.
  std::vector<double> p_values, null_mean, null_high;
  int64_t null_rows = 0;
  // With intervals: left × right, within [-1, 1]; NaN where there are less than 5 samples or no value.
  std::vector<Interval> intervals;
};
// Similarity of every matrix of `a` with every one of `b` (of `a` itself where null), over the same samples:
// <K, L>/sqrt(<K, K><L, L>), K and L centred Grams. Blockwise: no n × n matrix is held. At least 4 samples.
// Debiased it may be below 0: nothing is clamped. Throws InvalidArgument, ShapeMismatch.
MC_API CkaResult cka(const SampleSet& a, const SampleSet* b = nullptr, const CkaOptions& options = {});

// ---- spectrum of the covariance ----

struct SpectrumResult {
  std::string name;
  int64_t rows = 0, width = 0;
  std::vector<double> eigenvalues;  // of the covariance (n - 1), descending, float64
  int64_t rank = 0;                 // singular values above max(n, d)·eps(float32)·largest
  double effective_rank = 0;        // exp of the entropy of singular values' shares (Roy & Vetterli 2007)
  double participation_ratio = 0;   // (Σλ)²/Σλ² (Gao et al. 2017)
  double stable_rank = 0;           // Σλ/λ₁ (Rudelson & Vershynin 2007)
  double spectral_entropy = 0;      // -Σ q ln q of variance shares q, in nats
  // Slope of -ln λ over ln index by least squares over eigenvalues `fit_first` to `fit_last` (from 1), its
  // standard error and R² (Stringer et al. 2019).
  double power_law = 0, power_law_error = 0, power_law_r2 = 0;
  int64_t fit_first = 0, fit_last = 0;
  // 95 %, by a jackknife over 10 groups of samples, where asked for.
  std::optional<Interval> effective_rank_interval, participation_ratio_interval;
};
// Throws InvalidArgument for less than 3 samples.
MC_API SpectrumResult spectrum(const SampleSet& set, size_t i, bool intervals = false);

// ---- neighbours ----

// The k nearest of each of n points by Euclidean distance, without the point itself: indices and distances
// (n × k, row-major), nearest first, ties by index. Found by tiles of a float32 Gram, decided in float64.
struct Neighbours {
  int64_t n = 0, k = 0;
  std::vector<int32_t> index;
  std::vector<double> distance;
};
// x (n, d) float32. Throws InvalidArgument unless 1 <= k < n.
MC_API Neighbours nearest_neighbours(const Array& x, int64_t k);

struct DimensionOptions {
  int64_t k = 10;  // neighbours of Levina and Bickel's estimator
  int64_t bootstrap = 200;
  uint64_t seed = 0;
};
struct DimensionResult {
  std::string name;
  int64_t rows = 0, duplicates = 0;  // rows that are the same as an earlier one are left out
  // TwoNN (Facco et al. 2017): N/Σ ln μ, and the regression through the origin without the largest tenth of
  // μ.
  double twonn_mle = 0, twonn_regression = 0;
  std::optional<Interval>
      twonn_interval;  // 95 % of the maximum-likelihood estimate, by bootstrap over points
  // Levina & Bickel 2004, inverses averaged (MacKay & Ghahramani 2005).
  double levina_bickel = 0;
  std::optional<Interval> levina_bickel_interval;
};
MC_API DimensionResult intrinsic_dimension(const SampleSet& set, size_t i,
                                           const DimensionOptions& options = {});

struct MutualResult {
  std::vector<std::string> left, right;
  int64_t rows = 0, k = 0;
  std::vector<double> values;  // left × right: mean share of neighbours in common (Huh et al. 2024)
  double chance = 0;           // k/(n - 1)
};
MC_API MutualResult mutual_neighbours(const SampleSet& a, const SampleSet* b, int64_t k);

struct GeodesicResult {
  std::string name;
  int64_t rows = 0, k = 0, edges = 0, components = 0,
          largest = 0;  // largest: points in the largest component
  // Over pairs within one component: shortest path along the graph over straight distance.
  double mean_ratio = 0, max_ratio = 0, diameter = 0;
  std::vector<double> distances;  // (n × n), infinite between components; only if asked for
};
// On the symmetric graph of k nearest neighbours, by Dijkstra's algorithm (Tenenbaum et al. 2000).
MC_API GeodesicResult geodesic(const SampleSet& set, size_t i, int64_t k, bool keep = false);

// ---- alignment ----

struct ProcrustesResult {
  std::string left, right;
  // Of matrices centred and scaled to unit Frobenius norm: sqrt(2 - 2·‖XᵀY‖_*), the distance after the best
  // rotation or reflection (Schönemann 1966; Williams et al. 2021); 0 to sqrt(2).
  double distance = 0;
};
MC_API ProcrustesResult procrustes(const SampleSet& a, size_t i, const SampleSet& b, size_t j);

// ---- directions ----

struct DirectionOptions {
  double train = 0.5;  // share of each class that the direction is made of; the rest tests it
  uint64_t seed = 0;
};
struct DirectionResult {
  std::string name;
  int64_t width = 0, train_positive = 0, train_negative = 0, test_positive = 0, test_negative = 0;
  std::vector<float> direction;  // of unit length: mean of positive minus mean of negative training samples
  double norm = 0;               // of that difference
  double threshold = 0;          // halfway between the projections of both means
  double accuracy = 0, auc = 0;  // on samples that were held out; auc by ranks, ties count half
  Interval accuracy_interval;    // 95 %, Wilson 1927
};
// Difference of means (Marks & Tegmark 2023; Arditi et al. 2024). At least 2 samples of each class. Throws
// InvalidArgument, ShapeMismatch.
MC_API DirectionResult mean_direction(const SampleSet& positive, size_t i, const SampleSet& negative,
                                      size_t j, const DirectionOptions& options = {});

// Controls for what a direction causes: differences of means, of unit length, of the same samples with their
// classes shuffled, `count` × width. They keep what is common to both classes, such as a few large features.
MC_API std::vector<std::vector<float>> shuffled_directions(const SampleSet& positive, size_t i,
                                                           const SampleSet& negative, size_t j, int64_t count,
                                                           uint64_t seed = 0);

// ---- figures ----

// A heat map of rows × columns values and lines over an axis, as SVG, legible on white and dark pages.
struct HeatMap {
  std::string title, subtitle, unit;
  std::vector<std::string> rows, columns;
  std::vector<double> values;
  double low = 0, high = 1;
};
MC_API std::string svg_of(const HeatMap& map);
struct Curves {
  std::string title, subtitle, x_label, y_label;
  std::vector<std::string> x;  // names of the points
  struct Line {
    std::string name;
    std::vector<double> y;
    std::vector<Interval> band;  // empty, or one a point
  };
  std::vector<Line> lines;
};
MC_API std::string svg_of(const Curves& curves);

}  // namespace mc
