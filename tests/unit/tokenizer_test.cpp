// Tokenizers against llama-cpp-python's ids on the real models, and by hand-made vocabularies.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <thread>

#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/text.h"
#include "text/pre_tokenizer.h"

namespace mc {
namespace {

std::string golden(const std::string& name) {
  const char* s = std::getenv("MC_SOURCE_DIR");
  return std::string(s ? s : ".") + "/tests/golden/tokenizers/" + name;
}

// As in tests/golden/tokenizers/phrases.py.
std::vector<std::string> phrases() {
  std::ifstream in(golden("phrases.bin"), std::ios::binary);
  std::vector<std::string> out;
  size_t n = 0;
  while (in >> n) {
    in.get();
    std::string s(n, '\0');
    in.read(s.data(), static_cast<std::streamsize>(n));
    in.get();
    out.push_back(s);
  }
  return out;
}
std::string corpus(size_t n, bool assigned_only = false) {
  std::vector<std::string> p = phrases();
  if (assigned_only) p.erase(std::find(p.begin(), p.end(), ""), p.end());
  if (p.empty()) return {};
  const char* joints[] = {"", " ", "\n", "  ", ""};
  std::string out;
  for (uint64_t x = 1; out.size() < n;) {
    x = x * 6364136223846793005ULL + 1442695040888963407ULL;
    out += p[(x >> 33) % p.size()];
    out += joints[(x >> 20) % 5];
  }
  return out;
}
uint64_t fnv(const std::vector<int32_t>& ids) {
  uint64_t h = 0xcbf29ce484222325ULL;
  for (int32_t id : ids)
    for (int k = 0; k < 4; ++k) h = (h ^ (static_cast<uint32_t>(id) >> (8 * k) & 255)) * 0x100000001b3ULL;
  return h;
}

Error error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e;
  }
  return Error(ErrorCode::Internal, "nothing was thrown");
}
#define EXPECT_ERROR(statement, wanted, part)                                                     \
  do {                                                                                            \
    Error e_ = error_of([&] { statement; });                                                      \
    EXPECT_EQ(e_.code(), ErrorCode::wanted) << e_.what();                                         \
    EXPECT_NE(std::string(e_.what()).find(part), std::string::npos) << e_.what() << "\n" << part; \
  } while (0)

// The real model, or null where MC_MODELS is not set. It is an error that it is set and the file is missing.
std::shared_ptr<GgufFile> real_model(const std::string& name) {
  const char* dir = std::getenv("MC_MODELS");
  if (!dir || !*dir) return nullptr;
  return GgufFile::open(cat(dir, "/", name, ".gguf"));
}

class RealModel : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const char* dir = std::getenv("MC_MODELS");
    if (!dir || !*dir) GTEST_SKIP() << "MC_MODELS is not set";
    ASSERT_TRUE(std::filesystem::exists(cat(dir, "/", GetParam(), ".gguf")))
        << dir << "/" << GetParam() << ".gguf is missing though MC_MODELS is set";
    tokenizer = Tokenizer::from_gguf(*real_model(GetParam()));
    std::ifstream in(golden("models.txt"));
    bool ours = false;
    for (std::string line, word; std::getline(in, line);) {
      std::istringstream s(line);
      s >> word;
      if (word == "model")
        ours = (s >> word, word == GetParam());
      else if (ours)
        rows.push_back(line);
    }
    ASSERT_FALSE(rows.empty());
  }
  // The numbers after the words of `start`.
  std::vector<uint64_t> row(const std::string& start) const {
    std::vector<uint64_t> out;
    for (const std::string& r : rows) {
      if (!r.starts_with(start)) continue;
      std::istringstream s(r.substr(start.size()));
      for (uint64_t v = 0; s >> v;) out.push_back(v);
    }
    return out;
  }
  std::shared_ptr<Tokenizer> tokenizer;
  std::vector<std::string> rows;
};
INSTANTIATE_TEST_SUITE_P(Models, RealModel, ::testing::Values("smollm2", "gemma3"),
                         [](const auto& i) { return i.param; });

