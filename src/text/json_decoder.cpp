// The decoders of a tokenizer.json: tokens to text.
#include <algorithm>
#include <utility>

#include "json_text.h"
#include "mc/detail/str.h"
#include "pattern.h"

namespace mc::tokenizer_json {
namespace {

void replace_all(std::string& s, std::string_view what, std::string_view by) {
  std::string out;
  size_t at = 0;
  for (size_t hit; (hit = s.find(what, at)) != std::string::npos; at = hit + what.size())
    out.append(s, at, hit - at).append(by);
  s = out.append(s, at);
}

// Ill-formed parts become U+FFFD.
std::string mended(std::string_view s) {
  std::string out;
  while (!s.empty()) {
    const Utf8 u = utf8_front(s);
    const size_t n = u.taken();
    out.append(u.bytes ? s.substr(0, n) : std::string_view("\uFFFD"));
    s.remove_prefix(n);
  }
  return out;
}

class ByteLevelText : public Joiner {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::string all, bytes;
    for (const std::string& t : tokens) {
      bytes.clear();
      bool whole = true;
      for (std::string_view s = t; !s.empty() && whole;) {
        const Utf8 u = utf8_front(s);
        const int b = u.bytes ? character_byte(u.code_point) : -1;
        if (b < 0)
          whole = false;
        else
          bytes.push_back(static_cast<char>(b));
        s.remove_prefix(u.taken());
      }
      all += whole ? bytes : t;
    }
    tokens = {mended(all)};
  }
};

int hex(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                : -1;
}

class ByteFallback : public Joiner {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::vector<std::string> out;
    std::string bytes;
    auto close = [&] {
      if (bytes.empty()) return;
      bool valid = true;
      for (std::string_view s = bytes; !s.empty() && valid;) {
        const Utf8 u = utf8_front(s);
        valid = u.bytes > 0;
        s.remove_prefix(u.taken());
      }
      if (valid)
        out.push_back(bytes);
      else
        out.insert(out.end(), bytes.size(), "\uFFFD");
      bytes.clear();
    };
    for (std::string& t : tokens) {
      if (t.size() == 6 && t.starts_with("<0x") && t[5] == '>' && hex(t[3]) >= 0 && hex(t[4]) >= 0) {
        bytes.push_back(static_cast<char>(hex(t[3]) << 4 | hex(t[4])));
        continue;
      }
      close();
      out.push_back(std::move(t));
    }
    close();
    tokens = std::move(out);
  }
};

class Fuse : public Joiner {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::string all;
    for (const std::string& t : tokens) all += t;
    tokens = {all};
  }
};

class StripText : public Joiner {
 public:
  explicit StripText(const Json& j) : what_(required_string(j, "content")) {
    if (what_.empty()) refuse("the decoder Strip has no content");
    for (auto [key, place] : {std::pair("start", &start_), std::pair("stop", &stop_)}) {
      const auto it = j.find(key);
      if (it == j.end() || !it->is_number_unsigned()) refuse(cat("the decoder Strip has no \"", key, "\""));
      *place = it->get<size_t>();
    }
  }
  void apply(std::vector<std::string>& tokens) const override {
    for (std::string& t : tokens) {
      for (size_t i = 0; i < start_ && t.starts_with(what_); ++i) t.erase(0, what_.size());
      for (size_t i = 0; i < stop_ && t.ends_with(what_); ++i) t.resize(t.size() - what_.size());
    }
  }

 private:
  std::string what_;
  size_t start_ = 0, stop_ = 0;
};

class ReplaceText : public Joiner {
 public:
  explicit ReplaceText(const Json& j) : by_(string(j, "content", "")) {
    const auto p = j.find("pattern");
    if (p == j.end() || !p->is_object() || !p->contains("String"))
      refuse("the decoder Replace is read with a string to replace only");
    what_ = required_string(*p, "String");
    if (what_.empty()) refuse("the decoder Replace has an empty pattern");
  }
  void apply(std::vector<std::string>& tokens) const override {
    for (std::string& t : tokens) replace_all(t, what_, by_);
  }

 private:
  std::string what_, by_;
};

class MetaspaceText : public Joiner {
 public:
  explicit MetaspaceText(const Json& j)
      : sign_(string(j, "replacement", "\u2581")),
        drops_(string(j, "prepend_scheme", flag(j, "add_prefix_space", true) ? "always" : "never") !=
               "never") {
    if (sign_.empty()) refuse("the decoder Metaspace has no replacement");
  }
  void apply(std::vector<std::string>& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) replace_all(tokens[i], sign_, i == 0 && drops_ ? "" : " ");
  }

 private:
  std::string sign_;
  bool drops_;
};

class WordPieceText : public Joiner {
 public:
  explicit WordPieceText(const Json& j)
      : prefix_(string(j, "prefix", "##")), clean_(flag(j, "cleanup", true)) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      std::string& t = tokens[i];
      if (i > 0) {
        if (t.starts_with(prefix_))
          t.erase(0, prefix_.size());
        else
          t.insert(0, " ");
      }
      if (!clean_) continue;
      for (auto [what, by] : {std::pair(" .", "."), std::pair(" ?", "?"), std::pair(" !", "!"),
                              std::pair(" ,", ","), std::pair(" ' ", "'"), std::pair(" n't", "n't"),
                              std::pair(" 'm", "'m"), std::pair(" do not", " don't"), std::pair(" 's", "'s"),
                              std::pair(" 've", "'ve"), std::pair(" 're", "'re")})
        replace_all(t, what, by);
    }
  }

 private:
  std::string prefix_;
  bool clean_;
};

class SuffixText : public Joiner {
 public:
  explicit SuffixText(const Json& j) : suffix_(string(j, "suffix", "</w>")) {}
  void apply(std::vector<std::string>& tokens) const override {
    if (suffix_.empty()) return;
    for (size_t i = 0; i < tokens.size(); ++i)
      replace_all(tokens[i], suffix_, i + 1 == tokens.size() ? "" : " ");
  }

 private:
  std::string suffix_;
};

}  // namespace

std::unique_ptr<Joiner> read_joiner(const Json& j, int depth) {
  if (j.is_null()) return nullptr;
  if (depth > kMaxDepth) refuse("decoders are nested too deeply");
  const std::string t = type_of(j);
  if (t == "Sequence")
    return std::make_unique<Sequence<Joiner, std::vector<std::string>&>>(j, "decoders", read_joiner, depth);
  if (t == "ByteLevel") return std::make_unique<ByteLevelText>();
  if (t == "ByteFallback") return std::make_unique<ByteFallback>();
  if (t == "Fuse") return std::make_unique<Fuse>();
  if (t == "Strip") return std::make_unique<StripText>(j);
  if (t == "Replace") return std::make_unique<ReplaceText>(j);
  if (t == "Metaspace") return std::make_unique<MetaspaceText>(j);
  if (t == "WordPiece") return std::make_unique<WordPieceText>(j);
  if (t == "BPEDecoder") return std::make_unique<SuffixText>(j);
  refuse(cat("the decoder ", t.substr(0, 40), " is not read"));
}

}  // namespace mc::tokenizer_json
