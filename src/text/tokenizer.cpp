#include "mc/text.h"

#include <algorithm>
#include <mutex>

#include "json_tokenizer.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "specials.h"
#include "token_model.h"
#include "unicode.h"
#include "vocab.h"

namespace mc {

struct Tokenizer::Impl {
  explicit Impl(const GgufFile& f) : file(f.weak_from_this().lock()), vocab(f) {}
  std::shared_ptr<const GgufFile> file;  // the vocabulary's strings lie in it
  Vocab vocab;
  std::unique_ptr<TokenModel> model;
  const JsonTokenizer* json = nullptr;  // a part of the model
  std::vector<int32_t> before, after;   // put around a text: bos and eos, or several
  std::unique_ptr<SpecialFinder> plain;
  // With control tokens: most programs never ask for it.
  mutable std::once_flag all_once;
  mutable std::unique_ptr<SpecialFinder> all;

  const SpecialFinder& finder(bool special) const {
    if (!special) return *plain;
    std::call_once(all_once, [&] {
      all = std::make_unique<SpecialFinder>(vocab, Vocab::kControl | Vocab::kUser | Vocab::kUnknown, 0);
    });
    return *all;
  }
  std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options,
                              std::vector<TokenSpan>* spans) const;
  std::vector<Fragment> without(std::vector<Fragment> fragments, const std::vector<TokenSpan>& plain) const;
  void follow(std::string_view text, size_t begin, size_t end, std::span<const int32_t> ids,
              std::vector<TokenSpan>& spans) const;
  void check(int32_t id) const {
    if (id < 0 || id >= vocab.size())
      throw Error(ErrorCode::IndexOutOfRange,
                  cat("there is no token ", id, "; the vocabulary has ", vocab.size()), "tokenizer");
  }
};

namespace {
// What tokens stand for one by one, for decoding as a stream.
class JsonModel : public TokenModel {
 public:
  JsonModel(const GgufFile& file, const Vocab& vocab)
      : json(file.require_string("tokenizer.huggingface.json"), file.path(), vocab) {}
  void encode(std::string_view text, bool, std::vector<int32_t>& out) const override {
    json.encode(text, {}, out, nullptr);
  }
  void append_text(int32_t id, std::string& out) const override { json.append_text(id, out); }
  const JsonTokenizer json;
};
std::optional<int32_t> maybe(int32_t id) {
  if (id < 0) return {};
  return id;
}
}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

std::shared_ptr<Tokenizer> Tokenizer::from_gguf(const GgufFile& file) {
  auto impl = std::make_unique<Impl>(file);
  Vocab& v = impl->vocab;
  if (v.kind() == "gpt2") {
    impl->model = make_bpe(file, v);
  } else if (v.kind() == "llama") {
    impl->model = make_spm(file, v);
  } else if (v.kind() == "t5") {
    impl->model = make_unigram(file, v);
  } else if (v.kind() == "bert") {
    impl->model = make_wordpiece(file, v);
  } else if (v.kind() == "tokenizer.json") {
    auto model = std::make_unique<JsonModel>(file, v);
    impl->json = &model->json;
    impl->model = std::move(model);
  } else {
    throw Error(ErrorCode::BadTokenizer,
                cat("the metadata key \"tokenizer.ggml.model\" is \"", v.kind().substr(0, 64),
                    "\", which is not supported; supported are gpt2, llama, t5, bert, tokenizer.json"),
                file.path());
  }
  if (impl->model->adds_bos() && v.bos >= 0) v.add_bos = true;
  v.add_bos = file.boolean("tokenizer.ggml.add_bos_token", v.add_bos);
  v.add_eos = file.boolean("tokenizer.ggml.add_eos_token", v.add_eos);
  v.add_space_prefix = file.boolean("tokenizer.ggml.add_space_prefix", v.add_space_prefix);
  for (auto [id, ids, key] : {std::tuple(v.bos, &impl->before, "modelcypher.tokens_before"),
                              std::tuple(v.eos, &impl->after, "modelcypher.tokens_after")}) {
    if (const GgufValue* several = file.find(key))
      for (int64_t i : several->integers())
        if (i >= 0 && i < v.size()) ids->push_back(static_cast<int32_t>(i));
    if (ids->empty() && id >= 0) ids->push_back(id);
  }
  for (auto [add, ids, name] :
       {std::tuple(v.add_bos, &impl->before, "bos"), std::tuple(v.add_eos, &impl->after, "eos")})
    if (add && ids->empty())
      throw Error(ErrorCode::BadTokenizer,
                  cat("tokenizer.ggml.add_", name, "_token is true, but tokenizer.ggml.", name,
                      "_token_id is missing"),
                  file.path());
  impl->plain = std::make_unique<SpecialFinder>(v, Vocab::kUser, Vocab::kControl | Vocab::kUnknown);
  return std::shared_ptr<Tokenizer>(new Tokenizer(std::move(impl)));
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  return impl_->encode(text, options, nullptr);
}

