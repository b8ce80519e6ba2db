#include "output.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

#include "mc/error.h"

namespace mc::tool {
namespace {
std::string buffer;
bool quiet_ = false;
constexpr size_t kBuffer = 1 << 16;
}  // namespace

void flush_out() {
  size_t done = 0;
  while (done < buffer.size()) {
    const ssize_t n = ::write(STDOUT_FILENO, buffer.data() + done, buffer.size() - done);
    if (n >= 0) {
      done += static_cast<size_t>(n);
    } else if (errno != EINTR) {
      const int why = errno;
      buffer.clear();
      if (why == EPIPE) throw BrokenPipe{};
      throw Error(ErrorCode::FileWrite, std::string("the result can't be written: ") + std::strerror(why),
                  "stdout");
    }
  }
  buffer.clear();
}

void write_out(std::string_view text) {
  buffer.append(text);
  if (buffer.size() >= kBuffer) flush_out();
}

void write_result(Format format, const Value& value) {
  if (format == Format::Yaml)
    write_out(value.yaml());
  else
    write_out(value.json() + "\n");
  flush_out();
}

void set_quiet(bool quiet) { quiet_ = quiet; }
bool is_quiet() { return quiet_; }

void note(std::string_view line) {
  if (!quiet_) std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
}

}  // namespace mc::tool
