// The normalizers of a tokenizer.json. Where a change is not one character for one, the new characters take
// the origin that the `tokenizers` package gives them, so that offsets agree.
#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>

#include "json_text.h"
#include "mc/detail/str.h"
#include "pattern.h"

namespace mc::tokenizer_json {
namespace {

// Changed characters in the place of `g`, with what they stand for, as the package counts it off. `change`: 0
// stands for one character of before, 1 is one more, -n takes n further ones in.
template <class Items>
void count_off(const Items& items, Glyphs& g) {
  const std::vector<Range> before = std::move(g.at);
  g.clear();
  size_t next = 0;
  for (const auto& x : items) {
    const size_t from = x.change > 0 ? (next > 0 ? next - 1 : 0) : next;
    g.push(classify(static_cast<uint32_t>(x.c)), before[std::min(from, before.size() - 1)]);
    if (x.change <= 0) next += 1 + static_cast<size_t>(-x.change);
  }
}

// Canonical (or compatibility) decomposition, in canonical order, composed again if asked for.
class Form : public Normalizer {
 public:
  Form(bool compatible, bool compose) : compatible_(compatible), compose_(compose) {}
  void apply(Glyphs& g) const override {
    if (std::all_of(g.chars.begin(), g.chars.end(), [](Char c) { return code_point(c) < 0x80; })) return;
    // `change`: 0 stands for one character of before, 1 is one more, -n takes n further ones in. It goes
    // along when characters are put in order; what they stand for is counted off afterwards.
    struct Item {
      int32_t c;
      int ccc, change;
    };
    std::vector<Item> items;
    items.reserve(g.size());
    const auto options =
        static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | (compatible_ ? UTF8PROC_COMPAT : 0));
    for (size_t i = 0; i < g.size(); ++i) {
      utf8proc_int32_t buffer[32];
      int boundary = 0;
      const auto c = static_cast<utf8proc_int32_t>(code_point(g.chars[i]));
      const utf8proc_ssize_t n = has_normal_form(static_cast<uint32_t>(c))
                                     ? utf8proc_decompose_char(c, buffer, 32, options, &boundary)
                                     : -1;
      if (n < 1 || n > 32) {
        items.push_back({c, 0, 0});
        continue;
      }
      for (utf8proc_ssize_t k = 0; k < n; ++k)
        items.push_back({buffer[k], utf8proc_get_property(buffer[k])->combining_class, k > 0 ? 1 : 0});
    }
    for (size_t i = 0; i < items.size();) {
      if (items[i].ccc == 0) {
        ++i;
        continue;
      }
      size_t e = i;
      while (e < items.size() && items[e].ccc) ++e;
      std::stable_sort(items.begin() + static_cast<std::ptrdiff_t>(i),
                       items.begin() + static_cast<std::ptrdiff_t>(e),
                       [](const Item& a, const Item& b) { return a.ccc < b.ccc; });
      i = e;
    }
    if (compose_) {
      std::vector<Item> out;
      out.reserve(items.size());
      size_t starter = ~size_t{0};
      int last = -1;  // class of the last character kept since the starter
      for (const Item& x : items) {
        if (starter != ~size_t{0} && last < x.ccc) {
          if (const int32_t c = pair(out[starter].c, x.c)) {
            out[starter].c = c;
            out[starter].change += x.change - 1;
            continue;
          }
        }
        if (x.ccc == 0) {
          starter = out.size();
          last = -1;
        } else {
          last = x.ccc;
        }
        out.push_back(x);
      }
      items = std::move(out);
    }
    count_off(items, g);
  }

 private:
  static int32_t pair(int32_t a, int32_t b) {
    // No composition ends with these (but Hangul's letters and the signs of Indic scripts).
    if (b < 0x300 || (b >= 0x3400 && b < 0x11000)) return 0;
    // The library composes strings only; a pair is the smallest one.
    utf8proc_int32_t buffer[3] = {a, b, 0};
    const utf8proc_ssize_t n = utf8proc_normalize_utf32(
        buffer, 2, static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
    return n == 1 && has_normal_form(static_cast<uint32_t>(buffer[0])) ? buffer[0] : 0;
  }
  bool compatible_, compose_;
};

// Full lower case of one character: only U+0130 has more than one.
void lower(const Glyphs& in, Glyphs& out) {
  for (size_t i = 0; i < in.size(); ++i) {
    const uint32_t c = code_point(in.chars[i]);
    if (c == 0x130) {
      out.push(classify('i'), in.at[i]);
      out.push(classify(0x307), in.at[i]);
    } else {
      out.push(classify(static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)))), in.at[i]);
    }
  }
}

class Lowercase : public Normalizer {
 public:
  void apply(Glyphs& g) const override {
    Glyphs out;
    lower(g, out);
    g = std::move(out);
  }
};

template <class Keep>
void filter(Glyphs& g, Keep&& keep) {
  size_t n = 0;
  for (size_t i = 0; i < g.size(); ++i)
    if (keep(g.chars[i])) g.chars[n] = g.chars[i], g.at[n] = g.at[i], ++n;
  g.chars.resize(n);
  g.at.resize(n);
}

