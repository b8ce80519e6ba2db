// What XLA does otherwise than the contract is met at the engine's door; programs are kept; nothing aborts.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <optional>

#include "mc/cache.h"
#include "mc/mc.h"
#include "prims/block_formats.h"
#include "runtime/registry.h"

namespace mc {
namespace {

namespace fs = std::filesystem;

class Jax : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = fs::temp_directory_path() / cat("mc_jax_", ::getpid());
    setenv("MODELCYPHER_CACHE", folder_.c_str(), 1);
  }
  static void TearDownTestSuite() { fs::remove_all(folder_); }
  void SetUp() override {
    try {
      scope_.emplace(parse_device("jax"));
    } catch (const Error& e) {
      GTEST_SKIP() << e.what() << "; " << e.next();
    }
  }
  void TearDown() override { scope_.reset(); }
  std::optional<DeviceScope> scope_;
  static inline fs::path folder_;
};

TEST_F(Jax, AddsTwoArrays) {
  const Array a(std::vector<float>{1, 2, 3}, {3}), b(std::vector<float>{10, 20, 30}, {3});
  const Array c = a + b;
  EXPECT_EQ(c.to_vector<float>(), (std::vector<float>{11, 22, 33}));
  EXPECT_EQ(c.device(), parse_device("jax"));
}

TEST_F(Jax, IndicesOutOfRangeReadNothingAndWriteNothing) {
  const Array a(std::vector<float>{1, 2, 3, 4, 5, 6}, {3, 2});
  for (const int64_t far : {int64_t{3}, int64_t{-4}, int64_t{5'000'000'000},
                            std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::min()}) {
    const std::vector<float> got = take(a, Array(std::vector<int64_t>{-1, far}, {2}), 0).to_vector<float>();
    EXPECT_EQ(got[0], 5);
    EXPECT_TRUE(std::isnan(got[2])) << far;
    const Array kept =
        scatter(a, {Array(std::vector<int64_t>{far}, {1})}, Array(std::vector<float>{9, 9}, {1, 1, 2}), {0});
    EXPECT_EQ(kept.to_vector<float>(), a.to_vector<float>()) << far;
  }
}

TEST_F(Jax, LongSumsAreAccurate) {
  const double exact = 1'000'000 * static_cast<double>(0.1f);
  EXPECT_NEAR(sum(Array(std::vector<float>(1'000'000, 0.1f), {1'000'000})).item<float>(), exact,
              exact * 1e-6);
}

TEST_F(Jax, ArctangentOfAQuotientWithAKnownOne) {
  // XLA's CPU compiler of jaxlib 0.11.2 reads memory here that nobody wrote.
  std::vector<float> values(4000);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) * 0.01f - 20;
  const std::vector<float> got = arctan2(Array(values, {4000}), ones({4000})).to_vector<float>();
  for (size_t i = 0; i < values.size(); ++i) ASSERT_NEAR(got[i], std::atan(values[i]), 1e-6) << i;
}

TEST_F(Jax, RoundingToSixteenBitsIsKept) {
  // A compiler that may keep excess precision would take both conversions out.
  const Array x(std::vector<float>{1.001f}, {1});
  EXPECT_EQ((astype(astype(x, Dtype::BF16), Dtype::F32) * 1.0f).item<float>(), 1.0f);
}

TEST_F(Jax, IntegerDivisionByZeroDoesNotTrap) {
  const Array a(std::vector<int32_t>{7, std::numeric_limits<int32_t>::min()}, {2}),
      b(std::vector<int32_t>{0, -1}, {2});
  EXPECT_EQ(floor_divide(a, b).to_vector<int32_t>()[0], 0);
  EXPECT_EQ(remainder(a, b).to_vector<int32_t>(), (std::vector<int32_t>{0, 0}));
}

TEST_F(Jax, WhatItLacksRunsOnTheHostInTheMiddleOfAProgram) {
  const Array m(std::vector<float>{4, 1, 1, 3}, {2, 2}), b(std::vector<float>{1, 2}, {2, 1});
  const Array x = solve(m + m, b * 2.0f) * 3.0f;  // work of the engine before and behind it
  const std::vector<float> got = matmul(m, x).to_vector<float>();
  EXPECT_NEAR(got[0], 3, 1e-5);
  EXPECT_NEAR(got[1], 6, 1e-5);
  try {
    eval({solve(zeros({3, 3}), ones({3, 1}))});
    FAIL() << "a singular matrix was solved";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::SingularMatrix) << e.what();
  }
}

