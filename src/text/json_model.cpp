// The models of a tokenizer.json: words to tokens.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <unordered_map>

#include "json_text.h"
#include "mc/detail/str.h"
#include "prefix_index.h"
#include "token_model.h"
#include "vocab.h"

namespace mc::tokenizer_json {
namespace {

constexpr size_t kMaxTokens = 4'000'000;

struct Hash {
  size_t operator()(std::string_view s) const { return hash_bytes(s); }
  size_t operator()(uint64_t v) const { return hash_bytes({reinterpret_cast<const char*>(&v), sizeof v}); }
};
using Index = std::unordered_map<std::string_view, int32_t, Hash>;

// {"token": id}; gaps are empty texts.
void read_vocabulary(const Json& j, std::vector<std::string>& texts, Index& index) {
  const auto v = j.find("vocab");
  if (v == j.end() || !v->is_object()) refuse("the object model.vocab is missing");
  if (v->size() > kMaxTokens) refuse(cat("the vocabulary has ", v->size(), " tokens"));
  for (const auto& [token, number] : v->items()) {
    if (!number.is_number_unsigned() || number.get<uint64_t>() >= kMaxTokens)
      refuse(cat("the token \"", token.substr(0, 40), "\" has the id ", number.dump().substr(0, 40)));
    const auto at = number.get<size_t>();
    if (at >= texts.size()) texts.resize(at + 1);
    if (!texts[at].empty()) refuse(cat("two tokens have the id ", at));
    texts[at] = token;
  }
  index.reserve(texts.size());
  for (size_t i = 0; i < texts.size(); ++i)
    if (!texts[i].empty()) index.emplace(texts[i], static_cast<int32_t>(i));
}

int32_t find(const Index& index, std::string_view s) {
  const auto it = index.find(s);
  return it == index.end() ? -1 : it->second;
}

// The token "<0xE2>" of each byte, or -1.
std::vector<int32_t> byte_tokens(const Index& index) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::vector<int32_t> out;
  for (unsigned b = 0; b < 256; ++b) {
    const char name[] = {'<', '0', 'x', kHex[b >> 4], kHex[b & 15], '>'};
    out.push_back(find(index, {name, sizeof name}));
  }
  return out;
}

size_t character_bytes(std::string_view s) {
  const Utf8 u = utf8_front(s);
  return u.bytes ? u.bytes : 1;
}

using Cache = WordCacheOf<Part>;

class Cached : public WordModel {
 public:
  void encode(std::string_view word, std::vector<Part>& out) const final {
    auto cache = caches_.take();
    Cache::Entry* e = cache->place(word);
    if (e && Cache::holds(*e, word)) {
      out.insert(out.end(), e->parts, e->parts + e->count);
      return;
    }
    const size_t before = out.size();
    fresh(word, out);
    if (e) Cache::put(*e, word, out.data() + before, out.size() - before);
  }

 protected:
  virtual void fresh(std::string_view word, std::vector<Part>& out) const = 0;
  Index index_;

 private:
  mutable Pool<Cache> caches_;
};

// Which characters stand side by side in a token that merges make. Between two others no merge ever reaches,
// so that a long word may be cut there and its parts looked up.
class Neighbours {
 public:
  void know(uint32_t c) {
    if (known_.empty()) known_.resize(0x110000);
    known_[c] = true;
  }
  void add(std::string_view token) {
    uint32_t last = 0;
    for (bool first = true; !token.empty(); first = false) {
      const Utf8 u = utf8_front(token);
      if (!u.bytes) return;
      if (!first) insert(key(last, u.code_point));
      last = u.code_point;
      token.remove_prefix(u.bytes);
    }
  }
  bool apart(uint32_t a, uint32_t b) const {
    if (known_.empty() || !known_[a] || !known_[b]) return false;
    if (slots_.empty()) return true;
    const uint64_t k = key(a, b);
    for (size_t i = place(k);; i = (i + 1) & (slots_.size() - 1)) {
      if (slots_[i] == 0) return true;
      if (slots_[i] == k) return false;
    }
  }

