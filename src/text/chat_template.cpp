#include "mc/chat.h"

#include <mutex>

#include "chat_text.h"
#include "jinja.h"
#include "mc/detail/str.h"
#include "mc/error.h"

namespace mc {

struct ChatTemplate::Impl {
  Impl(std::string_view s, const Tokenizer& t) : source(s), form(s), controls(t) {
    const auto name = [&](std::optional<int32_t> id) {
      return id ? std::string(t.token_raw(*id)) : std::string();
    };
    bos = name(t.bos_id());
    eos = name(t.eos_id());
  }
  std::string source, bos, eos;
  jinja::Template form;
  ControlTexts controls;
};

ChatTemplate::ChatTemplate(std::string_view source, const Tokenizer& tokenizer)
    : impl_(std::make_unique<Impl>(source, tokenizer)) {}
ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
const std::string& ChatTemplate::source() const { return impl_->source; }

ChatTemplate ChatTemplate::of(const Model& model, const std::string& name) {
  const GgufFile& file = model.file();
  constexpr std::string_view kKey = "tokenizer.chat_template";
  const std::string key = name.empty() || name == "default" ? std::string(kKey) : cat(kKey, ".", name);
  if (const GgufValue* v = file.find(key); v && v->as_string())
    return ChatTemplate(*v->as_string(), model.tokenizer());
  std::string others;
  for (const auto& [k, v] : file.metadata())
    if (k.starts_with(kKey) && v.as_string())
      others +=
          cat(others.empty() ? "" : ", ", k.size() > kKey.size() ? k.substr(kKey.size() + 1) : "default");
  throw Error(ErrorCode::BadTemplate,
              name.empty() ? "the model has no chat template"
                           : cat("the model has no chat template \"", name.substr(0, 60), "\""),
              file.path(),
              others.empty() ? "give one with --chat-template FILE, or --prompt without --chat"
                             : cat("it has: ", others));
}

ChatText ChatTemplate::render(std::string_view messages, const ChatOptions& o) const {
  using jinja::Type;
  using jinja::Value;
  const Impl& s = *impl_;
  const Value list = jinja::from_json(messages, "messages");
  if (!list.is(Type::List))
    throw Error(ErrorCode::BadData, "the messages are no list", "messages",
                "write [{\"role\": \"user\", \"content\": \"…\"}]");
  if (list.values().empty())
    throw Error(ErrorCode::BadData, "there are no messages", "messages", "give one at least");
  for (size_t i = 0; i < list.values().size(); ++i) {
    const Value& m = list.values()[i];
    const Value* role = m.is(Type::Dict) ? jinja::lookup(m.items(), Value::of("role")) : nullptr;
    if (!role || !role->is(Type::String))
      throw Error(ErrorCode::BadData, cat("message ", i + 1, " has no string \"role\""), "messages",
                  "write {\"role\": \"user\", \"content\": \"…\"}");
  }
  auto guarded = [&](const Value& v) { return o.special ? v : s.controls.marked(v); };
  jinja::Items globals;
  auto put = [&](std::string_view name, Value v) { jinja::assign(globals, Value::of(name), std::move(v)); };
  put("bos_token", Value::of(s.bos));
  put("eos_token", Value::of(s.eos));
  put("add_generation_prompt", Value::of(o.add_generation_prompt));
  put("messages", guarded(list));
  put("tools", Value::none());
  put("documents", Value::none());
  if (!o.tools.empty()) {
    const Value tools = jinja::from_json(o.tools, "tools");
    if (!tools.is(Type::List) && !tools.is(Type::None))
      throw Error(ErrorCode::BadData, "the tools are no list", "tools");
    put("tools", guarded(tools));
  }
  if (!o.variables.empty()) {
    const Value more = jinja::from_json(o.variables, "variables");
    if (!more.is(Type::Dict))
      throw Error(ErrorCode::BadData, "the variables are no object", "variables",
                  "write {\"enable_thinking\": false}");
    for (const auto& [name, v] : more.items()) put(name.string(), guarded(v));
  }
  ChatText out;
  out.text = ControlTexts::unmarked(s.form.render(globals, o.now), out.plain);
  return out;
}

std::vector<int32_t> encode_chat(const Tokenizer& tokenizer, const ChatText& text) {
  EncodeOptions e;
  e.add_bos = false;
  e.add_eos = false;
  e.parse_special = true;
  e.plain = text.plain;
  return tokenizer.encode(text.text, e);
}

}  // namespace mc
