#include "lines.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/interrupt.h"

namespace mc::tool {

bool LineReader::at_terminal() { return ::isatty(STDIN_FILENO) == 1; }

std::optional<std::string> LineReader::next() {
  constexpr size_t kMost = 16 << 20;
  for (;;) {
    if (const size_t end = held_.find('\n'); end != std::string::npos) {
      std::string line = held_.substr(0, end);
      held_.erase(0, end + 1);
      if (line.ends_with('\r')) line.pop_back();
      return line;
    }
    if (ended_) {
      if (held_.empty()) return std::nullopt;
      return std::exchange(held_, {});
    }
    if (held_.size() > kMost)
      throw Error(ErrorCode::BadData, "a line is longer than 16 MiB", "standard input");
    // A signal may come at any time: not later than the next turn of this loop it is seen.
    struct pollfd input = {STDIN_FILENO, POLLIN, 0};
    const int ready = ::poll(&input, 1, 200);
    check_interrupt();
    if (ready <= 0) continue;
    char buffer[4096];
    const ssize_t n = ::read(STDIN_FILENO, buffer, sizeof buffer);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n < 0) throw Error(ErrorCode::FileRead, cat("can't read: ", std::strerror(errno)), "standard input");
    if (n == 0) ended_ = true;
    held_.append(buffer, static_cast<size_t>(n));
  }
}

}  // namespace mc::tool
