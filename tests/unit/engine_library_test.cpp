// Engines in shared libraries: found, loaded once, refused when they are not ours.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "mc/mc.h"
#include "runtime/engine_entry.h"
#include "runtime/engine_library.h"
#include "runtime/registry.h"

namespace mc {
namespace {

namespace fs = std::filesystem;

// A folder that is sought first while this lives.
class Folder {
 public:
  Folder() : path_(fs::temp_directory_path() / cat("mc_engines_", ::getpid())) {
    fs::create_directories(path_);
    setenv("MODELCYPHER_ENGINE_PATH", cat("/no/such/folder:", path_.string()).c_str(), 1);
  }
  ~Folder() {
    unsetenv("MODELCYPHER_ENGINE_PATH");
    fs::remove_all(path_);
  }
  fs::path file(const char* engine) const { return path_ / cat("libmc_engine_", engine, ".so"); }

 private:
  fs::path path_;
};

EngineRow row(const char* name) {
  return {name, false, true, 9, "it is required for its backend", "this build has none", "build it", nullptr};
}
std::string refusal(const EngineRow& r) {
  try {
    load_engine(r);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::BackendMissing);
    EXPECT_EQ(std::string(e.what()).rfind("it is required for its backend: ", 0), 0u) << e.what();
    EXPECT_FALSE(e.next().empty());
    return e.what();
  }
  return "loaded";
}

TEST(EngineLibrary, IsLoadedOnceAndByName) {
  Backend& first = get_backend("null");
  EXPECT_EQ(&first, &get_backend("null"));
  EXPECT_EQ(first.name(), "null");
}

TEST(EngineLibrary, WhatIsNotThereSaysWhatToDo) {
  const std::string missing = refusal(row("nowhere"));
  EXPECT_EQ(
      missing.find(
          "it is required for its backend: this build has none: there is no libmc_engine_nowhere.so in /"),
      0u)
      << missing;
}

TEST(EngineLibrary, WhatIsNoLibraryIsRefused) {
  Folder folder;
  std::ofstream(folder.file("text")) << "no library";
  EXPECT_NE(refusal(row("text")).find("can't be loaded"), std::string::npos);
}

// The file that a symbol of this process comes from.
std::string file_of(const void* symbol) {
  Dl_info info;
  EXPECT_NE(dladdr(symbol, &info), 0);
  return info.dli_fname;
}

TEST(EngineLibrary, ALibraryWithoutTheEntryIsRefused) {
  Folder folder;
  fs::copy_file(file_of(dlsym(RTLD_DEFAULT, "cos")), folder.file("other"));
  EXPECT_NE(refusal(row("other")).find("is no engine of ModelCypher"), std::string::npos);
}

TEST(EngineLibrary, AnotherAbiIsNotCalled) {
  const fs::path home = fs::path(file_of(reinterpret_cast<const void*>(&get_backend))).parent_path();
  void* library = dlopen((home / "libmc_engine_null.so").c_str(), RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(library, nullptr) << dlerror();
  const auto entry = reinterpret_cast<EngineEntry>(dlsym(library, kEngineEntry));
  ASSERT_NE(entry, nullptr);
  const char* abi = nullptr;
  EXPECT_EQ(entry("0.0.9 GNU 4.8 0123456789abcdef", &abi), nullptr);
  EXPECT_STREQ(abi, MC_ENGINE_ABI);
}

}  // namespace
}  // namespace mc
