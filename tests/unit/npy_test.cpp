// .npy and .npz as we write them, read back; tests/models/test_measures.py reads NumPy's own.
#include "mc/npy.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "mc/error.h"
#include "mc/ops.h"

namespace mc {
namespace {

std::string temporary(const char* name) {
  return (std::filesystem::path(::testing::TempDir()) / name).string();
}

TEST(Npy, WhatIsWrittenIsReadBack) {
  const std::string path = temporary("npy_test.npy");
  for (Dtype d : {Dtype::Bool, Dtype::I8, Dtype::U16, Dtype::I64, Dtype::F16, Dtype::F32, Dtype::F64}) {
    const Array a = astype(reshape(arange(0, 24, 1, Dtype::I32), {2, 3, 4}), d).eval();
    write_npy(path, a);
    const Array b = read_npy(path);
    EXPECT_EQ(b.dtype(), d);
    EXPECT_EQ(b.shape(), a.shape());
    EXPECT_TRUE(all(equal(a, b)).item<bool>());
  }
  const Array scalar(std::vector<float>{2.5F}, Shape{});
  write_npy(path, scalar);
  EXPECT_EQ(read_npy(path).item<float>(), 2.5F);
}

TEST(Npy, AnArchiveKeepsNamesAndOrder) {
  const std::string path = temporary("npy_test.npz");
  const Array a(std::vector<float>{1, 2, 3}, Shape{3}), b(std::vector<int64_t>{-4}, Shape{1, 1});
  write_npz(path, {{"zuletzt", a}, {"häuser", b}, {"arr_0", a}});
  const auto read = read_npz(path);
  ASSERT_EQ(read.size(), 3U);
  EXPECT_EQ(read[0].first, "zuletzt");
  EXPECT_EQ(read[1].first, "häuser");
  EXPECT_EQ(read[1].second.item<int64_t>(), -4);
  EXPECT_EQ(read[2].second.to_vector<float>(), (std::vector<float>{1, 2, 3}));
  // Bit 11 of the flags says that a name is UTF-8; NumPy takes it for code page 437 without.
  std::ifstream in(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  const size_t at = bytes.find("häuser.npy");
  ASSERT_NE(at, std::string::npos);
  EXPECT_EQ(bytes[at - 30 + 7], 0x08);
  EXPECT_EQ(bytes[bytes.find("zuletzt.npy") - 30 + 7], 0);
}

TEST(Npy, AnArchiveThatCouldNotBeReadBackIsRefused) {
  const std::string path = temporary("npy_refused.npz");
  const Array a(std::vector<float>{1}, Shape{1});
  EXPECT_THROW(write_npz(path, {{"x", a}, {"x", a}}), Error);
  EXPECT_THROW(write_npz(path, std::vector<std::pair<std::string, Array>>(65535, {"x", a})), Error);
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace mc
