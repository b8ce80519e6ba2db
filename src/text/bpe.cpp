// Byte-level BPE: words from the pre-tokenizer, bytes as printable characters, merges by rank.
#include <algorithm>
#include <atomic>
#include <limits>
#include <unordered_map>

#include "byte_characters.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/log.h"
#include "pre_tokenizer.h"
#include "token_model.h"

namespace mc {
namespace {

// Merge rules, open addressing by the pair of ids.
class Merges {
 public:
  struct Rule {
    uint64_t pair = kNone;
    uint32_t rank = 0;
    int32_t merged = -1;
  };
  void reserve(size_t n) {
    size_t size = 64;
    while (size < 2 * n) size *= 2;
    slots_.assign(size, {});
  }
  const Rule* find(int32_t a, int32_t b) const {
    uint64_t p = pair(a, b);
    for (size_t at = place(p);; at = (at + 1) & (slots_.size() - 1)) {
      if (slots_[at].pair == p) return &slots_[at];
      if (slots_[at].pair == kNone) return nullptr;
    }
  }
  // The first rule for a pair stands.
  void add(int32_t a, int32_t b, uint32_t rank, int32_t merged) {
    uint64_t p = pair(a, b);
    size_t at = place(p);
    while (slots_[at].pair != kNone && slots_[at].pair != p) at = (at + 1) & (slots_.size() - 1);
    if (slots_[at].pair == kNone) slots_[at] = {p, rank, merged};
  }

 private:
  static constexpr uint64_t kNone = ~uint64_t{0};
  static uint64_t pair(int32_t a, int32_t b) {
    return static_cast<uint64_t>(static_cast<uint32_t>(a)) << 32 | static_cast<uint32_t>(b);
  }
  size_t place(uint64_t p) const {
    return hash_bytes({reinterpret_cast<const char*>(&p), sizeof p}) & (slots_.size() - 1);
  }
  std::vector<Rule> slots_;
};

// A pair that may be merged: lowest (rank, position) first.
struct Candidate {
  uint64_t key;  // rank in the high half, position in the low half
  int32_t left, right, merged;
  friend bool operator<(const Candidate& a, const Candidate& b) { return a.key > b.key; }
};

class Bpe : public TokenModel {
 public:
  Bpe(const GgufFile& file, const Vocab& vocab, const PreTokenizerInfo& info, std::string_view name)
      : vocab_(vocab), name_(name), pre_(info), ignore_merges_(info.ignore_merges), adds_bos_(info.add_bos) {
    for (uint32_t b = 0; b < 256; ++b) {
      append_utf8(written_[b], byte_character(static_cast<unsigned char>(b)));
      bytes_[b] = intern(written_[b]);
    }
    read_merges(file);
  }

  std::string_view pre_tokenizer() const override { return name_; }
  bool adds_bos() const override { return adds_bos_; }

  void encode(std::string_view text, bool, std::vector<int32_t>& out) const override {
    auto scratch = pool_.take();
    Scratch& s = *scratch;
    pre_.split(text, s.pre, [&](std::string_view word) {
      WordCache::Entry* place = s.cache.place(word);
      if (place && WordCache::holds(*place, word)) {
        out.insert(out.end(), place->parts, place->parts + place->count);
        return;
      }
      size_t before = out.size();
      encode_word(word, s, out);
      if (place) WordCache::put(*place, word, out.data() + before, out.size() - before);
    });
    s.shrink();
  }

  void append_text(int32_t id, std::string& out) const override {
    std::string_view t = vocab_.text(id);
    uint8_t flags = vocab_.flags(id);
    if (flags & (Vocab::kControl | Vocab::kUnknown | Vocab::kUser)) {
      out.append(t);
      return;
    }
    while (!t.empty()) {
      Utf8 u = utf8_front(t);
      size_t n = u.taken();
      int byte = u.bytes ? character_byte(u.code_point) : -1;
      if (byte >= 0)
        out.push_back(static_cast<char>(byte));
      else
        out.append(t.substr(0, n));
      t.remove_prefix(n);
    }
  }

