// Progress of long work on stderr: one moving line on a terminal, a line now and then elsewhere, nothing when
// quiet.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace mc::tool {

class Progress {
 public:
  // `total` 0: not known, so no ETA.
  Progress(std::string what, int64_t total);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void update(int64_t done, int64_t before = 0);

 private:
  using Clock = std::chrono::steady_clock;
  std::string what_;
  int64_t total_;
  Clock::time_point begin_ = Clock::now(), next_;
  bool terminal_, shown_ = false;
};

}  // namespace mc::tool
