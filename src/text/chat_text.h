// What people wrote, marked so that its control tokens stay text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "jinja.h"
#include "mc/text.h"

namespace mc {

// The texts of a vocabulary's control tokens, where they begin with a character that seldom begins words.
class ControlTexts {
 public:
  explicit ControlTexts(const Tokenizer& tokenizer);
  // Every string in `v`, with U+FDD0 … U+FDD1 around the control tokens in it.
  jinja::Value marked(const jinja::Value& v) const;
  // Takes the marks out of a text.
  static std::string unmarked(std::string_view text, std::vector<TokenSpan>& ranges);
  std::string marked(const std::string& s) const;

 private:
  std::vector<std::string> texts_;  // longest first
};

}  // namespace mc
