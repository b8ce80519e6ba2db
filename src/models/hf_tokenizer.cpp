#include "hf_tokenizer.h"

#include <sys/stat.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/file.h"

namespace mc::models {
namespace {

using Json = nlohmann::json;
constexpr size_t kMaxFile = size_t{256} << 20;
constexpr size_t kMaxTokens = 4'000'000;

// GGUF's types of tokens.
enum Type : int32_t { kNormal = 1, kUnknown = 2, kControl = 3, kUser = 4, kUnused = 5, kByte = 6 };

class Reader {
 public:
  Reader(GgufWriter& w, std::string path) : w_(&w), path_(std::move(path)) {}

  void read() {
    const std::string whole = read_small_file(path_, kMaxFile);
    j_ = parse_json(whole, path_);
    const Json& model = object(j_, "model");
    // A writer takes a key once: what GGUF has a name for is found out on another.
    GgufWriter trial, *const real = std::exchange(w_, &trial);
    bool known = true;
    try {
      as_gguf(model);
    } catch (const Error& e) {
      if (e.code() != ErrorCode::BadTokenizer) throw;
      known = false;
    }
    w_ = real;
    texts_.clear();
    begin_.reset(), end_.reset();
    if (known)
      as_gguf(model);
    else
      step_by_step(model, whole);
  }
  const std::optional<int32_t>& begin() const { return begin_; }
  const std::optional<int32_t>& end() const { return end_; }

  std::optional<int32_t> id(const std::string& token) const {
    for (size_t i = 0; i < texts_.size(); ++i)
      if (texts_[i] == token) return static_cast<int32_t>(i);
    return {};
  }

 private:
  void as_gguf(const Json& model) {
    const std::string type = text(model, "type", "BPE");
    if (type == "WordPiece") {
      word_piece(model);
      return;
    }
    if (type != "BPE")
      bad(cat("the model is ", type, "; byte-level BPE and WordPiece are read"), "use the model's GGUF file");
    for (const char* k : {"unk_token", "continuing_subword_prefix", "end_of_word_suffix"})
      if (model.contains(k) && model[k].is_string() && model[k] != Json("") &&
          std::string_view(k) != "unk_token")
        bad(cat("model.", k, " is set, which is not read"));
    if (model.contains("byte_fallback") && model["byte_fallback"] == Json(true))
      bad("the model has byte_fallback, which is not read", "use the model's GGUF file");
    pre_tokenizer(model);
    tokens(model);
    if (j_.contains("post_processor") && j_["post_processor"].is_object())
      post_processor(j_["post_processor"]);
  }

  void step_by_step(const Json& model, const std::string& whole) {
    const Json& vocab = model.contains("vocab") ? model["vocab"] : Json::object();
    std::vector<int32_t> types;
    auto put = [&](const std::string& token, uint64_t at, int32_t type) {
      if (at >= kMaxTokens) bad(cat("the token \"", token.substr(0, 40), "\" has the id ", at));
      if (at >= texts_.size()) texts_.resize(at + 1), types.resize(at + 1, 0);
      if (types[at] && texts_[at] != token) bad(cat("two tokens have the id ", at));
      texts_[at] = token;
      types[at] = type;
    };
    auto type_of = [&](const std::string& t) {
      auto hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'); };
      const bool byte = yes(model, "byte_fallback", false) && t.size() == 6 && t.starts_with("<0x") &&
                        hex(t[3]) && hex(t[4]) && t[5] == '>';
      return byte ? kByte : kNormal;
    };
    if (vocab.is_array()) {
      for (size_t i = 0; i < vocab.size(); ++i) {
        if (!vocab[i].is_array() || vocab[i].empty() || !vocab[i][0].is_string())
          bad("model.vocab has an entry that is no pair");
        const auto t = vocab[i][0].get<std::string>();
        put(t, i, type_of(t));
      }
    } else if (vocab.is_object()) {
      for (const auto& [token, number] : vocab.items()) {
        if (!number.is_number_unsigned()) bad(cat("the token \"", token.substr(0, 40), "\" has no valid id"));
        put(token, number.get<uint64_t>(), type_of(token));
      }
    }
    if (j_.contains("added_tokens") && j_["added_tokens"].is_array())
      for (const Json& t : j_["added_tokens"]) {
        if (!t.is_object() || !t.contains("id") || !t["id"].is_number_unsigned())
          bad("\"added_tokens\" has an entry without id");
        put(text(t, "content", ""), t["id"].get<uint64_t>(), yes(t, "special", false) ? kControl : kUser);
      }
    for (size_t i = 0; i < texts_.size(); ++i)
      if (!types[i]) texts_[i] = cat("[unused-", i, "]"), types[i] = kUnused;
    w_->set_string("tokenizer.ggml.model", "tokenizer.json");
    w_->set_string("tokenizer.huggingface.json", whole);
    w_->set_strings("tokenizer.ggml.tokens", texts_);
    w_->set_i32s("tokenizer.ggml.token_type", types);
    if (j_.contains("post_processor") && j_["post_processor"].is_object())
      post_processor(j_["post_processor"]);
    const std::optional<int32_t> unknown = id(text(model, "unk_token", ""));
    if (unknown) w_->set_u32("tokenizer.ggml.unknown_token_id", static_cast<uint32_t>(*unknown));
  }

