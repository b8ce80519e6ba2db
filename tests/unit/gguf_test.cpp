// GGUF files: read against files of the `gguf` package, written and read again, and broken in thousands of
// ways.
#include "mc/gguf.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <new>
#include <sstream>

#include "mc/detail/str.h"
#include "mc/error.h"

// The largest single allocation since it was reset: a hostile count must not become a wild one.
static thread_local size_t g_largest = 0;
// Not inlined, or the compiler sees malloc paired with delete and warns.
__attribute__((noinline)) void* operator new(size_t n) {
  if (n > g_largest) g_largest = n;
  if (void* p = std::malloc(n ? n : 1)) return p;
  throw std::bad_alloc();
}
__attribute__((noinline)) void operator delete(void* p) noexcept { std::free(p); }
__attribute__((noinline)) void operator delete(void* p, size_t) noexcept { std::free(p); }

namespace mc {
namespace {

std::string source_dir() {
  const char* s = std::getenv("MC_SOURCE_DIR");
  return s ? s : ".";
}
std::string golden(const std::string& name) { return source_dir() + "/tests/golden/gguf/" + name; }

struct TempDir {
  TempDir() {
    std::string t = (std::filesystem::temp_directory_path() / "mc-gguf-XXXXXX").string();
    if (!::mkdtemp(t.data())) throw std::runtime_error("mkdtemp");
    path = t;
  }
  ~TempDir() { std::filesystem::remove_all(path); }
  std::string path;
};

std::vector<std::byte> counting(size_t n) {
  std::vector<std::byte> v(n);
  for (size_t i = 0; i < n; ++i) v[i] = static_cast<std::byte>(i % 251);
  return v;
}
std::vector<std::byte> slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string s{std::istreambuf_iterator<char>(in), {}};
  std::vector<std::byte> v(s.size());
  std::memcpy(v.data(), s.data(), s.size());
  return v;
}

Error error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e;
  }
  return Error(ErrorCode::Internal, "nothing was thrown");
}
#define EXPECT_ERROR(statement, wanted, part)                                                     \
  do {                                                                                            \
    Error e_ = error_of([&] { statement; });                                                      \
    EXPECT_EQ(e_.code(), ErrorCode::wanted) << e_.what();                                         \
    EXPECT_NE(std::string(e_.what()).find(part), std::string::npos) << e_.what() << "\n" << part; \
  } while (0)

TEST(Gguf, ReadsWhatThePythonPackageWrote) {
  auto f = GgufFile::open(golden("small.gguf"));
  EXPECT_EQ(f->version(), 3U);
  EXPECT_EQ(f->alignment(), 32U);
  EXPECT_EQ(f->require_string("general.architecture"), "llama");
  EXPECT_EQ(f->require_u32("t.u8"), 200U);
  EXPECT_EQ(f->find("t.i8")->as_i64(), -100);
  EXPECT_EQ(f->require_u32("t.u16"), 60000U);
  EXPECT_EQ(f->find("t.i16")->as_i64(), -30000);
  EXPECT_EQ(f->require_u32("t.u32"), 4000000000U);
  EXPECT_EQ(f->find("t.i32")->as_i64(), -2000000000);
  EXPECT_EQ(f->require_u64("t.u64"), (uint64_t{1} << 63) + 5);
  EXPECT_EQ(f->find("t.u64")->as_i64(), std::nullopt);
  EXPECT_EQ(f->find("t.i64")->as_i64(), -(int64_t{1} << 62));
  EXPECT_EQ(f->require_f32("t.f32"), 1.5F);
  EXPECT_EQ(f->find("t.f64")->as_f64(), 0.1);
  EXPECT_TRUE(f->require_bool("t.yes"));
  EXPECT_FALSE(f->require_bool("t.no"));
  EXPECT_EQ(f->require_string("t.string"), "naïve 日本");
  EXPECT_EQ(f->require_array("t.i32s", GgufType::I32).integers(), (std::vector<int64_t>{1, -2, 3}));
  EXPECT_EQ(f->require_array("t.f32s", GgufType::F32).floats(), (std::vector<float>{0.5F, -1.25F}));
  EXPECT_EQ(f->require_array("t.strings", GgufType::String).strings(),
            (std::vector<std::string_view>{"a", "", "ĠĊ"}));
  EXPECT_EQ(f->find("t.strings")->str(2), "[\"a\", \"\", … 3 string]");
  EXPECT_EQ(f->find("t.i32s")->str(), "[1, -2, 3]");

  const GgufTensor& t = f->require_tensor("f32");
  EXPECT_EQ(t.ggml_dims, (Shape{3, 2}));
  EXPECT_EQ(t.shape, (Shape{2, 3}));
  ASSERT_EQ(t.data.size(), 24U);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(t.data.data()) % 32, 0U);
  float v[6];
  std::memcpy(v, t.data.data(), sizeof v);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(v[i], static_cast<float>(i));
  for (std::string_view name : {"q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q4_k", "q5_k", "q6_k"}) {
    const GgufTensor& q = f->require_tensor(name);
    EXPECT_EQ(q.shape, (Shape{2, 256})) << name;
    auto want = counting(q.data.size());
    EXPECT_EQ(std::memcmp(q.data.data(), want.data(), want.size()), 0) << name;
  }
  EXPECT_NO_THROW(f->require_computable());
}

