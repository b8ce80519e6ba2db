#include "json_tokenizer.h"

#include <utf8proc.h>

#include <algorithm>

#include "mc/detail/str.h"
#include "mc/error.h"

namespace mc {

using namespace tokenizer_json;

namespace {

// Every part of a step that may be a sequence of steps.
template <class F>
void each_part(const Json& j, const char* members, F&& f, int depth = 0) {
  if (!j.is_object() || depth > kMaxDepth) return;
  if (string(j, "type", "") == "Sequence" && j.contains(members) && j[members].is_array()) {
    for (const Json& x : j[members]) each_part(x, members, f, depth + 1);
    return;
  }
  f(j, string(j, "type", ""));
}

bool word_character(Char c) {
  const uint32_t k = category(c);
  return (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_NL) || k == UTF8PROC_CATEGORY_PC;
}

Json parse(std::string_view text) {
  int depth = 0;
  bool deep = false;
  Json j = Json::parse(
      text,
      [&](int d, Json::parse_event_t, Json&) {
        depth = d;
        deep = deep || depth > 64;
        return !deep;
      },
      false);
  if (deep) refuse("the JSON nests too deeply");
  if (j.is_discarded() || !j.is_object()) refuse("it is no JSON object");
  return j;
}

}  // namespace

JsonTokenizer::~JsonTokenizer() = default;

JsonTokenizer::JsonTokenizer(std::string_view text, const std::string& where, const Vocab& vocab)
    : vocab_(vocab) {
  try {
    const Json j = parse(text);
    auto part = [&](const char* key) { return j.contains(key) ? j[key] : Json(); };
    normalizer_ = read_normalizer(part("normalizer"));
    cutter_ = read_cutter(part("pre_tokenizer"));
    model_ = read_model(part("model"));
    joiner_ = read_joiner(part("decoder"));
    if (const Json t = part("truncation");
        t.is_object() && t.contains("max_length") && t["max_length"].is_number_unsigned())
      truncation_ = static_cast<int64_t>(std::min<uint64_t>(t["max_length"].get<uint64_t>(), INT64_MAX));
    each_part(part("pre_tokenizer"), "pretokenizers", [&](const Json& p, const std::string& type) {
      if (type == "ByteLevel") prefix_space_ = flag(p, "add_prefix_space", true);
    });
    each_part(part("post_processor"), "processors", [&](const Json& p, const std::string& type) {
      if (type == "ByteLevel" || type == "RobertaProcessing") {
        trims_ = flag(p, "trim_offsets", true);
        prefix_space_ = flag(p, "add_prefix_space", true);
      } else if (type != "TemplateProcessing" && type != "BertProcessing") {
        refuse(cat("the post-processor ", type.substr(0, 40), " is not read"));
      }
    });
    each_part(part("decoder"), "decoders", [&](const Json& p, const std::string& type) {
      if (type == "ByteLevel") byte_level_ = true;
      if (type == "Metaspace") space_sign_ = string(p, "replacement", "\u2581");
      if (type == "WordPiece") continuation_ = string(p, "prefix", "##");
      if (type == "BPEDecoder") suffix_ = string(p, "suffix", "</w>");
      if (type == "Replace" && string(p, "content", "") == " " && p.contains("pattern") &&
          p["pattern"].is_object())
        space_sign_ = string(p["pattern"], "String", "");
    });
    special_.resize(static_cast<size_t>(vocab.size()));
    if (j.contains("added_tokens") && !j["added_tokens"].is_null())
      for (const Json& t : list(j, "added_tokens")) {
        if (!t.is_object() || !t.contains("id") || !t["id"].is_number_unsigned() ||
            t["id"].get<uint64_t>() >= static_cast<uint64_t>(vocab.size()))
          refuse("\"added_tokens\" has an entry without a valid id");
        Added a{required_string(t, "content"), {},
                t["id"].get<int32_t>(),        flag(t, "special", false),
                flag(t, "lstrip", false),      flag(t, "rstrip", false),
                flag(t, "single_word", false)};
        if (a.special) special_[static_cast<size_t>(a.id)] = true;
        if (a.content.empty()) continue;
        a.sought = a.content;
        if (flag(t, "normalized", !a.special) && normalizer_) {
          Glyphs g;
          read_utf8(a.content, 0, g);
          normalizer_->apply(g);
          a.sought = utf8(g, 0, g.size());
        }
        added_.push_back(std::move(a));
      }
    std::vector<PrefixIndex::Entry> plain, changed;
    size_t k = 0, i = 0;
    for (const Json& t :
         j.contains("added_tokens") && j["added_tokens"].is_array() ? j["added_tokens"] : Json::array()) {
      if (string(t, "content", "").empty()) continue;
      const Added& a = added_[k++];
      const auto place = static_cast<int32_t>(i++);
      if (!a.sought.empty())
        (flag(t, "normalized", !a.special) ? changed : plain).push_back({a.sought, place});
    }
    as_is_ = PrefixIndex(std::move(plain));
    normalized_ = PrefixIndex(std::move(changed));
  } catch (const Error& e) {
    if (e.code() != ErrorCode::BadTokenizer) throw;
    throw Error(ErrorCode::BadTokenizer, cat("tokenizer.json: ", e.message()), where,
                "use the model's GGUF file");
  }
}

// The longest token at the leftmost place, and so on behind it.
void JsonTokenizer::find(const PrefixIndex& index, const Glyphs& g, const EncodeOptions& options,
                         std::vector<Hit>& out) const {
  out.clear();
  if (index.empty()) {
    if (g.size()) out.push_back({0, g.size(), -1});
    return;
  }
  const std::string text = utf8(g, 0, g.size());
  std::vector<uint32_t> place(text.size() + 1);  // characters before a byte
  for (size_t i = 0, b = 0; i < g.size(); ++i)
    for (uint32_t k = utf8_bytes(g.chars[i]); k > 0; --k) place[b++] = static_cast<uint32_t>(i);
  place[text.size()] = static_cast<uint32_t>(g.size());
  auto plain = [&](size_t at) {
    return std::any_of(options.plain.begin(), options.plain.end(),
                       [at](const TokenSpan& r) { return at >= r.begin && at < r.end; });
  };
  size_t done = 0;
  for (size_t i = 0; i < text.size();) {
    size_t length = 0;
    int32_t which = -1;
    index.each(text, i, [&](size_t n, int32_t w) {
      if (!added_[static_cast<size_t>(w)].special || (options.parse_special && !plain(g.at[place[i]].begin)))
        length = n, which = w;
    });
    if (which < 0) {
      ++i;
      continue;
    }
    const Added& a = added_[static_cast<size_t>(which)];
    size_t begin = place[i], end = place[i + length];
    i += length;
    if (begin < done) continue;  // swallowed as white space already
    if (a.single_word && ((begin > 0 && word_character(g.chars[begin - 1])) ||
                          (end < g.size() && word_character(g.chars[end]))))
      continue;
    if (a.lstrip)
      while (begin > done && is_space(g.chars[begin - 1])) --begin;
    if (a.rstrip)
      while (end < g.size() && is_space(g.chars[end])) ++end;
    if (done < begin) out.push_back({done, begin, -1});
    out.push_back({begin, end, a.id});
    done = end;
  }
  if (done < g.size()) out.push_back({done, g.size(), -1});
}

// Leaves white space at the ends of a token, and byte-level's sign for it, out of what the token stands for.
// As the package counts: a character of the token is one of the text, wherever it came from.
void JsonTokenizer::trim(const Glyphs& g, size_t first, size_t last, const Call& call,
                         TokenSpan& span) const {
  auto space = [&](size_t i) { return code_point(g.chars[i]) == 0x120 || is_space(g.chars[i]); };
  size_t left = 0, right = 0;
  for (size_t i = first; i <= last && space(i); ++i) ++left;
  for (size_t i = last + 1; i > first && space(i - 1); --i) ++right;
  // One may be the space that was put there; more were the text's own.
  if (left == 1 && prefix_space_ && (call.leads() || span.begin == 0)) left = 0;
  auto inside = [&](size_t at) {  // a character
    return at < call.text.size() && (call.text[at] & 0xC0) == 0x80;
  };
  for (; left > 0 && span.begin < span.end; --left) do
      ++span.begin;
    while (span.begin < span.end && inside(span.begin));
  size_t end = span.end;
  for (; right > 0 && end > 0; --right) do
      --end;
    while (end > 0 && inside(end));
  if (right == 0) span.end = std::max(end, span.begin);
}

void JsonTokenizer::words(Glyphs& g, const Call& call) const {
  Pieces a, b;
  a.text = std::move(g);
  a.close();
  const Pieces* p = &a;
  if (cutter_) {
    cutter_->apply(a, b);
    p = &b;
  }
  std::string word;
  std::vector<Part> parts;
  std::vector<uint32_t> owner;
  uint32_t begin = 0;
  for (uint32_t end : p->ends) {
    word.clear();
    for (uint32_t i = begin; i < end; ++i) append_utf8(word, code_point(p->text.chars[i]));
    parts.clear();
    model_->encode(word, parts);
    for (const Part& x : parts) call.out.push_back(x.id);
    if (call.spans) {
      owner.clear();
      for (uint32_t i = begin; i < end; ++i) owner.insert(owner.end(), utf8_bytes(p->text.chars[i]), i);
      size_t at = 0;
      for (const Part& x : parts) {
        const size_t n = x.bytes & ~kShared;
        TokenSpan s;
        if (n > 0 && at + n <= owner.size()) {
          const uint32_t first = owner[at], last = owner[at + n - 1];
          s = {p->text.at[first].begin, p->text.at[last].end};
          if (trims_) trim(p->text, first, last, call, s);
        }
        call.spans->push_back(s);
        if (!(x.bytes & kShared)) at += n;
      }
    }
    begin = end;
  }
}

void JsonTokenizer::encode(std::string_view text, const EncodeOptions& options, std::vector<int32_t>& out,
                           std::vector<TokenSpan>* spans) const {
  Glyphs all, g, part;
  read_utf8(text, 0, all);
  std::vector<Hit> outer, inner;
  const Call call{text, out, spans, spans ? spans->size() : 0};
  auto put = [&](const Glyphs& from, const Hit& h) {
    out.push_back(h.id);
    if (!spans) return;
    TokenSpan s{from.at[h.begin].begin, from.at[h.end - 1].end};
    if (trims_) trim(from, h.begin, h.end - 1, call, s);
    spans->push_back(s);
  };
  find(as_is_, all, options, outer);
  for (const Hit& h : outer) {
    if (h.id >= 0) {
      put(all, h);
      continue;
    }
    g.clear();
    g.append(all, h.begin, h.end);
    if (normalizer_) normalizer_->apply(g);
    find(normalized_, g, options, inner);
    for (const Hit& k : inner) {
      if (k.id >= 0) {
        put(g, k);
        continue;
      }
      part.clear();
      part.append(g, k.begin, k.end);
      words(part, call);
    }
  }
}

std::string JsonTokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::vector<std::string> tokens;
  for (int32_t id : ids) {
    if (skip_special && special_[static_cast<size_t>(id)]) continue;
    tokens.emplace_back(vocab_.text(id));
  }
  std::string out;
  if (joiner_) joiner_->apply(tokens);
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (!joiner_ && i > 0) out += ' ';
    out += tokens[i];
  }
  return out;
}

