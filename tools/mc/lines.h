// Lines of standard input, for commands that talk.
#pragma once

#include <optional>
#include <string>

namespace mc::tool {
// The next line without its end, or nothing at the end of input. Ctrl-C while waiting throws Interrupted.
class LineReader {
 public:
  std::optional<std::string> next();
  // Whether somebody types.
  static bool at_terminal();

 private:
  std::string held_;
  bool ended_ = false;
};
}  // namespace mc::tool