TEST(Gguf, WritesWhatThePythonPackageWrote) {
  auto f = GgufFile::open(golden("small.gguf"));
  GgufWriter w;
  w.set_string("general.architecture", "llama");
  w.set_u8("t.u8", 200);
  w.set_i8("t.i8", -100);
  w.set_u16("t.u16", 60000);
  w.set_i16("t.i16", -30000);
  w.set_u32("t.u32", 4000000000U);
  w.set_i32("t.i32", -2000000000);
  w.set_u64("t.u64", (uint64_t{1} << 63) + 5);
  w.set_i64("t.i64", -(int64_t{1} << 62));
  w.set_f32("t.f32", 1.5F);
  w.set_f64("t.f64", 0.1);
  w.set_bool("t.yes", true);
  w.set_bool("t.no", false);
  w.set_string("t.string", "naïve 日本");
  w.set_i32s("t.i32s", std::vector<int32_t>{1, -2, 3});
  w.set_f32s("t.f32s", std::vector<float>{0.5F, -1.25F});
  w.set_strings("t.strings", std::vector<std::string>{"a", "", "ĠĊ"});
  for (const GgufTensor& t : f->tensors())
    w.add_tensor(t.name, t.type, std::span(t.ggml_dims.begin(), t.ggml_dims.end()), t.data);
  EXPECT_TRUE(w.to_bytes() == slurp(golden("small.gguf")));
}

TEST(Gguf, SizesOfTypesAreThePythonPackages) {
  std::ifstream in(golden("types.txt"));
  uint32_t id = 0, elements = 0, bytes = 0;
  std::string name;
  int rows = 0;
  while (in >> id >> name >> elements >> bytes) {
    ++rows;
    const GgmlTypeInfo* info = ggml_type_info(static_cast<GgmlType>(id));
    ASSERT_NE(info, nullptr) << name;
    EXPECT_EQ(info->name, name);
    EXPECT_EQ(info->block_elements, elements) << name;
    EXPECT_EQ(info->block_bytes, bytes) << name;
  }
  EXPECT_GE(rows, 30);
  EXPECT_EQ(ggml_type_name(static_cast<GgmlType>(77)), "type 77");
}