void JsonTokenizer::append_text(int32_t id, std::string& out) const {
  std::string_view t = vocab_.text(id);
  const uint8_t flags = vocab_.flags(id);
  const bool spaced =
      !byte_level_ && continuation_.empty();  // added tokens may hold the sign for a space, too
  if (flags & (Vocab::kControl | Vocab::kUnknown) || (flags & Vocab::kUser && !spaced)) {
    out.append(t);
    return;
  }
  if (byte_level_) {
    while (!t.empty()) {
      const Utf8 u = utf8_front(t);
      const size_t n = u.taken();
      const int b = u.bytes ? character_byte(u.code_point) : -1;
      if (b >= 0)
        out.push_back(static_cast<char>(b));
      else
        out.append(t.substr(0, n));
      t.remove_prefix(n);
    }
    return;
  }
  if (flags & Vocab::kByte) {
    out.push_back(static_cast<char>(std::stoi(std::string(t.substr(3, 2)), nullptr, 16)));
    return;
  }
  if (!continuation_.empty()) {
    if (t.starts_with(continuation_))
      out.append(t.substr(continuation_.size()));
    else
      out.append(" ").append(t);
    return;
  }
  for (std::string_view sign : {std::string_view(space_sign_), std::string_view(suffix_)})
    if (!sign.empty()) {
      for (size_t at; (at = t.find(sign)) != std::string_view::npos; t.remove_prefix(at + sign.size()))
        out.append(t.substr(0, at)).append(" ");
    }
  out.append(t);
}

}  // namespace mc
