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
    const std::string type = text(model, "type", "");
    if (!type.empty() && type != "BPE" && type != "Unigram" && type != "WordPiece" && type != "WordLevel")
      bad(cat("the model ", type.substr(0, 40), " is not read; read are BPE, Unigram, WordPiece, WordLevel"));
    tokens(model, whole);
  }
  const std::vector<int32_t>& before() const { return before_; }
  const std::vector<int32_t>& after() const { return after_; }

  std::optional<int32_t> id(const std::string& token) const {
    for (size_t i = 0; i < texts_.size(); ++i)
      if (texts_[i] == token) return static_cast<int32_t>(i);
    return {};
  }

 private:
  // The file goes along whole; GGUF's keys tell of the tokens what the rest of the program asks for.
  void tokens(const Json& model, const std::string& whole) {
    const Json& vocab = model.contains("vocab") ? model["vocab"] : Json::object();
    std::vector<int32_t> types;
    // Ids that are not there are tokens, too: a few words with large ids must not take gigabytes.
    const bool more = j_.contains("added_tokens") && j_["added_tokens"].is_array();
    const size_t known = vocab.size() + (more ? j_["added_tokens"].size() : 0),
                 most = std::min(kMaxTokens, 64 * known + 65536);
    auto put = [&](const std::string& token, uint64_t at, int32_t type) {
      if (at >= most)
        bad(cat("the token \"", token.substr(0, 40), "\" has the id ", at, "; the file has ", known,
                " tokens"));
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
    if (more)
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
    std::optional<int32_t> unknown = id(text(model, "unk_token", ""));
    if (const auto u = model.find("unk_id");
        u != model.end() && u->is_number_unsigned() && u->get<uint64_t>() < texts_.size())
      unknown = u->get<int32_t>();
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

  // What is put before and after a text.
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
    if (!before_.empty() || !after_.empty()) bad("two post-processors put tokens around the text");
    if (kind == "BertProcessing" || kind == "RobertaProcessing") {
      for (auto [key, place] : {std::pair("cls", &before_), std::pair("sep", &after_)}) {
        if (!p.contains(key) || !p[key].is_array() || p[key].size() != 2 || !p[key][0].is_string())
          bad(cat("the post-processor ", kind, " has no pair \"", key, "\""));
        put_around(p[key][0].get<std::string>(), kind, *place);
      }
      return;
    }
    if (kind != "TemplateProcessing") bad(cat("the post-processor ", kind.substr(0, 40), " is not read"));
    if (!p.contains("single") || !p["single"].is_array())
      bad("the post-processor TemplateProcessing has no list \"single\"");
    const Json none = Json::object();
    const Json& known =
        p.contains("special_tokens") && p["special_tokens"].is_object() ? p["special_tokens"] : none;
    bool sequence = false;
    for (const Json& part : p["single"]) {
      if (part.is_object() && part.contains("Sequence") && !sequence) {
        sequence = true;
        continue;
      }
      std::vector<int32_t>& place = sequence ? after_ : before_;
      if (!part.is_object() || !part.contains("SpecialToken") || !part["SpecialToken"].is_object())
        bad("the post-processor TemplateProcessing has a part that is neither the text, once, nor a token");
      const std::string name = text(part["SpecialToken"], "id", "");
      const auto it = known.find(name);
      if (it == known.end() || !it->is_object() || !it->contains("ids") || !(*it)["ids"].is_array()) {
        put_around(name, kind, place);
        continue;
      }
      for (const Json& i : (*it)["ids"]) {
        if (!i.is_number_unsigned() || i.get<uint64_t>() >= texts_.size() || place.size() >= 64)
          bad(cat("the post-processor TemplateProcessing has an id of \"", name.substr(0, 40),
                  "\" that is not in the vocabulary, or too many"));
        place.push_back(i.get<int32_t>());
      }
    }
    if (!sequence) bad("the post-processor TemplateProcessing leaves the text out");
  }
  void put_around(const std::string& token, const std::string& kind, std::vector<int32_t>& place) const {
    const std::optional<int32_t> i = id(token);
    if (!i) bad(cat("the post-processor ", kind, " names a token that is not in the vocabulary"));
    if (place.size() >= 64) bad(cat("the post-processor ", kind, " has too many tokens"));
    place.push_back(*i);
  }

  GgufWriter* w_;
  std::string path_;
  Json j_;
  std::vector<std::string> texts_;
  std::vector<int32_t> before_, after_;
};

bool there(const std::string& path) {
  struct stat st {};
  return ::stat(path.c_str(), &st) == 0;
}

}  // namespace

