// The state behind draws without a key, and how a traced program takes part in it.
#pragma once

#include <cstdint>

#include "mc/array.h"

namespace mc {

// While one lives, keys drawn on its thread are derived from `input`, a placeholder, instead of the process's
// state, so that the program draws anew at every call. Give the program advance_random_state(count()) as that
// input.
class RandomTrace {
 public:
  RandomTrace();
  ~RandomTrace();
  RandomTrace(const RandomTrace&) = delete;
  RandomTrace& operator=(const RandomTrace&) = delete;

  static RandomTrace* active();
  Array next_key();
  const Array& input() const { return input_; }  // not defined while count() is 0
  int64_t count() const { return count_; }

 private:
  Array input_, state_;
  int64_t count_ = 0;
  RandomTrace* outer_;
};

// Takes `count` keys from the process's state at once; returns the state before.
Array advance_random_state(int64_t count);

}  // namespace mc