  [[noreturn]] void bad(const std::string& what, const std::string& next = {}) const {
    throw Error(ErrorCode::BadTokenizer, what, path_, next);
  }
  const Json& object(const Json& j, const char* k) const {
    if (!j.is_object() || !j.contains(k) || !j[k].is_object()) bad(cat("the object \"", k, "\" is missing"));
    return j[k];
  }
  static std::string text(const Json& j, const char* k, const char* fallback) {
    const auto it = j.find(k);
    return it != j.end() && it->is_string() ? it->get<std::string>() : fallback;
  }

  static bool yes(const Json& j, const char* k, bool fallback) {
    const auto it = j.find(k);
    return it != j.end() && it->is_boolean() ? it->get<bool>() : fallback;
  }

  // BERT's: its own normalizer and pre-tokenizer, which GGUF's "bert" stands for.
  void word_piece(const Json& model) {
    const Json& n = object(j_, "normalizer");
    const Json& p = object(j_, "pre_tokenizer");
    if (text(n, "type", "?") != "BertNormalizer" || text(p, "type", "?") != "BertPreTokenizer")
      bad(cat("WordPiece is read behind BertNormalizer and BertPreTokenizer, not ",
              text(n, "type", "?").substr(0, 40), " and ", text(p, "type", "?").substr(0, 40)));
    for (const char* k : {"clean_text", "handle_chinese_chars"})
      if (!yes(n, k, true)) bad(cat("the normalizer BertNormalizer has ", k, " false, which is not read"));
    if (text(model, "continuing_subword_prefix", "##") != "##")
      bad("model.continuing_subword_prefix is not \"##\"");
    const bool lowercase = yes(n, "lowercase", true);
    w_->set_string("tokenizer.ggml.model", "bert");
    w_->set_bool("tokenizer.ggml.normalizer.lowercase", lowercase);
    w_->set_bool("tokenizer.ggml.normalizer.strip_accents", yes(n, "strip_accents", lowercase));
    if (const auto it = model.find("max_input_chars_per_word"); it != model.end() && it->is_number_unsigned())
      w_->set_u32("tokenizer.ggml.max_input_chars_per_word",
                  static_cast<uint32_t>(std::min<uint64_t>(it->get<uint64_t>(), UINT32_MAX)));
    tokens(model);
    const std::optional<int32_t> unknown = id(text(model, "unk_token", "[UNK]"));
    if (!unknown) bad("model.unk_token is not in the vocabulary");
    w_->set_u32("tokenizer.ggml.unknown_token_id", static_cast<uint32_t>(*unknown));
    if (j_.contains("post_processor") && j_["post_processor"].is_object())
      post_processor(j_["post_processor"]);
    if (end_) w_->set_u32("tokenizer.ggml.seperator_token_id", static_cast<uint32_t>(*end_));
  }

  // What is put around a text: nothing, or a token before it (begin_) and after it (end_).
  void post_processor(const Json& p) {
    const std::string kind = text(p, "type", "?");
    if (kind == "ByteLevel") return;  // moves offsets only
    if (kind == "Sequence" && p.contains("processors") && p["processors"].is_array()) {
      for (const Json& q : p["processors"]) {
        if (!q.is_object() || text(q, "type", "") == "Sequence")
          bad("the post_processor has a part that is no object or a sequence");
        post_processor(q);
      }
      return;
    }
    if (kind == "BertProcessing" || kind == "RobertaProcessing") {
      for (auto [key, place] : {std::pair("cls", &begin_), std::pair("sep", &end_)}) {
        if (!p.contains(key) || !p[key].is_array() || p[key].size() != 2 || !p[key][0].is_string() || *place)
          bad(cat("the post-processor ", kind, " has no pair \"", key, "\", or is there twice"));
        *place = id(p[key][0].get<std::string>());
        if (!*place) bad(cat("the post-processor ", kind, " names a token that is not in the vocabulary"));
      }
      return;
    }
    if (kind != "TemplateProcessing") bad(cat("the post-processor ", kind.substr(0, 40), " is not read"));
    if (!p.contains("single") || !p["single"].is_array() || begin_ || end_)
      bad("the post-processor TemplateProcessing has no list \"single\", or is there twice");
    bool sequence = false;
    for (const Json& part : p["single"]) {
      if (part.is_object() && part.contains("Sequence") && !sequence) {
        sequence = true;
        continue;
      }
      std::optional<int32_t>& place = sequence ? end_ : begin_;
      if (!part.is_object() || !part.contains("SpecialToken") || !part["SpecialToken"].is_object() || place)
        bad("the post-processor TemplateProcessing is read with one token before and one after the text");
      place = id(text(part["SpecialToken"], "id", ""));
      if (!place) bad("the post-processor TemplateProcessing names a token that is not in the vocabulary");
    }
    if (!sequence) bad("the post-processor TemplateProcessing leaves the text out");
  }

