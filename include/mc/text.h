// Text to token ids and back, with the tokenizer that a GGUF file describes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mc/export.h"
#include "mc/gguf.h"

namespace mc {

// The bytes begin, …, end - 1 of a text: whole characters, so that tokens that are parts of one share it.
struct TokenSpan {
  size_t begin = 0, end = 0;
  bool operator==(const TokenSpan&) const = default;
};

struct EncodeOptions {
  // Put the beginning-of-sequence token first: as the model's metadata asks for it when not set. True needs a
  // model that has one, else BadTokenizer is thrown.
  std::optional<bool> add_bos = std::nullopt;
  // The same for the end-of-sequence token; not set, it is added only where the metadata asks for it.
  std::optional<bool> add_eos = false;
  // Read the text of control tokens ("<|im_end|>") as those tokens. Otherwise it is text like any other, so
  // that a user's words can't end a turn. Tokens that the model defines for plain text (runs of spaces, HTML
  // tags) are found either way.
  bool parse_special = false;
  // With parse_special: control tokens that begin in these ranges (ascending) are text all the same.
  std::vector<TokenSpan> plain = {};
};

// Ids, and for each the bytes of the text that it stands for; (0, 0) for tokens put before and after the
// text.
struct Encoding {
  std::vector<int32_t> ids;
  std::vector<TokenSpan> spans;
};

// Immutable and safe to use from several threads at once.
// Kinds (tokenizer.ggml.model): "gpt2" (byte-level BPE, split as tokenizer.ggml.pre says), "llama"
// (SentencePiece BPE with scores and bytes for what is unknown), "t5" (unigram), "bert" (WordPiece), and
// "tokenizer.json": Hugging Face's file, followed step by step (docs/tokenizers.md). Any bytes can be
// encoded: in a tokenizer.json's way, what is no UTF-8 becomes U+FFFD first; else byte-level BPE and
// vocabularies with byte tokens keep invalid UTF-8 as it is. A byte for which a byte-level vocabulary has no
// token at all (SmolLM2 lacks 13 control characters and the bytes that no UTF-8 has) is left out.
class MC_API Tokenizer {
 public:
  // Keeps the file mapped as long as the tokenizer lives. Throws BadTokenizer, BadModel.
  static std::shared_ptr<Tokenizer> from_gguf(const GgufFile& file);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options = {}) const;
  // The same ids, with what they stand for. Spans of a tokenizer.json are those that the `tokenizers` package
  // calls offsets, in bytes. GGUF's kinds "t5" and "bert" change the text before they cut it:
  // InvalidArgument.
  Encoding encode_with_spans(std::string_view text, const EncodeOptions& options = {}) const;
  // The bytes of the tokens, one after another; control tokens only with skip_special = false. The space that
  // the model puts before the first word is left out again. The result may end within a UTF-8 character: see
  // StreamDecoder. An id that does not exist throws IndexOutOfRange.
  std::string decode(std::span<const int32_t> ids, bool skip_special = true) const;

  // The bytes that a token stands for (" the", "\xE2"), or a special token's name ("<|im_end|>").
  std::string token_text(int32_t id) const;
  // The token as the file writes it ("Ġthe", "▁the", "<0xE2>"); a view into the file.
  std::string_view token_raw(int32_t id) const;
  // The id of a token that the file writes so.
  std::optional<int32_t> find_token(std::string_view raw) const;

  int64_t vocab_size() const;
  // "gpt2", "llama" …, and the name of the pre-tokenizer ("smollm", empty where the kind has none).
  std::string_view kind() const;
  std::string_view pre_tokenizer() const;
  std::optional<int32_t> bos_id() const;
  std::optional<int32_t> eos_id() const;
  std::optional<int32_t> eot_id() const;  // end of turn
  std::optional<int32_t> unk_id() const;
  std::optional<int32_t> pad_id() const;
  // The length to which a tokenizer.json asks texts to be cut. Never done here: what a model can't take whole
  // is an error where it is run.
  std::optional<int64_t> truncation() const;
  // Whether the model's metadata asks for a beginning token.
  bool adds_bos() const;
  // Control tokens and the unknown token: no part of the text.
  bool is_special(int32_t id) const;
  // Generation ends after one of these; ascending.
  const std::vector<int32_t>& end_of_generation_ids() const;
  bool is_end_of_generation(int32_t id) const;

 private:
  friend class StreamDecoder;
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Turns ids into text as they come, never splitting a UTF-8 character: bytes that may still become one are
// held back. Bytes that can become none come out as U+FFFD, one for each maximal ill-formed part, so that the
// output is always valid UTF-8.
class MC_API StreamDecoder {
 public:
  // Must not outlive the tokenizer.
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special = true);
  // The text that is certain after this id; may be empty.
  std::string push(int32_t id);
  // What was held back, as U+FFFD; the decoder can be used again.
  std::string flush();

 private:
  std::string take(bool all);
  const Tokenizer* tokenizer_;
  bool skip_special_;
  std::string held_;
};

}  // namespace mc
