// SentencePiece's BPE: the neighbours that make the token of the highest score are merged first; what is no
// token in the end becomes byte tokens.
#include <algorithm>

#include "mc/detail/str.h"
#include "mc/error.h"
#include "token_model.h"
#include "unicode.h"

namespace mc {
namespace {

constexpr std::string_view kSpace = kSpaceSign;

class Spm : public TokenModel {
 public:
  Spm(const GgufFile& file, const Vocab& vocab) : vocab_(vocab) {
    if (vocab.scores().empty())
      throw Error(ErrorCode::BadTokenizer, "the metadata key \"tokenizer.ggml.scores\" is missing",
                  file.path());
    for (uint32_t b = 0; b < 256; ++b) {
      int32_t id = vocab.find_byte(static_cast<unsigned char>(b));
      char c = static_cast<char>(b);
      if (id < 0) id = vocab.find({&c, 1});
      bytes_[b] = id >= 0 ? id : vocab.unk;
    }
    for (int i = 0; i < 128 * 128; ++i) {
      const char pair[] = {static_cast<char>(i / 128), static_cast<char>(i % 128)};
      ascii_pairs_.push_back(vocab.find({pair, 2}));
    }
    // Ranks instead of scores, so that a heap key is one integer: the higher the score, the lower the rank.
    const std::vector<float>& scores = vocab.scores();
    std::vector<uint64_t> order(static_cast<size_t>(vocab.size()));
    for (size_t i = 0; i < order.size(); ++i) {
      uint32_t bits;
      float f = scores[i] == 0 ? 0.0F : scores[i];  // one zero
      std::memcpy(&bits, &f, 4);
      bits ^= bits >> 31 ? ~0U : 0x80000000U;  // ascending as integers
      order[i] = static_cast<uint64_t>(~bits) << 32 | i;
    }
    if (!std::is_sorted(order.begin(), order.end())) std::sort(order.begin(), order.end());
    ranks_.resize(order.size());
    uint32_t rank = 0;
    for (size_t i = 0; i < order.size(); ++i) {
      if (i > 0 && (order[i] ^ order[i - 1]) >> 32) ++rank;
      ranks_[order[i] & 0xFFFFFFFF] = rank;
    }
    // Between two characters that no token has side by side, no merge can ever happen. Checked for the sign
    // of a space after another character, by that character's last byte: this is where text is cut into
    // words.
    for (int32_t id = 0; id < vocab.size(); ++id) {
      std::string_view t = vocab.text(id);
      for (size_t at = t.find('\xE2', 1); at != std::string_view::npos; at = t.find('\xE2', at + 1))
        if (t.substr(at).starts_with(kSpace)) crosses_[static_cast<unsigned char>(t[at - 1])] = true;
    }
    // Runs of spaces are never cut.
    crosses_[static_cast<unsigned char>(kSpace[2])] = true;
  }

  void encode(std::string_view text, bool first, std::vector<int32_t>& out) const override {
    auto scratch = pool_.take();
    Scratch& s = *scratch;
    s.text.clear();
    if (vocab_.add_space_prefix && first) s.text.append(kSpace);
    for (size_t i = 0; i < text.size();) {
      size_t space = std::min(text.find(' ', i), text.size());
      s.text.append(text.substr(i, space - i));
      if (space < text.size()) s.text.append(kSpace);
      i = space + 1;
    }
    std::string_view all = s.text;
    for (size_t i = 0; i < all.size();) {
      size_t end = word_end(all, i);
      std::string_view word = all.substr(i, end - i);
      i = end;
      WordCache::Entry* place = s.cache.place(word);
      if (place && WordCache::holds(*place, word)) {
        out.insert(out.end(), place->parts, place->parts + place->count);
        continue;
      }
      size_t before = out.size();
      merge(word, s, out);
      if (place) WordCache::put(*place, word, out.data() + before, out.size() - before);
    }
    s.shrink();
  }

  void append_text(int32_t id, std::string& out) const override {
    append_sentencepiece_text(vocab_, id, out);
  }

 private:
  struct Symbol {
    uint32_t begin, bytes;  // of the word; bytes 0: merged away
    int32_t id;             // -1: no token
    int32_t previous, next;
  };
  struct Item {
    uint64_t key;  // rank in the high half, position in the low half
    uint32_t bytes;
    int32_t merged;
    friend bool operator<(const Item& a, const Item& b) { return a.key > b.key; }
  };
  struct Scratch {
    std::string text;
    WordCache cache;
    std::vector<Symbol> symbols;
    std::vector<Item> heap;
    void shrink() {
      constexpr size_t kKeep = 1 << 16;
      if (text.capacity() > 4 * kKeep) std::string().swap(text);
      if (symbols.capacity() > kKeep) {
        std::vector<Symbol>().swap(symbols);
        std::vector<Item>().swap(heap);
      }
    }
  };