  // The known ways of cutting words, told by the parts they are made of.
  void pre_tokenizer(const Json& model) {
    if (j_.contains("normalizer") && !j_["normalizer"].is_null()) {
      const std::string n = text(j_["normalizer"], "type", "?");
      bad(cat("the normalizer ", n, " has no name in GGUF"));
    }
    const Json none = Json::object();
    const Json& p =
        j_.contains("pre_tokenizer") && j_["pre_tokenizer"].is_object() ? j_["pre_tokenizer"] : none;
    std::vector<const Json*> parts;
    if (text(p, "type", "") == "Sequence" && p.contains("pretokenizers") && p["pretokenizers"].is_array())
      for (const Json& q : p["pretokenizers"]) parts.push_back(&q);
    else
      parts.push_back(&p);
    std::string kinds, pattern;
    for (const Json* q : parts) {
      if (!q->is_object()) bad("the pre_tokenizer has a part that is no object");
      const std::string kind = text(*q, "type", "?");
      kinds += cat(kinds.empty() ? "" : "+", kind);
      if (kind == "Split") {
        if (q->contains("pattern") && (*q)["pattern"].is_object())
          pattern = text((*q)["pattern"], "Regex", "");
        if (text(*q, "behavior", "") != "Isolated" || yes(*q, "invert", false))
          bad("the pre-tokenizer Split is read with behavior Isolated and without invert only");
      }
      if (kind == "Digits" && !yes(*q, "individual_digits", false))
        bad("the pre-tokenizer Digits is read with individual_digits only");
      if (kind == "ByteLevel") {
        if (yes(*q, "add_prefix_space", true))
          bad("the pre-tokenizer ByteLevel with add_prefix_space is not read");
        // Behind a Split the words are cut already; else ByteLevel's own pattern cuts them.
        const bool split = kinds == "Split+ByteLevel";
        if (yes(*q, "use_regex", true) == split)
          bad(cat("the pre-tokenizer ByteLevel with use_regex ", split, " is not read here"));
      }
    }
    const std::string contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|";
    const std::string rest = "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    std::string name;
    if (kinds == "ByteLevel") name = "gpt-2";
    if (kinds == "Digits+ByteLevel") name = "smollm";
    if (kinds == "Split+ByteLevel" && pattern == contractions + "\\p{N}{1,3}" + rest) name = "llama-bpe";
    if (kinds == "Split+ByteLevel" && pattern == contractions + "\\p{N}" + rest) name = "qwen2";
    if (name.empty()) bad(cat("the pre-tokenizer ", kinds, " is not read"), "use the model's GGUF file");
    // GGUF's names of pre-tokenizers say this along with the pattern.
    const bool whole_words = name == "llama-bpe";
    if (yes(model, "ignore_merges", false) != whole_words)
      bad(cat("model.ignore_merges is ", !whole_words, ", which is not read with this pre-tokenizer"));
    w_->set_string("tokenizer.ggml.model", "gpt2");
    w_->set_string("tokenizer.ggml.pre", name);
  }