 private:
  static uint64_t key(uint32_t a, uint32_t b) { return (static_cast<uint64_t>(a) << 32 | b) + 1; }
  size_t place(uint64_t k) const {
    return static_cast<size_t>((k ^ secret_) * 0x9E3779B97F4A7C15ULL >> 32) & (slots_.size() - 1);
  }
  void insert(uint64_t k) {
    if (2 * (count_ + 1) > slots_.size()) {
      std::vector<uint64_t> old(std::max<size_t>(1024, 4 * slots_.size()));
      old.swap(slots_);
      count_ = 0;
      for (uint64_t x : old)
        if (x) insert(x);
    }
    size_t i = place(k);
    while (slots_[i] != 0 && slots_[i] != k) i = (i + 1) & (slots_.size() - 1);
    count_ += slots_[i] == 0;
    slots_[i] = k;
  }
  std::vector<bool> known_;
  std::vector<uint64_t> slots_;
  size_t count_ = 0;
  uint64_t secret_ = hash_bytes("neighbours");
};

class Bpe : public Cached {
 public:
  explicit Bpe(const Json& j) {
    if (const auto d = j.find("dropout"); d != j.end() && !d->is_null() && *d != Json(0) && *d != Json(0.0))
      refuse("the model has dropout, which makes tokens random");
    read_vocabulary(j, texts, index_);
    prefix_ = string(j, "continuing_subword_prefix", "");
    suffix_ = string(j, "end_of_word_suffix", "");
    whole_ = flag(j, "ignore_merges", false);
    fuse_ = flag(j, "fuse_unk", false);
    if (const std::string u = string(j, "unk_token", ""); !u.empty())
      unknown_ = find(index_, u), unknown_name_ = u;
    if (flag(j, "byte_fallback", false)) bytes_ = byte_tokens(index_);
    uint32_t rank = 0;
    for (const Json& m : list(j, "merges")) {
      std::string a, b;
      if (m.is_string()) {
        const auto s = m.get<std::string>();
        const size_t space = s.find(' ');
        if (space == std::string::npos) refuse(cat("merge ", rank, " is no pair"));
        a = s.substr(0, space), b = s.substr(space + 1);
      } else if (m.is_array() && m.size() == 2 && m[0].is_string() && m[1].is_string()) {
        a = m[0].get<std::string>(), b = m[1].get<std::string>();
      } else {
        refuse(cat("merge ", rank, " is no pair"));
      }
      if (b.size() < prefix_.size()) refuse(cat("merge ", rank, " lacks the continuing_subword_prefix"));
      const int32_t x = find(index_, a), y = find(index_, b), z = find(index_, a + b.substr(prefix_.size()));
      if (x < 0 || y < 0 || z < 0)
        refuse(cat("merge ", rank, " (\"", a.substr(0, 20), "\", \"", b.substr(0, 20),
                   "\") names or makes what is no token"));
      rules_[key(x, y)] = {rank++, z};
      if (cuts()) neighbours_.add(texts[static_cast<size_t>(z)]);
    }
    if (!cuts()) return;
    for (const std::string& t : texts)
      if (const Utf8 u = utf8_front(t); u.bytes && u.bytes == t.size()) neighbours_.know(u.code_point);
  }

