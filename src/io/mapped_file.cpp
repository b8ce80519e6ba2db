#include "mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "mc/detail/str.h"
#include "mc/error.h"

namespace mc {

std::span<const std::byte> map_file(const std::string& path) {
  // Without O_NONBLOCK, opening a FIFO would wait for a writer.
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    int e = errno;
    if (path.empty()) throw Error(ErrorCode::FileNotFound, "the name of the file is empty", "file");
    if (e == ENOENT || e == ENOTDIR) throw Error(ErrorCode::FileNotFound, "there is no such file", path);
    throw Error(ErrorCode::FileRead, cat("can't open the file: ", std::strerror(e)), path);
  }
  struct stat st {};
  if (::fstat(fd, &st) != 0) {
    int e = errno;
    ::close(fd);
    throw Error(ErrorCode::FileRead, cat("can't read the file's size: ", std::strerror(e)), path);
  }
  if (!S_ISREG(st.st_mode)) {
    ::close(fd);
    throw Error(ErrorCode::FileRead,
                S_ISDIR(st.st_mode) ? "this is a folder, not a file" : "this is not a regular file", path,
                "give the path of a file");
  }
  if (st.st_size == 0) {
    ::close(fd);
    return {};
  }
  auto size = static_cast<size_t>(st.st_size);
  void* p = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  int e = errno;
  ::close(fd);
  if (p == MAP_FAILED && e == ENOMEM)
    throw Error(ErrorCode::OutOfMemory, cat("no address space for the ", size, " bytes of the file"), path,
                "raise the limit of virtual memory (ulimit -v)");
  if (p == MAP_FAILED) throw Error(ErrorCode::FileRead, cat("can't map the file: ", std::strerror(e)), path);
#ifdef MADV_NOHUGEPAGE
  // Else a kernel that keeps files in huge pages maps 2 MB around each read: a few small tensors, or the rows
  // of a table that a text needs, would hold most of the file.
  ::madvise(p, size, MADV_NOHUGEPAGE);
#endif
  return {static_cast<const std::byte*>(p), size};
}

void forget_pages(std::span<const std::byte> mapped) noexcept {
  static const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = reinterpret_cast<uintptr_t>(mapped.data());
  const uintptr_t first = (begin + page - 1) / page * page, last = (begin + mapped.size()) / page * page;
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

void unmap_file(std::span<const std::byte> bytes) noexcept {
  if (!bytes.empty()) ::munmap(const_cast<std::byte*>(bytes.data()), bytes.size());
}

}  // namespace mc