// A file with everything in it, small enough to break everywhere.
std::vector<std::byte> small_file(uint32_t alignment = 32) {
  static const std::vector<std::byte> data = counting(4096);
  GgufWriter w(alignment);
  w.set_string("general.architecture", "llama");
  w.set_u32("llama.block_count", 30);
  w.set_i64("neg", -5);
  w.set_f64("d", 2.5);
  w.set_bool("flag", true);
  w.set_strings("tokens", std::vector<std::string>{"a", "bc", "", "déf"});
  w.set_f32s("scores", std::vector<float>{1, 2, 3, 4});
  w.set_u8s("bytes", std::vector<uint8_t>{1, 2, 3});
  const int64_t d1[] = {3, 5}, d2[] = {32, 2}, d3[] = {256}, d4[] = {1, 2, 3, 4};
  w.add_tensor("a", GgmlType::F32, d1, std::span(data).first(60));
  w.add_tensor("b", GgmlType::Q4_0, d2, std::span(data).first(36));
  w.add_tensor("c", GgmlType::Q6_K, d3, std::span(data).first(210));
  w.add_tensor("d", GgmlType::F16, d4, std::span(data).first(48));
  w.add_tensor("scalar", GgmlType::F32, {}, std::span(data).first(4));
  return w.to_bytes();
}

// A hand-built file, for what the writer refuses to write.
struct Raw {
  std::string s = "GGUF";
  template <class T>
  Raw& num(T v) {
    s.append(reinterpret_cast<const char*>(&v), sizeof v);
    return *this;
  }
  Raw& str(std::string_view t) {
    num<uint64_t>(t.size());
    s.append(t);
    return *this;
  }
  Raw& head(uint64_t tensors, uint64_t keys, uint32_t version = 3) {
    return num(version).num(tensors).num(keys);
  }
  Raw& key(std::string_view k, uint32_t type) { return str(k).num(type); }
  Raw& tensor(std::string_view name, std::vector<uint64_t> dims, uint32_t type, uint64_t offset) {
    str(name).num(static_cast<uint32_t>(dims.size()));
    for (uint64_t d : dims) num(d);
    return num(type).num(offset);
  }
  Raw& pad(size_t data) {
    s.resize((s.size() + 31) / 32 * 32 + data, '\0');
    return *this;
  }
  std::shared_ptr<GgufFile> open() const {
    return GgufFile::from_memory({reinterpret_cast<const std::byte*>(s.data()), s.size()});
  }
};

TEST(Gguf, TypedGettersNameKeyAndFile) {
  auto bytes = small_file();
  auto f = GgufFile::from_memory(bytes, "m.gguf");
  EXPECT_EQ(f->u32("llama.block_count", 1), 30U);
  EXPECT_EQ(f->u32("nothing", 7), 7U);
  EXPECT_EQ(f->f32("nothing", 0.5F), 0.5F);
  EXPECT_EQ(f->f32("d", 0.5F), 2.5F);
  EXPECT_EQ(f->string("nothing", "x"), "x");
  EXPECT_TRUE(f->boolean("nothing", true));
  EXPECT_ERROR(f->require_u32("llama.head_count"), BadModel,
               "m.gguf: the metadata key \"llama.head_count\" is missing");
  EXPECT_ERROR(f->require_u32("neg"), BadModel,
               "\"neg\" must be an integer from 0 to 4294967295, but it is i64 -5");
  EXPECT_ERROR(f->u32("flag", 1), BadModel, "bool true");
  EXPECT_ERROR(f->string("tokens", ""), BadModel, "an array");
  EXPECT_ERROR(f->require_array("scores", GgufType::I32), BadModel, "an array of f32");
  EXPECT_ERROR(f->require_array("flag", GgufType::I32), BadModel, "must be an array of i32, but it is bool");
  EXPECT_ERROR(f->require_tensor("zz"), BadModel, "\"zz\" is missing");
  EXPECT_EQ(f->find_tensor("scalar")->shape.size(), 0);
  EXPECT_EQ(f->find_tensor("d")->shape, (Shape{4, 3, 2, 1}));
}