 private:
  struct Rule {
    uint32_t rank;
    int32_t merged;
  };
  struct Symbol {
    int32_t id, previous, next;
    uint32_t bytes;
  };
  struct Candidate {
    uint32_t rank;
    int32_t at, left, right, merged;
    friend bool operator<(const Candidate& a, const Candidate& b) {
      return a.rank != b.rank ? a.rank > b.rank : a.at > b.at;
    }
  };
  bool cuts() const { return !whole_ && prefix_.empty() && suffix_.empty(); }
  // False, and nothing done, where the word has no such place.
  bool in_parts(std::string_view w, std::vector<Part>& out) const {
    size_t begin = 0;
    uint32_t last = 0;
    for (size_t i = 0; i < w.size();) {
      const Utf8 u = utf8_front(w.substr(i));
      if (!u.bytes) break;  // words are whole characters
      if (i > 0 && neighbours_.apart(last, u.code_point)) {
        encode(w.substr(begin, i - begin), out);
        begin = i;
      }
      last = u.code_point;
      i += u.bytes;
    }
    if (begin == 0) return false;
    encode(w.substr(begin), out);
    return true;
  }
  static uint64_t key(int32_t a, int32_t b) {
    return static_cast<uint64_t>(static_cast<uint32_t>(a)) << 32 | static_cast<uint32_t>(b);
  }

  void symbols(std::string_view w, std::vector<Symbol>& out) const {
    auto put = [&](int32_t id, size_t bytes) { out.push_back({id, 0, 0, static_cast<uint32_t>(bytes)}); };
    size_t unknown = 0;  // bytes of unknown characters that are not put yet
    std::string s;
    for (size_t i = 0; i < w.size();) {
      const size_t n = character_bytes(w.substr(i));
      std::string_view c = w.substr(i, n);
      if (!prefix_.empty() || !suffix_.empty()) {
        s.clear();
        if (i > 0) s += prefix_;
        s += c;
        if (i + n == w.size()) s += suffix_;
        c = s;
      }
      const int32_t id = find(index_, c);
      i += n;
      if (id >= 0) {
        if (unknown) put(unknown_, unknown), unknown = 0;
        put(id, n);
        continue;
      }
      if (!bytes_.empty() && std::all_of(c.begin(), c.end(), [&](char b) {
            return bytes_[static_cast<unsigned char>(b)] >= 0;
          })) {
        for (char b : c) put(bytes_[static_cast<unsigned char>(b)], 1);
        continue;
      }
      if (unknown_name_.empty()) continue;
      if (unknown_ < 0)
        refuse(cat("the unknown token \"", unknown_name_.substr(0, 40), "\" is not in the vocabulary"));
      if (unknown && !fuse_) put(unknown_, unknown), unknown = 0;
      unknown += n;
    }
    if (unknown) put(unknown_, unknown);
  }

  void fresh(std::string_view w, std::vector<Part>& out) const override {
    if (whole_)
      if (const int32_t id = find(index_, w); id >= 0) {
        out.push_back({id, static_cast<uint32_t>(w.size())});
        return;
      }
    if (cuts() && w.size() > sizeof Cache::Entry::word && in_parts(w, out)) return;
    std::vector<Symbol> s;
    s.reserve(w.size());
    symbols(w, s);
    std::vector<Candidate> heap;
    const auto n = static_cast<int32_t>(s.size());
    auto at = [&](int32_t i) -> Symbol& { return s[static_cast<size_t>(i)]; };
    auto offer = [&](int32_t i, int32_t k, bool ordered) {
      if (i < 0 || k < 0) return;
      const auto r = rules_.find(key(at(i).id, at(k).id));
      if (r == rules_.end()) return;
      heap.push_back({r->second.rank, i, at(i).id, at(k).id, r->second.merged});
      if (ordered) std::push_heap(heap.begin(), heap.end());
    };
    for (int32_t i = 0; i < n; ++i) at(i).previous = i - 1, at(i).next = i + 1 < n ? i + 1 : -1;
    for (int32_t i = 0; i + 1 < n; ++i) offer(i, i + 1, false);
    std::make_heap(heap.begin(), heap.end());
    while (!heap.empty()) {
      std::pop_heap(heap.begin(), heap.end());
      const Candidate c = heap.back();
      heap.pop_back();
      Symbol& left = at(c.at);
      if (left.id != c.left || left.next < 0 || at(left.next).id != c.right) continue;
      Symbol& right = at(left.next);
      left.id = c.merged;
      left.bytes += right.bytes;
      left.next = right.next;
      right.id = -1;
      if (left.next >= 0) at(left.next).previous = c.at;
      offer(left.previous, c.at, true);
      offer(c.at, left.next, true);
    }
    for (const Symbol& x : s)
      if (x.id >= 0) out.push_back({x.id, x.bytes});
  }

