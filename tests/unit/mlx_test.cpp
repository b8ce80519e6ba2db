// What libmlx does wrong is met at the engine's door; memory enters without a copy; nothing aborts.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <limits>
#include <optional>

#include "mc/mc.h"
#include "prims/attrs.h"
#include "prims/block_formats.h"
#include "prims/op_def.h"
#include "runtime/registry.h"

namespace mc {
namespace {

class Mlx : public ::testing::Test {
 protected:
  void SetUp() override {
    try {
      scope_.emplace(parse_device("mlx"));
    } catch (const Error& e) {
      GTEST_SKIP() << e.what() << "; " << e.next();
    }
  }
  void TearDown() override { scope_.reset(); }
  std::optional<DeviceScope> scope_;
};

TEST_F(Mlx, IndicesOutOfRangeReadNoForeignMemory) {
  const Array a(std::vector<float>{1, 2, 3, 4, 5, 6}, {3, 2});
  for (const int64_t far : {int64_t{3}, int64_t{-4}, int64_t{5'000'000}, std::numeric_limits<int64_t>::max(),
                            std::numeric_limits<int64_t>::min()}) {
    const std::vector<float> got = take(a, Array(std::vector<int64_t>{-1, far}, {2}), 0).to_vector<float>();
    EXPECT_EQ(got[0], 5);
    EXPECT_TRUE(std::isnan(got[2])) << far;
    const Array kept =
        scatter(a, {Array(std::vector<int64_t>{far}, {1})}, Array(std::vector<float>{9, 9}, {1, 1, 2}), {0});
    EXPECT_EQ(kept.to_vector<float>(), a.to_vector<float>()) << far;
  }
  const Array counts(std::vector<int32_t>{1, 2}, {2});
  EXPECT_EQ(take(counts, Array(std::vector<int32_t>{7}, {1}), 0).to_vector<int32_t>()[0],
            std::numeric_limits<int32_t>::min());
}

TEST_F(Mlx, LongSumsAreAccurate) {
  // Of a million 0.1 libmlx itself makes 100958.
  const double exact = 1'000'000 * static_cast<double>(0.1f);
  EXPECT_NEAR(sum(full({1'000'000}, 0.1, Dtype::F32)).item<float>(), exact, exact * 1e-6);
}

TEST_F(Mlx, ElementaryFunctionsAreAccurate) {
  // libmlx's exp is 8 ulp off in float32, its float64 forms of exp, sin and erf are float32 inside.
  for (double x : {-20.0, -0.3, 1e-3, 0.7, 19.0}) {
    const Array d = full({1}, x, Dtype::F64), f = full({1}, x, Dtype::F32);
    const double xf = static_cast<float>(x);
    EXPECT_NEAR(exp(d).item<double>(), std::exp(x), 4e-16 * std::exp(x) * 2);
    EXPECT_NEAR(exp(f).item<float>(), std::exp(xf), 1.2e-7 * std::exp(xf) * 2);
    EXPECT_NEAR(erf(f).item<float>(), std::erf(xf), 1.2e-7 * std::abs(std::erf(xf)) * 2);
    EXPECT_NEAR(sin(d).item<double>(), std::sin(x), 4e-16);
  }
}

TEST_F(Mlx, IntegerDivisionByZeroDoesNotTrap) {
  const Array a(std::vector<int32_t>{7, std::numeric_limits<int32_t>::min()}, {2}),
      b(std::vector<int32_t>{0, -1}, {2});
  EXPECT_EQ(floor_divide(a, b).to_vector<int32_t>()[0], 0);
  EXPECT_EQ(remainder(a, b).to_vector<int32_t>()[0], 0);
}

TEST_F(Mlx, HostMemoryEntersWithoutACopy) {
  const std::vector<float> values{1, 2, 3, 4};
  const Array a(values, {4});
  const void* before = a.host_data();
  EXPECT_EQ((a + 1.0f).to_vector<float>(), (std::vector<float>{2, 3, 4, 5}));
  EXPECT_EQ(a.device(), parse_device("mlx"));
  EXPECT_EQ(a.host_data(), before);
}

TEST_F(Mlx, ADonatedCacheIsWrittenWhereItLies) {
  // What a token's step does: the rows of the cache are libmlx's own, given away, and come back at one
  // address.
  const Function step =
      compile([](const Arrays& a) { return Arrays{dynamic_update_rows(a[0], a[1], a[2], 2)}; }, false, {0});
  Array cache = zeros({2, 3, 256, 64}) + 1.0f;
  cache.eval();
  const void* const where = cache.host_data();
  for (int32_t t = 0; t < 4; ++t) {
    // Both rows at one place, then each at its own; the last does not fit and changes nothing.
    const std::vector<int32_t> starts{t, t < 2 ? t : t == 2 ? 9 : 256};
    const Array start(starts, {2});
    Arrays args{std::move(cache), full({2, 3, 1, 64}, t + 2.0, Dtype::F32), start};
    cache = step(args)[0];
    EXPECT_EQ(cache.host_data(), where) << "step " << t;
  }
  const std::vector<float> got = cache.to_vector<float>();
  auto at = [&](size_t row, size_t place) { return got[(row * 3 * 256 + place) * 64]; };
  for (size_t t = 0; t < 4; ++t) EXPECT_EQ(at(0, t), static_cast<float>(t + 2));
  EXPECT_EQ(at(1, 1), 3);
  EXPECT_EQ(at(1, 9), 4);
  EXPECT_EQ(at(1, 2), 1);
  EXPECT_EQ(at(1, 255), 1);
}

TEST_F(Mlx, AMappedTableIsNotCopiedForEachRead) {
  // Memory of someone else, as a mapped file is; the word before it is no size.
  constexpr int64_t kRows = 4096, kCols = 1024;
  auto memory = std::make_shared<std::vector<float>>(static_cast<size_t>(kRows * kCols + 16), 1.5f);
  const float* table = memory->data() + 16;
  const Array bytes = Array::wrap(table, {kRows, kCols * 4}, Dtype::U8,
                                  std::shared_ptr<const void>(memory, memory.get()), Memory::Constant);
  const QTensor w = block_tensor(bytes, BlockFormat::F32, {kRows, kCols});
  const Device device = parse_device("mlx");
  for (int i = 0; i < 2; ++i) {
    reset_peak_memory(device);
    const size_t before = memory_stats(device).active;
    const Array ids(std::vector<int32_t>{i, 4095}, {2}), x = full({1, kCols}, 0.5, Dtype::F32);
    EXPECT_EQ(quantized_take(w, ids).to_vector<float>()[0], 1.5f);
    EXPECT_EQ(quantized_matmul(x, w).to_vector<float>()[7], 0.75f * kCols);
    EXPECT_LT(memory_stats(device).peak, before + (size_t{1} << 20)) << "a copy of the table has 16 MiB";
  }
  EXPECT_EQ(bytes.host_data(), table);
}

TEST_F(Mlx, TheCachesUnseenPartDoesNotCount) {
  // Places behind the last token are cut off before libmlx sees them: what lies there, NaN even, is no part
  // of a result, one query or many, with a window or without.
  for (const int64_t tokens : {int64_t{1}, int64_t{5}})
    for (const int64_t window : {int64_t{0}, int64_t{3}}) {
      const int64_t start = 7, end = start + tokens;
      AttentionOptions options;
      options.causal = true;
      options.window = window;
      // Keys and values up to `end`, then `behind`.
      auto result = [&](float behind) {
        uint32_t word = 7;
        auto drawn = [&](int64_t heads, int64_t rows, int64_t filled) {
          std::vector<float> v;
          for (int64_t i = 0; i < heads * rows * 16; ++i) {
            word = word * 1664525u + 1013904223u;
            v.push_back(i / 16 % rows < filled ? static_cast<float>(word >> 8) * 0x1p-23f - 1 : behind);
          }
          return Array(v, {1, heads, rows, 16});
        };
        const Array q = drawn(4, tokens, tokens), k = drawn(2, 32, end), v = drawn(2, 32, end);
        const Array where(std::vector<int32_t>{static_cast<int32_t>(start)}, {1});
        return scaled_dot_product_attention(q, k, v, options, {}, where).to_vector<float>();
      };
      const std::vector<float> got = result(std::numeric_limits<float>::quiet_NaN());
      const DeviceScope host(parse_device("numpy"));
      const std::vector<float> want = result(0);
      ASSERT_EQ(got.size(), want.size());
      for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 2e-6) << i;
    }
}

TEST_F(Mlx, ComplexDoubleIsRefused) {
  EXPECT_THROW(eval({astype(full({2}, 1.0, Dtype::F32), Dtype::C128)}), Error);
}

TEST_F(Mlx, ErrorsOfHostNodesKeepTheirCode) {
  const Array singular = zeros({3, 3});
  try {
    eval({solve(singular, ones({3, 1}))});
    FAIL() << "a singular matrix was solved";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::SingularMatrix) << e.what();
  }
  // The engine goes on.
  EXPECT_EQ(sum(ones({4})).item<float>(), 4);
}

