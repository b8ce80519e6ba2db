// What the tests of rows share.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "mc/error.h"
#include "mc/ops.h"
#include "mc/transforms.h"

namespace mc::test {

using V = std::vector<double>;
inline constexpr double kNan = std::numeric_limits<double>::quiet_NaN(),
                        kInf = std::numeric_limits<double>::infinity();

inline V list(const Array& a) { return astype(a, Dtype::F64).to_vector<double>(); }
inline Array f64(const V& v, const Shape& s) { return Array(v, s); }
inline Array i32(const std::vector<int32_t>& v, const Shape& s) { return Array(v, s); }

// Values between lo and hi, the same in every run.
inline Array draw(const Shape& s, int seed, double lo = -1, double hi = 1) {
  V v(static_cast<size_t>(s.numel()));
  uint64_t x = 0x9e3779b97f4a7c15ull * static_cast<uint64_t>(seed + 1);
  for (double& e : v) {
    x ^= x >> 12, x ^= x << 25, x ^= x >> 27;
    e = lo + (hi - lo) * static_cast<double>((x * 0x2545f4914f6cdd1dull) >> 11) / 9007199254740992.0;
  }
  return Array(v, s);
}

inline void expect_list(const Array& got, const V& want, double bound = 0) {
  const V g = list(got);
  ASSERT_EQ(g.size(), want.size());
  for (size_t i = 0; i < g.size(); ++i) {
    if (std::isnan(want[i])) {
      EXPECT_TRUE(std::isnan(g[i])) << "at " << i;
    } else if (std::isinf(want[i]) || bound == 0) {
      EXPECT_EQ(g[i], want[i]) << "at " << i;
    } else {
      EXPECT_NEAR(g[i], want[i], bound * (1 + std::abs(want[i]))) << "at " << i;
    }
  }
}
inline void expect_near(const Array& got, const Array& want, double bound) {
  ASSERT_EQ(got.shape().str(), want.shape().str());
  expect_list(got, list(want), bound);
}
inline void expect_aval(const Array& a, const Shape& shape, Dtype dtype) {
  EXPECT_EQ(a.shape().str(), shape.str());
  EXPECT_EQ(dtype_name(a.dtype()), dtype_name(dtype));
}

// The function throws an mc::Error of this code whose text holds `part`.
template <class F>
void expect_error(ErrorCode code, const std::string& part, F f) {
  try {
    f();
    ADD_FAILURE() << "nothing was thrown; expected '" << part << "'";
  } catch (const Error& e) {
    EXPECT_EQ(static_cast<int>(e.code()), static_cast<int>(code)) << e.what();
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
  }
}

// Against central differences with h = 1e-5: errors of h²·f''' and eps·|f|/h, below 1e-6 for derivatives of
// order 1000.
inline void expect_gradient(const std::function<Array(const Arrays&)>& f, const Arrays& in,
                            const std::string& what) {
  SCOPED_TRACE(what);
  auto weighted = [&](const Arrays& a) {
    const Array y = f(a);
    return sum(y * draw(y.shape(), 77));
  };
  std::vector<int> argnums;
  for (size_t i = 0; i < in.size(); ++i) argnums.push_back(static_cast<int>(i));
  const Arrays g = grad([&](const Arrays& a) { return Arrays{weighted(a)}; }, argnums)(in);
  for (size_t i = 0; i < in.size(); ++i) {
    const V x = list(in[i]);
    V slope(x.size());
    for (size_t e = 0; e < x.size(); ++e) {
      double side[2];
      for (int s = 0; s < 2; ++s) {
        V moved = x;
        moved[e] += s ? 1e-5 : -1e-5;
        Arrays at = in;
        at[i] = Array(moved, in[i].shape());
        side[s] = weighted(at).item<double>();
      }
      slope[e] = (side[1] - side[0]) / 2e-5;
    }
    expect_near(g[i], Array(slope, in[i].shape()), 1e-6);
  }
}
inline void expect_gradients(const std::function<Array(const Arrays&)>& f, const Arrays& in,
                             const std::string& what) {
  expect_gradient(f, in, what);
  auto first = [f](const Arrays& b) {
    const Array y = f(b);
    return Arrays{sum(y * draw(y.shape(), 77))};
  };
  expect_gradient([&](const Arrays& a) { return grad(first)(a)[0]; }, in, what + ", twice");
}

// vmap over axis 0 of every input, and of each alone (element 0 of the others), against one example at a
// time. Bounds: a product of matrices may be summed in another shape of the same order, a decomposition is
// the same work.
inline void expect_batch(const Function& f, const Arrays& many, const std::string& what) {
  SCOPED_TRACE(what);
  for (size_t m = 1; m < (size_t{1} << many.size()); ++m) {
    std::vector<int> axes;
    Arrays in;
    auto one = [](const Array& a, int64_t b) { return squeeze(slice_axis(a, 0, b, b + 1), {0}); };
    for (size_t i = 0; i < many.size(); ++i) {
      const bool on = (m >> i) & 1u;
      axes.push_back(on ? 0 : kNoAxis);
      in.push_back(on ? many[i] : one(many[i], 0));
    }
    const Arrays got = vmap(f, axes)(in);
    for (size_t o = 0; o < got.size(); ++o) {
      Arrays parts;
      for (int64_t b = 0; b < many[0].shape(0); ++b) {
        Arrays at;
        for (size_t i = 0; i < many.size(); ++i) at.push_back(((m >> i) & 1u) ? one(in[i], b) : in[i]);
        parts.push_back(f(at)[o]);
      }
      SCOPED_TRACE("mask " + std::to_string(m));
      expect_near(got[o], stack(parts, 0), 1e-13);
    }
  }
}

}  // namespace mc::test