 private:
  struct Scratch {
    PreTokenizer::Scratch pre;
    WordCache cache;
    std::string written;
    std::vector<int32_t> ids, next, previous;
    std::vector<const Merges::Rule*> rules;
    std::vector<Candidate> heap;
    // One giant text must not keep its memory for ever.
    void shrink() {
      constexpr size_t kKeep = 1 << 16;
      if (pre.chars.capacity() > kKeep) std::vector<Char>().swap(pre.chars);
      if (pre.stack.capacity() > kKeep) Regex::Stack().swap(pre.stack);
      if (ids.capacity() > kKeep) {
        std::vector<int32_t>().swap(ids);
        std::vector<int32_t>().swap(next);
        std::vector<int32_t>().swap(previous);
        std::vector<Candidate>().swap(heap);
        std::string().swap(written);
      }
    }
  };

  // The id of a symbol; merges may go through symbols that are no tokens, which get numbers above the
  // vocabulary's.
  int32_t intern(std::string_view s) {
    int32_t id = vocab_.find(s);
    if (id >= 0) return id;
    auto [it, fresh] =
        extra_.try_emplace(std::string(s), vocab_.size() + static_cast<int32_t>(extra_text_.size()));
    if (fresh) extra_text_.push_back(it->first);
    return it->second;
  }

  void read_merges(const GgufFile& file) {
    std::vector<std::string_view> merges =
        file.require_array("tokenizer.ggml.merges", GgufType::String).strings();
    if (merges.size() > (1U << 28))
      throw Error(ErrorCode::BadTokenizer, "tokenizer.ggml.merges is too long", file.path());
    rules_.reserve(merges.size());
    std::string joined;
    for (size_t i = 0; i < merges.size(); ++i) {
      std::string_view m = merges[i];
      // The left side may begin with a space of its own.
      size_t space = m.find(' ', 1);
      if (space == std::string_view::npos || space + 1 == m.size())
        throw Error(ErrorCode::BadTokenizer,
                    cat("tokenizer.ggml.merges: entry ", i, " is not two symbols with a space between them"),
                    file.path());
      std::string_view a = m.substr(0, space), b = m.substr(space + 1);
      joined.assign(a).append(b);
      int32_t left = intern(a), right = intern(b);
      rules_.add(left, right, static_cast<uint32_t>(i), intern(joined));
    }
  }

  void encode_word(std::string_view word, Scratch& s, std::vector<int32_t>& out) const {
    if (ignore_merges_) {
      s.written.clear();
      for (char c : word) s.written.append(written_[static_cast<unsigned char>(c)]);
      if (int32_t id = vocab_.find(s.written); id >= 0) {
        out.push_back(id);
        return;
      }
    }
    s.ids.clear();
    for (char c : word) s.ids.push_back(bytes_[static_cast<unsigned char>(c)]);
    if (s.ids.size() <= kShort)
      merge_short(s);
    else
      merge_long(s);
    for (int32_t id : s.ids) emit(id, out);
  }

  // Few symbols: look for the best pair again after every merge.
  void merge_short(Scratch& s) const {
    std::vector<int32_t>& ids = s.ids;
    auto& rules = s.rules;
    rules.clear();
    for (size_t i = 0; i + 1 < ids.size(); ++i) rules.push_back(rules_.find(ids[i], ids[i + 1]));
    for (;;) {
      size_t best = rules.size();
      uint32_t rank = std::numeric_limits<uint32_t>::max();
      for (size_t i = 0; i < rules.size(); ++i)
        if (rules[i] && rules[i]->rank < rank) rank = rules[i]->rank, best = i;
      if (best == rules.size()) return;
      ids[best] = rules[best]->merged;
      ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best) + 1);
      rules.erase(rules.begin() + static_cast<std::ptrdiff_t>(best));
      if (best < rules.size()) rules[best] = rules_.find(ids[best], ids[best + 1]);
      if (best > 0) rules[best - 1] = rules_.find(ids[best - 1], ids[best]);
    }
  }

