// Tokenizers of hand-made vocabularies, streams of text, and files that are broken.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>

#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/text.h"
#include "unit/tokenizer_util.h"

namespace mc {
namespace {

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