TEST_P(RealModel, PhrasesGiveTheIdsOfLlamaCpp) {
  std::vector<std::string> all = phrases();
  std::erase_if(all, [](const std::string& s) { return s.size() > 200; });
  for (bool special : {false, true}) {
    std::vector<uint64_t> want = row(cat("phrases ", special ? 1 : 0));
    ASSERT_EQ(want.size(), all.size() + 1);
    for (size_t i = 0; i < all.size(); ++i)
      EXPECT_EQ(fnv(tokenizer->encode(all[i], {.add_bos = false, .parse_special = special})), want[i + 1])
          << i << ": " << all[i];
  }
}

TEST_P(RealModel, TheCorpusGivesTheIdsOfLlamaCpp) {
  std::string text = corpus(1'200'000);
  for (bool special : {false, true}) {
    std::vector<uint64_t> want = row(cat("corpus ", special ? 1 : 0));
    std::vector<int32_t> ids = tokenizer->encode(text, {.parse_special = special});
    ASSERT_EQ(want.size(), 2U);
    EXPECT_EQ(ids.size(), want[0]);
    EXPECT_EQ(fnv(ids), want[1]);
  }
}

TEST_P(RealModel, PiecesAndKindsAreThoseOfLlamaCpp) {
  std::string pieces;
  std::vector<int32_t> control;
  for (int32_t id = 0; id < tokenizer->vocab_size(); ++id) {
    std::string t = tokenizer->token_text(id);
    auto n = static_cast<uint32_t>(t.size());
    pieces.append(reinterpret_cast<const char*>(&n), 4);
    pieces += t;
    if (tokenizer->is_special(id)) control.push_back(id);
  }
  size_t bytes = pieces.size();
  pieces.resize((bytes + 3) / 4 * 4, '\0');
  std::vector<int32_t> words(pieces.size() / 4);
  std::memcpy(words.data(), pieces.data(), pieces.size());
  EXPECT_EQ((std::vector<uint64_t>{bytes, fnv(words)}), row("pieces"));
  EXPECT_EQ((std::vector<uint64_t>{control.size(), fnv(control)}), row("control"));
  std::vector<uint64_t> ends = row("ends");
  ends.erase(ends.begin());
  EXPECT_EQ(std::vector<uint64_t>(tokenizer->end_of_generation_ids().begin(),
                                  tokenizer->end_of_generation_ids().end()),
            ends);
  for (uint64_t id : ends) EXPECT_TRUE(tokenizer->is_end_of_generation(static_cast<int32_t>(id)));
  EXPECT_FALSE(tokenizer->is_end_of_generation(300));
}

TEST_P(RealModel, DecodingGivesTheTextBack) {
  for (const std::string& p : phrases()) {
    // SmolLM2 has no tokens for some control characters.
    bool gaps = std::string(GetParam()) == "smollm2";
    std::string want;
    for (char c : p)
      if (!gaps || static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t' || c == '\r') want += c;
    std::vector<int32_t> ids = tokenizer->encode(want);
    // SentencePiece writes a space as U+2581 and can't tell the two apart afterwards.
    std::string spaced;
    for (size_t i = 0; i < want.size(); ++i) {
      bool sign = !gaps && std::string_view(want).substr(i).starts_with("\u2581");
      spaced += sign ? ' ' : want[i];
      if (sign) i += 2;
    }
    EXPECT_EQ(tokenizer->decode(ids), spaced);
  }
}

TEST_P(RealModel, StreamedTextIsTheWholeTextAndAlwaysValid) {
  std::string text = "Smile 🙂👩‍👩‍👧‍👦, naïve 漢字 ǆ \u0301 ꙮ𝕏";
  StreamDecoder decoder(*tokenizer);
  std::string all;
  for (int32_t id : tokenizer->encode(text, {.add_bos = false})) {
    std::string part = decoder.push(id);
    // Whole characters only: none begins with a continuation byte, none ends early.
    if (!part.empty()) {
      EXPECT_NE(static_cast<unsigned char>(part[0]) & 0xC0, 0x80);
      StreamDecoder again(*tokenizer);
      EXPECT_EQ(part.find("\xEF\xBF\xBD"), std::string::npos) << part;
    }
    all += part;
  }
  EXPECT_EQ(all, text);
  EXPECT_EQ(decoder.flush(), "");
}

TEST_P(RealModel, AnyBytesAreEncodedAndComeBack) {
  uint64_t x = 7;
  for (int round = 0; round < 300; ++round) {
    std::string s;
    for (int k = 0; k < round % 40; ++k) {
      x = x * 6364136223846793005ULL + 1442695040888963407ULL;
      s.push_back(static_cast<char>(x >> 56 | (round % 3 == 0 ? 0x80 : 0)));
    }
    std::string back = tokenizer->decode(tokenizer->encode(s, {.add_bos = false}));
    if (std::string(GetParam()) == "gemma3")
      EXPECT_EQ(back, s);
    else
      EXPECT_LE(back.size(), s.size());  // SmolLM2 lacks some bytes
  }
}

TEST_P(RealModel, ThreadsShareOneTokenizer) {
  std::string text = corpus(20'000);
  std::vector<int32_t> want = tokenizer->encode(text, {.parse_special = true});
  std::vector<std::thread> threads;
  std::vector<std::vector<int32_t>> got(4);
  for (size_t i = 0; i < got.size(); ++i)
    threads.emplace_back([&, i] { got[i] = tokenizer->encode(text, {.parse_special = true}); });
  for (std::thread& t : threads) t.join();
  for (const auto& g : got) EXPECT_EQ(g, want);
}

TEST_P(RealModel, TextWithoutASingleBreakTakesNoQuadraticTime) {
  // A quadratic merge of a million symbols would not end within this test's time limit.
  for (const char* unit : {"a", "ab", " ", "\n", "漢", "<", "\t", "1"}) {
    std::string s;
    while (s.size() < 1'000'000) s += unit;
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(s, {.parse_special = true})), s) << unit;
  }
}

