// tokenizer.json files of many families against the `tokenizers` package (tests/golden/make_tokenizers.py),
// and files that are wrong in one place.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>

#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/model.h"
#include "mc/text.h"

namespace mc {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
const char* const kRoot = std::getenv("MC_SOURCE_DIR");
const fs::path kGolden = fs::path(kRoot ? kRoot : ".") / "tests/golden/tokenizers";
const EncodeOptions kLikePackage{.add_bos = std::nullopt, .add_eos = std::nullopt, .parse_special = true};

std::vector<std::string> texts() { return Json::parse(std::ifstream(kGolden / "texts.json")); }

// As phrases.fnv, its low half.
template <class Range>
uint32_t fnv(const Range& numbers) {
  uint64_t h = 0xcbf29ce484222325ULL;
  for (auto n : numbers)
    for (int k = 0; k < 4; ++k) h = (h ^ (static_cast<uint64_t>(n) >> 8 * k & 255)) * 0x100000001b3ULL;
  return static_cast<uint32_t>(h);
}

// For each byte of a text, and its end: the characters before it.
std::vector<size_t> places(std::string_view text) {
  std::vector<size_t> out(text.size() + 1);
  size_t n = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    out[i] = n;
    if (i + 1 == text.size() || (text[i + 1] & 0xC0) != 0x80) ++n;
  }
  out[text.size()] = n;
  return out;
}
std::vector<uint32_t> code_points(std::string_view s) {
  std::vector<uint32_t> out;
  for (size_t i = 0; i < s.size();) {
    const auto b = static_cast<unsigned char>(s[i]);
    const size_t n = b < 0x80 ? 1 : b < 0xE0 ? 2 : b < 0xF0 ? 3 : 4;
    uint32_t c = n == 1 ? b : b & (0x7Fu >> n);
    for (size_t k = 1; k < n && i + k < s.size(); ++k)
      c = c << 6 | (static_cast<unsigned char>(s[i + k]) & 63);
    out.push_back(c);
    i += n;
  }
  return out;
}

struct Answers {
  std::string name;
  std::map<std::string, std::vector<uint32_t>> rows;  // "ids", "offsets", "text": a hash for each text
};
std::vector<Answers> answers() {
  std::vector<Answers> all;
  std::ifstream in(kGolden / "json.txt");
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string key;
    words >> key;
    if (key == "tokenizer") {
      all.emplace_back();
      words >> all.back().name;
      continue;
    }
    size_t n = 0;
    words >> n >> std::hex;
    std::vector<uint32_t>& row = all.back().rows[key];
    for (uint32_t h; words >> h;) row.push_back(h);
    EXPECT_EQ(row.size(), n) << line.substr(0, 40);
  }
  return all;
}

std::string shown(const Tokenizer& t, const Encoding& e, const std::string& text) {
  std::string out = "text " + Json(text).dump() + "\n";
  for (size_t i = 0; i < e.ids.size(); ++i)
    out += cat(e.ids[i], " ", Json(std::string(t.token_raw(e.ids[i]))).dump(), " ", e.spans[i].begin, "-",
               e.spans[i].end, "\n");
  return out;
}

TEST(JsonTokenizer, IdsOffsetsAndTextAreThePackages) {
  const std::vector<std::string> all = texts();
  const std::vector<Answers> families = answers();
  ASSERT_EQ(families.size(), 19u);
  ASSERT_GT(all.size(), 400u);
  for (const Answers& want : families) {
    SCOPED_TRACE(want.name);
    const auto t = load_tokenizer((kGolden / "json" / (want.name + ".json")).string());
    int wrong = 0;
    for (size_t i = 0; i < all.size() && wrong < 5; ++i) {
      const Encoding e = t->encode_with_spans(all[i], kLikePackage);
      EXPECT_EQ(e.ids, t->encode(all[i], kLikePackage));
      const std::vector<size_t> place = places(all[i]);
      std::vector<size_t> offsets;
      for (const TokenSpan& s : e.spans) {
        ASSERT_LE(s.begin, s.end);
        ASSERT_LE(s.end, all[i].size());
        offsets.push_back(place[s.begin]);
        offsets.push_back(place[s.end]);
      }
      const bool ids = fnv(e.ids) == want.rows.at("ids").at(i);
      const bool spans = fnv(offsets) == want.rows.at("offsets").at(i);
      const bool text = fnv(code_points(t->decode(e.ids))) == want.rows.at("text").at(i);
      EXPECT_TRUE(ids && spans && text) << "text " << i << (ids ? "" : ", ids") << (spans ? "" : ", offsets")
                                        << (text ? "" : ", decoded: " + t->decode(e.ids)) << "\n"
                                        << shown(*t, e, all[i]);
      wrong += !(ids && spans && text);
    }
  }
}

