// Conversations: chat templates, and an exchange of messages that keeps its cache over the turns.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mc/generate.h"

namespace mc {

struct ChatOptions {
  bool add_generation_prompt = true;  // the text ends where the model's answer begins
  // JSON: a list of tools as Transformers takes them (null where the model is to see none), and an object of
  // further variables of the template ("enable_thinking": false). Empty: none.
  std::string tools, variables;
  // Control tokens that the messages' strings hold ("<|im_end|>") are read as those tokens, as Transformers
  // does. Otherwise they are text, so that what somebody wrote can't end a turn.
  bool special = false;
  int64_t now = -1;  // strftime_now: seconds since 1970; -1: the clock's
};

// The text of a conversation, and where in it control tokens are text.
struct ChatText {
  std::string text;
  std::vector<TokenSpan> plain;
};

// The ids of such a text; the template itself says where a beginning token stands.
MC_API std::vector<int32_t> encode_chat(const Tokenizer& tokenizer, const ChatText& text);

// A model's chat template: Jinja, as Transformers runs it (docs/chat.md), with bos_token, eos_token,
// messages, tools, add_generation_prompt, raise_exception and strftime_now. Immutable.
class MC_API ChatTemplate {
 public:
  // Throws BadTemplate naming the line and what is not known.
  ChatTemplate(std::string_view source, const Tokenizer& tokenizer);
  // The one that the model's file holds: GGUF's tokenizer.chat_template, a directory's chat_template.jinja or
  // tokenizer_config.json. `name`: one of several ("tool_use"); empty: the default one. Throws BadTemplate if
  // there is none, naming those that there are.
  static ChatTemplate of(const Model& model, const std::string& name = {});
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;

  // `messages`: a JSON list of objects with "role" and "content" and whatever else the template reads. Throws
  // BadData naming the message, BadTemplate for what the template refuses.
  ChatText render(std::string_view messages, const ChatOptions& options = {}) const;
  const std::string& source() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct ChatTurn {
  GenerateResult answer;
  int64_t reused = 0;  // tokens of the prompt that the cache held already
};

// A conversation with one model. Only what is new in the template's text is run; where a template rewrites
// earlier turns, all from the first difference on. Not for several threads at once.
class MC_API Chat {
 public:
  Chat(std::shared_ptr<const Model> model, ChatTemplate form, GenerateOptions generate = {},
       ChatOptions options = {});
  ~Chat();
  Chat(Chat&&) noexcept;
  // Begins anew, with this system message if it is not empty.
  void reset(const std::string& system = {});
  // Adds the user's message and the model's answer. After an error the conversation is as it was before. An
  // answer that `on_token` cancels stays as far as it came.
  ChatTurn ask(const std::string& text, const TokenCallback& on_token = {});
  // Role and content, in order.
  const std::vector<std::pair<std::string, std::string>>& messages() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mc