TEST(RealModels, BosAndSpecialTokens) {
  if (!std::getenv("MC_MODELS") || !*std::getenv("MC_MODELS")) GTEST_SKIP() << "MC_MODELS is not set";
  auto smol = Tokenizer::from_gguf(*real_model("smollm2")),
       gemma = Tokenizer::from_gguf(*real_model("gemma3"));
  EXPECT_FALSE(smol->adds_bos());
  EXPECT_TRUE(gemma->adds_bos());
  EXPECT_EQ(gemma->encode("Hi").front(), *gemma->bos_id());
  EXPECT_NE(gemma->encode("Hi", {.add_bos = false}).front(), *gemma->bos_id());
  EXPECT_EQ(smol->encode("Hi", {.add_bos = true}).front(), *smol->bos_id());
  EXPECT_EQ(smol->encode("Hi", {.add_eos = true}).back(), *smol->eos_id());
  EXPECT_EQ(smol->encode("<|im_start|>", {.parse_special = true}), (std::vector<int32_t>{1}));
  EXPECT_GT(smol->encode("<|im_start|>").size(), 1U);
  EXPECT_EQ(smol->decode(std::vector<int32_t>{1, 28120}, false), "<|im_start|>" + smol->token_text(28120));
  EXPECT_EQ(smol->decode(std::vector<int32_t>{1, 28120}), smol->token_text(28120));
  EXPECT_EQ(smol->pre_tokenizer(), "smollm");
  EXPECT_EQ(gemma->kind(), "llama");
  EXPECT_EQ(smol->find_token("<|im_end|>"), 2);
  EXPECT_EQ(smol->find_token("no such token"), std::nullopt);
  EXPECT_ERROR(smol->decode(std::vector<int32_t>{49152}), IndexOutOfRange, "no token 49152");
  EXPECT_ERROR(smol->token_text(-1), IndexOutOfRange, "no token -1");
}