Encoding Tokenizer::encode_with_spans(std::string_view text, const EncodeOptions& options) const {
  if (!impl_->json && kind() != "gpt2" && kind() != "llama")
    throw Error(ErrorCode::InvalidArgument,
                cat("a GGUF tokenizer of the kind \"", kind(),
                    "\" can't tell the places of its tokens: it changes the text"),
                "encode_with_spans", "use the model's directory with its tokenizer.json");
  Encoding e;
  e.ids = impl_->encode(text, options, &e.spans);
  return e;
}

namespace {
// How many bytes at the front of `text` a token's text stands for, or npos. With `sign`, U+2581 in the text
// is a space like any other.
size_t matched(std::string_view text, std::string_view token, bool sign) {
  size_t at = 0;
  for (char c : token) {
    if (at < text.size() && text[at] == c)
      ++at;
    else if (sign && c == ' ' && text.substr(at).starts_with("\u2581"))
      at += 3;
    else
      return std::string_view::npos;
  }
  return at;
}
}  // namespace

// The places of tokens whose bytes lie one after another in text[begin, end), which may leave out bytes that
// no token stands for, and have a space put before it.
void Tokenizer::Impl::follow(std::string_view text, size_t begin, size_t end, std::span<const int32_t> ids,
                             std::vector<TokenSpan>& spans) const {
  constexpr size_t kNone = std::string_view::npos, kFarthest = 4096;  // bytes left out in one go
  const bool sign = vocab.kind() == "llama";
  std::string token;
  size_t at = begin;                          // bytes before this have their token
  auto whole = [&](size_t from, size_t to) {  // grown to whole characters
    while (from > begin && (static_cast<unsigned char>(text[from]) & 0xC0) == 0x80) --from;
    while (to < end && (static_cast<unsigned char>(text[to]) & 0xC0) == 0x80) ++to;
    return TokenSpan{from, to};
  };
  for (size_t k = 0; k < ids.size(); ++k) {
    token.clear();
    model->append_text(ids[k], token);
    std::string_view t = token;
    const std::string_view rest = text.substr(at, end - at);
    if (vocab.flags(ids[k]) & Vocab::kUnknown) {
      const Utf8 u = rest.empty() ? Utf8{} : utf8_front(rest);
      const size_t n = std::min<size_t>(rest.size(), u.taken());
      spans.push_back(n ? whole(at, at + n) : TokenSpan{at, at});
      at += n;
      continue;
    }
    if (k == 0 && t.starts_with(' ') && matched(rest, t, sign) == kNone) t.remove_prefix(1);
    size_t skip = 0, n = kNone;
    while (skip <= std::min(rest.size(), kFarthest) && (n = matched(rest.substr(skip), t, sign)) == kNone)
      ++skip;
    if (n == kNone || n == 0) {
      spans.push_back({at, at});
      continue;
    }
    spans.push_back(whole(at + skip, at + skip + n));
    at += skip + n;
  }
}

// Control tokens that begin in ranges of plain text are put back into the text around them.
std::vector<Fragment> Tokenizer::Impl::without(std::vector<Fragment> fragments,
                                               const std::vector<TokenSpan>& plain) const {
  if (plain.empty()) return fragments;
  std::vector<Fragment> out;
  size_t end = 0;  // of the fragments so far
  for (Fragment f : fragments) {
    const auto it = std::upper_bound(plain.begin(), plain.end(), f.begin,
                                     [](size_t at, const TokenSpan& r) { return at < r.end; });
    const bool text = f.id < 0 || (vocab.hidden(f.id) && it != plain.end() && it->begin <= f.begin);
    if (text && f.id >= 0) f = {end, f.end, -1};
    end = f.end;
    if (text && !out.empty() && out.back().id < 0)
      out.back().end = f.end;
    else
      out.push_back(f);
  }
  return out;
}

