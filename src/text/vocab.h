// The table of tokens of a model.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mc/gguf.h"

namespace mc {

// Hash of bytes, with a secret of this process, so that no file can choose names that collide.
uint64_t hash_bytes(std::string_view s);

class Vocab {
 public:
  enum Flag : uint8_t {
    kNormal = 1,
    kUnknown = 2,
    kControl = 4,
    kUser = 8,  // defined for plain text: found before anything else is cut
    kByte = 16,
    kUnused = 32,
    kEatLeft = 64,   // swallows white space before it
    kEatRight = 128  // swallows white space after it
  };

  explicit Vocab(const GgufFile& file);

  int32_t size() const { return static_cast<int32_t>(texts_.size()); }
  std::string_view text(int32_t id) const { return texts_[static_cast<size_t>(id)]; }
  uint8_t flags(int32_t id) const { return flags_[static_cast<size_t>(id)]; }
  bool hidden(int32_t id) const { return flags(id) & (kControl | kUnknown); }
  // Empty when the file has no scores.
  const std::vector<float>& scores() const { return scores_; }
  // -1 when there is none.
  int32_t find(std::string_view text) const;
  // The token "<0xE2>" of a byte, or -1.
  int32_t find_byte(unsigned char byte) const;

  // tokenizer.ggml.model
  const std::string& kind() const { return kind_; }
  int32_t bos = -1, eos = -1, eot = -1, unk = -1, pad = -1, sep = -1;
  bool add_bos = false, add_eos = false, add_space_prefix = false;
  std::vector<int32_t> end_of_generation;  // ascending

 private:
  void read_tokens(const GgufFile& file);
  void build_index(const GgufFile& file);
  void read_special_ids(const GgufFile& file);
  void mark_by_name(const GgufFile& file);
  bool control(std::string_view name, int32_t& id);

  std::string kind_;
  std::vector<std::string_view> texts_;
  std::vector<uint8_t> flags_;
  std::vector<float> scores_;
  // Open addressing: high half a part of the hash, low half the id plus 1.
  std::vector<uint64_t> slots_;
};

}  // namespace mc
