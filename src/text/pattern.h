// A small matcher for the patterns of pre-tokenizers: alternation, groups, greedy ? * + {m,n}, sets with
// \p{..} \s \d \w and ranges, lookahead (?=..) (?!..), (?i:..), and $ for the end of the piece. Backtracking
// needs no recursion; repeats of single characters take no memory. A pattern out of a file takes a bounded
// number of steps a match, after which BadTokenizer is thrown.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "unicode.h"

namespace mc {

class CharSet {
 public:
  bool matches(Char c) const {
    uint32_t p = code_point(c);
    // A stray byte carries a number below 256 that means no character.
    if (p < 128 && !(c & kCharRaw)) return ascii_[p >> 6] >> (p & 63) & 1;
    return matches_slow(c);
  }

 private:
  friend class RegexParser;
  void finish();
  bool matches_slow(Char c) const;
  bool raw_match(Char c) const;
  std::array<uint64_t, 2> ascii_{};
  uint32_t categories_ = 0, not_categories_ = 0;
  bool space_ = false, not_space_ = false, negated_ = false;
  std::vector<std::pair<uint32_t, uint32_t>> ranges_;
};

class Regex {
 public:
  explicit Regex(std::string_view pattern, bool of_file = false);
  // The same for a pattern out of a file: BadTokenizer for what the matcher does not know.
  static Regex of_file(std::string_view pattern);
  // Scratch of one match at a time.
  struct State {
    uint32_t pc;
    size_t pos, low;
  };
  using Stack = std::vector<State>;
  // The end of the match that begins at `pos`, or npos. Nothing before `begin` or from `end` on is seen.
  static constexpr size_t npos = ~size_t{0};
  size_t match(const Char* text, size_t pos, size_t end, Stack& stack) const;

 private:
  friend class RegexParser;
  enum class Op : uint8_t { Set, Run, Split, Jump, Look, LookNot, End, Match };
  struct Inst {
    Op op;
    uint32_t a = 0, b = 0;  // Run: min, max; Split: first, second; Jump, Look: target, or where to go on
    uint32_t set = 0;
  };
  size_t run(uint32_t pc, const Char* text, size_t pos, size_t end, Stack& stack, uint64_t& steps) const;
  bool can_start(uint32_t pc, Char c, std::vector<bool>& seen) const;

  std::vector<Inst> code_;
  std::vector<CharSet> sets_;
  std::vector<uint32_t> alternatives_;  // where each top-level alternative begins
  bool bounded_ = false;
  std::array<uint32_t, 128> starts_{};  // bit i: alternative i can begin with this ASCII character
};

}  // namespace mc
