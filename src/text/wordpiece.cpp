// BERT's WordPiece: words of the normalized text, each cut into the longest tokens from the left.
#include <utf8proc.h>

#include <algorithm>

#include "mc/error.h"
#include "prefix_index.h"
#include "token_model.h"
#include "unicode.h"

namespace mc {
namespace {

bool in_categories(Char c, std::initializer_list<int> categories) {
  for (int k : categories)
    if (category(c) == static_cast<uint32_t>(k)) return true;
  return false;
}

bool is_punctuation(Char c) {
  uint32_t p = code_point(c);
  if (p < 0x7F && in_categories(c, {UTF8PROC_CATEGORY_SM, UTF8PROC_CATEGORY_SC, UTF8PROC_CATEGORY_SK,
                                    UTF8PROC_CATEGORY_SO}))
    return true;
  return in_categories(
      c, {UTF8PROC_CATEGORY_PC, UTF8PROC_CATEGORY_PD, UTF8PROC_CATEGORY_PS, UTF8PROC_CATEGORY_PE,
          UTF8PROC_CATEGORY_PI, UTF8PROC_CATEGORY_PF, UTF8PROC_CATEGORY_PO});
}

// Ideographs are words of their own.
bool is_ideograph(uint32_t p) {
  constexpr uint32_t kRanges[][2] = {{0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF},
                                     {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF},
                                     {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};
  for (auto [low, high] : kRanges)
    if (p >= low && p <= high) return true;
  return false;
}

class WordPiece : public TokenModel {
 public:
  WordPiece(const GgufFile& file, const Vocab& vocab) : vocab_(vocab) {
    lowercase_ = file.boolean("tokenizer.ggml.normalizer.lowercase", true);
    strip_accents_ = file.boolean("tokenizer.ggml.normalizer.strip_accents", lowercase_);
    if (vocab.unk < 0)
      throw Error(ErrorCode::BadTokenizer, "the metadata key \"tokenizer.ggml.unknown_token_id\" is missing",
                  file.path());
    longest_ = file.u64("tokenizer.ggml.max_input_chars_per_word", ~uint64_t{0});
    std::vector<PrefixIndex::Entry> entries;
    for (int32_t id = 0; id < vocab.size(); ++id)
      if (!vocab.text(id).empty()) entries.push_back({vocab.text(id), id});
    index_ = PrefixIndex(std::move(entries));
  }

  void append_text(int32_t id, std::string& out) const override {
    append_sentencepiece_text(vocab_, id, out);
  }

  void encode(std::string_view text, bool, std::vector<int32_t>& out) const override {
    std::vector<Char> chars, parts;
    decode_utf8(text, chars);
    std::string word;
    auto finish = [&] {
      if (!word.empty()) encode_word(word, out);
      word.clear();
    };
    for (Char c : chars) {
      parts.assign(1, c);
      if (strip_accents_) decompose(c, parts);
      for (Char p : parts) {
        if (is_space(p)) {
          finish();
          continue;
        }
        if ((p & kCharRaw) || code_point(p) == 0 || code_point(p) == 0xFFFD ||
            in_categories(
                p, {UTF8PROC_CATEGORY_CC, UTF8PROC_CATEGORY_CF, UTF8PROC_CATEGORY_CS, UTF8PROC_CATEGORY_CO}))
          continue;
        if (strip_accents_ &&
            in_categories(p, {UTF8PROC_CATEGORY_MN, UTF8PROC_CATEGORY_MC, UTF8PROC_CATEGORY_ME}))
          continue;
        bool alone = is_punctuation(p) || is_ideograph(code_point(p));
        if (alone) finish();
        append_utf8(word, lowercase_ ? static_cast<uint32_t>(
                                           utf8proc_tolower(static_cast<utf8proc_int32_t>(code_point(p))))
                                     : code_point(p));
        if (alone) finish();
      }
    }
    finish();
  }

 private:
  // Canonical decomposition of one character. Marks are dropped right after, so their order doesn't matter.
  static void decompose(Char c, std::vector<Char>& parts) {
    if (code_point(c) < 0xC0 || (c & kCharRaw)) return;
    utf8proc_int32_t buffer[32];
    int boundary = 0;
    utf8proc_ssize_t n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(code_point(c)), buffer, 32,
                                                 UTF8PROC_DECOMPOSE, &boundary);
    if (n <= 0 || n > 32) return;
    parts.clear();
    for (utf8proc_ssize_t i = 0; i < n; ++i) parts.push_back(classify(static_cast<uint32_t>(buffer[i])));
  }

  // The converters write tokens that begin a word with U+2581 and the others bare.
  void encode_word(const std::string& word, std::vector<int32_t>& out) const {
    const auto letters = std::count_if(word.begin(), word.end(),
                                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
    if (static_cast<uint64_t>(letters) > longest_) {
      out.push_back(vocab_.unk);
      return;
    }
    std::string w(kSpaceSign);
    w += word;
    size_t before = out.size();
    for (size_t i = 0; i < w.size();) {
      size_t best = 0;
      int32_t id = -1;
      index_.each(w, i, [&](size_t length, int32_t value) { best = length, id = value; });
      if (best == 0) {
        // One gap makes the whole word unknown.
        out.resize(before);
        out.push_back(vocab_.unk);
        return;
      }
      out.push_back(id);
      i += best;
    }
  }

  const Vocab& vocab_;
  bool lowercase_, strip_accents_;
  uint64_t longest_;  // letters of a word; longer ones are unknown
  PrefixIndex index_;
};

}  // namespace

std::unique_ptr<TokenModel> make_wordpiece(const GgufFile& file, const Vocab& vocab) {
  return std::make_unique<WordPiece>(file, vocab);
}

}  // namespace mc
