// Random numbers: exact values of a seed, ranges, distributions, keys, the state, and draws inside compiled
// functions.
#include "mc/random.h"

#include <algorithm>
#include <set>
#include <thread>

#include "prims/philox.h"
#include "prims_util.h"

namespace mc {
namespace {
using namespace test;

__extension__ typedef unsigned __int128 Wide;

const Array kKey = random::key(42);
std::vector<uint32_t> stream(int64_t n) { return random::bits({n}, kKey).to_vector<uint32_t>(); }

TEST(PrimsRandom, Refusals) {
  expect_error(ErrorCode::ShapeMismatch, "a key has shape", [] {
    random::bits({2}, Array(std::vector<uint32_t>{1, 2, 3}, {3}));
  });
  expect_error(ErrorCode::DtypeMismatch, "int32", [] { random::bits({2}, i32({1, 2}, {2})); });
  expect_error(ErrorCode::ShapeMismatch, "negative", [] { random::bits({-1}, kKey); });
  expect_error(ErrorCode::InvalidArgument, "n must be 0 or more", [] { random::permutation(-3, kKey); });
  expect_error(ErrorCode::InvalidArgument, "low is 2", [] { random::uniform(2, 1, {3}, Dtype::F32, kKey); });
  expect_error(ErrorCode::ShapeMismatch, "too many", [] {
    random::bits({int64_t{1} << 40, int64_t{1} << 40}, kKey);
  });
  expect_error(ErrorCode::DtypeMismatch, "can't be int32",
               [] { random::uniform(0, 1, {2}, Dtype::I32, kKey); });
  expect_error(ErrorCode::InvalidArgument, "not finite",
               [] { random::uniform(0, kInf, {2}, Dtype::F32, kKey); });
  expect_error(ErrorCode::DtypeMismatch, "can't be float32",
               [] { random::randint(0, 2, {2}, Dtype::F32, kKey); });
  expect_error(ErrorCode::InvalidArgument, "empty or does not fit",
               [] { random::randint(5, 5, {2}, Dtype::I32, kKey); });
  expect_error(ErrorCode::InvalidArgument, "does not fit uint8",
               [] { random::randint(0, 257, {2}, Dtype::U8, kKey); });
  expect_error(ErrorCode::ShapeMismatch, "logits", [] { random::categorical(zeros({}), 1, kKey); });
  // One draw for many probabilities would not be independent.
  expect_error(ErrorCode::ShapeMismatch, "", [] { random::bernoulli(zeros({3}), {}, kKey); });
}

TEST(PrimsRandom, ValuesAreIntegersOfTheStream) {
  const auto w = stream(8);
  V u32(8), u64(4), small(8), large(4);
  for (size_t i = 0; i < 8; ++i)
    u32[i] = static_cast<double>(w[i] >> 8) * 0x1p-24,
    small[i] = static_cast<double>((uint64_t{w[i]} * 1000) >> 32) - 500;
  for (size_t i = 0; i < 4; ++i) {
    const uint64_t d = uint64_t{w[2 * i]} << 32 | w[2 * i + 1];
    u64[i] = static_cast<double>(d >> 11) * 0x1p-53;
    large[i] =
        static_cast<double>(static_cast<int64_t>((static_cast<Wide>(d) * (uint64_t{1} << 62 | 12345)) >> 64));
  }
  expect_list(random::uniform(0, 1, {8}, Dtype::F32, kKey), u32);
  expect_list(random::uniform(0, 1, {2, 2}, Dtype::F64, kKey), u64);
  expect_list(random::randint(-500, 500, {8}, Dtype::I32, kKey), small);
  expect_list(random::randint(0, int64_t{1} << 62 | 12345, {4}, Dtype::I64, kKey), large);
  const auto wide = random::randint(INT64_MIN, INT64_MAX, {4}, Dtype::I64, kKey).to_vector<int64_t>();
  for (size_t i = 0; i < 4; ++i) {
    const uint64_t d = uint64_t{w[2 * i]} << 32 | w[2 * i + 1];
    EXPECT_EQ(static_cast<uint64_t>(wide[i]),
              static_cast<uint64_t>((static_cast<Wide>(d) * UINT64_MAX) >> 64) + (uint64_t{1} << 63));
  }
}

TEST(PrimsRandom, UniformStaysBelowHigh) {
  for (Dtype d : {Dtype::F16, Dtype::BF16, Dtype::F32, Dtype::F64})
    for (auto [low, high] :
         {std::pair{0.0, 1.0}, {-1.0, 0.0}, {-3.0, -2.0}, {1000.0, 1001.0}, {0.0, 0.1}, {-0.3, 1e-3}}) {
      const V v = list(random::uniform(low, high, {60000}, d, kKey));
      // `low` itself is rounded to the dtype.
      const double first = list(full({}, low, d))[0];
      EXPECT_LT(*std::max_element(v.begin(), v.end()), high) << dtype_name(d) << ' ' << low << ' ' << high;
      EXPECT_GE(*std::min_element(v.begin(), v.end()), std::min(first, low))
          << dtype_name(d) << ' ' << low << ' ' << high;
    }
}

// Means and variances of n draws: bounds are five standard errors.
void expect_moments(const Array& a, double mean, double variance, double fourth) {
  const V v = list(a);
  const double n = static_cast<double>(v.size());
  double m = 0, s = 0;
  for (double x : v) m += x / n;
  for (double x : v) s += (x - mean) * (x - mean) / n;
  EXPECT_NEAR(m, mean, 5 * std::sqrt(variance / n));
  EXPECT_NEAR(s, variance, 5 * std::sqrt((fourth - variance * variance) / n));
}
TEST(PrimsRandom, Distributions) {
  const int64_t n = 200000;
  for (Dtype d : {Dtype::F32, Dtype::F64}) {
    expect_moments(random::uniform(-1, 1, {n}, d, kKey), 0, 1.0 / 3, 0.2);
    expect_moments(random::normal({n}, d, 0, 1, kKey), 0, 1, 3);
    const V z = list(random::normal({n}, d, 0, 1, kKey));
    EXPECT_TRUE(std::all_of(z.begin(), z.end(), [](double x) { return std::isfinite(x) && x != 0; }));
  }
  expect_moments(random::normal({n}, Dtype::F64, 3, 0.5, kKey), 3, 0.25, 3.0 / 16);
  expect_moments(random::randint(0, 6, {n}, Dtype::U8, kKey), 2.5, 35.0 / 12, 14.729);
  expect_moments(random::bernoulli(full({}, 0.25), {n}, kKey), 0.25, 0.1875,
                 0.25 * 0.31640625 + 0.75 * 0.00390625);
  expect_list(random::bernoulli(f64({0, 1}, {2}), {1000, 2}, kKey).ndim() == 2
                  ? sum(random::bernoulli(f64({0, 1}, {2}), {1000, 2}, kKey), {0})
                  : Array(),
              {0, 1000});
}

TEST(PrimsRandom, CategoricalFollowsTheLogits) {
  const int64_t n = 100000;
  const V p = {0.5, 0.3, 0.15, 0.05, 0};
  const Array logits = log(f64(p, {5}));
  const auto ids = random::categorical(logits, n, kKey).to_vector<int32_t>();
  std::vector<double> count(5);
  for (int32_t i : ids) count.at(static_cast<size_t>(i)) += 1;
  for (size_t i = 0; i < 5; ++i)
    EXPECT_NEAR(count[i] / static_cast<double>(n), p[i],
                5 * std::sqrt(p[i] * (1 - p[i]) / static_cast<double>(n)))
        << i;
  expect_aval(random::categorical(zeros({2, 5}), 3, kKey), {2, 3}, Dtype::I32);
  expect_aval(random::categorical(zeros({5}), 0, kKey), {0}, Dtype::I32);
  // Of 2^22 candidates all but one are impossible: 32 million draws, and none may be one whose number was
  // rounded to infinity.
  const Array one = where(arange(1 << 22) == 1234567, 0.0, full({1 << 22}, -kInf));
  for (uint64_t seed = 0; seed < 8; ++seed)
    expect_list(random::categorical(one, 1, random::key(seed)), {1234567});
}

TEST(PrimsRandom, Permutations) {
  for (int64_t n : {0, 1, 2, 1000}) {
    V v = list(random::permutation(n, kKey)), want(static_cast<size_t>(n));
    std::sort(v.begin(), v.end());
    for (size_t i = 0; i < want.size(); ++i) want[i] = static_cast<double>(i);
    EXPECT_EQ(v, want);
  }
}

TEST(PrimsRandom, KeysAndState) {
  std::set<std::pair<uint32_t, uint32_t>> keys;
  const auto k = random::split(kKey, 1000).to_vector<uint32_t>();
  for (size_t i = 0; i < 1000; ++i) keys.insert({k[2 * i], k[2 * i + 1]});
  EXPECT_EQ(keys.size(), 1000u);
  random::seed(7);
  const V a = list(random::uniform(0, 1, {3})), b = list(random::uniform(0, 1, {3}));
  EXPECT_NE(a, b);
  random::seed(7);
  EXPECT_EQ(list(random::uniform(0, 1, {3})), a);
  EXPECT_EQ(list(random::uniform(0, 1, {3})), b);
  // A drawn key is the second of the state's split, the first the next state.
  const Array pair = random::split(random::key(7), 2);
  random::seed(7);
  expect_list(random::next_key(), list(slice_axis(pair, 0, 1, 2)));
  expect_list(random::next_key(),
              list(slice_axis(random::split(reshape(slice_axis(pair, 0, 0, 1), {2}), 2), 0, 1, 2)));
  // Threads never draw the same key.
  std::vector<std::vector<uint32_t>> drawn(4);
  std::vector<std::thread> threads;
  for (auto& d : drawn)
    threads.emplace_back([&d] {
      for (int i = 0; i < 200; ++i)
        for (uint32_t w : random::next_key().to_vector<uint32_t>()) d.push_back(w);
    });
  for (auto& t : threads) t.join();
  keys.clear();
  for (const auto& d : drawn)
    for (size_t i = 0; i < d.size(); i += 2) keys.insert({d[i], d[i + 1]});
  EXPECT_EQ(keys.size(), 800u);
}

TEST(PrimsRandom, ACompiledFunctionDrawsAnew) {
  const Function f = [](const Arrays& a) {
    return Arrays{a[0] + random::uniform(0, 1, {3}, Dtype::F64), random::normal({2}, Dtype::F64)};
  };
  for (bool shapeless : {false, true}) {
    const Function g = compile(f, shapeless);
    random::seed(11);
    std::vector<V> eager, compiled;
    for (int i = 0; i < 3; ++i)
      for (const Array& y : f({f64({double(i)}, {1})})) eager.push_back(list(y));
    random::seed(11);
    for (int i = 0; i < 3; ++i)
      for (const Array& y : g({f64({double(i)}, {1})})) compiled.push_back(list(y));
    EXPECT_EQ(eager, compiled);
    // Another program of the same function goes on in the same sequence.
    const V next = list(f({f64({1, 2, 3}, {3})})[0]);
    random::seed(11);
    for (int i = 0; i < 3; ++i) g({f64({double(i)}, {1})});
    EXPECT_EQ(list(g({f64({1, 2, 3}, {3})})[0]), next);
  }
  // A compiled function within one draws at each call of the outer one.
  const Function inner =
      compile([](const Arrays&) { return Arrays{random::uniform(0, 1, {3}, Dtype::F64)}; });
  const Function outer = compile([&](const Arrays& a) { return Arrays{a[0] * inner({})[0]}; });
  EXPECT_NE(list(outer({ones({3}, Dtype::F64)})[0]), list(outer({ones({3}, Dtype::F64)})[0]));
  // A function that draws nothing leaves the state alone.
  random::seed(3);
  compile([](const Arrays& a) { return Arrays{a[0] + 1.0}; })({ones({3})});
  const V after = list(random::next_key());
  random::seed(3);
  EXPECT_EQ(list(random::next_key()), after);
}

TEST(PrimsRandom, Batches) {
  const Array keys = random::split(kKey, 3);
  const Array got =
      vmap([](const Arrays& a) { return Arrays{random::uniform(0, 1, {4}, Dtype::F64, a[0])}; })({keys})[0];
  for (int64_t i = 0; i < 3; ++i)
    expect_list(slice_axis(got, 0, i, i + 1),
                list(random::uniform(0, 1, {4}, Dtype::F64, reshape(slice_axis(keys, 0, i, i + 1), {2}))));
}

}  // namespace
}  // namespace mc
