#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/interrupt.h"
#include "mc/measures.h"
#include "mc/ops.h"

namespace mc {
namespace {

constexpr size_t kBlockBytes = size_t{64} << 20;  // of centred Gram rows of all matrices at once

// A matrix whose features are centred, and what centring its Gram takes.
struct Side {
  Array x;           // (n, d) float32
  Array norms;       // (n, 1) squares of rows, for the RBF kernel
  double gamma = 0;  // 1/(2σ²)
  Array rows;        // (n, 1) sums of the Gram's rows, scaled; see `centre`
  double all = 0;
};

// Rows [from, to) of the kernel against columns [first, n).
Array kernel(const Side& s, bool rbf, int64_t from, int64_t to, int64_t first) {
  const int64_t n = s.x.shape(0);
  const Array rows = slice_axis(s.x, 0, from, to), columns = slice_axis(s.x, 0, first, n);
  const Array g = matmul(rows, transpose(columns));
  if (!rbf) return g;
  const Array d = slice_axis(s.norms, 0, from, to) + transpose(slice_axis(s.norms, 0, first, n)) - g * 2.0f;
  return exp(maximum(d, Array(0.0f)) * static_cast<float>(-s.gamma));
}

// 1 off the diagonal of those rows and columns.
Array off_diagonal(int64_t from, int64_t to, int64_t first, int64_t n) {
  const Array i = expand_dims(arange(static_cast<int>(from), static_cast<int>(to)), {1}),
              j = expand_dims(arange(static_cast<int>(first), static_cast<int>(n)), {0});
  return astype(not_equal(i, j), Dtype::F32);
}

// Squared median distance of at most 1,000 samples, the first of a fixed stride.
double median_square(const Array& x) {
  const int64_t n = x.shape(0), m = std::min<int64_t>(n, 1000);
  std::vector<int32_t> pick;
  for (int64_t i = 0; i < m; ++i) pick.push_back(static_cast<int32_t>(i * n / m));
  const Array s = take(x, Array(pick, {m}), 0), q = sum(square(s), {1}, true);
  const std::vector<float> d = (q + transpose(q) - matmul(s, transpose(s)) * 2.0f).to_vector<float>();
  std::vector<float> upper;
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = i + 1; j < m; ++j) upper.push_back(std::max(d[static_cast<size_t>(i * m + j)], 0.0f));
  const auto middle = upper.begin() + static_cast<std::ptrdiff_t>(upper.size() / 2);
  std::nth_element(upper.begin(), middle, upper.end());
  return static_cast<double>(*middle);
}

int64_t block_rows(int64_t n, size_t matrices) {
  return std::clamp<int64_t>(static_cast<int64_t>(kBlockBytes / sizeof(float)) /
                                 std::max<int64_t>(1, n * static_cast<int64_t>(matrices)),
                             1, n);
}

// Row sums of the Gram (without its diagonal when debiased), as what is subtracted from each element.
void centre(Side& s, const CkaOptions& o) {
  const int64_t n = s.x.shape(0);
  std::vector<double> r(static_cast<size_t>(n));
  if (!o.rbf) {
    // x·Σx by rows, in float64: the features are centred, so this is rounding's share and the diagonal's.
    const Array wide = astype(s.x, Dtype::F64);
    r = matmul(wide, expand_dims(sum(wide, {0}), {1})).to_vector<double>();
    if (o.debiased) {
      const std::vector<double> q = sum(square(wide), {1}).to_vector<double>();
      for (size_t i = 0; i < r.size(); ++i) r[i] -= q[i];
    }
  } else {
    const int64_t step = block_rows(n, 1);
    for (int64_t at = 0; at < n; at += step) {
      const int64_t end = std::min(at + step, n);
      Array k = kernel(s, true, at, end, 0);
      if (o.debiased) k = k * off_diagonal(at, end, 0, n);
      const std::vector<double> part = sum(astype(k, Dtype::F64), {1}).to_vector<double>();
      std::copy(part.begin(), part.end(), r.begin() + at);
    }
  }
  const double total = std::accumulate(r.begin(), r.end(), 0.0), m = static_cast<double>(n);
  std::vector<float> f;
  for (double v : r) f.push_back(static_cast<float>(v / (o.debiased ? m - 2 : m)));
  s.rows = Array(f, {n, 1});
  s.all = total / (o.debiased ? (m - 1) * (m - 2) : m * m);
}

Side side_of(const Array& given, const CkaOptions& o) {
  Side s;
  const Array wide = astype(given, Dtype::F64);
  Array x = wide - mean(wide, {0}, true);
  // Scale changes no CKA and keeps squares within float32.
  const double size = std::sqrt(sum(square(x)).item<double>() / static_cast<double>(x.size()));
  if (size > 0) x = x * (1 / size);
  s.x = astype(x, Dtype::F32).eval();
  if (o.rbf) {
    s.norms = sum(square(s.x), {1}, true).eval();
    const double median = median_square(s.x) * o.bandwidth * o.bandwidth;
    s.gamma = median > 0 ? 1 / (2 * median) : 0;
  }
  centre(s, o);
  return s;
}

// out += a · bᵀ, few rows of very many columns: a batch of pieces of `piece` columns, so that each is whole
// on one thread; the pieces are added in float64.
void multiply_into(std::vector<double>& out, const Array& a, const Array& b, int64_t piece) {
  auto cut = [&](const Array& m) {
    return swapaxes(reshape(m, {m.shape(0), m.shape(1) / piece, piece}), 0, 1);
  };
  const Array product = matmul(cut(a), swapaxes(cut(b), 1, 2));
  const std::vector<double> part = sum(astype(product, Dtype::F64), {0}).to_vector<double>();
  for (size_t i = 0; i < part.size(); ++i) out[i] += part[i];
}

// Inner products of centred Grams: all left with all right, blockwise. Only the upper triangle is formed;
// what stands above the diagonal block counts twice.
std::vector<double> products(const std::vector<Side>& left, const std::vector<Side>& right,
                             const CkaOptions& o) {
  const int64_t n = left[0].x.shape(0), l = static_cast<int64_t>(left.size()),
                r = static_cast<int64_t>(right.size());
  const bool same = &left == &right;
  std::vector<double> out(static_cast<size_t>(l * r));
  const int64_t step = block_rows(n, left.size() + (same ? 0 : right.size()));
  for (int64_t at = 0; at < n; at += step) {
    check_interrupt();
    const int64_t end = std::min(at + step, n);
    Array mask = o.debiased ? off_diagonal(at, end, at, n) : Array();
    std::vector<float> weight(static_cast<size_t>(n - at), static_cast<float>(std::sqrt(2.0)));
    std::fill(weight.begin(), weight.begin() + (end - at), 1.0f);
    const Array twice(weight, {1, n - at});
    mask = mask.defined() ? mask * twice : twice;
    auto stack = [&](const std::vector<Side>& sides) {
      Arrays rows;
      for (const Side& s : sides) {
        const Array k = kernel(s, o.rbf, at, end, at) - slice_axis(s.rows, 0, at, end) -
                        transpose(slice_axis(s.rows, 0, at, n)) + static_cast<float>(s.all);
        rows.push_back(reshape(k * mask, {1, (end - at) * (n - at)}).eval());
      }
      return concatenate(rows, 0).eval();
    };
    const Array a = stack(left), b = same ? a : stack(right);
    multiply_into(out, a, b, n - at);
  }
  return out;
}

std::vector<double> own(const std::vector<Side>& sides, const CkaOptions& o) {
  std::vector<double> out;
  for (const Side& s : sides) {
    const std::vector<Side> one{s};
    out.push_back(products(one, one, o)[0]);
  }
  return out;
}

std::vector<double> ratios(const std::vector<double>& h, const std::vector<double>& left,
                           const std::vector<double>& right) {
  std::vector<double> out;
  for (size_t i = 0; i < left.size(); ++i)
    for (size_t j = 0; j < right.size(); ++j) {
      const double size = left[i] > 0 && right[j] > 0 ? std::sqrt(left[i] * right[j]) : NAN;
      out.push_back(h[i * right.size() + j] / size);
    }
  return out;
}

// Whole centred Grams of a few samples.
Array grams(const std::vector<Side>& sides, const CkaOptions& o) {
  const int64_t n = sides[0].x.shape(0);
  Arrays rows;
  for (const Side& s : sides) {
    Array k = kernel(s, o.rbf, 0, n, 0) - s.rows - transpose(s.rows) + static_cast<float>(s.all);
    if (o.debiased) k = k * off_diagonal(0, n, 0, n);
    rows.push_back(reshape(k, {1, n * n}).eval());
  }
  return concatenate(rows, 0).eval();
}

void shuffle_null(const SampleSet& a, const SampleSet* b, const CkaOptions& o, CkaResult& result) {
  std::mt19937_64 random(o.seed);
  auto below = [&](uint64_t n) { return random() % n; };
  const int64_t n = a.rows(), m = std::min(n, std::max<int64_t>(o.null_rows, 4));
  std::vector<int32_t> all(static_cast<size_t>(n));
  std::iota(all.begin(), all.end(), 0);
  for (int64_t i = 0; i < m; ++i)
    std::swap(all[static_cast<size_t>(i)], all[static_cast<size_t>(i) + below(static_cast<uint64_t>(n - i))]);
  all.resize(static_cast<size_t>(m));
  const Array pick(all, {m});
  auto sides = [&](const SampleSet& set) {
    std::vector<Side> out;
    for (size_t i = 0; i < set.size(); ++i) out.push_back(side_of(take(set.load(i), pick, 0), o));
    return out;
  };
  const std::vector<Side> left = sides(a), right = b ? sides(*b) : left;
  const Array ga = grams(left, o), gb = b ? grams(right, o) : ga;
  const std::vector<double> la = own(left, o), lb = b ? own(right, o) : la;
  auto values = [&](const Array& right_grams) {
    const std::vector<float> h = matmul(ga, transpose(right_grams)).to_vector<float>();
    return ratios({h.begin(), h.end()}, la, lb);
  };
  const std::vector<double> seen = values(gb);
  std::vector<std::vector<double>> null(seen.size());
  std::vector<int32_t> order(static_cast<size_t>(m));
  std::iota(order.begin(), order.end(), 0);
  const Array cube = reshape(gb, {static_cast<int64_t>(right.size()), m, m});
  for (int64_t p = 0; p < o.permutations; ++p) {
    check_interrupt();
    for (size_t i = order.size() - 1; i > 0; --i) std::swap(order[i], order[below(i + 1)]);
    const Array by(order, {m});
    const std::vector<double> v = values(reshape(take(take(cube, by, 1), by, 2), gb.shape()));
    for (size_t i = 0; i < v.size(); ++i) null[i].push_back(v[i]);
  }
  result.null_rows = m;
  const size_t columns = right.size();
  for (size_t i = 0; i < seen.size(); ++i) {
    // Within one set a shuffle of x against y is the inverse shuffle of y against x: one of both is told.
    const size_t x = i / columns, y = i % columns;
    if (!b && x > y) {
      result.p_values.push_back(result.p_values[y * columns + x]);
      result.null_mean.push_back(result.null_mean[y * columns + x]);
      result.null_high.push_back(result.null_high[y * columns + x]);
      continue;
    }
    std::vector<double>& v = null[i];
    const auto larger = std::count_if(v.begin(), v.end(), [&](double x) { return x >= seen[i]; });
    result.p_values.push_back(std::isnan(seen[i]) ? NAN
                                                  : (1.0 + static_cast<double>(larger)) /
                                                        (1.0 + static_cast<double>(v.size())));
    result.null_mean.push_back(std::accumulate(v.begin(), v.end(), 0.0) / static_cast<double>(v.size()));
    std::sort(v.begin(), v.end());
    result.null_high.push_back(v[std::min(v.size() - 1, v.size() * 95 / 100)]);
  }
}

// What each sample adds to <A, B> of centred Grams A and B: `pairs` (n × left × right), and <A, A>, <B, B>
// (n × left, n × right); with the Grams' own diagonals where they are not zero.
struct Shares {
  std::vector<double> pairs, left, right, left_diagonal, right_diagonal;
};

Shares shares_of(const std::vector<Side>& left, const std::vector<Side>& right, const CkaOptions& o) {
  const int64_t n = left[0].x.shape(0);
  const bool same = &left == &right;
  Shares out;
  const int64_t step = block_rows(n, 2 * (left.size() + (same ? 0 : right.size())));
  for (int64_t at = 0; at < n; at += step) {
    check_interrupt();
    const int64_t end = std::min(at + step, n);
    const Array mask = o.debiased ? off_diagonal(at, end, 0, n) : Array();
    auto append = [](std::vector<double>& to, const Array& from) {
      const std::vector<double> v = astype(from, Dtype::F64).to_vector<double>();
      to.insert(to.end(), v.begin(), v.end());
    };
    auto stack = [&](const std::vector<Side>& sides, std::vector<double>& squares,
                     std::vector<double>& diagonal) {
      Arrays rows;
      for (const Side& s : sides) {
        Array k = kernel(s, o.rbf, at, end, 0) - slice_axis(s.rows, 0, at, end) - transpose(s.rows) +
                  static_cast<float>(s.all);
        if (mask.defined()) k = k * mask;
        rows.push_back(expand_dims(k, {1}).eval());
      }
      const Array all = concatenate(rows, 1).eval();  // (rows, sides, n)
      append(squares, sum(square(all), {2}));
      if (!o.debiased) {
        const Array own = expand_dims(arange(static_cast<int>(at), static_cast<int>(end)), {1, 2});
        append(diagonal, take_along_axis(all, broadcast_to(own, {end - at, all.shape(1), 1}), 2));
      }
      return all;
    };
    const Array a = stack(left, out.left, out.left_diagonal);
    const Array b = same ? a : stack(right, out.right, out.right_diagonal);
    append(out.pairs, matmul(a, swapaxes(b, 1, 2)));
  }
  if (same) {
    out.right = out.left;
    out.right_diagonal = out.left_diagonal;
  }
  return out;
}

// Delete-one jackknife. A and B are centred, so that without sample i their rows sum to -A_ij and -B_ij, and
// <A', B'> after centring anew follows from what i added. Debiased (zero diagonals): S - 2r(n-2)/(n-3);
// biased: S - 2r + d - 2(r - d)/(n-1) + d/(n-1)², d = A_ii·B_ii. Factors common to all three cancel.
void jackknife(const std::vector<Side>& left, const std::vector<Side>& right, const CkaOptions& o,
               CkaResult& result) {
  const size_t n = static_cast<size_t>(left[0].x.shape(0)), l = left.size(), r = right.size();
  const Shares shares = shares_of(left, right, o);
  const double m = static_cast<double>(n);
  auto without = [&](double total, double share, double diagonal) {
    if (o.debiased) return total - 2 * share * (m - 2) / (m - 3);
    return total - 2 * share + diagonal - 2 * (share - diagonal) / (m - 1) + diagonal / ((m - 1) * (m - 1));
  };
  auto totals = [&](const std::vector<double>& v, size_t width) {
    std::vector<double> out(width);
    for (size_t i = 0; i < v.size(); ++i) out[i % width] += v[i];
    return out;
  };
  const std::vector<double> all = totals(shares.pairs, l * r), all_left = totals(shares.left, l),
                            all_right = totals(shares.right, r);
  std::vector<double> each(n);
  for (size_t x = 0; x < l; ++x)
    for (size_t y = 0; y < r; ++y) {
      double mean = 0;
      for (size_t i = 0; i < n; ++i) {
        const double dx = o.debiased ? 0 : shares.left_diagonal[i * l + x],
                     dy = o.debiased ? 0 : shares.right_diagonal[i * r + y];
        const double h = without(all[x * r + y], shares.pairs[(i * l + x) * r + y], dx * dy),
                     hx = without(all_left[x], shares.left[i * l + x], dx * dx),
                     hy = without(all_right[y], shares.right[i * r + y], dy * dy);
        each[i] = hx > 0 && hy > 0 ? h / std::sqrt(hx * hy) : NAN;
        mean += each[i] / m;
      }
      double variance = 0;
      for (double v : each) variance += (v - mean) * (v - mean) * (m - 1) / m;
      const double value = result.values[x * r + y], half = 1.959964 * std::sqrt(variance);
      if (n < 5 || !std::isfinite(value + half))
        result.intervals.push_back({NAN, NAN});
      else
        result.intervals.push_back({std::max(-1.0, value - half), std::min(1.0, value + half)});
    }
}

}  // namespace