std::vector<int32_t> Tokenizer::Impl::encode(std::string_view text, const EncodeOptions& options,
                                             std::vector<TokenSpan>* spans) const {
  const Vocab& v = vocab;
  if (text.size() > (size_t{1} << 30))
    throw Error(ErrorCode::InvalidArgument,
                cat("a text of ", text.size(), " bytes is too long for one call; at most 1 GiB"), "encode");
  std::vector<int32_t> out;
  auto add = [&](bool wanted, const std::vector<int32_t>& ids, std::string_view name) {
    if (!wanted) return;
    if (ids.empty()) throw Error(ErrorCode::BadTokenizer, cat("the model has no ", name, " token"), "encode");
    out.insert(out.end(), ids.begin(), ids.end());
    if (spans) spans->resize(spans->size() + ids.size());
  };
  add(options.add_bos.value_or(v.add_bos), before, "beginning-of-sequence");
  bool first = true;
  if (json)
    json->encode(text, options, out, spans);
  else
    for (const Fragment& f : without(finder(options.parse_special).split(text), options.plain)) {
      if (f.id >= 0) {
        out.push_back(f.id);
        if (spans) spans->push_back({f.begin, f.end});
        first = true;
      } else {
        const size_t before = out.size();
        model->encode(text.substr(f.begin, f.end - f.begin), first, out);
        if (spans) follow(text, f.begin, f.end, std::span(out).subspan(before), *spans);
        first = false;
      }
    }
  add(options.add_eos.value_or(v.add_eos), after, "end-of-sequence");
  return out;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  const Vocab& v = impl_->vocab;
  if (impl_->json) {
    for (int32_t id : ids) impl_->check(id);
    return impl_->json->decode(ids, skip_special);
  }
  std::string out;
  bool first = v.add_space_prefix;
  for (int32_t id : ids) {
    impl_->check(id);
    if (v.hidden(id)) {
      if (!skip_special) impl_->model->append_text(id, out);
      // The encoder puts a space after each special token.
      first = v.add_space_prefix;
      continue;
    }
    size_t before = out.size();
    impl_->model->append_text(id, out);
    if (first && out.size() > before && out[before] == ' ' && !(v.flags(id) & Vocab::kUser))
      out.erase(before, 1);
    first = v.add_space_prefix && (v.flags(id) & Vocab::kUser);
  }
  return out;
}

std::string Tokenizer::token_text(int32_t id) const {
  impl_->check(id);
  std::string out;
  impl_->model->append_text(id, out);
  return out;
}

std::string_view Tokenizer::token_raw(int32_t id) const {
  impl_->check(id);
  return impl_->vocab.text(id);
}

std::optional<int32_t> Tokenizer::find_token(std::string_view raw) const {
  return maybe(impl_->vocab.find(raw));
}
int64_t Tokenizer::vocab_size() const { return impl_->vocab.size(); }
std::string_view Tokenizer::kind() const { return impl_->vocab.kind(); }
std::string_view Tokenizer::pre_tokenizer() const { return impl_->model->pre_tokenizer(); }
std::optional<int32_t> Tokenizer::bos_id() const { return maybe(impl_->vocab.bos); }
std::optional<int32_t> Tokenizer::eos_id() const { return maybe(impl_->vocab.eos); }
std::optional<int32_t> Tokenizer::eot_id() const { return maybe(impl_->vocab.eot); }
std::optional<int32_t> Tokenizer::unk_id() const { return maybe(impl_->vocab.unk); }
std::optional<int32_t> Tokenizer::pad_id() const { return maybe(impl_->vocab.pad); }
std::optional<int64_t> Tokenizer::truncation() const {
  return impl_->json ? impl_->json->truncation() : std::nullopt;
}
bool Tokenizer::adds_bos() const { return impl_->vocab.add_bos; }
bool Tokenizer::is_special(int32_t id) const {
  impl_->check(id);
  return impl_->vocab.hidden(id);
}
const std::vector<int32_t>& Tokenizer::end_of_generation_ids() const {
  return impl_->vocab.end_of_generation;
}
bool Tokenizer::is_end_of_generation(int32_t id) const {
  const auto& ids = impl_->vocab.end_of_generation;
  return std::binary_search(ids.begin(), ids.end(), id);
}

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special)
    : tokenizer_(&tokenizer), skip_special_(skip_special) {}

std::string StreamDecoder::push(int32_t id) {
  const Tokenizer::Impl& t = *tokenizer_->impl_;
  t.check(id);
  if (t.vocab.hidden(id)) {
    // A control token stands between characters: what is held back can't go on after it.
    std::string out = take(true);
    if (!skip_special_) {
      t.model->append_text(id, held_);
      out += take(true);
    }
    return out;
  }
  t.model->append_text(id, held_);
  return take(false);
}

std::string StreamDecoder::flush() { return take(true); }

std::string StreamDecoder::take(bool all) {
  std::string out;
  std::string_view rest = held_;
  while (!rest.empty()) {
    Utf8 u = utf8_front(rest);
    if (u.bytes) {
      out.append(rest.substr(0, u.bytes));
      rest.remove_prefix(u.bytes);
      continue;
    }
    if (u.partial && !all) break;
    out.append("\xEF\xBF\xBD");
    rest.remove_prefix(u.bad_bytes);
  }
  held_ = std::string(rest);
  return out;
}

}  // namespace mc
