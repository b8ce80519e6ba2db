// A temporary file beside its target, removed unless it was renamed.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace mc {

class AtomicFile {
 public:
  // Throws FileWrite, as the other functions do, and for a device or a pipe. A file that is there keeps its
  // permissions, and a link to it stays a link.
  explicit AtomicFile(const std::string& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  void write(const void* data, size_t n);
  // To the disk, and under its own name.
  void commit();

 private:
  [[noreturn]] void fail(std::string_view what);
  std::string path_, target_, temp_;  // the target is the file behind links
  int fd_ = -1;
  bool done_ = false;
};

}  // namespace mc
