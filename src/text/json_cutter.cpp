// The pre-tokenizers of a tokenizer.json.
#include <utf8proc.h>

#include <utility>

#include "json_text.h"
#include "mc/detail/str.h"
#include "pattern.h"

namespace mc::tokenizer_json {
namespace {

enum class Behavior : uint8_t { Removed, Isolated, Previous, Next, Contiguous };

Behavior behavior_of(const Json& j, std::string_view fallback) {
  const std::string b = string(j, "behavior", fallback);
  if (b == "Removed") return Behavior::Removed;
  if (b == "Isolated") return Behavior::Isolated;
  if (b == "MergedWithPrevious") return Behavior::Previous;
  if (b == "MergedWithNext") return Behavior::Next;
  if (b == "Contiguous") return Behavior::Contiguous;
  refuse(cat("the behavior \"", b.substr(0, 40), "\" is not read"));
}

// A stretch that matches, or lies between those that do.
struct Cut {
  uint32_t begin, end;
  bool match;
};

void emit(const Glyphs& g, const std::vector<Cut>& cuts, Behavior b, Pieces& out) {
  const size_t n = cuts.size();
  for (size_t i = 0; i < n; ++i) {
    const Cut& c = cuts[i];
    if (b == Behavior::Removed && c.match) continue;
    out.text.append(g, c.begin, c.end);
    bool joins = false;
    if (i + 1 < n) {
      const Cut& next = cuts[i + 1];
      // A match joins what is no match: a run of matches joins nothing.
      if (b == Behavior::Previous) joins = next.match && !c.match;
      if (b == Behavior::Next) joins = c.match && !next.match;
      if (b == Behavior::Contiguous) joins = c.match == next.match;
    }
    if (!joins) out.close();
  }
}

template <class Find>  // find(pos, end) -> end of the match that begins at pos, or pos
void cut_all(const Pieces& in, Behavior b, bool invert, Pieces& out, Find&& find) {
  out.clear();
  out.text.chars.reserve(in.text.size());
  out.text.at.reserve(in.text.size());
  out.ends.reserve(in.text.size() / 3);
  std::vector<Cut> cuts;
  uint32_t begin = 0;
  for (uint32_t end : in.ends) {
    cuts.clear();
    uint32_t gap = begin;
    for (uint32_t pos = begin; pos < end;) {
      const uint32_t e = find(pos, end);
      if (e == pos) {
        ++pos;
        continue;
      }
      if (gap < pos) cuts.push_back({gap, pos, invert});
      cuts.push_back({pos, e, !invert});
      gap = pos = e;
    }
    if (gap < end) cuts.push_back({gap, end, invert});
    emit(in.text, cuts, b, out);
    begin = end;
  }
}

template <class Is>
void cut_characters(const Pieces& in, Behavior b, Pieces& out, Is&& is) {
  cut_all(in, b, false, out, [&](uint32_t pos, uint32_t) { return pos + (is(in.text.chars[pos]) ? 1 : 0); });
}

bool punctuation(Char x) { return x & kOldPunctuation; }
bool numeric(Char x) {
  const uint32_t k = category(x);
  return k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO;
}

class Pattern : public Cutter {
 public:
  Pattern(Regex r, Behavior b, bool invert) : regex_(std::move(r)), behavior_(b), invert_(invert) {}
  void apply(const Pieces& in, Pieces& out) const override {
    Regex::Stack stack;
    cut_all(in, behavior_, invert_, out, [&](uint32_t pos, uint32_t end) {
      const size_t e = regex_.match(in.text.chars.data(), pos, end, stack);
      return e == Regex::npos ? pos : static_cast<uint32_t>(e);
    });
  }

 private:
  Regex regex_;
  Behavior behavior_;
  bool invert_;
};

class Literal : public Cutter {
 public:
  Literal(const std::string& what, Behavior b, bool invert)
      : what_(characters(what)), behavior_(b), invert_(invert) {
    if (what_.empty()) refuse("Split has an empty pattern");
  }
  void apply(const Pieces& in, Pieces& out) const override {
    cut_all(in, behavior_, invert_, out, [&](uint32_t pos, uint32_t end) {
      if (what_.size() > end - pos) return pos;
      for (size_t i = 0; i < what_.size(); ++i)
        if (in.text.chars[pos + i] != what_[i]) return pos;
      return pos + static_cast<uint32_t>(what_.size());
    });
  }

 private:
  std::vector<Char> what_;
  Behavior behavior_;
  bool invert_;
};

template <class Is>
class Characters : public Cutter {
 public:
  Characters(Behavior b, Is is) : behavior_(b), is_(std::move(is)) {}
  void apply(const Pieces& in, Pieces& out) const override { cut_characters(in, behavior_, out, is_); }