// What the text is cut into for one call does not matter to a stream: the pieces' text adds up.
TEST(JsonTokenizer, StreamsGiveTheBytesOfTheTokens) {
  for (const char* name : {"gpt2", "llama2", "gemma", "llama3"}) {
    SCOPED_TRACE(name);
    const auto t = load_tokenizer((kGolden / "json" / (std::string(name) + ".json")).string());
    for (const std::string& text : {std::string("Hello wörld, 漢字 👍!"), std::string("a  b\n\tc")}) {
      StreamDecoder d(*t);
      std::string out;
      for (int32_t id : t->encode(text, {.add_bos = std::nullopt})) out += d.push(id);
      out += d.flush();
      if (out.starts_with(' ')) out.erase(0, 1);  // llama2's own space
      EXPECT_EQ(out, text);
    }
  }
}

class Hostile : public testing::Test {
 protected:
  Hostile() : path_(fs::temp_directory_path() / cat("mc_json_tokenizer_", ::getpid(), ".json")) {}
  ~Hostile() override { fs::remove(path_); }
  // What loading it, and encoding with it, says; empty when nothing is wrong.
  std::string told(const std::string& file, const std::string& text = "Hello there, 漢字 e\u0301 1234  x") {
    std::ofstream(path_, std::ios::binary) << file;
    try {
      const auto t = load_tokenizer(path_.string());
      const Encoding e = t->encode_with_spans(text, kLikePackage);
      for (const TokenSpan& s : e.spans) {
        EXPECT_LE(s.begin, s.end);
        EXPECT_LE(s.end, text.size());
      }
      t->decode(e.ids, false);
      return {};
    } catch (const Error& e) {
      return e.what();
    }
  }
  static Json golden(const std::string& name) {
    return Json::parse(std::ifstream(kGolden / "json" / (name + ".json")));
  }
  static std::string slurp(const std::string& name) {
    std::ifstream in(kGolden / "json" / (name + ".json"), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  fs::path path_;
};

TEST_F(Hostile, PartsThatAreNotReadAreNamed) {
  auto with = [&](const char* name, const std::function<void(Json&)>& change) {
    Json j = golden(name);
    change(j);
    return told(j.dump());
  };
  auto says = [](const std::string& message, std::string_view what) {
    EXPECT_NE(message.find(what), std::string::npos) << "\"" << message << "\" lacks \"" << what << "\"";
  };
  says(with("gpt2", [](Json& j) { j["normalizer"] = {{"type", "Zalgo"}}; }), "Zalgo");
  says(with("gpt2", [](Json& j) { j["pre_tokenizer"] = {{"type", "UnicodeScriptsX"}}; }), "UnicodeScriptsX");
  says(with("gpt2", [](Json& j) { j["decoder"] = {{"type", "CTCX"}}; }), "CTCX");
  says(with("gpt2", [](Json& j) { j["post_processor"] = {{"type", "Wrap"}}; }), "Wrap");
  says(with("gpt2", [](Json& j) { j["model"]["type"] = "Oracle"; }), "Oracle");
  says(with("gpt2", [](Json& j) { j["model"]["dropout"] = 0.5; }), "dropout");
  says(with("gpt2", [](Json& j) { j["model"]["merges"][3] = Json::array({"zzz", "qqq"}); }), "merge");
  says(with("gpt2", [](Json& j) { j["model"]["merges"][3] = 7; }), "merge");
  says(with("gpt2", [](Json& j) { j["model"]["vocab"]["zz"] = 1; }), "id");
  says(with("gpt2", [](Json& j) { j["model"]["vocab"]["zz"] = -4; }), "zz");
  says(with("gpt2", [](Json& j) { j["model"]["vocab"]["zz"] = 4'000'000'000u; }), "zz");
  says(with("gpt2", [](Json& j) { j["model"].erase("vocab"); }), "vocab");
  says(with("gpt2", [](Json& j) { j["added_tokens"][0].erase("id"); }), "added_tokens");
  says(with("t5", [](Json& j) { j["model"]["unk_id"] = 1'000'000; }), "unk_id");
  says(with("t5", [](Json& j) { j["model"]["vocab"][5] = "x"; }), "vocab");
  says(with("t5", [](Json& j) { j["model"]["vocab"] = Json::array(); }), "vocabulary");
  says(with("t5", [](Json& j) { j["normalizer"]["normalizers"][0]["precompiled_charsmap"] = "!!"; }),
       "precompiled_charsmap");
  says(with("t5", [](Json& j) { j["normalizer"]["normalizers"][0]["precompiled_charsmap"] = "/////w=="; }),
       "precompiled_charsmap");
  says(with("bert", [](Json& j) { j["model"]["unk_token"] = "[NONE]"; }), "[NONE]");
  says(with("llama3", [](Json& j) { j["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "(a"; }),
       "(a");
  says(with("llama3", [](Json& j) { j["pre_tokenizer"]["pretokenizers"][0]["pattern"] = 5; }), "pattern");
  says(with("llama3", [](Json& j) { j["pre_tokenizer"]["pretokenizers"][0]["behavior"] = "Melted"; }),
       "Melted");
}

TEST_F(Hostile, NestingIsBounded) {
  for (const char* part : {"normalizer", "pre_tokenizer", "decoder", "post_processor"}) {
    const char* members = std::string_view(part) == "normalizer"      ? "normalizers"
                          : std::string_view(part) == "pre_tokenizer" ? "pretokenizers"
                          : std::string_view(part) == "decoder"       ? "decoders"
                                                                      : "processors";
    Json deep = {{"type", "Sequence"}, {members, Json::array()}};
    for (int i = 0; i < 25; ++i) deep = Json{{"type", "Sequence"}, {members, Json::array({deep})}};
    Json j = golden("gpt2");
    j[part] = deep;
    EXPECT_FALSE(told(j.dump()).empty()) << part;
  }
  EXPECT_FALSE(told(std::string(200'000, '[')).empty());
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"normalizer\":";
  EXPECT_FALSE(told(objects).empty());
}

TEST_F(Hostile, PatternsAreBounded) {
  auto with = [&](const std::string& regex, const std::string& text) {
    Json j = golden("llama3");
    j["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = regex;
    return told(j.dump(), text);
  };
  const std::string many(20'000, 'a');
  EXPECT_FALSE(with(std::string(3000, '(') + "a" + std::string(3000, ')'), many).empty());
  EXPECT_FALSE(with("a{1000}{1000}{1000}", many).empty());
  EXPECT_FALSE(with("(?<!a+)b\\1", many).empty());
  // Either refused, or done in the time of a test.
  with("(a+)+b", many);
  with("(a|a|b)*c", many);
  with("(a*)*", many);
  with("\\s+(?!\\S)|\\s+", std::string(50'000, ' '));
}

TEST_F(Hostile, FilesCutShortAreErrors) {
  for (const char* name : {"gpt2", "t5", "bert"}) {
    const std::string whole = slurp(name);
    for (size_t n = 0; n + 2 < whole.size(); n += whole.size() / 60 + 1)
      EXPECT_FALSE(told(whole.substr(0, n)).empty()) << name << " cut to " << n;
  }
}

// Any member changed to anything: an error or a tokenizer, never a crash.
TEST_F(Hostile, MembersOfOtherTypes) {
  uint64_t x = 5;
  auto draw = [&](size_t n) {
    x = x * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<size_t>(x >> 33) % n;
  };
  const std::vector<Json> others = {nullptr,
                                    true,
                                    -1,
                                    3,
                                    1e300,
                                    "",
                                    "x",
                                    "\u2581",
                                    Json::array(),
                                    Json::object(),
                                    Json::array({1, "a"}),
                                    4'294'967'295u,
                                    Json{{"type", "Sequence"}}};
  for (const char* name : {"roberta", "llama2", "xlmr", "bert", "clip"}) {
    const Json whole = golden(name);
    for (int i = 0; i < 150; ++i) {
      Json j = whole;
      Json* at = &j;
      // Down from the top, rarely into the long lists.
      while (at->is_structured() && !at->empty() && (at == &j || draw(5) > 0)) {
        auto member = at->begin();
        std::advance(member, static_cast<std::ptrdiff_t>(draw(std::min<size_t>(at->size(), 12))));
        at = &*member;
      }
      if (at == &j) continue;
      *at = others[draw(others.size())];
      told(j.dump());
    }
  }
}

// A file that asks for truncation or padding keeps the text whole, and says what it was asked.
TEST_F(Hostile, NothingIsTruncated) {
  Json j = golden("bert");
  const std::string text = "one two three four five six seven eight";
  std::ofstream(path_) << j;
  const auto whole = load_tokenizer(path_.string());
  EXPECT_FALSE(whole->truncation().has_value());
  j["truncation"] = {{"direction", "Right"}, {"max_length", 4}, {"strategy", "LongestFirst"}, {"stride", 0}};
  j["padding"] = {{"strategy", {{"Fixed", 64}}},
                  {"direction", "Right"},
                  {"pad_to_multiple_of", nullptr},
                  {"pad_id", 0},
                  {"pad_type_id", 0},
                  {"pad_token", "[PAD]"}};
  std::ofstream(path_) << j;
  const auto cut = load_tokenizer(path_.string());
  EXPECT_EQ(cut->truncation(), 4);
  EXPECT_EQ(cut->encode(text, kLikePackage), whole->encode(text, kLikePackage));
  EXPECT_GT(cut->encode(text, kLikePackage).size(), 4u);
}

}  // namespace
}  // namespace mc
