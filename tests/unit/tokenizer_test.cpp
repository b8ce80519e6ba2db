// Tokenizers against llama-cpp-python's ids on the real models, and by hand-made vocabularies.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/text.h"
#include "text/pre_tokenizer.h"
#include "unit/tokenizer_util.h"

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
  const std::string text = corpus(400'000, true);
  // A golden that changes under the test (a checkout in another window) is told as that, not as wrong words.
  ASSERT_EQ(fnv(std::vector<int32_t>(text.begin(), text.end())), 0x6e7c8bbd62a3e959U)
      << golden("phrases.bin") << " is another";
  std::ifstream file(golden("pre.txt"));
  ASSERT_TRUE(file.is_open()) << golden("pre.txt");
  std::stringstream in;
  in << file.rdbuf();
  ASSERT_EQ(std::count(in.view().begin(), in.view().end(), '\n'), 18) << golden("pre.txt");
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

}  // namespace
}  // namespace mc
