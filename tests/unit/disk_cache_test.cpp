// Files by key: whole or rebuilt, the least recently used ones go first.
#include "runtime/disk_cache.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "mc/cache.h"
#include "mc/detail/str.h"

namespace mc {
namespace {

namespace fs = std::filesystem;

class DiskCacheTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / cat("mc_cache_", ::getpid());
    setenv("MODELCYPHER_CACHE", root_.c_str(), 1);
  }
  void TearDown() override {
    unsetenv("MODELCYPHER_CACHE");
    fs::remove_all(root_);
  }
  fs::path file(const char* key) const { return root_ / "v1" / "xyz" / key; }
  fs::path root_;
};

TEST_F(DiskCacheTest, GivesBackWhatWasWrittenAndCounts) {
  DiskCache cache("xyz");
  EXPECT_FALSE(cache.read("a"));
  const std::string data("with\0zero\n", 10);
  cache.write("a", data);
  EXPECT_EQ(cache.read("a"), data);
  EXPECT_EQ(cache.read("a"), data);
  const auto kinds = cache_list();
  ASSERT_EQ(kinds.size(), 1u);
  EXPECT_EQ(kinds[0].name, "xyz");
  EXPECT_EQ(kinds[0].files, 1u);
  EXPECT_EQ(kinds[0].hits, 2u);
  EXPECT_EQ(kinds[0].misses, 1u);
}

TEST_F(DiskCacheTest, ASpoiltFileIsAMissAndGoes) {
  DiskCache cache("xyz");
  for (const char* how : {"flipped", "cut", "empty", "foreign"}) {
    cache.write("a", "some data of some length");
    std::string text(static_cast<size_t>(fs::file_size(file("a"))), 0);
    std::ifstream(file("a"), std::ios::binary).read(text.data(), static_cast<std::streamsize>(text.size()));
    if (how[1] == 'l') text.back() ^= 1;
    if (how[1] == 'u') text.resize(text.size() - 3);
    if (how[1] == 'm') text.clear();
    if (how[1] == 'o')
      text = "something else altogether, which is longer than what stands at a file's beginning, by some";
    std::ofstream(file("a"), std::ios::binary) << text;
    EXPECT_FALSE(cache.read("a")) << how;
    EXPECT_FALSE(fs::exists(file("a"))) << how;
  }
}

TEST_F(DiskCacheTest, TheLeastRecentlyUsedGoFirst) {
  DiskCache cache("xyz", 1000);
  const std::string data(250, 'x');  // some 330 bytes with their sum: three fit
  const auto past = [&](const char* key, int hours) {
    fs::last_write_time(file(key), fs::file_time_type::clock::now() - std::chrono::hours(hours));
  };
  cache.write("a", data);
  past("a", 3);
  cache.write("b", data);
  past("b", 2);
  cache.write("c", data);
  past("c", 1);
  EXPECT_TRUE(cache.read("a"));  // used now
  cache.write("d", data);
  EXPECT_TRUE(fs::exists(file("a")));
  EXPECT_FALSE(fs::exists(file("b")));
  EXPECT_TRUE(fs::exists(file("c")));
  EXPECT_TRUE(fs::exists(file("d")));
}

TEST_F(DiskCacheTest, AFolderThatCantBeWrittenIsNoError) {
  fs::create_directories(root_);
  std::ofstream(root_ / "v1") << "in the way";
  DiskCache cache("xyz");
  cache.write("a", "data");
  EXPECT_FALSE(cache.read("a"));
}

}  // namespace
}  // namespace mc