  std::string prefix_, suffix_, unknown_name_;
  bool whole_ = false, fuse_ = false;
  int32_t unknown_ = -1;
  std::vector<int32_t> bytes_;
  std::unordered_map<uint64_t, Rule, Hash> rules_;
  Neighbours neighbours_;
};

class Unigram : public Cached {
 public:
  explicit Unigram(const Json& j) {
    const Json& v = list(j, "vocab");
    if (v.empty() || v.size() > kMaxTokens) refuse(cat("the vocabulary has ", v.size(), " tokens"));
    double low = std::numeric_limits<double>::infinity();
    for (const Json& e : v) {
      if (!e.is_array() || e.size() != 2 || !e[0].is_string() || !e[1].is_number())
        refuse("model.vocab has an entry that is no pair of a string and a number");
      texts.push_back(e[0].get<std::string>());
      scores_.push_back(e[1].get<double>());
      if (!std::isfinite(scores_.back())) refuse("model.vocab has a score that is no number");
      low = std::min(low, scores_.back());
    }
    unknown_score_ = low - 10;
    if (const auto u = j.find("unk_id"); u != j.end() && !u->is_null()) {
      if (!u->is_number_unsigned() || u->get<uint64_t>() >= texts.size())
        refuse("model.unk_id is out of range");
      unknown_ = u->get<int32_t>();
    }
    std::vector<PrefixIndex::Entry> entries;
    for (size_t i = 0; i < texts.size(); ++i)
      if (!texts[i].empty()) index_[texts[i]] = static_cast<int32_t>(i);
    for (const auto& [text, id] : index_) entries.push_back({text, id});
    prefixes_ = PrefixIndex(std::move(entries));
    if (flag(j, "byte_fallback", false)) bytes_ = byte_tokens(index_);
  }

 private:
  void fresh(std::string_view w, std::vector<Part>& out) const override {
    struct Node {
      double score = 0;
      int32_t id = -1;
      int64_t from = -1;
    };
    std::vector<Node> best(w.size() + 1);
    for (size_t i = 0; i < w.size();) {
      const double here = best[i].score;
      const size_t n = character_bytes(w.substr(i));
      bool single = false;
      auto offer = [&](size_t end, double score, int32_t id) {
        Node& t = best[end];
        if (t.from < 0 || score > t.score) t = {score, id, static_cast<int64_t>(i)};
      };
      prefixes_.each(w, i, [&](size_t length, int32_t id) {
        offer(i + length, scores_[static_cast<size_t>(id)] + here, id);
        single = single || length == n;
      });
      if (!single) {
        if (unknown_ < 0)
          refuse("the text has a character that is not in the vocabulary, and model.unk_id is not set");
        offer(i + n, unknown_score_ + here, unknown_);
      }
      i += n;
    }
    // Unknown neighbours are one token.
    std::vector<std::pair<size_t, size_t>> spans;
    bool open = false;
    for (size_t end = w.size(); end > 0;) {
      const Node& node = best[end];
      const auto from = static_cast<size_t>(node.from);
      const bool unknown = unknown_ >= 0 && node.id == unknown_;
      if (unknown && open)
        spans.back().first = from;
      else
        spans.emplace_back(from, end);
      open = unknown;
      end = from;
    }
    for (auto s = spans.rbegin(); s != spans.rend(); ++s) {
      const std::string_view t = w.substr(s->first, s->second - s->first);
      const auto bytes = static_cast<uint32_t>(t.size());
      if (const int32_t id = find(index_, t); id >= 0) {
        out.push_back({id, bytes});
      } else if (!bytes_.empty() && std::all_of(t.begin(), t.end(), [&](char b) {
                   return bytes_[static_cast<unsigned char>(b)] >= 0;
                 })) {
        // Each byte token stands for the whole stretch: the last one takes its bytes, the others are marked.
        for (size_t k = 0; k < t.size(); ++k)
          out.push_back(
              {bytes_[static_cast<unsigned char>(t[k])], k + 1 == t.size() ? bytes : bytes | kShared});
      } else {
        out.push_back({unknown_, bytes});
      }
    }
  }