  // Many symbols: a linked list and a heap of candidate pairs, checked when they come up.
  void merge_long(Scratch& s) const {
    std::vector<int32_t>&ids = s.ids, &next = s.next, &previous = s.previous;
    auto n = static_cast<int32_t>(ids.size());
    next.resize(ids.size());
    previous.resize(ids.size());
    s.heap.clear();
    auto at = [](std::vector<int32_t>& v, int32_t i) -> int32_t& { return v[static_cast<size_t>(i)]; };
    auto candidate = [&](int32_t i, int32_t j) {
      const Merges::Rule* r = rules_.find(at(ids, i), at(ids, j));
      if (!r) return;
      s.heap.push_back({static_cast<uint64_t>(r->rank) << 32 | static_cast<uint32_t>(i), at(ids, i),
                        at(ids, j), r->merged});
    };
    for (int32_t i = 0; i < n; ++i) {
      at(previous, i) = i - 1;
      at(next, i) = i + 1 < n ? i + 1 : -1;
      if (i + 1 < n) candidate(i, i + 1);
    }
    std::make_heap(s.heap.begin(), s.heap.end());
    while (!s.heap.empty()) {
      std::pop_heap(s.heap.begin(), s.heap.end());
      Candidate c = s.heap.back();
      s.heap.pop_back();
      auto i = static_cast<int32_t>(c.key & 0xFFFFFFFF);
      int32_t j = at(ids, i) < 0 ? -1 : at(next, i);
      if (j < 0 || at(ids, i) != c.left || at(ids, j) != c.right) continue;
      at(ids, i) = c.merged;
      at(ids, j) = -1;
      int32_t k = at(next, j);
      at(next, i) = k;
      if (k >= 0) {
        at(previous, k) = i;
        size_t size = s.heap.size();
        candidate(i, k);
        if (s.heap.size() > size) std::push_heap(s.heap.begin(), s.heap.end());
      }
      if (int32_t h = at(previous, i); h >= 0) {
        size_t size = s.heap.size();
        candidate(h, i);
        if (s.heap.size() > size) std::push_heap(s.heap.begin(), s.heap.end());
      }
    }
    std::erase(ids, -1);
  }

  void emit(int32_t id, std::vector<int32_t>& out) const {
    if (id < vocab_.size()) {
      out.push_back(id);
      return;
    }
    // A symbol that is no token: the tokens of its single bytes. A byte without one is left out, as everyone
    // who runs these models does; the unknown token of such a vocabulary is its end of text.
    for (char c : extra_text_[static_cast<size_t>(id - vocab_.size())])
      if (int32_t t = vocab_.find({&c, 1}); t >= 0)
        out.push_back(t);
      else
        tell_of_lost_bytes();
  }

  // Once for each tokenizer: a file of such bytes needs one line, not one for each of them.
  void tell_of_lost_bytes() const {
    if (!told_.exchange(true))
      log_warning("the model's vocabulary has no token for some bytes of the text; they are left out");
  }

  static constexpr size_t kShort = 40;
  const Vocab& vocab_;
  std::string name_;
  PreTokenizer pre_;
  bool ignore_merges_, adds_bos_;
  mutable std::atomic<bool> told_{false};
  std::string written_[256];
  int32_t bytes_[256];
  std::unordered_map<std::string, int32_t> extra_;
  std::vector<std::string> extra_text_;
  Merges rules_;
  mutable Pool<Scratch> pool_;
};

}  // namespace

std::unique_ptr<TokenModel> make_bpe(const GgufFile& file, const Vocab& vocab) {
  std::string_view name = file.string("tokenizer.ggml.pre", "default");
  const PreTokenizerInfo* info = pre_tokenizer_info(name);
  if (!info)
    throw Error(ErrorCode::BadTokenizer,
                cat("the metadata key \"tokenizer.ggml.pre\" names the pre-tokenizer \"",
                    std::string(name.substr(0, 64)), "\", which is not known; known are ",
                    join(pre_tokenizer_names())),
                file.path());
  return std::make_unique<Bpe>(file, vocab, *info, name);
}

}  // namespace mc