  void tokens(const Json& model) {
    const Json& vocab = object(model, "vocab");
    if (vocab.size() > kMaxTokens)
      bad(cat("the vocabulary has ", vocab.size(), " tokens; at most ", kMaxTokens, " are read"));
    std::vector<int32_t> types;
    auto put = [&](const std::string& token, const Json& number, int32_t type) {
      if (!number.is_number_unsigned() || number.get<uint64_t>() >= kMaxTokens)
        bad(cat("the token \"", token.substr(0, 40), "\" has the id ", number.dump().substr(0, 40)));
      const auto at = number.get<size_t>();
      if (at >= texts_.size()) texts_.resize(at + 1), types.resize(at + 1, 0);
      if (types[at] && texts_[at] != token) bad(cat("two tokens have the id ", at));
      texts_[at] = token;
      types[at] = type;
    };
    for (const auto& [token, number] : vocab.items()) put(token, number, kNormal);
    if (j_.contains("added_tokens") && j_["added_tokens"].is_array())
      for (const Json& t : j_["added_tokens"]) {
        if (!t.is_object() || !t.contains("id")) bad("\"added_tokens\" has an entry without id");
        for (const char* k : {"lstrip", "rstrip", "single_word"})
          if (t.contains(k) && t[k] == Json(true)) bad(cat("an added token has ", k, ", which is not read"));
        put(text(t, "content", ""), t["id"],
            t.contains("special") && t["special"] == Json(true) ? kControl : kUser);
      }
    for (size_t i = 0; i < texts_.size(); ++i)
      if (!types[i]) texts_[i] = cat("[unused-", i, "]"), types[i] = kUnused;
    if (text(model, "type", "") == "WordPiece") {
      // GGUF marks what begins a word, not what goes on.
      std::vector<std::string> marked = texts_;
      for (size_t i = 0; i < marked.size(); ++i) {
        if (types[i] == kControl || types[i] == kUnused) continue;
        marked[i] = marked[i].starts_with("##") ? marked[i].substr(2) : "\u2581" + marked[i];
      }
      w_->set_strings("tokenizer.ggml.tokens", marked);
      w_->set_i32s("tokenizer.ggml.token_type", types);
      return;
    }
    std::vector<std::string> merges;
    if (!model.contains("merges") || !model["merges"].is_array()) bad("the list model.merges is missing");
    for (const Json& m : model["merges"]) {
      if (m.is_string())
        merges.push_back(m.get<std::string>());
      else if (m.is_array() && m.size() == 2 && m[0].is_string() && m[1].is_string())
        merges.push_back(cat(m[0].get<std::string>(), " ", m[1].get<std::string>()));
      else
        bad("model.merges has an entry that is no pair");
    }
    w_->set_strings("tokenizer.ggml.tokens", texts_);
    w_->set_i32s("tokenizer.ggml.token_type", types);
    w_->set_strings("tokenizer.ggml.merges", merges);
  }

  GgufWriter* w_;
  std::string path_;
  Json j_;
  std::vector<std::string> texts_;
  std::optional<int32_t> begin_, end_;
};

bool there(const std::string& path) {
  struct stat st {};
  return ::stat(path.c_str(), &st) == 0;
}

}  // namespace

void set_tokenizer(GgufWriter& w, const std::string& directory, const Json& config) {
  Reader reader(w, directory + "/tokenizer.json");
  reader.read();
  const std::string settings_path = directory + "/tokenizer_config.json";
  const Json settings = there(settings_path)
                            ? parse_json(read_small_file(settings_path, kMaxFile), settings_path)
                            : Json::object();
  if (!settings.is_object()) throw Error(ErrorCode::BadFormat, "is no JSON object", settings_path);
  // `id`: what the post-processor puts there, which is what counts.
  auto special = [&](const char* token_key, const char* id_key, const char* gguf,
                     std::optional<int32_t> id = {}) {
    if (const auto it = settings.find(token_key); !id && it != settings.end()) {
      if (it->is_string()) id = reader.id(it->get<std::string>());
      if (it->is_object() && it->contains("content") && (*it)["content"].is_string())
        id = reader.id((*it)["content"].get<std::string>());
    }
    if (const auto it = config.find(id_key);
        !id && it != config.end() && it->is_number_unsigned() && it->get<uint64_t>() < kMaxTokens)
      id = it->get<int32_t>();
    if (id) w.set_u32(gguf, static_cast<uint32_t>(*id));
    return id.has_value();
  };
  const bool bos = special("bos_token", "bos_token_id", "tokenizer.ggml.bos_token_id", reader.begin());
  const bool eos = special("eos_token", "eos_token_id", "tokenizer.ggml.eos_token_id", reader.end());
  special("pad_token", "pad_token_id", "tokenizer.ggml.padding_token_id");
  // The settings' word stands over the post-processor's, as where Transformers loads both.
  auto adds = [&](const char* k, bool otherwise) {
    const auto it = settings.find(k);
    return it != settings.end() && it->is_boolean() ? it->get<bool>() : otherwise;
  };
  w.set_bool("tokenizer.ggml.add_bos_token", bos && adds("add_bos_token", reader.begin().has_value()));
  w.set_bool("tokenizer.ggml.add_eos_token", eos && adds("add_eos_token", reader.end().has_value()));
  const std::string jinja = directory + "/chat_template.jinja";
  if (there(jinja))
    w.set_string("tokenizer.chat_template", read_small_file(jinja, 16 << 20));
  else if (const auto t = settings.find("chat_template"); t != settings.end() && t->is_string())
    w.set_string("tokenizer.chat_template", t->get<std::string>());
}

}  // namespace mc::models
