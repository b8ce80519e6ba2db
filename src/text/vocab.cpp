#include "vocab.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <random>

#include "mc/detail/str.h"
#include "mc/error.h"

namespace mc {
namespace {

__extension__ using Wide = unsigned __int128;

uint64_t mix(uint64_t a, uint64_t b) {
  Wide p = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(p) ^ static_cast<uint64_t>(p >> 64);
}
uint64_t load64(const char* p) {
  uint64_t v;
  std::memcpy(&v, p, 8);
  return v;
}
// 0 to 8 bytes.
uint64_t load_short(const char* p, size_t n) {
  if (n >= 4) {
    uint32_t a, b;
    std::memcpy(&a, p, 4);
    std::memcpy(&b, p + n - 4, 4);
    return static_cast<uint64_t>(a) << 32 | b;
  }
  if (n == 0) return 0;
  auto u = [&](size_t i) { return static_cast<uint64_t>(static_cast<unsigned char>(p[i])); };
  return u(0) << 16 | u(n / 2) << 8 | u(n - 1);
}

const std::array<uint64_t, 2>& secret() {
  static const std::array<uint64_t, 2> s = [] {
    std::random_device d;
    auto word = [&] { return static_cast<uint64_t>(d()) << 32 | d() | 1; };
    return std::array<uint64_t, 2>{word(), word()};
  }();
  return s;
}

// Names that end a generation, whatever the file says of their kind.
constexpr std::string_view kEnds[] = {"<|eot_id|>",
                                      "<|im_end|>",
                                      "<|end|>",
                                      "<|return|>",
                                      "<|call|>",
                                      "<|flush|>",
                                      "<|calls|>",
                                      "<end_of_turn>",
                                      "<|endoftext|>",
                                      "</s>",
                                      "<|eom_id|>",
                                      "<EOT>",
                                      "_<EOT>",
                                      "[EOT]",
                                      "[EOS]",
                                      "<|end_of_text|>",
                                      "<end_of_utterance>",
                                      "<eos>",
                                      "<turn|>",
                                      "<|tool_response>",
                                      "<｜end▁of▁sentence｜>",
                                      "[e~["};
// Names of the end of a turn, where the metadata gives no id.
constexpr std::string_view kTurnEnds[] = {
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>",         "<|endoftext|>",     "<|end_of_text|>",
    "<EOT>",      "_<EOT>",     "[EOT]",   "<｜end▁of▁sentence｜>", "<end_of_utterance>"};
// Names of fill-in-the-middle tokens: control tokens. The first group also ends a generation.
struct FimEnd {
  std::string_view key, names[5];
};
constexpr FimEnd kFimEnds[] = {
    {"tokenizer.ggml.fim_pad_token_id", {"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"}},
    {"tokenizer.ggml.fim_rep_token_id",
     {"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"}},
    {"tokenizer.ggml.fim_sep_token_id", {"<|file_sep|>"}}};
constexpr std::string_view kFim[] = {"<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>",    "<｜fim▁begin｜>",
                                     "<PRE>",          "▁<PRE>",       "<|code_prefix|>", "<|prefix|>",
                                     "<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>",    "<｜fim▁hole｜>",
                                     "<SUF>",          "▁<SUF>",       "<|code_suffix|>", "<|suffix|>",
                                     "<|fim_middle|>", "<fim-middle>", "<fim_middle>",    "<｜fim▁end｜>",
                                     "<MID>",          "▁<MID>",       "<|code_middle|>", "<|middle|>"};

}  // namespace

uint64_t hash_bytes(std::string_view s) {
  const auto& k = secret();
  const char* p = s.data();
  size_t n = s.size();
  uint64_t h = k[0] ^ n;
  while (n > 16) {
    h = mix(load64(p) ^ k[1], load64(p + 8) ^ h);
    p += 16;
    n -= 16;
  }
  uint64_t a = n > 8 ? load64(p) : load_short(p, n), b = n > 8 ? load64(p + n - 8) : 0;
  return mix(mix(a ^ k[1], b ^ h) ^ k[0], k[1]);
}

Vocab::Vocab(const GgufFile& file) {
  kind_ = file.require_string("tokenizer.ggml.model");
  read_tokens(file);
  build_index(file);
  read_special_ids(file);
  mark_by_name(file);
}

void Vocab::read_tokens(const GgufFile& file) {
  const GgufValue& tokens = file.require_array("tokenizer.ggml.tokens", GgufType::String);
  auto bad = [&](const std::string& what) { throw Error(ErrorCode::BadTokenizer, what, file.path()); };
  if (tokens.size() == 0) bad("tokenizer.ggml.tokens is empty");
  if (tokens.size() > (1U << 28))
    bad(cat("tokenizer.ggml.tokens has ", tokens.size(), " tokens, more than can be numbered"));
  texts_ = tokens.strings();
  const size_t n = texts_.size();
  flags_.assign(n, kNormal);
  if (file.find("tokenizer.ggml.token_type")) {
    const GgufValue& types = file.require_array("tokenizer.ggml.token_type", GgufType::I32);
    if (types.size() < n)
      bad(cat("tokenizer.ggml.token_type has ", types.size(), " entries for ", n, " tokens"));
    constexpr uint8_t kOf[] = {0, kNormal, kUnknown, kControl, kUser, kUnused, kByte};
    const std::byte* p = types.bytes().data();
    for (size_t i = 0; i < n; ++i) {
      int32_t t;
      std::memcpy(&t, p + 4 * i, 4);
      flags_[i] = t >= 0 && t < static_cast<int32_t>(std::size(kOf)) ? kOf[t] : 0;
    }
  }
  if (const GgufValue* scores = file.find("tokenizer.ggml.scores")) {
    scores_ = scores->floats();
    if (scores->element_type() == GgufType::I32)
      for (int64_t v : scores->integers()) scores_.push_back(static_cast<float>(v));
    if (scores_.size() < n)
      bad(cat("tokenizer.ggml.scores has ", scores_.size(), " numbers for ", n, " tokens"));
    for (float s : scores_)
      if (s != s) bad("tokenizer.ggml.scores holds a NaN");
  }
}

void Vocab::build_index(const GgufFile& file) {
  size_t size = 64;
  while (size < 2 * texts_.size()) size *= 2;
  slots_.assign(size, 0);
  for (size_t i = 0; i < texts_.size(); ++i) {
    std::string_view s = texts_[i];
    if (s.empty()) continue;  // an empty token can be named by its id only
    uint64_t h = hash_bytes(s);
    for (size_t at = h & (size - 1);; at = (at + 1) & (size - 1)) {
      uint64_t slot = slots_[at];
      if (slot == 0) {
        slots_[at] = (h & 0xFFFFFFFF00000000) | (i + 1);
        break;
      }
      if ((slot ^ h) >> 32 == 0 && texts_[(slot & 0xFFFFFFFF) - 1] == s)
        throw Error(
            ErrorCode::BadTokenizer,
            cat("tokenizer.ggml.tokens has the same text for ids ", (slot & 0xFFFFFFFF) - 1, " and ", i),
            file.path());
    }
  }
}

int32_t Vocab::find(std::string_view s) const {
  if (s.empty()) return -1;
  const size_t mask = slots_.size() - 1;
  uint64_t h = hash_bytes(s);
  for (size_t at = h & mask;; at = (at + 1) & mask) {
    uint64_t slot = slots_[at];
    if (slot == 0) return -1;
    if ((slot ^ h) >> 32 == 0) {
      auto id = static_cast<uint32_t>(slot) - 1;
      if (texts_[id] == s) return static_cast<int32_t>(id);
    }
  }
}

int32_t Vocab::find_byte(unsigned char byte) const {
  constexpr char kHex[] = "0123456789ABCDEF";
  const char name[] = {'<', '0', 'x', kHex[byte >> 4], kHex[byte & 15], '>'};
  return find({name, sizeof name});
}

void Vocab::read_special_ids(const GgufFile& file) {
  // What SentencePiece and BERT use where the file says nothing.
  if (kind_ == "llama") bos = 1, eos = 2, unk = 0, add_bos = add_space_prefix = true;
  if (kind_ == "t5") eos = 1, unk = 2, pad = 0, add_eos = true;
  if (kind_ == "bert") bos = 101, unk = 100, sep = 102, pad = 0, add_bos = add_eos = true;
  for (int32_t* id : {&bos, &eos, &unk, &pad, &sep})
    if (*id >= size()) *id = -1;
  struct Key {
    std::string_view key;
    int32_t& id;
  };
  for (const Key& k :
       {Key{"tokenizer.ggml.bos_token_id", bos}, Key{"tokenizer.ggml.eos_token_id", eos},
        Key{"tokenizer.ggml.eot_token_id", eot}, Key{"tokenizer.ggml.unknown_token_id", unk},
        Key{"tokenizer.ggml.seperator_token_id", sep}, Key{"tokenizer.ggml.padding_token_id", pad}}) {
    if (!file.find(k.key)) continue;
    uint32_t id = file.require_u32(k.key);
    if (id < static_cast<uint32_t>(size()))
      k.id = static_cast<int32_t>(id);
    else if (&k.id != &pad)  // files name a padding token that was never added; it has no part in text
      throw Error(ErrorCode::BadTokenizer, cat(k.key, " is ", id, ", but there are only ", size(), " tokens"),
                  file.path());
  }
  if (kind_ == "bert" && sep >= 0) eos = sep;  // BERT ends a text with its separator
}

bool Vocab::control(std::string_view name, int32_t& id) {
  if (name.empty() || (id = find(name)) < 0) return false;
  // There the file says which tokens are special: a model's own piece of that name is text.
  if (kind_ == "tokenizer.json" && !(flags(id) & (kControl | kUser))) return false;
  flags_[static_cast<size_t>(id)] |= kControl;
  return true;
}

// Files leave much unsaid about their special tokens; these rules by name are the ones that the models' users
// rely on.
void Vocab::mark_by_name(const GgufFile& file) {
  std::vector<int32_t>& ends = end_of_generation;
  int32_t id = -1;
  if (eot < 0)
    for (std::string_view s : kTurnEnds)
      if (eot < 0 && control(s, id)) eot = id;
  for (std::string_view s : kFim) control(s, id);
  for (const FimEnd& group : kFimEnds) {
    int32_t first = -1;
    if (auto given = file.u64(group.key, ~uint64_t{0}); given < static_cast<uint64_t>(size()))
      first = static_cast<int32_t>(given);
    for (std::string_view s : group.names)
      if (control(s, id) && first < 0) first = id;
    if (first >= 0) ends.push_back(first);
  }
  if (auto eom = file.u64("tokenizer.ggml.eom_token_id", ~uint64_t{0}); eom < static_cast<uint64_t>(size()))
    ends.push_back(static_cast<int32_t>(eom));
  for (std::string_view s : kEnds)
    if (control(s, id)) ends.push_back(id);
  for (std::string_view s : {"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"})
    if ((id = find(s)) >= 0) flags_[static_cast<size_t>(id)] = kUser;
  for (int32_t x : {eos, eot})
    if (x >= 0) ends.push_back(x);
  if (const GgufValue* v = file.find("modelcypher.end_of_generation_ids"))
    for (int64_t x : v->integers())
      if (x >= 0 && x < size()) ends.push_back(static_cast<int32_t>(x));
  auto drop = [&](std::string_view name, uint8_t flag) {
    int32_t x = find(name);
    if (x < 0 || std::erase(ends, x) == 0) return;
    flags_[static_cast<size_t>(x)] = flag;
  };
  // Where a turn ends with <|return|> or <|call|>, <|end|> only ends a message.
  auto has = [&](std::string_view name) { return find(name) >= 0; };
  if ((has("<|return|>") && has("<|call|>")) || ((has("<|call|>") || has("<|calls|>")) && has("<|flush|>")))
    drop("<|end|>", kUser);
  if (has("<|tool_response>")) drop("</s>", kNormal);
  std::sort(ends.begin(), ends.end());
  ends.erase(std::unique(ends.begin(), ends.end()), ends.end());

  std::string name(file.string("general.name", "")), pre(file.string("tokenizer.ggml.pre", ""));
  for (char& c : name)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  auto contains = [](const std::string& s, std::string_view part) {
    return s.find(part) != std::string::npos;
  };
  if (contains(pre, "jina-v2-")) {
    if ((id = find("<mask>")) >= 0) flags_[static_cast<size_t>(id)] |= kEatLeft;
  } else if (contains(name, "phi-3") || contains(name, "phi3")) {
    for (uint8_t& f : flags_)
      if (f & (kControl | kUser | kUnknown)) f |= kEatRight;
    for (std::string_view s : {"<unk>", "<s>", "<|endoftext|>"})
      if ((id = find(s)) >= 0) flags_[static_cast<size_t>(id)] &= static_cast<uint8_t>(~kEatRight);
  } else if (contains(name, "modern-bert")) {
    if ((id = find("[MASK]")) >= 0) flags_[static_cast<size_t>(id)] |= kEatLeft;
  }
}

}  // namespace mc