namespace {

// The object in a file; an empty one where there is no such file.
Json object_of(const std::string& path) {
  if (!there(path)) return Json::object();
  Json j = parse_json(read_small_file(path, kMaxFile), path);
  if (!j.is_object()) throw Error(ErrorCode::BadFormat, "is no JSON object", path);
  return j;
}

// "eos_token_id": a number or a list of them.
void collect_ends(const Json& j, const std::string& path, std::vector<int32_t>& out) {
  const auto it = j.find("eos_token_id");
  if (it == j.end() || it->is_null()) return;
  for (const Json& id : it->is_array() ? *it : Json::array({*it})) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= kMaxTokens)
      throw Error(ErrorCode::BadTokenizer, "\"eos_token_id\" is neither an id nor a list of ids", path);
    out.push_back(id.get<int32_t>());
  }
}

// A file of its own stands over the settings, which have one template or a list of named ones.
void set_templates(GgufWriter& w, const std::string& directory, const Json& settings,
                   const std::string& path) {
  constexpr const char* kKey = "tokenizer.chat_template";
  const std::string jinja = directory + "/chat_template.jinja";
  if (there(jinja)) {
    w.set_string(kKey, read_small_file(jinja, 16 << 20));
    return;
  }
  const auto t = settings.find("chat_template");
  if (t == settings.end() || t->is_null()) return;
  if (t->is_string()) {
    w.set_string(kKey, t->get<std::string>());
    return;
  }
  const auto named = [&](const Json& x, const char* k) {
    return x.is_object() && x.contains(k) && x[k].is_string();
  };
  std::vector<std::string> seen;
  for (const Json& x : t->is_array() ? *t : Json::array({nullptr})) {
    if (!named(x, "name") || !named(x, "template"))
      throw Error(ErrorCode::BadFormat,
                  "\"chat_template\" is neither a string nor a list of names and templates", path);
    const auto name = x["name"].get<std::string>();
    if (std::find(seen.begin(), seen.end(), name) != seen.end())
      throw Error(ErrorCode::BadFormat,
                  cat("\"chat_template\" has the name \"", name.substr(0, 60), "\" twice"), path);
    seen.push_back(name);
    w.set_string(name == "default" ? kKey : cat(kKey, ".", name), x["template"].get<std::string>());
  }
}

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

void set_tokenizer(GgufWriter& w, const std::string& tokenizer_json, const Json& config) {
  const std::string directory = folder_of(tokenizer_json);
  Reader reader(w, tokenizer_json);
  reader.read();
  const Json settings = object_of(directory + "/tokenizer_config.json");
  // Of what generation_config.json says, the ids that end an answer are the model's; the rest are habits.
  const std::string habits = directory + "/generation_config.json";
  std::vector<int32_t> ends;
  collect_ends(config, directory + "/config.json", ends);
  collect_ends(object_of(habits), habits, ends);
  std::sort(ends.begin(), ends.end());
  ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
  if (!ends.empty()) w.set_i32s("modelcypher.end_of_generation_ids", ends);
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
  auto only = [](const std::vector<int32_t>& ids) {
    return ids.size() == 1 ? std::optional(ids[0]) : std::nullopt;
  };
  bool bos = special("bos_token", "bos_token_id", "tokenizer.ggml.bos_token_id", only(reader.before()));
  bool eos = special("eos_token", "eos_token_id", "tokenizer.ggml.eos_token_id", only(reader.after()));
  // GGUF has no name for several.
  if (reader.before().size() > 1) w.set_i32s("modelcypher.tokens_before", reader.before()), bos = true;
  if (reader.after().size() > 1) w.set_i32s("modelcypher.tokens_after", reader.after()), eos = true;
  special("pad_token", "pad_token_id", "tokenizer.ggml.padding_token_id");
  // The settings' word stands over the post-processor's, as where Transformers loads both.
  auto adds = [&](const char* k, bool otherwise) {
    const auto it = settings.find(k);
    return it != settings.end() && it->is_boolean() ? it->get<bool>() : otherwise;
  };
  w.set_bool("tokenizer.ggml.add_bos_token", bos && adds("add_bos_token", !reader.before().empty()));
  w.set_bool("tokenizer.ggml.add_eos_token", eos && adds("add_eos_token", !reader.after().empty()));
  set_templates(w, directory, settings, directory + "/tokenizer_config.json");
}

std::shared_ptr<GgufFile> tokenizer_file(const std::string& tokenizer_json) {
  GgufWriter w;
  set_tokenizer(w, tokenizer_json, object_of(folder_of(tokenizer_json) + "/config.json"));
  return GgufFile::assemble(tokenizer_json, w.to_bytes(), {}, {}, {});
}

}  // namespace mc::models
