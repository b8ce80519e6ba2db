// A conversation over one session.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "mc/chat.h"
#include "mc/detail/str.h"
#include "mc/error.h"

namespace mc {

struct Chat::Impl {
  Impl(std::shared_ptr<const Model> m, ChatTemplate f, GenerateOptions g, ChatOptions o)
      : model(std::move(m)),
        form(std::move(f)),
        generation(std::move(g)),
        options(std::move(o)),
        session(model, 1, generation.edits) {}
  std::shared_ptr<const Model> model;
  ChatTemplate form;
  GenerateOptions generation;
  ChatOptions options;
  Session session;
  std::vector<int32_t> held;  // the tokens in the session's cache
  std::vector<std::pair<std::string, std::string>> messages;

  std::string json() const {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const auto& [role, content] : messages) list.push_back({{"role", role}, {"content", content}});
    return list.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  }
  void forget() {
    session.reset();
    held.clear();
  }
};

Chat::Chat(std::shared_ptr<const Model> model, ChatTemplate form, GenerateOptions generate,
           ChatOptions options) {
  if (!model)
    throw Error(ErrorCode::InvalidArgument, "there is no model", "Chat", "load one with load_model");
  if (model->config().encoder)
    throw Error(ErrorCode::InvalidArgument,
                cat(model->config().architecture, " is an encoder: it can't answer"), "Chat");
  impl_ = std::make_unique<Impl>(std::move(model), std::move(form), std::move(generate), std::move(options));
}
Chat::~Chat() = default;
Chat::Chat(Chat&&) noexcept = default;

void Chat::reset(const std::string& system) {
  impl_->messages.clear();
  if (!system.empty()) impl_->messages.emplace_back("system", system);
  impl_->forget();
}

const std::vector<std::pair<std::string, std::string>>& Chat::messages() const { return impl_->messages; }

ChatTurn Chat::ask(const std::string& text, const TokenCallback& on_token) {
  Impl& s = *impl_;
  const size_t before = s.messages.size();
  s.messages.emplace_back("user", text);
  try {
    const std::vector<int32_t> ids = encode_chat(s.model->tokenizer(), s.form.render(s.json(), s.options));
    if (ids.empty())
      throw Error(ErrorCode::BadTemplate, "the template gives no text for these messages", "chat template");
    const auto same = static_cast<size_t>(
        std::mismatch(ids.begin(), ids.end() - 1, s.held.begin(), s.held.end()).first - ids.begin());
    s.session.rewind(static_cast<int64_t>(same));
    s.held.resize(same);
    ChatTurn turn;
    turn.reused = static_cast<int64_t>(same);
    turn.answer = generate(s.session, ids, s.generation, on_token);
    s.held = ids;
    s.held.insert(s.held.end(), turn.answer.ids.begin(), turn.answer.ids.end());
    s.held.resize(std::min(s.held.size(), static_cast<size_t>(s.session.position())));
    s.messages.emplace_back("assistant", turn.answer.text);
    return turn;
  } catch (...) {
    s.messages.resize(before);
    s.forget();
    throw;
  }
}

}  // namespace mc
