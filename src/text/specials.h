// Finds special tokens in text before anything else is cut.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "prefix_index.h"
#include "vocab.h"

namespace mc {

// A stretch of text, or a token found in it (id >= 0).
struct Fragment {
  size_t begin, end;
  int32_t id;
};

// Tokens are looked for longest first, each from left to right in what the longer ones left over.
class SpecialFinder {
 public:
  // Of the tokens whose flags have one of `with` and none of `without`.
  SpecialFinder(const Vocab& vocab, uint8_t with, uint8_t without);
  // Covers `text` in order; white space that a token swallows is left out.
  std::vector<Fragment> split(std::string_view text) const;

 private:
  struct Token {
    std::string_view text;
    int32_t id;
    uint8_t flags;
  };
  size_t collect(std::string_view text, size_t pos, std::vector<int32_t>& ranks) const;
  void cut(std::string_view text, size_t begin, size_t end, const std::vector<int32_t>& ranks,
           std::vector<Fragment>& out) const;

  std::vector<Token> tokens_;  // longest first: the index is the token's rank
  PrefixIndex index_;          // to ranks
  bool eats_ = false;
};

}  // namespace mc