TEST_F(Jax, LongChainsAreSeveralPrograms) {
  Array a = zeros({2});
  for (int i = 0; i < 20'000; ++i) a = a + 1.0f;
  EXPECT_EQ(a.to_vector<float>()[1], 20'000);
}

TEST_F(Jax, DonatedMemoryIsGivenAway) {
  const Function step = compile(
      [](const Arrays& in) -> Arrays {
        return {dynamic_update(in[0], in[1], Array(std::vector<int32_t>{1}, {1}))};
      },
      false, {0});
  const Array cache = zeros({4}) + 0.0f;
  cache.eval();
  const Array after = step({cache, ones({2})})[0];
  EXPECT_EQ(after.to_vector<float>(), (std::vector<float>{0, 1, 1, 0}));
  EXPECT_THROW(cache.to_vector<float>(), Error);
}

TEST_F(Jax, ConstantWeightsAreExpandedAndTheSame) {
  constexpr int64_t kRows = 3, kCols = 256;
  const Array identity = eye(kCols);
  for (int f = 0; f < kBlockFormatCount; ++f) {
    const auto format = static_cast<BlockFormat>(f);
    const int64_t row = kCols / block_elements(format) * block_bytes(format);
    std::vector<uint8_t> bytes(static_cast<size_t>(kRows * row));
    uint32_t x = 12345;
    for (uint8_t& b : bytes) {
      x = x * 1664525u + 1013904223u;
      b = static_cast<uint8_t>((x >> 24) & 0xbf);  // no exponent of all ones
    }
    std::vector<float> want(static_cast<size_t>(kRows * kCols));
    for (int64_t r = 0; r < kRows; ++r)
      blocks::dequantize_row(format, bytes.data() + r * row, want.data() + r * kCols, kCols);
    for (const bool constant : {false, true}) {
      const Array data(bytes, {kRows, row});
      data.node()->values[0].buffer->constant = constant;
      const QTensor w = block_tensor(data, format, {kRows, kCols});
      const std::vector<float> got = transpose(quantized_matmul(identity, w)).to_vector<float>();
      const std::vector<float> rows =
          quantized_take(w, Array(std::vector<int32_t>{2, 7}, {2})).to_vector<float>();
      for (size_t i = 0; i < want.size(); ++i) {
        // XLA's CPU client takes subnormal numbers for zeros.
        const bool small = std::abs(want[i]) < std::numeric_limits<float>::min();
        ASSERT_EQ(got[i], small && got[i] == 0 ? 0.0f : want[i])
            << block_format_name(format) << " at " << i << " constant " << constant;
      }
      EXPECT_EQ(rows[5], want[2 * kCols + 5]) << block_format_name(format);
      EXPECT_TRUE(std::isnan(rows[kCols])) << block_format_name(format);
    }
  }
}

TEST_F(Jax, MemoryLimitIsKept) {
  const Device device = parse_device("jax");
  eval({ones({4})});
  const size_t old = set_memory_limit(device, memory_stats(device).active + (size_t{1} << 20));
  try {
    eval({ones({4 << 20})});
    ADD_FAILURE() << "the limit was passed";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::MemoryLimit) << e.what();
  }
  set_memory_limit(device, old);
  eval({ones({4 << 20})});
}

TEST_F(Jax, ProgramsThatTookLongAreKeptOnDisk) {
  auto work = [] {
    Array a = ones({64, 64});
    for (int i = 0; i < 60; ++i) a = tanh(matmul(a, a) * 0.001f + static_cast<float>(i));
    return a.to_vector<float>();
  };
  auto counts = [] {
    size_t hits = 0, files = 0;
    for (const CacheKind& k : cache_list())
      if (k.name == "xla") hits = k.hits, files = k.files;
    return std::pair(hits, files);
  };
  const auto first = work();
  const auto [hits, files] = counts();
  ASSERT_GT(files, 0u);
  clear_cache();
  EXPECT_EQ(work(), first);
  EXPECT_GT(counts().first, hits);
  // A spoilt file is compiled anew.
  for (const auto& f : fs::directory_iterator(folder_ / "v1" / "xla"))
    if (f.path().filename() != "counts") fs::resize_file(f.path(), 100);
  clear_cache();
  EXPECT_EQ(work(), first);
}

TEST_F(Jax, AForkedChildIsToldSo) {
  eval({ones({4})});
  const pid_t child = fork();
  if (child == 0) {
    int code = 1;
    try {
      eval({ones({5}) + 1.0f});
    } catch (const Error& e) {
      code = std::string(e.next()).find("spawn") != std::string::npos ? 0 : 2;
    }
    _exit(code);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace mc