CkaResult cka(const SampleSet& a, const SampleSet* b, const CkaOptions& o) {
  if (a.rows() < 4)
    throw Error(ErrorCode::InvalidArgument, cat("CKA needs at least 4 samples, got ", a.rows()), "cka");
  if (b && b->rows() != a.rows())
    throw Error(ErrorCode::ShapeMismatch, cat("one side has ", a.rows(), " samples, the other ", b->rows()),
                "cka", "compare matrices over the same samples, in the same order");
  if (!(o.bandwidth > 0) || o.permutations < 0)
    throw Error(ErrorCode::InvalidArgument, "the bandwidth must be positive, permutations 0 or more", "cka");
  CkaResult r;
  r.rows = a.rows();
  std::vector<Side> left, right;
  for (size_t i = 0; i < a.size(); ++i) {
    r.left.push_back(a.name(i));
    left.push_back(side_of(a.load(i), o));
  }
  for (size_t i = 0; b && i < b->size(); ++i) {
    r.right.push_back(b->name(i));
    right.push_back(side_of(b->load(i), o));
  }
  if (!b) {
    r.right = r.left;
    const std::vector<double> h = products(left, left, o);
    std::vector<double> diagonal;
    for (size_t i = 0; i < left.size(); ++i) diagonal.push_back(h[i * left.size() + i]);
    r.values = ratios(h, diagonal, diagonal);
  } else {
    r.values = ratios(products(left, right, o), own(left, o), own(right, o));
  }
  if (o.intervals) jackknife(left, b ? right : left, o, r);
  left.clear();
  right.clear();
  if (o.permutations > 0) shuffle_null(a, b, o, r);
  return r;
}

}  // namespace mc