 private:
  Behavior behavior_;
  Is is_;
};
template <class Is>
std::unique_ptr<Cutter> by_character(Behavior b, Is is) {
  return std::make_unique<Characters<Is>>(b, std::move(is));
}

class BertWords : public Cutter {
 public:
  void apply(const Pieces& in, Pieces& out) const override {
    Pieces words;
    cut_characters(in, Behavior::Removed, words, is_space);
    cut_characters(words, Behavior::Isolated, out, punctuation);
  }
};

class ByteLevelWords : public Cutter {
 public:
  explicit ByteLevelWords(const Json& j) : prefix_(flag(j, "add_prefix_space", true)) {
    if (flag(j, "use_regex", true))
      regex_ = std::make_unique<Pattern>(
          Regex(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)"),
          Behavior::Isolated, false);
  }
  void apply(const Pieces& in, Pieces& out) const override {
    const Pieces* from = &in;
    Pieces spaced, words;
    if (prefix_) {
      uint32_t begin = 0;
      for (uint32_t end : in.ends) {
        if (code_point(in.text.chars[begin]) != ' ') spaced.text.push(classify(' '), in.text.at[begin]);
        spaced.text.append(in.text, begin, end);
        spaced.close();
        begin = end;
      }
      from = &spaced;
    }
    if (regex_) {
      regex_->apply(*from, words);
      from = &words;
    }
    static const std::vector<Char> table = [] {
      std::vector<Char> t;
      for (int b = 0; b < 256; ++b) t.push_back(classify(byte_character(static_cast<unsigned char>(b))));
      return t;
    }();
    out.clear();
    out.text.chars.reserve(from->text.size());
    out.text.at.reserve(from->text.size());
    out.ends.reserve(from->ends.size());
    uint32_t begin = 0;
    std::string bytes;
    for (uint32_t end : from->ends) {
      for (uint32_t i = begin; i < end; ++i) {
        const uint32_t c = code_point(from->text.chars[i]);
        if (c < 0x80) {
          out.text.push(table[c], from->text.at[i]);
          continue;
        }
        bytes.clear();
        append_utf8(bytes, c);
        for (char b : bytes) out.text.push(table[static_cast<unsigned char>(b)], from->text.at[i]);
      }
      out.close();
      begin = end;
    }
  }

 private:
  bool prefix_;
  std::unique_ptr<Pattern> regex_;
};

class Metaspace : public Cutter {
 public:
  explicit Metaspace(const Json& j) : split_(flag(j, "split", true)) {
    const std::vector<Char> sign = characters(string(j, "replacement", "\u2581"));
    if (sign.size() != 1) refuse("Metaspace's replacement is not one character");
    sign_ = sign[0];
    scheme_ = string(j, "prepend_scheme", flag(j, "add_prefix_space", true) ? "always" : "never");
    if (scheme_ != "always" && scheme_ != "first" && scheme_ != "never")
      refuse(cat("Metaspace's prepend_scheme \"", scheme_.substr(0, 40), "\" is not read"));
  }
  void apply(const Pieces& in, Pieces& out) const override {
    Pieces marked;
    Pieces& to = split_ ? marked : out;
    to.clear();
    uint32_t begin = 0;
    for (uint32_t end : in.ends) {
      const bool has = in.text.chars[begin] == sign_ || code_point(in.text.chars[begin]) == ' ';
      if (!has && (scheme_ == "always" || (scheme_ == "first" && in.text.at[begin].begin == 0)))
        to.text.push(sign_, in.text.at[begin]);
      for (uint32_t i = begin; i < end; ++i)
        to.text.push(code_point(in.text.chars[i]) == ' ' ? sign_ : in.text.chars[i], in.text.at[i]);
      to.close();
      begin = end;
    }
    if (split_) cut_characters(marked, Behavior::Next, out, [this](Char c) { return c == sign_; });
  }

 private:
  Char sign_ = 0;
  bool split_;
  std::string scheme_;
};

}  // namespace

std::unique_ptr<Cutter> read_cutter(const Json& j, int depth) {
  if (j.is_null()) return nullptr;
  if (depth > kMaxDepth) refuse("pre-tokenizers are nested too deeply");
  const std::string t = type_of(j);
  if (t == "Sequence")
    return std::make_unique<Sequence<Cutter, const Pieces&, Pieces&>>(j, "pretokenizers", read_cutter, depth);
  if (t == "ByteLevel") return std::make_unique<ByteLevelWords>(j);
  if (t == "Metaspace") return std::make_unique<Metaspace>(j);
  if (t == "BertPreTokenizer") return std::make_unique<BertWords>();
  if (t == "Whitespace")
    return std::make_unique<Pattern>(Regex(R"([\w\x{200C}\x{200D}]+|[^\w\s\x{200C}\x{200D}]+)"),
                                     Behavior::Removed, true);
  if (t == "WhitespaceSplit") return by_character(Behavior::Removed, is_space);
  if (t == "Punctuation") return by_character(behavior_of(j, "Isolated"), punctuation);
  if (t == "Digits")
    return by_character(flag(j, "individual_digits", false) ? Behavior::Isolated : Behavior::Contiguous,
                        numeric);
  if (t == "CharDelimiterSplit") {
    const std::vector<Char> c = characters(required_string(j, "delimiter"));
    if (c.size() != 1) refuse("CharDelimiterSplit's delimiter is not one character");
    return by_character(Behavior::Removed, [d = c[0]](Char x) { return x == d; });
  }
  if (t == "Split") {
    const auto p = j.find("pattern");
    if (p == j.end() || !p->is_object()) refuse("Split has no pattern");
    const Behavior b = behavior_of(j, "?");
    const bool invert = flag(j, "invert", false);
    if (p->contains("Regex"))
      return std::make_unique<Pattern>(Regex::of_file(required_string(*p, "Regex")), b, invert);
    return std::make_unique<Literal>(required_string(*p, "String"), b, invert);
  }
  refuse(cat("the pre-tokenizer ", t.substr(0, 40), " is not read"));
}

}  // namespace mc::tokenizer_json
