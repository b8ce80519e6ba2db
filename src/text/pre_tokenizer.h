// How text is cut into words before byte-level BPE, by the name in tokenizer.ggml.pre.
#pragma once

#include <string_view>
#include <vector>

#include "pattern.h"

namespace mc {

struct PreTokenizerInfo {
  // Applied one after another: each cuts what the ones before it left, into its matches and what lies between
  // them.
  std::vector<std::string_view> patterns;
  bool ignore_merges = false;  // a word that is a token needs no merges
  bool add_bos = false;        // the default where the metadata says nothing
};
// Null for an unknown name.
const PreTokenizerInfo* pre_tokenizer_info(std::string_view name);
// All known names, sorted.
std::vector<std::string_view> pre_tokenizer_names();

class PreTokenizer {
 public:
  explicit PreTokenizer(const PreTokenizerInfo& info);
  struct Scratch {
    std::vector<Char> chars;
    Regex::Stack stack;
  };
  // Calls word(std::string_view) for each word of `text`, in order.
  template <class F>
  void split(std::string_view text, Scratch& scratch, F&& word) const {
    scratch.chars.clear();
    decode_utf8(text, scratch.chars);
    size_t byte = 0;
    auto emit = [&](size_t begin, size_t end) {
      size_t n = 0;
      for (size_t i = begin; i < end; ++i) n += utf8_bytes(scratch.chars[i]);
      word(text.substr(byte, n));
      byte += n;
    };
    cut(0, 0, scratch.chars.size(), scratch, emit);
  }

 private:
  template <class F>
  void cut(size_t level, size_t begin, size_t end, Scratch& s, F& emit) const {
    if (begin == end) return;
    if (level == regexes_.size()) return emit(begin, end);
    const Regex& r = regexes_[level];
    size_t gap = begin;
    for (size_t pos = begin; pos < end;) {
      size_t e = r.match(s.chars.data(), pos, end, s.stack);
      if (e == Regex::npos || e == pos) {
        ++pos;
        continue;
      }
      cut(level + 1, gap, pos, s, emit);
      cut(level + 1, pos, e, s, emit);
      gap = pos = e;
    }
    cut(level + 1, gap, end, s, emit);
  }
  std::vector<Regex> regexes_;
};

}  // namespace mc