class StripAccents : public Normalizer {
 public:
  void apply(Glyphs& g) const override {
    filter(g, [](Char c) { return !(c & kOldMark); });
  }
};

class Strip : public Normalizer {
 public:
  explicit Strip(const Json& j) : left_(flag(j, "strip_left", true)), right_(flag(j, "strip_right", true)) {}
  void apply(Glyphs& g) const override {
    size_t b = 0, e = g.size();
    if (left_)
      while (b < e && is_space(g.chars[b])) ++b;
    if (right_)
      while (e > b && is_space(g.chars[e - 1])) --e;
    Glyphs out;
    out.append(g, b, e);
    g = std::move(out);
  }

 private:
  bool left_, right_;
};

class Replace : public Normalizer {
 public:
  explicit Replace(const Json& j) : by_(characters(string(j, "content", ""))) {
    const auto p = j.find("pattern");
    if (p == j.end() || !p->is_object()) refuse("Replace has no pattern");
    if (p->contains("Regex"))
      regex_ = std::make_unique<Regex>(Regex::of_file(required_string(*p, "Regex")));
    else
      what_ = characters(required_string(*p, "String"));
    if (!regex_ && what_.empty()) refuse("Replace has an empty pattern");
  }
  void apply(Glyphs& g) const override {
    Glyphs out;
    Regex::Stack stack;
    for (size_t i = 0; i < g.size();) {
      size_t e = Regex::npos;
      if (regex_) {
        e = regex_->match(g.chars.data(), i, g.size(), stack);
      } else if (what_.size() <= g.size() - i &&
                 std::equal(what_.begin(), what_.end(), g.chars.begin() + static_cast<std::ptrdiff_t>(i))) {
        e = i + what_.size();
      }
      if (e == Regex::npos || e == i) {
        out.push(g.chars[i], g.at[i]);
        ++i;
        continue;
      }
      for (Char c : by_) out.push(c, g.at[e - 1]);
      i = e;
    }
    g = std::move(out);
  }

 private:
  std::vector<Char> what_, by_;
  std::unique_ptr<Regex> regex_;
};

class Prepend : public Normalizer {
 public:
  explicit Prepend(const Json& j) : what_(characters(required_string(j, "prepend"))) {}
  void apply(Glyphs& g) const override {
    if (g.size() == 0) return;
    g.chars.insert(g.chars.begin(), what_.begin(), what_.end());
    g.at.insert(g.at.begin(), what_.size(), g.at[0]);
  }

 private:
  std::vector<Char> what_;
};

class Bert : public Normalizer {
 public:
  explicit Bert(const Json& j)
      : clean_(flag(j, "clean_text", true)),
        chinese_(flag(j, "handle_chinese_chars", true)),
        lower_(flag(j, "lowercase", true)),
        strip_(flag(j, "strip_accents", lower_)) {}
  void apply(Glyphs& g) const override {
    if (clean_) {
      filter(g, [](Char x) { return code_point(x) != 0 && !(x & kOldControl); });
      for (Char& c : g.chars)
        if (is_space(c)) c = classify(' ');
    }
    if (chinese_) {
      Glyphs out;
      for (size_t i = 0; i < g.size(); ++i) {
        const bool wide = chinese(code_point(g.chars[i]));
        if (wide) out.push(classify(' '), g.at[i]);
        out.push(g.chars[i], g.at[i]);
        if (wide) out.push(classify(' '), g.at[i]);
      }
      g = std::move(out);
    }
    if (strip_) {
      Form(false, false).apply(g);
      filter(g, [](Char c) { return !(c & kOldAccent); });
    }
    if (lower_) Lowercase().apply(g);
  }

