// safetensors: what is written is read again, and no bytes harm the reader.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <random>

#include "mc/detail/str.h"
#include "mc/mc.h"
#include "mc/safetensors.h"
#include "mc/sha256.h"

namespace mc {
namespace {

std::vector<std::byte> file_of(std::string_view header, size_t data) {
  const uint64_t n = header.size();
  std::vector<std::byte> out(8 + n + data);
  std::memcpy(out.data(), &n, 8);
  std::memcpy(out.data() + 8, header.data(), n);
  return out;
}
std::string refusal(const std::vector<std::byte>& bytes) {
  try {
    SafetensorsFile::from_memory(bytes);
  } catch (const Error& e) {
    EXPECT_TRUE(e.code() == ErrorCode::BadFormat || e.code() == ErrorCode::Truncated) << e.what();
    return e.message();
  }
  return "read";
}

TEST(Safetensors, WrittenIsReadAgain) {
  SafetensorsWriter w;
  w.add("small", Array({1, 2, 3}, {3}));
  w.add("wide", astype(Array({1.5f, -2.5f}, {1, 2}), Dtype::F64));
  w.add("half", astype(Array({1.5f, -2.5f}, {2, 1}), Dtype::BF16));
  w.add("none", zeros({0, 4}, Dtype::F32));
  w.set_metadata("who", "a \"test\"");
  const std::vector<std::byte> bytes = w.to_bytes();
  const auto f = SafetensorsFile::from_memory(bytes);
  ASSERT_EQ(f->tensors().size(), 4u);
  EXPECT_EQ(f->metadata().at("who"), "a \"test\"");
  EXPECT_EQ(f->require("wide").offset, 0u);
  EXPECT_EQ(f->require("half").type, "BF16");
  EXPECT_EQ(f->require("none").shape, (Shape{0, 4}));
  EXPECT_EQ(f->array(f->require("half")).dtype(), Dtype::BF16);
  const auto path =
      (std::filesystem::temp_directory_path() / cat("mc_st_", ::getpid(), ".safetensors")).string();
  const auto written = w.write(path);
  EXPECT_EQ(written.bytes, bytes.size());
  EXPECT_EQ(written.sha256, sha256_hex(bytes));
  const auto g = SafetensorsFile::open(path);
  EXPECT_EQ(0, std::memcmp(g->bytes().data(), bytes.data(), bytes.size()));
  std::filesystem::remove(path);
  EXPECT_THROW(w.add("small", Array({1}, {1})), Error);
}

TEST(Safetensors, FaultsAreNamed) {
  const std::string good = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  EXPECT_EQ(refusal(file_of(good, 8)), "read");
  const std::tuple<const char*, size_t, const char*> cases[] = {
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 7, "ends before"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 9, "belong to none"},
      {R"({"a":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}})", 8, "unknown dtype"},
      {R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8, "takes 12"},
      {R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8, "-2"},
      {R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0, "too large"},
      {R"({"a":{"dtype":"F32","shape":[0,9223372036854775807,9],"data_offsets":[0,0]}})", 0, "too large"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8, "no range"},
      {R"({"a":{"dtype":"F32","shape":[2]}})", 8, "data_offsets"},
      {R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[3,7]}})",
       7, "within the one before"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
       2, "there twice"},
      {R"({"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1, "twice"},
      {R"({"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}})", 1, "more than"},
      {R"({"a":[[[[]]]]})", 0, "where none belongs"},
      {R"({"a":{"b":{"c":1}}})", 0, "nests"},
      {R"({"a":3})", 0, "where none belongs"},
      {R"([1,2,3])", 0, "begin with"},
      {R"({"a":)", 0, "not JSON"}};
  for (const auto& [header, data, words] : cases)
    EXPECT_NE(refusal(file_of(header, data)).find(words), std::string::npos)
        << header << ": " << refusal(file_of(header, data));
}

TEST(Safetensors, DamagedBytesNeverHarm) {
  SafetensorsWriter w;
  const std::vector<float> values(64, 1);
  for (const char* name : {"a", "b", "model.layers.0.weight"}) w.add(name, Array(values, {8, 8}));
  w.set_metadata("format", "pt");
  const std::vector<std::byte> whole = w.to_bytes();
  const size_t head = whole.size() - 3 * 256;
  std::mt19937 random(7);
  size_t read = 0;
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::byte> b = whole;
    for (unsigned n = 1 + random() % 4; n > 0; --n) b[random() % head] = static_cast<std::byte>(random());
    if (random() % 4 == 0) b.resize(random() % b.size());
    try {
      const auto f = SafetensorsFile::from_memory(b);
      for (const SafetensorsTensor& t : f->tensors())
        if (t.dtype) {
          EXPECT_EQ(f->array(t).nbytes(), t.data.size());
        }
      ++read;
    } catch (const Error& e) {
      EXPECT_TRUE(e.code() == ErrorCode::BadFormat || e.code() == ErrorCode::Truncated) << e.what();
    }
  }
  EXPECT_LT(read, 20000u);
}

}  // namespace
}  // namespace mc
