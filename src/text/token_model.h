// What turns plain text (special tokens are cut out already) into ids.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "vocab.h"

namespace mc {

class TokenModel {
 public:
  virtual ~TokenModel() = default;
  // `first`: nothing, or a special token, stands before this text. Safe to call from several threads.
  virtual void encode(std::string_view text, bool first, std::vector<int32_t>& out) const = 0;
  // Appends the bytes that a token stands for.
  virtual void append_text(int32_t id, std::string& out) const = 0;
  virtual std::string_view pre_tokenizer() const { return {}; }
  // Whether text begins with a BOS token where the metadata doesn't say.
  virtual bool adds_bos() const { return false; }
};

std::unique_ptr<TokenModel> make_bpe(const GgufFile& file, const Vocab& vocab);
std::unique_ptr<TokenModel> make_spm(const GgufFile& file, const Vocab& vocab);
std::unique_ptr<TokenModel> make_unigram(const GgufFile& file, const Vocab& vocab);
std::unique_ptr<TokenModel> make_wordpiece(const GgufFile& file, const Vocab& vocab);

// SentencePiece's sign for a space, U+2581, and the text of a token written with it (bytes tokens as their
// byte).
inline constexpr std::string_view kSpaceSign = "\xE2\x96\x81";
void append_sentencepiece_text(const Vocab& vocab, int32_t id, std::string& out);

// Working memory that concurrent calls do not share and later calls find again.
template <class T>
class Pool {
 public:
  class Lease {
   public:
    Lease(Pool& pool, std::unique_ptr<T> item) : pool_(pool), item_(std::move(item)) {}
    ~Lease() {
      std::lock_guard lock(pool_.mutex_);
      if (pool_.free_.size() < 16) pool_.free_.push_back(std::move(item_));
    }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    T* operator->() { return item_.get(); }
    T& operator*() { return *item_; }

   private:
    Pool& pool_;
    std::unique_ptr<T> item_;
  };
  Lease take() {
    {
      std::lock_guard lock(mutex_);
      if (!free_.empty()) {
        auto item = std::move(free_.back());
        free_.pop_back();
        return Lease(*this, std::move(item));
      }
    }
    return Lease(*this, std::make_unique<T>());
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<T>> free_;
};

// Remembers what short words became: one place a hash, the last word wins.
template <class T>
class WordCacheOf {
 public:
  WordCacheOf() : entries_(kSize) {}
  struct Entry {
    uint8_t bytes = 0, count = 0;
    char word[62];
    T parts[16];
  };
  // The place for the word, or null for one that is too long.
  Entry* place(std::string_view word) {
    if (word.size() > sizeof Entry::word || word.empty()) return nullptr;
    return &entries_[hash_bytes(word) % kSize];
  }
  static bool holds(const Entry& e, std::string_view word) {
    return e.bytes == word.size() && std::memcmp(e.word, word.data(), word.size()) == 0;
  }
  static void put(Entry& e, std::string_view word, const T* parts, size_t count) {
    if (count > std::size(e.parts)) return;
    e.bytes = static_cast<uint8_t>(word.size());
    e.count = static_cast<uint8_t>(count);
    std::memcpy(e.word, word.data(), word.size());
    std::copy_n(parts, count, e.parts);
  }

 private:
  static constexpr size_t kSize = 8192;
  std::vector<Entry> entries_;
};

using WordCache = WordCacheOf<int32_t>;
static_assert(sizeof(WordCache::Entry) == 128);

}  // namespace mc
