// The parts of a tokenizer.json: text with its origins, and the steps that change and cut it.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "byte_characters.h"
#include "unicode.h"

namespace mc::tokenizer_json {

using Json = nlohmann::json;

// Bytes of the input.
struct Range {
  uint32_t begin = 0, end = 0;
};

// Characters, and for each the bytes of the input that it stands for.
struct Glyphs {
  std::vector<Char> chars;
  std::vector<Range> at;
  size_t size() const { return chars.size(); }
  void clear() { chars.clear(), at.clear(); }
  void push(Char c, Range r) { chars.push_back(c), at.push_back(r); }
  void append(const Glyphs& g, size_t begin, size_t end) {
    chars.insert(chars.end(), g.chars.begin() + static_cast<std::ptrdiff_t>(begin),
                 g.chars.begin() + static_cast<std::ptrdiff_t>(end));
    at.insert(at.end(), g.at.begin() + static_cast<std::ptrdiff_t>(begin),
              g.at.begin() + static_cast<std::ptrdiff_t>(end));
  }
};
// Bytes that are no UTF-8 become U+FFFD, one for each maximal ill-formed part.
void read_utf8(std::string_view text, uint32_t origin, Glyphs& out);
std::vector<Char> characters(std::string_view text);
std::string utf8(const Glyphs& g, size_t begin, size_t end);

// Words one after another, each up to an end.
struct Pieces {
  Glyphs text;
  std::vector<uint32_t> ends;
  void clear() { text.clear(), ends.clear(); }
  void close() {
    const auto n = static_cast<uint32_t>(text.size());
    if (n > (ends.empty() ? 0 : ends.back())) ends.push_back(n);
  }
};

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void apply(Glyphs& text) const = 0;
};
class Cutter {
 public:
  virtual ~Cutter() = default;
  virtual void apply(const Pieces& in, Pieces& out) const = 0;
};
class Joiner {  // a decoder
 public:
  virtual ~Joiner() = default;
  virtual void apply(std::vector<std::string>& tokens) const = 0;
};

// One token of a word; `bytes` of the word's UTF-8.
struct Part {
  int32_t id;
  uint32_t bytes;
};
// Beside `bytes`: the next part stands for the same bytes.
constexpr uint32_t kShared = 1U << 31;
class WordModel {
 public:
  virtual ~WordModel() = default;
  virtual void encode(std::string_view word, std::vector<Part>& out) const = 0;
  // The model's own tokens; the index is the id.
  std::vector<std::string> texts;
};

// Steps one after another: Normalizer and Joiner change a text in place, Cutter goes from one to another.
template <class Step>
using Steps = std::vector<std::unique_ptr<Step>>;
template <class Step, class Text>
void in_order(const Steps<Step>& steps, Text& text) {
  for (const auto& s : steps) s->apply(text);
}
inline void in_order(const Steps<Cutter>& steps, const Pieces& in, Pieces& out) {
  Pieces a = in;
  for (const auto& s : steps) {
    s->apply(a, out);
    std::swap(a, out);
  }
  out = std::move(a);
}

// What can't be honoured is BadTokenizer, naming the construct; null for null.
std::unique_ptr<Normalizer> read_normalizer(const Json& j, int depth = 0);
std::unique_ptr<Cutter> read_cutter(const Json& j, int depth = 0);
std::unique_ptr<Joiner> read_joiner(const Json& j, int depth = 0);
std::unique_ptr<WordModel> read_model(const Json& j);

// Reading of fields: a wrong type is an error, null is the fallback.
[[noreturn]] void refuse(const std::string& what);
std::string type_of(const Json& j);
bool flag(const Json& j, const char* key, bool fallback);
std::string string(const Json& j, const char* key, std::string_view fallback);
std::string required_string(const Json& j, const char* key);
const Json& list(const Json& j, const char* key);
constexpr int kMaxDepth = 16;

// The step "Sequence": those of the list `key`. Text...: what apply takes.
template <class Step, class... Text>
class Sequence final : public Step {
 public:
  Sequence(const Json& j, const char* key, std::unique_ptr<Step> (*read)(const Json&, int), int depth) {
    for (const Json& x : list(j, key))
      if (auto step = read(x, depth + 1)) steps_.push_back(std::move(step));
  }
  void apply(Text... text) const override { in_order(steps_, text...); }

 private:
  Steps<Step> steps_;
};

}  // namespace mc::tokenizer_json
