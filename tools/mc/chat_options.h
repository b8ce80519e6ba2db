// The options of chat templates that `infer`, `score` and `chat` share.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli.h"
#include "mc/chat.h"

namespace mc::tool {
// chat-template, tools, template-variables, special.
std::vector<Option> chat_options();
ChatOptions chat_from(const Args& args);
ChatTemplate template_from(const Args& args, const Model& model);
// The messages of --messages (a JSON list, or one message a line), else of --system and the prompt; as a JSON
// list.
std::string messages_from(const Args& args, const std::optional<std::string>& prompt);
}  // namespace mc::tool
