// SentencePiece's unigram model: of all ways to cut the text into tokens, the one with the highest sum of
// scores.
#include <algorithm>
#include <limits>

#include "mc/error.h"
#include "prefix_index.h"
#include "token_model.h"
#include "unicode.h"

namespace mc {
namespace {

// The normalization rules that SentencePiece compiles into tokenizer.ggml.precompiled_charsmap: a trie of
// 32-bit units (a double array: the child for byte c of a node with base b stands at b xor c), then the texts
// that replace what the trie matches, each ended by a zero byte. The bytes come from a file: every step is
// checked.
class CharMap {
 public:
  CharMap(const GgufFile& file) : path_(file.path()) {
    const GgufValue* v = file.find("tokenizer.ggml.precompiled_charsmap");
    if (!v || v->type() != GgufType::Array || v->size() == 0) return;
    if (v->element_type() != GgufType::U8 && v->element_type() != GgufType::I8) bad();
    bytes_ = {reinterpret_cast<const char*>(v->bytes().data()), v->bytes().size()};
    if (bytes_.size() < 4) bad();
    uint32_t size;
    std::memcpy(&size, bytes_.data(), 4);
    if (size % 4 != 0 || size == 0 || size > bytes_.size() - 4) bad();
    units_ = size / 4;
    texts_ = bytes_.substr(4 + size_t{size});
    if (!texts_.empty() && texts_.back() != '\0') bad();
  }

  // The longest rule at the front of `text`: how many bytes it replaces (0: none), and by what.
  size_t match(std::string_view text, std::string_view& by) const {
    if (units_ == 0) return 0;
    size_t length = 0;
    uint32_t value = 0, node = base(unit(0));
    // Rules are few characters long; the bound keeps a damaged trie from turning in circles.
    for (size_t i = 0; i < std::min<size_t>(text.size(), 256); ++i) {
      uint32_t c = static_cast<unsigned char>(text[i]);
      if (c == 0) break;
      node ^= c;
      uint32_t u = unit(node);
      if ((u & 0x800000FF) != c) break;
      node ^= base(u);
      if (u >> 8 & 1) {
        length = i + 1;
        value = unit(node) & 0x7FFFFFFF;
      }
    }
    if (length == 0) return 0;
    if (value >= texts_.size()) bad();
    by = texts_.substr(value, texts_.find('\0', value) - value);
    return length;
  }

 private:
  [[noreturn]] void bad() const {
    throw Error(ErrorCode::BadTokenizer,
                "the metadata key \"tokenizer.ggml.precompiled_charsmap\" is damaged", path_);
  }
  uint32_t unit(uint32_t i) const {
    if (i >= units_) bad();
    uint32_t u;
    std::memcpy(&u, bytes_.data() + 4 + 4 * size_t{i}, 4);
    return u;
  }
  static uint32_t base(uint32_t u) { return (u >> 10) << ((u >> 9 & 1) * 8); }

  std::string path_;
  std::string_view bytes_, texts_;
  uint32_t units_ = 0;
};

class Unigram : public TokenModel {
 public:
  Unigram(const GgufFile& file, const Vocab& vocab)
      : vocab_(vocab),
        map_(file),
        merge_spaces_(file.boolean("tokenizer.ggml.remove_extra_whitespaces", false)) {
    if (vocab.scores().empty())
      throw Error(ErrorCode::BadTokenizer, "the metadata key \"tokenizer.ggml.scores\" is missing",
                  file.path());
    if (vocab.unk < 0)
      throw Error(ErrorCode::BadTokenizer, "the metadata key \"tokenizer.ggml.unknown_token_id\" is missing",
                  file.path());
    std::vector<PrefixIndex::Entry> entries;
    float lowest = std::numeric_limits<float>::max();
    for (int32_t id = 0; id < vocab.size(); ++id) {
      if (vocab.flags(id) & Vocab::kNormal)
        lowest = std::min(lowest, vocab.scores()[static_cast<size_t>(id)]);
      if ((vocab.flags(id) & (Vocab::kNormal | Vocab::kUser | Vocab::kUnused)) && !vocab.text(id).empty())
        entries.push_back({vocab.text(id), id});
    }
    index_ = PrefixIndex(std::move(entries));
    unknown_score_ = lowest - 10.0F;
  }

