#include "lines.h"

#include <unistd.h>

#include <utility>

#include "file.h"
#include "mc/error.h"

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
    char buffer[4096];
    const size_t n = read_some(STDIN_FILENO, buffer, sizeof buffer, "standard input");
    if (n == 0) ended_ = true;
    held_.append(buffer, n);
  }
}

}  // namespace mc::tool