TEST_F(Mlx, LongChainsAreEvaluated) {
  Array a = zeros({2});
  for (int i = 0; i < 20'000; ++i) a = a + 1.0f;
  EXPECT_EQ(a.to_vector<float>()[1], 20'000);
}

TEST_F(Mlx, MemoryLimitIsKept) {
  const Device device = parse_device("mlx");
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

TEST_F(Mlx, AForkedChildIsToldSo) {
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

// Weights that come from outside are re-coded to affine groups; those made in the graph are dequantized as
// they stand. Both are the same weights, so products with rows of the identity have the same bits.
TEST_F(Mlx, RecodedBlocksAreTheSameWeights) {
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
    const QTensor w = block_tensor(Array(bytes, {kRows, row}), format, {kRows, kCols});
    const std::vector<float> got = transpose(quantized_matmul(identity, w)).to_vector<float>();
    std::vector<float> want(static_cast<size_t>(kRows * kCols));
    for (int64_t r = 0; r < kRows; ++r)
      blocks::dequantize_row(format, bytes.data() + r * row, want.data() + r * kCols, kCols);
    for (size_t i = 0; i < want.size(); ++i)
      ASSERT_EQ(got[i], want[i]) << block_format_name(format) << " at " << i;
  }
}

TEST_F(Mlx, KeptFormsDoNotKeepTheirBuffer) {
  const Device device = parse_device("mlx");
  const size_t before = memory_stats(device).active;
  for (int i = 0; i < 3; ++i) {
    // Uploaded bytes are the engine's own; the product keeps a form of them beside.
    const Array bytes = to_device(Array(std::vector<uint8_t>(4 * 256 * 256, 1), {256, 1024}), device);
    eval({quantized_matmul(ones({1, 256}), block_tensor(bytes, BlockFormat::F32, {256, 256}))});
    const Array codes = to_device(Array(std::vector<uint8_t>(256 * 272, 1), {256, 272}), device);
    eval({quantized_matmul(ones({1, 256}), block_tensor(codes, BlockFormat::Q8_0, {256, 256}))});
  }
  clear_cache();
  EXPECT_LE(memory_stats(device).active, before + 4096);
}

}  // namespace
}  // namespace mc