 private:
  static bool chinese(uint32_t c) {
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
           (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) ||
           (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
  }
  bool clean_, chinese_, lower_, strip_;
};

class Nmt : public Normalizer {
 public:
  void apply(Glyphs& g) const override {
    filter(g, [](Char x) {
      const uint32_t c = code_point(x);
      return !((c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F ||
               c == 0x9F);
    });
    for (Char& x : g.chars) {
      const uint32_t c = code_point(x);
      if (c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 || (c >= 0x200B && c <= 0x200F) ||
          c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD)
        x = classify(' ');
    }
  }
};

class ByteLevelForm : public Normalizer {
 public:
  void apply(Glyphs& g) const override {
    Glyphs out;
    std::string bytes;
    for (size_t i = 0; i < g.size(); ++i) {
      bytes.clear();
      append_utf8(bytes, code_point(g.chars[i]));
      for (char b : bytes) out.push(classify(byte_character(static_cast<unsigned char>(b))), g.at[i]);
    }
    g = std::move(out);
  }
};

std::string base64(const std::string& s) {
  std::string out;
  uint32_t bits = 0, n = 0;
  for (char c : s) {
    int v = c >= 'A' && c <= 'Z'   ? c - 'A'
            : c >= 'a' && c <= 'z' ? c - 'a' + 26
            : c >= '0' && c <= '9' ? c - '0' + 52
            : c == '+'             ? 62
            : c == '/'             ? 63
                                   : -1;
    if (c == '=') break;
    if (v < 0) refuse("precompiled_charsmap is no base64");
    bits = bits << 6 | static_cast<uint32_t>(v);
    if ((n += 6) >= 8) out.push_back(static_cast<char>(bits >> (n -= 8) & 255));
  }
  return out;
}

// SentencePiece's table: a double-array trie from strings to places among zero-terminated replacements.
class Precompiled : public Normalizer {
 public:
  explicit Precompiled(const Json& j) {
    const std::string map = base64(required_string(j, "precompiled_charsmap"));
    if (map.size() < 4) refuse("precompiled_charsmap is too short");
    auto u32 = [&](size_t at) {
      uint32_t v = 0;
      for (size_t k = 0; k < 4; ++k)
        v |= static_cast<uint32_t>(static_cast<unsigned char>(map[at + k])) << 8 * k;
      return v;
    };
    const size_t bytes = u32(0);
    if (bytes % 4 || bytes == 0 || bytes > map.size() - 4)
      refuse(cat("precompiled_charsmap holds a trie of ", bytes, " bytes in ", map.size()));
    for (size_t i = 0; i < bytes; i += 4) units_.push_back(u32(4 + i));
    text_ = map.substr(4 + bytes);
  }
  void apply(Glyphs& g) const override {
    std::vector<Item> out;
    out.reserve(g.size());
    std::string bytes;
    utf8proc_int32_t state = 0;
    for (size_t i = 0; i < g.size();) {
      // A cluster is looked up whole when it is short, else character by character.
      size_t e = i + 1;
      state = 0;
      while (e < g.size() &&
             !utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(code_point(g.chars[e - 1])),
                                               static_cast<utf8proc_int32_t>(code_point(g.chars[e])), &state))
        ++e;
      bytes = utf8(g, i, e);
      std::string_view found;
      if (bytes.size() < 6 && find(bytes, found)) {
        put(found, e - i, out);
      } else {
        for (size_t k = i; k < e; ++k) {
          bytes = utf8(g, k, k + 1);
          if (find(bytes, found))
            put(found, 1, out);
          else
            out.push_back({code_point(g.chars[k]), 0});
        }
      }
      i = e;
    }
    count_off(out, g);
  }

 private:
  struct Item {
    uint32_t c;
    int change;
  };
  // Characters more than those replaced are the last ones; what is fewer is taken in by the last one there
  // is, of a replacement before if this one is empty.
  static void put(std::string_view found, size_t replaced, std::vector<Item>& out) {
    const std::vector<Char> by = characters(found);
    for (size_t k = 0; k < by.size(); ++k) out.push_back({code_point(by[k]), k < replaced ? 0 : 1});
    if (by.size() < replaced && !out.empty()) out.back().change -= static_cast<int>(replaced - by.size());
  }
  // The replacement of the shortest prefix that has one.
  bool find(std::string_view s, std::string_view& found) const {
    size_t at = offset(units_[0]);
    for (char ch : s) {
      const auto c = static_cast<unsigned char>(ch);
      if (c == 0) return false;
      at ^= c;
      if (at >= units_.size() || (units_[at] & 0x800000FF) != c) return false;
      const uint32_t unit = units_[at];
      at ^= offset(unit);
      if (unit >> 8 & 1) {
        if (at >= units_.size()) return false;
        const size_t place = units_[at] & 0x7FFFFFFF;
        if (place > text_.size()) return false;
        found = std::string_view(text_).substr(place);
        found = found.substr(0, found.find('\0'));
        return true;
      }
    }
    return false;
  }
  static size_t offset(uint32_t unit) { return static_cast<size_t>(unit >> 10) << ((unit & (1U << 9)) >> 6); }
  std::vector<uint32_t> units_;
  std::string text_;
};

}  // namespace

std::unique_ptr<Normalizer> read_normalizer(const Json& j, int depth) {
  if (j.is_null()) return nullptr;
  if (depth > kMaxDepth) refuse("normalizers are nested too deeply");
  const std::string t = type_of(j);
  if (t == "Sequence")
    return std::make_unique<Sequence<Normalizer, Glyphs&>>(j, "normalizers", read_normalizer, depth);
  if (t == "NFC") return std::make_unique<Form>(false, true);
  if (t == "NFD") return std::make_unique<Form>(false, false);
  if (t == "NFKC") return std::make_unique<Form>(true, true);
  if (t == "NFKD") return std::make_unique<Form>(true, false);
  if (t == "Lowercase") return std::make_unique<Lowercase>();
  if (t == "StripAccents") return std::make_unique<StripAccents>();
  if (t == "Strip") return std::make_unique<Strip>(j);
  if (t == "Replace") return std::make_unique<Replace>(j);
  if (t == "Prepend") return std::make_unique<Prepend>(j);
  if (t == "BertNormalizer") return std::make_unique<Bert>(j);
  if (t == "Nmt") return std::make_unique<Nmt>();
  if (t == "ByteLevel") return std::make_unique<ByteLevelForm>();
  if (t == "Precompiled") return std::make_unique<Precompiled>(j);
  refuse(cat("the normalizer ", t.substr(0, 40), " is not read"));
}

}  // namespace mc::tokenizer_json
