#include "atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "mapped_file.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/file.h"

namespace mc {

AtomicFile::AtomicFile(const std::string& path) : path_(path), target_(path) {
  struct stat before {};
  const bool there = ::stat(path.c_str(), &before) == 0;
  if (there && !S_ISREG(before.st_mode) && !S_ISDIR(before.st_mode))
    throw Error(ErrorCode::FileWrite, "this is a device or a pipe, which a file would replace", path_,
                "give the name of a file");
  if (there)
    if (const std::unique_ptr<char, decltype(&std::free)> real{::realpath(path.c_str(), nullptr), &std::free})
      target_ = real.get();
  static std::atomic<unsigned> counter{0};
  temp_ = cat(target_, ".tmp-", static_cast<int64_t>(::getpid()), "-", counter.fetch_add(1));
  fd_ = ::open(temp_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd_ < 0) fail("create");
  // Not every file system has permissions.
  if (there && ::fchmod(fd_, before.st_mode & 0777) != 0 && errno != EPERM && errno != ENOTSUP)
    fail("set the permissions of");
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!done_) ::unlink(temp_.c_str());
}

void AtomicFile::write(const void* data, size_t n) {
  auto* p = static_cast<const char*>(data);
  while (n > 0) {
    // Linux writes at most 2 GiB in one call.
    ssize_t w = ::write(fd_, p, std::min<size_t>(n, size_t{1} << 30));
    if (w < 0 && errno == EINTR) continue;
    if (w < 0) fail("write");
    p += w;
    n -= static_cast<size_t>(w);
  }
}

void AtomicFile::commit() {
  if (::fsync(fd_) != 0 && errno != EINVAL) fail("flush");
  int fd = fd_;
  fd_ = -1;
  if (::close(fd) != 0) fail("close");
  if (::rename(temp_.c_str(), target_.c_str()) != 0) fail("rename");
  done_ = true;
}

void AtomicFile::fail(std::string_view what) {
  int e = errno;
  // A constructor that throws runs no destructor.
  if (fd_ >= 0) ::close(fd_), fd_ = -1, ::unlink(temp_.c_str());
  throw Error(ErrorCode::FileWrite, cat("can't ", what, " the file: ", std::strerror(e)), path_,
              e == ENOENT ? "the folder that it belongs in is not there: make it first" : "");
}

void write_file(const std::string& path, std::span<const std::span<const std::byte>> parts) {
  AtomicFile file(path);
  for (std::span<const std::byte> p : parts) file.write(p.data(), p.size());
  file.commit();
}

std::string read_small_file(const std::string& path, size_t max_bytes) {
  const std::span<const std::byte> bytes = map_file(path);
  struct Unmap {
    std::span<const std::byte> bytes;
    ~Unmap() { unmap_file(bytes); }
  } guard{bytes};
  if (bytes.size() > max_bytes)
    throw Error(ErrorCode::BadFormat,
                cat("the file has ", bytes.size(), " bytes; at most ", max_bytes, " are read"), path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace mc
