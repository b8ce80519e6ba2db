#include "chat_text.h"

#include <algorithm>

#include "mc/detail/str.h"
#include "mc/error.h"

namespace mc {
namespace {
// Two characters that no text may hold (Unicode's noncharacters).
constexpr std::string_view kOpen = "\xEF\xB7\x90", kClose = "\xEF\xB7\x91";
}  // namespace

ControlTexts::ControlTexts(const Tokenizer& tokenizer) {
  for (int64_t id = 0; id < tokenizer.vocab_size(); ++id)
    if (tokenizer.is_special(static_cast<int32_t>(id)))
      if (std::string t(tokenizer.token_raw(static_cast<int32_t>(id))); t.size() > 1)
        texts_.push_back(std::move(t));
  std::sort(texts_.begin(), texts_.end(), [](const std::string& a, const std::string& b) {
    return a.size() != b.size() ? a.size() > b.size() : a < b;
  });
}

std::string ControlTexts::marked(const std::string& s) const {
  if (s.find(kOpen) != std::string::npos || s.find(kClose) != std::string::npos)
    throw Error(ErrorCode::BadData, "a message holds U+FDD0 or U+FDD1, which are no characters", "messages",
                "take them out");
  // Which bytes belong to a control token.
  std::vector<bool> in;
  for (const std::string& t : texts_)
    for (size_t at = 0; (at = s.find(t, at)) != std::string::npos; ++at) {
      in.resize(s.size());
      std::fill_n(in.begin() + static_cast<std::ptrdiff_t>(at), t.size(), true);
    }
  if (in.empty()) return s;
  std::string out;
  for (size_t i = 0; i < s.size(); ++i) {
    if (in[i] && (i == 0 || !in[i - 1])) out += kOpen;
    out += s[i];
    if (in[i] && (i + 1 == s.size() || !in[i + 1])) out += kClose;
  }
  return out;
}

jinja::Value ControlTexts::marked(const jinja::Value& v) const {
  using jinja::Type;
  if (v.is(Type::String)) return jinja::Value::of(marked(v.string()));
  if (v.is(Type::List)) {
    jinja::Values out;
    for (const jinja::Value& x : v.values()) out.push_back(marked(x));
    return jinja::Value::list(std::move(out));
  }
  if (v.is(Type::Dict)) {
    jinja::Items out;
    for (const auto& [key, x] : v.items()) out.emplace_back(marked(key), marked(x));
    return jinja::Value::dict(std::move(out));
  }
  return v;
}

std::string ControlTexts::unmarked(std::string_view text, std::vector<TokenSpan>& ranges) {
  std::string out;
  size_t open = std::string::npos;
  while (!text.empty()) {
    const size_t at = text.find(kOpen.substr(0, 2));
    out.append(text.substr(0, at));
    if (at == std::string_view::npos) break;
    text.remove_prefix(at);
    if (text.starts_with(kOpen)) {
      open = out.size();
    } else if (text.starts_with(kClose)) {
      if (open != std::string::npos && open < out.size()) ranges.push_back({open, out.size()});
      open = std::string::npos;
    } else {
      out.append(text.substr(0, 2));
      text.remove_prefix(2);
      continue;
    }
    text.remove_prefix(kOpen.size());
  }
  return out;
}

}  // namespace mc
