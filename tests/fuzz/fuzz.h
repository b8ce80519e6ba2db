// What the fuzzers share.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iostream>
#include <string>
#include <string_view>

#include "mc/error.h"

namespace mc::fuzz {

// Runs f, which may throw errors of these codes only: those that an input can be blamed for.
template <class F>
void refuses(std::initializer_list<ErrorCode> codes, F&& f) {
  try {
    f();
  } catch (const Error& e) {
    for (ErrorCode c : codes)
      if (c == e.code()) return;
    std::cerr << "not an input's fault: " << e.what() << "\n";
    std::abort();
  }
}

inline std::string_view text(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// A folder of this process, in memory where the system has such.
class Folder {
 public:
  Folder() {
    const std::filesystem::path shm = "/dev/shm";
    std::error_code none;
    const auto base = ::access(shm.c_str(), W_OK) == 0 ? shm : std::filesystem::temp_directory_path();
    path_ = base / ("mc_fuzz_" + std::to_string(::getpid()));
    std::filesystem::create_directories(path_, none);
  }
  ~Folder() {
    std::error_code none;
    std::filesystem::remove_all(path_, none);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string path() const { return path_.string(); }
  std::string put(const std::string& name, std::string_view bytes) const {
    const std::string to = (path_ / name).string();
    std::ofstream(to, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return to;
  }

 private:
  std::filesystem::path path_;
};

}  // namespace mc::fuzz
