#include "chat_options.h"

#include <nlohmann/json.hpp>

#include "file.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/file.h"

namespace mc::tool {
namespace {

using Json = nlohmann::ordered_json;

Json message(const char* role, const std::string& content) {
  Json m = Json::object();
  m["role"] = role;
  m["content"] = content;
  return m;
}
std::string dumped(const Json& j) { return j.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace

std::vector<Option> chat_options() {
  return {{"chat-template", Kind::Text, "FILE|NAME",
           "a Jinja file, or one of the model's templates by name, in place of its default one"},
          {"tools", Kind::Text, "FILE", "a JSON list of tools, for templates that tell the model of them"},
          {"template-variables", Kind::Text, "JSON",
           "more variables of the template: {\"enable_thinking\": false}"}};
}

ChatOptions chat_from(const Args& args) {
  ChatOptions o;
  if (args.has("tools")) o.tools = read_small_file(args.text("tools"), 16 << 20);
  o.variables = args.text("template-variables");
  o.special = args.has("special");
  return o;
}

ChatTemplate template_from(const Args& args, const Model& model) {
  const std::string t = args.text("chat-template");
  const bool file = t.find_first_of("./") != std::string::npos;
  if (!file) return ChatTemplate::of(model, t);
  try {
    return ChatTemplate(read_small_file(t, 16 << 20), model.tokenizer());
  } catch (const Error& e) {
    if (e.code() != ErrorCode::BadTemplate) throw;
    throw Error(e.code(), e.message(), t, e.next());
  }
}

std::string messages_from(const Args& args, const std::optional<std::string>& prompt) {
  if (!args.has("messages")) {
    Json list = Json::array();
    if (args.has("system")) list.push_back(message("system", args.text("system")));
    list.push_back(message("user", *prompt));
    return dumped(list);
  }
  const std::string path = args.text("messages"), text = read_file(path);
  Json j = Json::parse(text, nullptr, false);
  if (!j.is_discarded() && j.is_object() && j.contains("messages")) {
    Json inner = j["messages"];
    j = std::move(inner);
  }
  if (j.is_discarded() || j.is_object()) {  // a message a line
    Json list = Json::array();
    size_t begin = 0, number = 0;
    while (begin < text.size()) {
      const size_t end = std::min(text.find('\n', begin), text.size());
      const std::string line = text.substr(begin, end - begin);
      begin = end + 1;
      ++number;
      if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
      Json m = Json::parse(line, nullptr, false);
      if (m.is_discarded() || !m.is_object())
        throw Error(ErrorCode::BadData,
                    cat("line ", number, " is no JSON object, and the whole is no JSON list"), path,
                    "write [{\"role\": \"user\", \"content\": \"…\"}], or one such object a line");
      list.push_back(std::move(m));
    }
    j = std::move(list);
  }
  if (args.has("system")) {
    if (j.is_array() && !j.empty() && j[0].is_object() && j[0].value("role", Json()) == "system")
      usage_error("the messages begin with a system message already", "--system", "leave --system out");
    if (j.is_array()) j.insert(j.begin(), message("system", args.text("system")));
  }
  return dumped(j);
}

}  // namespace mc::tool