  size_t word_end(std::string_view all, size_t begin) const {
    for (size_t at = begin + 1;; ++at) {
      at = all.find(kSpace, at);
      if (at == std::string_view::npos) return all.size();
      if (!crosses_[static_cast<unsigned char>(all[at - 1])]) return at;
    }
  }

  // A byte that begins no character stands alone; a character may be cut off by the end.
  static uint32_t character_bytes(unsigned char b) { return b < 0xC0 ? 1 : b < 0xE0 ? 2 : b < 0xF0 ? 3 : 4; }

  void merge(std::string_view word, Scratch& s, std::vector<int32_t>& out) const {
    auto& symbols = s.symbols;
    auto& heap = s.heap;
    symbols.clear();
    heap.clear();
    for (size_t i = 0; i < word.size();) {
      size_t n = std::min<size_t>(character_bytes(static_cast<unsigned char>(word[i])), word.size() - i);
      auto index = static_cast<int32_t>(symbols.size());
      symbols.push_back({static_cast<uint32_t>(i), static_cast<uint32_t>(n), -2, index - 1, index + 1});
      i += n;
    }
    symbols.back().next = -1;
    auto at = [&](int32_t i) -> Symbol& { return symbols[static_cast<size_t>(i)]; };
    auto candidate = [&](int32_t i, int32_t j) {
      if (i < 0 || j < 0) return false;
      uint32_t n = at(i).bytes + at(j).bytes, begin = at(i).begin;
      auto a = static_cast<unsigned char>(word[begin]), b = static_cast<unsigned char>(word[begin + 1]);
      int32_t id =
          n == 2 && a < 128 && b < 128 ? ascii_pairs_[a * 128 + b] : vocab_.find(word.substr(begin, n));
      if (id < 0) return false;
      heap.push_back(
          {static_cast<uint64_t>(ranks_[static_cast<size_t>(id)]) << 32 | static_cast<uint32_t>(i), n, id});
      return true;
    };
    auto push = [&](int32_t i, int32_t j) {
      if (candidate(i, j)) std::push_heap(heap.begin(), heap.end());
    };
    for (int32_t i = 0; i + 1 < static_cast<int32_t>(symbols.size()); ++i) candidate(i, i + 1);
    std::make_heap(heap.begin(), heap.end());
    while (!heap.empty()) {
      std::pop_heap(heap.begin(), heap.end());
      Item c = heap.back();
      heap.pop_back();
      auto i = static_cast<int32_t>(c.key & 0xFFFFFFFF);
      Symbol& left = at(i);
      if (left.bytes == 0 || left.next < 0) continue;
      Symbol& right = at(left.next);
      if (left.bytes + right.bytes != c.bytes) continue;  // one of them has grown since
      left.bytes = c.bytes;
      left.id = c.merged;
      right.bytes = 0;
      left.next = right.next;
      if (right.next >= 0) at(right.next).previous = i;
      push(left.previous, i);
      push(i, left.next);
    }
    for (int32_t i = 0; i >= 0; i = at(i).next) {
      const Symbol& x = at(i);
      std::string_view t = word.substr(x.begin, x.bytes);
      int32_t id = x.id >= 0 ? x.id : vocab_.find(t);
      if (id >= 0) {
        out.push_back(id);
        continue;
      }
      for (char c : t)
        if (int32_t b = bytes_[static_cast<unsigned char>(c)]; b >= 0) out.push_back(b);
    }
  }

  const Vocab& vocab_;
  std::vector<uint32_t> ranks_;
  int32_t bytes_[256];
  std::vector<int32_t> ascii_pairs_;  // the tokens of two ASCII characters, asked for most
  bool crosses_[256] = {};
  mutable Pool<Scratch> pool_;
};

}  // namespace

void append_sentencepiece_text(const Vocab& vocab, int32_t id, std::string& out) {
  std::string_view t = vocab.text(id);
  uint8_t flags = vocab.flags(id);
  if (flags & (Vocab::kControl | Vocab::kUnknown | Vocab::kUser)) {
    out.append(t);
    return;
  }
  if (flags & Vocab::kByte) {
    auto hex = [](char c) {
      return c >= '0' && c <= '9'   ? c - '0'
             : c >= 'A' && c <= 'F' ? c - 'A' + 10
             : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                    : -1;
    };
    if (t.size() == 6 && t.starts_with("<0x") && hex(t[3]) >= 0 && hex(t[4]) >= 0) {
      out.push_back(static_cast<char>(hex(t[3]) * 16 + hex(t[4])));
      return;
    }
  }
  for (;;) {
    size_t space = t.find(kSpace);
    out.append(t.substr(0, space));
    if (space == std::string_view::npos) return;
    out.push_back(' ');
    t.remove_prefix(space + kSpace.size());
  }
}

std::unique_ptr<TokenModel> make_spm(const GgufFile& file, const Vocab& vocab) {
  return std::make_unique<Spm>(file, vocab);
}

}  // namespace mc
