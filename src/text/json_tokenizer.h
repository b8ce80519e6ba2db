// Text to ids and back as a tokenizer.json says: added tokens, normalizer, pre-tokenizer, model, decoder.
#pragma once

#include <span>

#include "json_text.h"
#include "mc/text.h"
#include "prefix_index.h"
#include "vocab.h"

namespace mc {

class JsonTokenizer {
 public:
  // Throws BadTokenizer naming what can't be honoured. What a post-processor puts around the text is not its
  // part: the metadata's beginning and end tokens are that. Truncation and padding are never applied.
  JsonTokenizer(std::string_view text, const std::string& where, const Vocab& vocab);
  ~JsonTokenizer();
  // `spans`: the bytes of the input that each id stands for, or null.
  void encode(std::string_view text, const EncodeOptions& options, std::vector<int32_t>& out,
              std::vector<TokenSpan>* spans) const;
  std::string decode(std::span<const int32_t> ids, bool skip_special) const;
  void append_text(int32_t id, std::string& out) const;
  // "truncation": the length that it asks for.
  const std::optional<int64_t>& truncation() const { return truncation_; }

 private:
  struct Added {
    std::string content;
    std::string sought;  // as it is looked for: normalized where the token is
    int32_t id;
    bool special, lstrip, rstrip, single_word;
  };
  using Glyphs = tokenizer_json::Glyphs;
  struct Hit {
    size_t begin, end;  // characters
    int32_t id;         // -1: text
  };
  void find(const PrefixIndex& index, const Glyphs& g, const EncodeOptions& options,
            std::vector<Hit>& out) const;
  struct Call {
    std::string_view text;
    std::vector<int32_t>& out;
    std::vector<TokenSpan>* spans;
    size_t before;  // spans that were there already
    bool leads() const { return spans->size() == before; }
  };
  void words(Glyphs& g, const Call& call) const;
  void trim(const Glyphs& g, size_t first, size_t last, const Call& call, TokenSpan& span) const;

  std::vector<Added> added_;
  PrefixIndex as_is_, normalized_;  // to places in added_
  std::unique_ptr<tokenizer_json::Normalizer> normalizer_;
  std::unique_ptr<tokenizer_json::Cutter> cutter_;
  std::unique_ptr<tokenizer_json::WordModel> model_;
  std::unique_ptr<tokenizer_json::Joiner> joiner_;
  bool byte_level_ = false, trims_ = false, prefix_space_ = false;
  std::string space_sign_, continuation_, suffix_;
  std::optional<int64_t> truncation_;
  std::vector<bool> special_;  // by id; what decoding may leave out
  const Vocab& vocab_;
};

}  // namespace mc