TEST(PreTokenizer, WordsAreThoseOfHuggingFace) {
  std::string text = corpus(400'000, true);
  std::ifstream in(golden("pre.txt"));
  std::string name;
  size_t count = 0;
  uint64_t hash = 0;
  int rows = 0;
  while (in >> name >> count >> hash) {
    ++rows;
    const PreTokenizerInfo* info = pre_tokenizer_info(name);
    ASSERT_NE(info, nullptr) << name;
    PreTokenizer::Scratch scratch;
    std::vector<int32_t> lengths;
    std::string back;
    PreTokenizer(*info).split(text, scratch, [&](std::string_view word) {
      lengths.push_back(static_cast<int32_t>(word.size()));
      back += word;
    });
    EXPECT_EQ(back, text) << name;
    EXPECT_EQ(lengths.size(), count) << name;
    EXPECT_EQ(fnv(lengths), hash) << name;
  }
  EXPECT_EQ(rows, 18);
}

TEST(PreTokenizer, EveryNameCompilesAndLongRunsTakeNoQuadraticTime) {
  std::vector<std::string_view> names = pre_tokenizer_names();
  EXPECT_GE(names.size(), 50U);
  for (std::string_view name : names) {
    PreTokenizer pre(*pre_tokenizer_info(name));
    for (std::string_view unit : {"a", "A", " ", "\n", " \n", "1", "'", ".", "\u4e00", "\u0301", "\xff"}) {
      std::string s;
      while (s.size() < 200'000) s += unit;
      PreTokenizer::Scratch scratch;
      size_t bytes = 0;
      pre.split(s, scratch, [&](std::string_view word) { bytes += word.size(); });
      ASSERT_EQ(bytes, s.size()) << name;
    }
  }
}

// A tokenizer of few tokens, from a file in memory.
struct Small {
  GgufWriter w;
  std::vector<std::string> tokens;
  std::vector<int32_t> types;
  std::vector<float> scores;
  std::vector<std::byte> bytes;
  std::shared_ptr<GgufFile> file;
  int32_t add(std::string_view text, int32_t type = 1, float score = 0) {
    tokens.emplace_back(text);
    types.push_back(type);
    scores.push_back(score);
    return static_cast<int32_t>(tokens.size()) - 1;
  }
  std::shared_ptr<Tokenizer> make() {
    w.set_strings("tokenizer.ggml.tokens", tokens);
    w.set_i32s("tokenizer.ggml.token_type", types);
    w.set_f32s("tokenizer.ggml.scores", scores);
    bytes = w.to_bytes();
    file = GgufFile::from_memory(bytes, "small.gguf");
    return Tokenizer::from_gguf(*file);
  }
};
constexpr int32_t kUnknown = 2, kControl = 3, kUser = 4, kUnused = 5, kByteType = 6;

TEST(SmallBpe, MergesByRankAndCutsSpecialTokensLongestFirst) {
  Small s;
  s.w.set_string("tokenizer.ggml.model", "gpt2");
  s.w.set_string("tokenizer.ggml.pre", "gpt-2");
  for (std::string_view t : {"a", "b", "c", "ab", "bc", "abc", "\u0120", "\u0120a"}) s.add(t);
  s.w.set_strings("tokenizer.ggml.merges", std::vector<std::string>{"b c", "a b", "\u0120 a", "a bc"});
  int32_t end = s.add("<e>", kControl), longer = s.add("<e>x", kUser);
  s.w.set_u32("tokenizer.ggml.eos_token_id", static_cast<uint32_t>(end));
  auto t = s.make();
  using Ids = std::vector<int32_t>;
  EXPECT_EQ(t->encode("abc"), (Ids{5}));  // b c has the lower rank, then a bc
  EXPECT_EQ(t->encode("abab"), (Ids{3, 3}));
  EXPECT_EQ(t->encode("ab ab"), (Ids{3, 6, 3}));  // "ab" comes before " a"
  EXPECT_EQ(t->encode("a<e>xb"), (Ids{0, longer, 1}));
  EXPECT_EQ(t->encode("a<e>b", {.parse_special = true}), (Ids{0, end, 1}));
  EXPECT_EQ(t->encode("a<e>b"), (Ids{0, 1}));  // no tokens for < e >
  EXPECT_EQ(t->encode("<e><e>x<e>", {.parse_special = true}), (Ids{end, longer, end}));
  EXPECT_EQ(t->decode(Ids{7, end, longer}), " a<e>x");
  EXPECT_EQ(t->decode(Ids{7, end, longer}, false), " a<e><e>x");
  EXPECT_EQ(t->eos_id(), end);
  EXPECT_EQ(t->bos_id(), std::nullopt);
  EXPECT_TRUE(t->is_end_of_generation(end));
  EXPECT_ERROR(t->encode("a", {.add_bos = true}), BadTokenizer, "no beginning-of-sequence token");
  EXPECT_TRUE(t->encode("").empty());
}

TEST(SmallBpe, LongAndShortWordsAreMergedAlike) {
  Small s;
  s.w.set_string("tokenizer.ggml.model", "gpt2");
  s.w.set_string("tokenizer.ggml.pre", "gpt-2");
  for (char c : std::string("abcd")) s.add(std::string(1, c));
  std::vector<std::string> merges;
  for (std::string m : {"a b", "c d", "b c", "ab cd", "d a", "bc da", "a a", "aa aa", "ab a", "abcd abcd"}) {
    merges.push_back(m);
    std::erase(m, ' ');
    s.add(m);
  }
  s.w.set_strings("tokenizer.ggml.merges", merges);
  auto t = s.make();
  // The longer word has a heap, the shorter a scan; "x" has no token and no merges, so it only parts them.
  uint64_t x = 3;
  for (int round = 0; round < 200; ++round) {
    std::string part;
    for (int k = 0; k < 12; ++k) {
      x = x * 6364136223846793005ULL + 1442695040888963407ULL;
      part += "abcd"[x >> 62];
    }
    std::vector<int32_t> one = t->encode(part), many;
    std::string word;
    for (int k = 0; k < 8; ++k) {
      word += part + "x";
      many.insert(many.end(), one.begin(), one.end());
    }
    EXPECT_EQ(t->encode(word), many) << part;
  }
}

TEST(SmallBpe, IgnoresMergesWhereTheFamilyDoes) {
  for (bool ignore : {false, true}) {
    Small s;
    s.w.set_string("tokenizer.ggml.model", "gpt2");
    s.w.set_string("tokenizer.ggml.pre", ignore ? "llama-bpe" : "gpt-2");
    for (std::string_view t : {"a", "b", "ab"}) s.add(t);
    s.w.set_u32("tokenizer.ggml.bos_token_id", static_cast<uint32_t>(s.add("<b>", kControl)));
    s.w.set_strings("tokenizer.ggml.merges", std::vector<std::string>{});
    auto t = s.make();
    EXPECT_EQ(t->adds_bos(), ignore);
    EXPECT_EQ(t->encode("ab", {.add_bos = false}),
              ignore ? std::vector<int32_t>({2}) : std::vector<int32_t>({0, 1}));
  }
}

TEST(SmallSpm, MergesByScoreWithBytesForTheRest) {
  Small s;
  s.w.set_string("tokenizer.ggml.model", "llama");
  int32_t unk = s.add("<unk>", kUnknown), bos = s.add("<s>", kControl), eos = s.add("</s>", kControl);
  for (int b = 0; b < 256; ++b) {
    const char* hex = "0123456789ABCDEF";
    s.add(std::string("<0x") + hex[b >> 4] + hex[b & 15] + ">", kByteType);
  }
  auto byte = [](unsigned char b) { return 3 + static_cast<int32_t>(b); };
  int32_t space = s.add("\u2581", 1, -10), a = s.add("a", 1, -11), b = s.add("b", 1, -12),
          ab = s.add("ab", 1, -1), space_a = s.add("\u2581a", 1, -2);
  s.add("unused", kUnused);
  auto t = s.make();
  using Ids = std::vector<int32_t>;
  EXPECT_EQ(t->encode("ab"), (Ids{bos, space, ab}));  // a space before the first word; ab before " a"
  EXPECT_EQ(t->encode("a b"), (Ids{bos, space_a, space, b}));
  EXPECT_EQ(t->encode(""), (Ids{bos}));
  EXPECT_EQ(t->encode("a\n\xE2\x82"), (Ids{bos, space_a, byte('\n'), byte(0xE2), byte(0x82)}));
  EXPECT_EQ(t->encode("a</s>a", {.add_bos = false, .parse_special = true}), (Ids{space_a, eos, space_a}));
  EXPECT_EQ(t->decode(t->encode("a b\n\xE2\x82")), "a b\n\xE2\x82");
  EXPECT_EQ(t->decode(t->encode("a</s>a", {.parse_special = true}), false), "<s>a</s>a");
  EXPECT_EQ(t->unk_id(), unk);
  EXPECT_TRUE(t->is_special(unk));
  EXPECT_FALSE(t->is_special(a));
}

// Files with a whole tokenizer in them, small enough to break everywhere.
std::vector<std::byte> small_bpe() {
  Small s;
  s.w.set_string("tokenizer.ggml.model", "gpt2");
  s.w.set_string("tokenizer.ggml.pre", "llama-bpe");
  for (std::string_view t : {"a", "b", "c", "ab", "bc", "abc", "\u0120", "\u0120a", "", "\xff"}) s.add(t);
  s.w.set_strings("tokenizer.ggml.merges", std::vector<std::string>{"b c", "a b", "\u0120 a", "a bc", "x y"});
  s.w.set_u32("tokenizer.ggml.bos_token_id", static_cast<uint32_t>(s.add("<|im_end|>", kControl)));
  s.add("  ", kUser);
  s.make();
  return s.bytes;
}
std::vector<std::byte> small_sentencepiece(std::string_view model) {
  Small s;
  s.w.set_string("tokenizer.ggml.model", model);
  s.add("<unk>", kUnknown), s.add("<s>", kControl), s.add("</s>", kControl);
  for (std::string_view t : {"<0x0A>", "<0xE2>", "<0x>"}) s.add(t, kByteType);
  for (std::string_view t : {"a", "b", "ab", "\u2581", "\u2581a", "\u2581\u2581", "b\u2581"})
    s.add(t, 1, -static_cast<float>(s.tokens.size()));
  s.w.set_bool("tokenizer.ggml.add_space_prefix", true);
  s.w.set_u32("tokenizer.ggml.bos_token_id", 1);
  s.w.set_u32("tokenizer.ggml.eos_token_id", 2);
  s.w.set_u32("tokenizer.ggml.unknown_token_id", 0);
  // A trie with one rule, a -> b: the root's base is 256, the child for 'a' a leaf with its value beside it.
  std::vector<uint32_t> units(512, 0);
  units[0] = 256U << 10;
  units[256 ^ 'a'] = 'a' | 1U << 8 | 4U << 10;
  units[256 ^ 'a' ^ 4] = 0x80000000U;
  std::vector<uint8_t> map(4 + units.size() * 4);
  auto size = static_cast<uint32_t>(units.size() * 4);
  std::memcpy(map.data(), &size, 4);
  std::memcpy(map.data() + 4, units.data(), units.size() * 4);
  map.push_back('b');
  map.push_back(0);
  s.w.set_u8s("tokenizer.ggml.precompiled_charsmap", map);
  s.make();
  return s.bytes;
}

TEST(SmallUnigram, TakesTheBestSumAndAppliesTheRules) {
  std::vector<std::byte> bytes = small_sentencepiece("t5");
  auto file = GgufFile::from_memory(bytes);
  auto t = Tokenizer::from_gguf(*file);
  using Ids = std::vector<int32_t>;
  // 6 a (-6), 7 b (-7), 8 ab (-8), 9 space (-9), 10 " a" (-10), 11 two spaces, 12 "b " (-12). The rule writes
  // b for a.
  EXPECT_EQ(t->encode("b"), (Ids{9, 7}));
  EXPECT_EQ(t->encode("a"), (Ids{9, 7}));
  EXPECT_EQ(t->encode("b b"), (Ids{9, 12, 7}));
  EXPECT_EQ(t->encode("bzzb"), (Ids{9, 7, 0, 7}));  // unknown neighbours are one
  EXPECT_EQ(t->encode("b", {.add_eos = std::nullopt}), (Ids{9, 7, 2}));
  EXPECT_EQ(t->decode(Ids{9, 12, 7}), "b b");
}

TEST(SmallWordPiece, LongestTokensFromTheLeft) {
  Small s;
  s.w.set_string("tokenizer.ggml.model", "bert");
  for (std::string_view t : {"[PAD]", "[UNK]", "[CLS]", "[SEP]"}) s.add(t, kControl);
  for (std::string_view t :
       {"\u2581un", "\u2581u", "aff", "able", "a", "\u2581,", "\u2581\u6f22", "\u2581unaf"})
    s.add(t);
  s.w.set_u32("tokenizer.ggml.unknown_token_id", 1);
  s.w.set_u32("tokenizer.ggml.bos_token_id", 2);
  s.w.set_u32("tokenizer.ggml.seperator_token_id", 3);
  auto t = s.make();
  using Ids = std::vector<int32_t>;
  EXPECT_EQ(t->encode("Un\u00e4ff\u00e4ble", {.add_bos = false}),
            (Ids{1}));  // "unaf" is longer than "un" and leads nowhere
  EXPECT_EQ(t->encode("u\u00e4,un \u6f22\u6f22", {.add_eos = std::nullopt}), (Ids{2, 5, 8, 9, 4, 10, 10, 3}));
  EXPECT_EQ(t->encode("UN  x\n", {.add_bos = false}), (Ids{4, 1}));
}

TEST(StreamDecoder, HoldsBackWhatMayBecomeACharacter) {
  Small s;
  s.w.set_string("tokenizer.ggml.model", "llama");
  s.w.set_bool("tokenizer.ggml.add_space_prefix", false);
  for (std::string_view t : {"<unk>", "<s>", "</s>"}) s.add(t, kControl);
  for (int b = 0; b < 256; ++b) {
    const char* hex = "0123456789ABCDEF";
    s.add(std::string("<0x") + hex[b >> 4] + hex[b & 15] + ">", kByteType);
  }
  auto t = s.make();
  auto run = [&](std::string_view bytes) {
    StreamDecoder d(*t);
    std::string out;
    for (char c : bytes) out += d.push(3 + static_cast<unsigned char>(c)) + "|";
    return out + d.flush();
  };
  EXPECT_EQ(run("a"), "a|");
  EXPECT_EQ(run("\xF0\x9F\x99\x82!"), "|||\xF0\x9F\x99\x82|!|");
  EXPECT_EQ(run("\xE2\x82"), "||\uFFFD");  // cut off: one mark for the part
  EXPECT_EQ(run("\xE2\x82"
                "a"),
            "||\uFFFDa|");
  EXPECT_EQ(run("\x80"), "\uFFFD|");
  EXPECT_EQ(run("\xC0\xAF"), "\uFFFD|\uFFFD|");             // overlong
  EXPECT_EQ(run("\xED\xA0\x80"), "|\uFFFD\uFFFD|\uFFFD|");  // a surrogate
  EXPECT_EQ(run("\xF4\x90"), "|\uFFFD\uFFFD|");             // beyond U+10FFFF
  EXPECT_EQ(run("\xF0\x9F\xE2\x82\xAC"), "||\uFFFD||\u20AC|");
  StreamDecoder d(*t);
  EXPECT_EQ(d.push(3 + 0xE2), "");
  EXPECT_EQ(d.push(2), "\uFFFD");  // a control token ends what was begun
  EXPECT_EQ(d.flush(), "");
  StreamDecoder loud(*t, false);
  EXPECT_EQ(loud.push(2), "</s>");
  EXPECT_ERROR(d.push(1000), IndexOutOfRange, "no token 1000");
}

TEST(BadTokenizers, ThousandsOfBrokenFilesGiveErrorsAndNothingElse) {
  size_t works = 0, refused = 0;
  uint64_t x = 1;
  auto random = [&] { return (x = x * 6364136223846793005ULL + 1442695040888963407ULL) >> 33; };
  for (int kind = 0; kind < 4; ++kind) {
    const std::vector<std::byte> valid = kind == 0 ? small_bpe()
                                                   : small_sentencepiece(kind == 1   ? "llama"
                                                                         : kind == 2 ? "t5"
                                                                                     : "bert");
    for (int round = 0; round < 6000; ++round) {
      std::vector<std::byte> b = valid;
      for (uint64_t k = 1 + random() % 2; k > 0; --k) {
        size_t at = random() % b.size();
        constexpr uint32_t kOdd[] = {0, 1,  2,   3,          4,          5,          6,
                                     7, 13, 255, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FC00000};
        if (random() % 2)
          b[at] = static_cast<std::byte>(random());
        else if (at + 4 <= b.size())
          std::memcpy(&b[at], &kOdd[random() % std::size(kOdd)], 4);
      }
      try {
        auto file = GgufFile::from_memory(b);
        auto t = Tokenizer::from_gguf(*file);
        for (bool special : {false, true}) {
          std::vector<int32_t> ids =
              t->encode("abc  ab\u2581a\u00e4<s></s>\xE2\x82<|im_end|> a\n", {.parse_special = special});
          StreamDecoder d(*t);
          for (int32_t id : ids) {
            ASSERT_GE(id, 0);
            ASSERT_LT(id, t->vocab_size());
            d.push(id);
          }
          t->decode(ids, special);
        }
        for (int32_t id = 0; id < t->vocab_size(); ++id) t->token_text(id);
        ++works;
      } catch (const Error& e) {
        ++refused;
        ASSERT_TRUE(e.code() == ErrorCode::BadFormat || e.code() == ErrorCode::Truncated ||
                    e.code() == ErrorCode::BadModel || e.code() == ErrorCode::BadTokenizer)
            << e.what();
      }
    }
  }
  EXPECT_GT(works, 1000U);
  EXPECT_GT(refused, 1000U);
}

TEST(BadTokenizers, AreToldWithTheKey) {
  auto with = [](const std::function<void(Small&)>& change, bool merges = true) {
    Small s;
    change(s);
    if (!s.tokens.empty() && merges) s.w.set_strings("tokenizer.ggml.merges", std::vector<std::string>{});
    s.make();
  };
  auto model = [](Small& s, std::string_view name) { s.w.set_string("tokenizer.ggml.model", name); };
  EXPECT_ERROR(with([&](Small& s) { s.add("a"); }), BadModel, "\"tokenizer.ggml.model\" is missing");
  EXPECT_ERROR(with([&](Small& s) { model(s, "rwkv"), s.add("a"); }), BadTokenizer,
               "\"tokenizer.ggml.model\" is \"rwkv\"");
  EXPECT_ERROR(with([&](Small& s) { model(s, "gpt2"); }), BadTokenizer, "tokenizer.ggml.tokens is empty");
  EXPECT_ERROR(with([&](Small& s) { model(s, "gpt2"), s.add("a"), s.add("a"); }), BadTokenizer,
               "the same text for ids 0 and 1");
  EXPECT_ERROR(with([&](Small& s) { model(s, "gpt2"), s.add("a"), s.add("b"), s.types.pop_back(); }),
               BadTokenizer, "tokenizer.ggml.token_type has 1 entries for 2 tokens");
  EXPECT_ERROR(with([&](Small& s) { model(s, "llama"), s.add("a"), s.add("b"), s.scores.pop_back(); }),
               BadTokenizer, "tokenizer.ggml.scores has 1 numbers for 2 tokens");
  EXPECT_ERROR(with([&](Small& s) { model(s, "gpt2"), s.add("a"); }, false), BadModel,
               "\"tokenizer.ggml.merges\" is missing");
  EXPECT_ERROR(with(
                   [&](Small& s) {
                     model(s, "gpt2"), s.add("a");
                     s.w.set_strings("tokenizer.ggml.merges", std::vector<std::string>{"ab"});
                   },
                   false),
               BadTokenizer, "tokenizer.ggml.merges: entry 0");
  EXPECT_ERROR(with([&](Small& s) {
                 model(s, "gpt2"), s.add("a"), s.w.set_string("tokenizer.ggml.pre", "frobnicate");
               }),
               BadTokenizer,
               "\"tokenizer.ggml.pre\" names the pre-tokenizer \"frobnicate\", which is not known; known are "
               "a.x-4.0, bailingmoe");
  EXPECT_ERROR(
      with([&](Small& s) { model(s, "gpt2"), s.add("a"), s.w.set_u32("tokenizer.ggml.eos_token_id", 9); }),
      BadTokenizer, "tokenizer.ggml.eos_token_id is 9, but there are only 1 tokens");
  EXPECT_ERROR(with([&](Small& s) {
                 model(s, "gpt2"), s.add("a"), s.w.set_bool("tokenizer.ggml.add_bos_token", true);
               }),
               BadTokenizer, "tokenizer.ggml.bos_token_id is missing");
}

}  // namespace
}  // namespace mc
