#include "progress.h"

#include <unistd.h>

#include <cstdio>

#include "format.h"
#include "mc/detail/str.h"
#include "output.h"

namespace mc::tool {

Progress::Progress(std::string what, int64_t total)
    : what_(std::move(what)), total_(total), terminal_(isatty(STDERR_FILENO) == 1) {
  next_ = begin_ + std::chrono::milliseconds(terminal_ ? 100 : 10000);
}

Progress::~Progress() {
  if (shown_ && terminal_) std::fputs("\r\033[K", stderr);
}

void Progress::update(int64_t done, int64_t before) {
  const Clock::time_point now = Clock::now();
  if (is_quiet() || now < next_) return;
  next_ = now + std::chrono::milliseconds(terminal_ ? 200 : 10000);
  const double s = std::chrono::duration<double>(now - begin_).count(),
               rate = s > 0 ? static_cast<double>(done - before) / s : 0;
  std::string line = cat(show_count(done), total_ ? cat(" of ", show_count(total_)) : "", " ", what_, ", ",
                         show3(rate), "/s");
  if (total_ > done && rate > 0)
    line += cat(", ", show_seconds(static_cast<double>(total_ - done) / rate), " to go");
  if (terminal_)
    std::fprintf(stderr, "\r%s\033[K", line.c_str());
  else
    std::fprintf(stderr, "%s\n", line.c_str());
  shown_ = true;
}

}  // namespace mc::tool