  std::vector<double> scores_;
  double unknown_score_ = 0;
  int32_t unknown_ = -1;
  PrefixIndex prefixes_;
  std::vector<int32_t> bytes_;
};

class WordPiece : public Cached {
 public:
  explicit WordPiece(const Json& j) {
    read_vocabulary(j, texts, index_);
    prefix_ = string(j, "continuing_subword_prefix", "##");
    const std::string u = string(j, "unk_token", "[UNK]");
    unknown_ = find(index_, u);
    if (unknown_ < 0) refuse(cat("the unknown token \"", u.substr(0, 40), "\" is not in the vocabulary"));
    if (const auto m = j.find("max_input_chars_per_word"); m != j.end() && m->is_number_unsigned())
      longest_ = m->get<uint64_t>();
    for (const std::string& t : texts) widest_ = std::max(widest_, t.size());
  }

 private:
  void fresh(std::string_view w, std::vector<Part>& out) const override {
    const auto size = static_cast<uint32_t>(w.size());
    const auto count = std::count_if(w.begin(), w.end(), [](char c) { return (c & 0xC0) != 0x80; });
    if (static_cast<uint64_t>(count) > longest_) {
      out.push_back({unknown_, size});
      return;
    }
    const size_t before = out.size();
    std::string s;
    for (size_t i = 0; i < w.size();) {
      size_t e = std::min(w.size(), i + widest_);
      int32_t id = -1;
      while (e > i) {
        if (e == w.size() || (w[e] & 0xC0) != 0x80) {
          s.assign(i ? prefix_ : "").append(w.substr(i, e - i));
          if ((id = find(index_, s)) >= 0) break;
        }
        --e;
      }
      if (id < 0) {
        out.resize(before);
        out.push_back({unknown_, size});
        return;
      }
      out.push_back({id, static_cast<uint32_t>(e - i)});
      i = e;
    }
  }

  std::string prefix_;
  int32_t unknown_ = -1;
  uint64_t longest_ = 100;
  size_t widest_ = 0;
};

class WordLevel : public Cached {
 public:
  explicit WordLevel(const Json& j) {
    read_vocabulary(j, texts, index_);
    unknown_name_ = string(j, "unk_token", "");
    unknown_ = find(index_, unknown_name_);
  }

 private:
  void fresh(std::string_view w, std::vector<Part>& out) const override {
    int32_t id = find(index_, w);
    if (id < 0) id = unknown_;
    if (id < 0)
      refuse(cat("the text has a word that is not in the vocabulary, and the unknown token \"",
                 unknown_name_.substr(0, 40), "\" is not there either"));
    out.push_back({id, static_cast<uint32_t>(w.size())});
  }

  std::string unknown_name_;
  int32_t unknown_ = -1;
};

}  // namespace

std::unique_ptr<WordModel> read_model(const Json& j) {
  if (!j.is_object()) refuse("the object \"model\" is missing");
  std::string t = string(j, "type", "");
  if (t.empty()) t = j.contains("merges") ? "BPE" : j.contains("unk_id") ? "Unigram" : "WordPiece";
  if (t == "BPE") return std::make_unique<Bpe>(j);
  if (t == "Unigram") return std::make_unique<Unigram>(j);
  if (t == "WordPiece") return std::make_unique<WordPiece>(j);
  if (t == "WordLevel") return std::make_unique<WordLevel>(j);
  refuse(cat("the model ", t.substr(0, 40), " is not read; read are BPE, Unigram, WordPiece, WordLevel"));
}

}  // namespace mc::tokenizer_json