TEST(Gguf, FilesThatAreNone) {
  TempDir dir;
  EXPECT_ERROR(GgufFile::open(dir.path + "/none.gguf"), FileNotFound, "none.gguf");
  EXPECT_ERROR(GgufFile::open(dir.path), FileRead, "folder");
  std::string fifo = dir.path + "/fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_ERROR(GgufFile::open(fifo), FileRead, "not a regular file");
  std::string empty = dir.path + "/empty.gguf";
  std::ofstream(empty).close();
  EXPECT_ERROR(GgufFile::open(empty), Truncated, "empty");
  auto memory = [](std::string_view s) {
    return GgufFile::from_memory({reinterpret_cast<const std::byte*>(s.data()), s.size()});
  };
  EXPECT_ERROR(memory("<!DOCTYPE html>"), BadFormat, "web page");
  EXPECT_ERROR(memory("PK\x03\x04"), BadFormat, "zip");
  EXPECT_ERROR(memory("GG"), Truncated, "actual 2");
  EXPECT_ERROR(memory("GGUF\x03"), Truncated, "expected at least 8 bytes, actual 5");
  EXPECT_ERROR(Raw().head(0, 0, 1).open(), BadFormat, "GGUF version 1 ");
  EXPECT_ERROR(Raw().head(0, 0, 4).open(), BadFormat, "GGUF version 4 ");
  EXPECT_ERROR(Raw().head(0, 0, 0x03000000).open(), BadFormat, "big-endian");
  EXPECT_NO_THROW(Raw().head(0, 0, 2).open());
}

TEST(Gguf, EveryTruncationIsToldWithBothSizes) {
  auto bytes = small_file();
  for (size_t n = 1; n < bytes.size(); ++n) {
    // Padding after the last tensor is not needed.
    std::vector<std::byte> cut(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(n));
    Error e = error_of([&] { GgufFile::from_memory(cut); });
    if (e.code() == ErrorCode::Internal) {
      EXPECT_GT(n + 32, bytes.size());
      continue;
    }
    ASSERT_EQ(e.code(), ErrorCode::Truncated) << n << " " << e.what();
    ASSERT_NE(std::string(e.what()).find(cat("actual ", n)), std::string::npos) << e.what();
    ASSERT_NE(std::string(e.what()).find("expected "), std::string::npos) << e.what();
  }
}

