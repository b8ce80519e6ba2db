#include "file.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/interrupt.h"

namespace mc::tool {

constexpr size_t kMaxText = size_t{256} << 20;  // more than any model takes

size_t read_some(int file, char* to, size_t most, const std::string& name) {
  for (;;) {
    // A signal may come at any time: not later than the next turn of this loop it is seen.
    struct pollfd input = {file, POLLIN, 0};
    const int ready = ::poll(&input, 1, 200);
    check_interrupt();
    if (ready <= 0) continue;
    const ssize_t n = ::read(file, to, most);
    if (n >= 0) return static_cast<size_t>(n);
    if (errno != EINTR && errno != EAGAIN)
      throw Error(ErrorCode::FileRead, cat("can't read: ", std::strerror(errno)), name,
                  errno == EISDIR ? "give the path of a file, not of a folder" : "");
  }
}

std::string read_file(const std::string& path) {
  const int file = path == "-" ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0 && errno == ENOENT) throw Error(ErrorCode::FileNotFound, "there is no such file", path);
  if (file < 0) throw Error(ErrorCode::FileRead, std::strerror(errno), path);
  struct Close {
    int file;
    ~Close() {
      if (file != STDIN_FILENO) ::close(file);
    }
  } const close{file};
  std::string text;
  char buffer[1 << 14];
  while (const size_t n = read_some(file, buffer, sizeof buffer, path)) {
    if (text.size() + n > kMaxText)
      throw Error(ErrorCode::BadData, cat("it has more than ", kMaxText >> 20, " MiB of text"), path,
                  "give a part of it; many texts go into a .jsonl file");
    text.append(buffer, n);
  }
  return text;
}

}  // namespace mc::tool