  void append_text(int32_t id, std::string& out) const override {
    append_sentencepiece_text(vocab_, id, out);
  }

  void encode(std::string_view text, bool, std::vector<int32_t>& out) const override {
    auto scratch = pool_.take();
    std::string& s = scratch->text;
    normalize(text, s);
    if (s.empty()) return;
    std::vector<Step>& best = scratch->best;
    best.assign(s.size() + 1, {-std::numeric_limits<double>::max(), 0, vocab_.unk});
    best[0].score = 0;
    for (size_t i = 0; i < s.size();) {
      Utf8 u = utf8_front(std::string_view(s).substr(i, 4));
      size_t n = u.bytes ? u.bytes : 1;
      const double score = best[i].score;
      bool whole = false;
      auto offer = [&](size_t end, int32_t id, double add) {
        if (score + add > best[end].score) best[end] = {score + add, static_cast<uint32_t>(i), id};
      };
      index_.each(s, i, [&](size_t length, int32_t id) {
        whole = whole || length == n;
        // A token that the model defines for plain text always wins.
        offer(i + length, id,
              vocab_.flags(id) & Vocab::kUser
                  ? 0.0
                  : static_cast<double>(vocab_.scores()[static_cast<size_t>(id)]));
      });
      if (!whole) offer(i + n, vocab_.unk, unknown_score_);
      i += n;
    }
    size_t before = out.size();
    bool unknown = false;
    for (size_t at = s.size(); at > 0; at = best[at].from) {
      // Neighbouring unknown characters are one unknown token.
      bool now = best[at].id == vocab_.unk;
      if (!(unknown && now)) out.push_back(best[at].id);
      unknown = now;
    }
    std::reverse(out.begin() + static_cast<std::ptrdiff_t>(before), out.end());
    if (s.capacity() > (1 << 18)) std::string().swap(s);
    if (best.capacity() > (1 << 16)) std::vector<Step>().swap(best);
  }

 private:
  struct Step {
    double score;
    uint32_t from;
    int32_t id;
  };
  struct Scratch {
    std::string text;
    std::vector<Step> best;
  };

  void normalize(std::string_view text, std::string& out) const {
    out.clear();
    bool prepended = false, in_word = false;
    auto put = [&](std::string_view piece) {
      for (char c : piece) {
        if (c == ' ') {
          in_word = false;
          if (!merge_spaces_) out.append(kSpaceSign);
          continue;
        }
        if (!in_word) {
          in_word = true;
          if ((vocab_.add_space_prefix && !prepended) || merge_spaces_) {
            out.append(kSpaceSign);
            prepended = true;
          }
        }
        out.push_back(c);
      }
    };
    for (size_t i = 0; i < text.size();) {
      std::string_view rest = text.substr(i), by;
      if (size_t n = map_.match(rest, by)) {
        put(by);
        i += n;
        continue;
      }
      Utf8 u = utf8_front(rest.substr(0, 4));
      put(u.bytes ? rest.substr(0, u.bytes) : "\xEF\xBF\xBD");
      i += u.bytes ? u.bytes : 1;
    }
  }

  const Vocab& vocab_;
  CharMap map_;
  bool merge_spaces_;
  PrefixIndex index_;
  double unknown_score_ = 0;
  mutable Pool<Scratch> pool_;
};

}  // namespace

std::unique_ptr<TokenModel> make_unigram(const GgufFile& file, const Vocab& vocab) {
  return std::make_unique<Unigram>(file, vocab);
}

}  // namespace mc