TEST(Gguf, CountsAndLengthsThatLie) {
  constexpr uint64_t kHuge = ~uint64_t{0};
  EXPECT_ERROR(Raw().head(0, kHuge).open(), BadFormat, "metadata keys");
  EXPECT_ERROR(Raw().head(kHuge, 0).open(), BadFormat, "tensors");
  EXPECT_ERROR(Raw().head(0, 900'000).open(), Truncated, "actual 24");
  EXPECT_ERROR(Raw().head(900'000, 0).open(), Truncated, "actual 24");
  EXPECT_ERROR(Raw().head(0, 1).num(kHuge).num(kHuge).open(), BadFormat, "impossible length");
  EXPECT_ERROR(Raw().head(0, 1).key("k", 8).num(kHuge).open(), BadFormat, "impossible length");
  EXPECT_ERROR(Raw().head(0, 1).key("k", 13).num(kHuge).open(), BadFormat, "\"k\" has unknown type 13");
  EXPECT_ERROR(Raw().head(0, 1).key("k", 7).num<uint8_t>(2).open(), BadFormat, "neither 0 nor 1");
  EXPECT_ERROR(Raw().head(0, 1).key("", 7).num<uint64_t>(0).open(), BadFormat, "has 0 bytes");
  // 2^61 elements of 8 bytes wrap to 0.
  EXPECT_ERROR(Raw().head(0, 1).key("k", 9).num<uint32_t>(10).num(uint64_t{1} << 61).open(), BadFormat,
               "impossible count");
  EXPECT_ERROR(Raw().head(0, 1).key("k", 9).num<uint32_t>(8).num(uint64_t{1} << 40).open(), Truncated,
               "expected at least");
  EXPECT_ERROR(Raw().head(0, 2).key("k", 0).num<uint8_t>(1).key("k", 0).num<uint8_t>(1).open(), BadFormat,
               "\"k\" is there twice");
  EXPECT_ERROR(Raw().head(2, 0).tensor("t", {1}, 0, 0).tensor("t", {1}, 0, 32).pad(64).open(), BadFormat,
               "\"t\" is there twice");
  EXPECT_ERROR(Raw().head(1, 0).tensor("t", {1, 1, 1, 1, 1}, 0, 0).pad(64).open(), BadFormat, "5 dimensions");
  EXPECT_ERROR(Raw().head(1, 0).tensor("t", {kHuge}, 0, 0).pad(64).open(), BadFormat, "too large");
  EXPECT_ERROR(Raw().head(1, 0).tensor("t", {uint64_t{1} << 32, uint64_t{1} << 32}, 0, 0).pad(64).open(),
               BadFormat, "product");
  EXPECT_ERROR(Raw().head(1, 0).tensor("t", {0, uint64_t{1} << 62, uint64_t{1} << 62}, 0, 0).pad(64).open(),
               BadFormat, "product");
  EXPECT_ERROR(Raw().head(1, 0).tensor("t", {8}, 0, 8).pad(64).open(), BadFormat,
               "no multiple of the alignment 32");
  EXPECT_ERROR(Raw().head(1, 0).tensor("t", {8}, 0, kHuge - 31).pad(64).open(), BadFormat,
               "impossible offset");
  EXPECT_ERROR(Raw().head(1, 0).tensor("t", {8}, 0, 64).pad(64).open(), Truncated, "actual");
  EXPECT_ERROR(Raw().head(1, 0).tensor("t", {33}, 2, 0).pad(64).open(), BadFormat, "no multiple of 32");
  EXPECT_ERROR(Raw().head(2, 0).tensor("t", {16}, 0, 0).tensor("u", {1}, 0, 32).pad(64).open(), BadFormat,
               "\"t\" and \"u\" overlap");
  for (uint32_t a : {0U, 1U, 4U, 24U, 33U})
    EXPECT_ERROR(Raw().head(0, 1).key("general.alignment", 4).num(a).open(), BadFormat, "power of two");
  EXPECT_ERROR(Raw().head(0, 1).key("general.alignment", 8).str("32").open(), BadFormat, "power of two");
}

TEST(Gguf, NestedArraysAreBounded) {
  auto nested = [](int depth) {
    Raw r;
    r.head(0, 1).key("k", 9);
    for (int i = 1; i < depth; ++i) r.num<uint32_t>(9).num<uint64_t>(1);
    return r.num<uint32_t>(0).num<uint64_t>(2).num<uint8_t>(7).num<uint8_t>(8);
  };
  auto f = nested(4).s;
  auto g = GgufFile::from_memory({reinterpret_cast<const std::byte*>(f.data()), f.size()});
  EXPECT_EQ(g->find("k")->str(), "[[[[7, 8]]]]");
  auto inner = g->find("k")->arrays().at(0).arrays().at(0).arrays().at(0);
  EXPECT_EQ(inner.integers(), (std::vector<int64_t>{7, 8}));
  EXPECT_ERROR(nested(5).open(), BadFormat, "nests arrays deeper than 4");
  EXPECT_ERROR(nested(10000).open(), BadFormat, "nests arrays deeper than 4");
}

TEST(Gguf, TypesThatCantBeComputedAreToldOnUse) {
  Raw r;
  r.head(3, 0).tensor("good", {1}, 0, 0).tensor("odd", {7}, 77, 32).tensor("iq", {256}, 16, 64).pad(64 + 66);
  auto f = r.open();
  EXPECT_EQ(f->find_tensor("iq")->data.size(), 66U);
  EXPECT_TRUE(f->find_tensor("odd")->data.empty());
  EXPECT_ERROR(f->require_tensor("iq"), BadModel, "IQ2_XXS");
  EXPECT_ERROR(f->require_tensor("odd"), BadModel, "type 77");
  EXPECT_ERROR(f->require_computable(), BadModel, "IQ2_XXS (1 tensors, for example iq), type 77 (1 tensors");
  EXPECT_NO_THROW(f->require_tensor("good"));
}

TEST(Gguf, MessagesEscapeWhatTheFileSays) {
  EXPECT_ERROR(Raw().head(0, 1).key("a\x1b[2J\n", 99).num(0).open(), BadFormat, "\"a\\x1b[2J\\n\"");
}

// Reads everything that a user could read.
size_t use(const GgufFile& f) {
  size_t n = 0;
  for (const auto& [key, v] : f.metadata()) {
    n += key.size() + v.str().size() + v.integers().size() + v.floats().size() + v.arrays().size();
    for (std::string_view s : v.strings())
      for (char c : s) n += static_cast<unsigned char>(c);
    EXPECT_EQ(f.find(key), &v);
  }
  for (const GgufTensor& t : f.tensors()) {
    for (std::byte b : t.data) n += static_cast<size_t>(b);
    EXPECT_EQ(f.find_tensor(t.name), &t);
  }
  try {
    f.require_computable();
  } catch (const Error&) {
    ++n;
  }
  return n;
}

struct Rng {
  uint64_t s;
  uint64_t operator()() {
    s += 0x9E3779B97F4A7C15ULL;
    uint64_t z = s;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }
};

TEST(Gguf, ThousandsOfBrokenFilesGiveErrorsAndNothingElse) {
  const auto valid = small_file();
  constexpr uint64_t kOdd[] = {0,          1,          2,          7,          8,          9,
                               31,         32,         255,        65535,      1ULL << 31, 0xFFFFFFFF,
                               1ULL << 32, 1ULL << 44, 1ULL << 60, 1ULL << 61, 1ULL << 62, 1ULL << 63,
                               ~0ULL - 31, ~0ULL - 7,  ~0ULL};
  size_t opened = 0, refused = 0, seen = 0;
  for (uint64_t seed = 0; seed < 20'000; ++seed) {
    Rng rng{seed};
    std::vector<std::byte> b = valid;
    for (uint64_t k = 1 + rng() % 3; k > 0; --k) {
      size_t at = rng() % b.size();
      switch (rng() % 7) {
        case 0: b[at] ^= static_cast<std::byte>(1U << (rng() % 8)); break;
        case 1: b[at] = static_cast<std::byte>(rng()); break;
        case 2:
        case 3: {
          uint64_t v = kOdd[rng() % std::size(kOdd)];
          size_t width = rng() % 2 ? 8 : 4;
          if (at + width <= b.size()) std::memcpy(&b[at], &v, width);
          break;
        }
        case 4: b.resize(at + 1); break;
        case 5: b.erase(b.begin() + static_cast<ptrdiff_t>(at)); break;
        default: b.insert(b.begin() + static_cast<ptrdiff_t>(at), static_cast<std::byte>(rng())); break;
      }
      if (b.empty()) b.push_back(std::byte{0});
    }
    b.shrink_to_fit();
    g_largest = 0;
    try {
      seen += use(*GgufFile::from_memory(b));
      ++opened;
    } catch (const Error& e) {
      ++refused;
      ASSERT_TRUE(e.code() == ErrorCode::BadFormat || e.code() == ErrorCode::Truncated)
          << seed << " " << e.what();
    }
    // Tables hold at most one row for every 13 bytes of the file, and a row is below 400 bytes.
    ASSERT_LT(g_largest, 40 * valid.size()) << seed;
  }
  EXPECT_GT(opened, 1000U);
  EXPECT_GT(refused, 5000U);
  EXPECT_GT(seen, 0U);
}

TEST(GgufWriter, FilesAreWholeOrNotThere) {
  TempDir dir;
  std::string path = dir.path + "/x.gguf";
  GgufWriter w;
  w.set_u32("a", 1);
  w.write(path);
  EXPECT_EQ(GgufFile::open(path)->require_u32("a"), 1U);
  GgufWriter again;
  again.set_u32("a", 2);
  auto mapped = GgufFile::open(path);
  again.write(path);
  EXPECT_EQ(mapped->require_u32("a"), 1U);  // the old file lives while it is mapped
  EXPECT_EQ(GgufFile::open(path)->require_u32("a"), 2U);
  EXPECT_ERROR(w.write(dir.path + "/no/x.gguf"), FileWrite, "x.gguf");
  ASSERT_TRUE(std::filesystem::create_directory(dir.path + "/folder"));
  EXPECT_ERROR(w.write(dir.path + "/folder"), FileWrite, "rename");
  size_t files = 0;
  for ([[maybe_unused]] const auto& e : std::filesystem::directory_iterator(dir.path)) ++files;
  EXPECT_EQ(files, 2U);  // no temporary file is left
}

TEST(GgufWriter, RefusesWhatItCantWrite) {
  GgufWriter w;
  auto data = counting(64);
  const int64_t d8[] = {8}, d16[] = {16}, dneg[] = {-1}, d5[] = {1, 1, 1, 1, 1}, d40[] = {40};
  w.set_u32("a", 1);
  EXPECT_ERROR(w.set_u32("a", 1), InvalidArgument, "twice");
  EXPECT_ERROR(w.set_u32("", 1), InvalidArgument, "0");
  EXPECT_ERROR(w.set_u32("general.alignment", 64), InvalidArgument, "constructor");
  EXPECT_ERROR(w.add_tensor("t", GgmlType::F32, d8, data), InvalidArgument,
               "needs 32 bytes, but 64 are given");
  EXPECT_ERROR(w.add_tensor("t", GgmlType::F32, dneg, data), InvalidArgument, "negative");
  EXPECT_ERROR(w.add_tensor("t", GgmlType::F32, d5, data), InvalidArgument, "5 dimensions");
  EXPECT_ERROR(w.add_tensor("t", GgmlType::Q8_0, d40, data), InvalidArgument, "no multiple of 32");
  EXPECT_ERROR(w.add_tensor("t", static_cast<GgmlType>(99), d8, data), InvalidArgument, "type 99");
  w.add_tensor("t", GgmlType::F32, d16, data);
  EXPECT_ERROR(w.add_tensor("t", GgmlType::F32, d16, data), InvalidArgument, "twice");
  EXPECT_ERROR(GgufWriter(4), InvalidArgument, "power of two");
  EXPECT_ERROR(GgufWriter(48), InvalidArgument, "power of two");
}

TEST(GgufWriter, OtherAlignmentsAndCopiedValues) {
  auto bytes = small_file(256);
  auto f = GgufFile::from_memory(bytes);
  EXPECT_EQ(f->alignment(), 256U);
  GgufWriter w(256);
  for (const auto& [key, v] : f->metadata())
    if (key != "general.alignment") w.set(key, v);
  for (const GgufTensor& t : f->tensors())
    w.add_tensor(t.name, t.type, std::span(t.ggml_dims.begin(), t.ggml_dims.end()), t.data);
  EXPECT_TRUE(w.to_bytes() == bytes);
}

TEST(GgufModels, TheRealFilesOpen) {
  const char* models = std::getenv("MC_MODELS");
  if (!models || !*models) GTEST_SKIP() << "MC_MODELS is not set";
  struct Row {
    const char *file, *architecture;
    size_t keys, tensors, tokens;
  };
  for (const Row& r :
       {Row{"smollm2.gguf", "llama", 30, 272, 49152}, Row{"gemma3.gguf", "gemma3", 30, 236, 262144}}) {
    std::string path = cat(models, "/", r.file);
    ASSERT_TRUE(std::filesystem::exists(path)) << path << " is missing though MC_MODELS is set";
    auto f = GgufFile::open(path);
    EXPECT_EQ(f->require_string("general.architecture"), r.architecture);
    EXPECT_EQ(f->tensors().size(), r.tensors);
    EXPECT_EQ(f->require_array("tokenizer.ggml.tokens", GgufType::String).strings().size(), r.tokens);
    EXPECT_NO_THROW(f->require_computable());
  }
}

}  // namespace
}  // namespace mc
