#include "chat_options.h"
#include "commands.h"
#include "edits.h"
#include "engine.h"
#include "format.h"
#include "lines.h"
#include "mc/chat.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/interrupt.h"
#include "mc/system.h"
#include "sampling.h"
#include "signals.h"

namespace mc::tool {
namespace {

constexpr const char* kCommands =
    "/exit (or Ctrl-D) leaves, /reset begins anew, /system TEXT begins anew with that system message, // "
    "begins a message with a slash";

class Talk {
 public:
  Talk(const Args& args, const Engine& engine, Chat chat, std::string system)
      : args_(args),
        engine_(engine),
        chat_(std::move(chat)),
        system_(std::move(system)),
        typed_(LineReader::at_terminal() && args.format == Format::Text) {
    chat_.reset(system_);
  }

  int run() {
    if (typed_) note(cat("[", engine_.str(), "; ", kCommands, "; Ctrl-C stops an answer]"));
    for (bool asked = false;;) {
      if (typed_) {
        write_out("> ");
        flush_out();
      }
      std::optional<std::string> line;
      try {
        line = lines_.next();
      } catch (const Error& e) {
        // A second Ctrl-C in a row leaves.
        if (!typed_ || e.code() != ErrorCode::Interrupted || !stopped_by_ctrl_c() || asked) throw;
        forget_signal();
        asked = true;
        note("\n[Ctrl-C once more, Ctrl-D or /exit leaves]");
        continue;
      }
      asked = false;
      if (!line) break;
      if (line->find_first_not_of(" \t") == std::string::npos) continue;
      if (line->starts_with('/') && !line->starts_with("//")) {
        if (!command(*line)) break;
        continue;
      }
      answer(line->starts_with("//") ? line->substr(1) : *line);
    }
    if (typed_) write_out("\n");
    return kOk;
  }

 private:
  // False: leave.
  bool command(const std::string& line) {
    const std::string name = line.substr(0, line.find(' '));
    if (name == "/exit" || name == "/quit") return false;
    if (name == "/reset" || name == "/system") {
      if (name == "/system") system_ = line.size() > name.size() ? line.substr(name.size() + 1) : "";
      chat_.reset(system_);
      note(system_.empty() ? "[begun anew]" : "[begun anew, with the system message]");
      return true;
    }
    Error e(ErrorCode::Usage, cat("there is no command ", name), "mc chat", kCommands);
    if (!typed_) throw e;
    note(cat("[", e.message(), ": ", kCommands, "]"));
    return true;
  }

  void answer(const std::string& text) {
    const bool shown = args_.format == Format::Text;
    ChatTurn turn;
    try {
      turn = chat_.ask(text, [&](const GeneratedToken& token) {
        if (shown) {
          write_out(token.text);
          flush_out();
        }
        return !interrupted();
      });
    } catch (const Error& e) {
      // People go on after what a template or a full context refuses; and after a Ctrl-C before the first
      // token.
      const bool stopped = e.code() == ErrorCode::Interrupted && stopped_by_ctrl_c();
      if (!stopped &&
          (!typed_ || (e.code() != ErrorCode::BadTemplate && e.code() != ErrorCode::ContextTooLong)))
        throw;
      if (stopped) forget_signal();
      note(stopped ? "[interrupted before the first token; the message is forgotten]"
                   : cat("[", e.what(), "; ", e.next(), "]"));
      if (shown || !stopped) return;
      write(Value::object()
                .set("schema", "mc.chat/1")
                .set("turn", ++turns_)
                .set("text", "")
                .set("stop_reason", "interrupted"));
      return;
    }
    const GenerateResult& r = turn.answer;
    if (shown) write_out("\n");
    flush_out();
    const auto fresh = static_cast<int64_t>(r.prompt_ids.size()) - turn.reused;
    const double prefill = per_second(static_cast<double>(fresh), r.prefill_s),
                 decode = per_second(static_cast<double>(r.decoded), r.decode_s);
    note(cat("[prefill ", fresh, " tokens, ", turn.reused, " held already; first token after ",
             show_seconds(r.time_to_first_token_s), "; decode ", r.decoded, " tokens, ", show3(decode),
             " tokens/s; stopped by ", stop_reason_name(r.stop_reason), "]"));
    if (interrupted()) {
      if (!stopped_by_ctrl_c()) check_interrupt();
      forget_signal();
    }
    if (shown) return;
    Value v = Value::object();
    v.set("schema", "mc.chat/1").set("turn", ++turns_);
    engine_.describe(v);
    v.set("text", r.text)
        .set("ids", Value::list_of(r.ids))
        .set("stop_reason", stop_reason_name(r.stop_reason));
    v.set("prompt_tokens", r.prompt_ids.size()).set("reused_tokens", turn.reused);
    v.set("prefill_tokens_per_s", prefill).set("decode_tokens_per_s", decode);
    write(v);
  }

  void write(const Value& v) {
    if (args_.format == Format::Yaml) write_out("---\n");
    write_result(args_.format, v);
    flush_out();
  }

  const Args& args_;
  const Engine& engine_;
  Chat chat_;
  std::string system_;
  const bool typed_;
  LineReader lines_;
  int64_t turns_ = 0;
};

int run(const Args& args) {
  const std::string path = args.model();
  GenerateOptions o = sampling_from(args);
  if (!args.has("max-tokens")) o.max_tokens = 1024;
  Engine engine(args);
  const std::shared_ptr<Model> model = engine.load(path);
  o.edits = edits_from(args, *model, -1);
  Chat chat(model, template_from(args, *model), o, chat_from(args));
  return Talk(args, engine, std::move(chat), args.text("system")).run();
}

}  // namespace

Command chat_command() {
  std::vector<Option> options = {
      {"system", Kind::Text, "TEXT", "the system message"},
      {"special", Kind::Flag, "", "read control tokens such as <|im_end|> in messages as such"}};
  for (const std::vector<Option>& more : {sampling_options(), chat_options()})
    options.insert(options.end(), more.begin(), more.end());
  options.push_back(kEdit);
  options.push_back(kEditsFile);
  static const std::string notes =
      cat("Each line of standard input is a message; the answer goes to stdout as it comes, a line about its "
          "speed to stderr. ",
          kCommands,
          ".\nCtrl-C stops an answer; where a message is waited for, a second one leaves. Earlier turns stay "
          "in the "
          "cache. As JSON an object a line.\n",
          kEditNotes);
  return {.name = "chat",
          .summary = "a conversation in the terminal, or of lines from a pipe",
          .groups = kModel | kEngine,
          .options = std::move(options),
          .notes = notes.c_str(),
          .examples =
              "  mc chat --model model.gguf --system \"You are brief.\" --temperature 0.7\n"
              "  printf 'Hello\\nAnd in French?\\n' | mc chat -m model.gguf --output json\n",
          .run = run};
}
}  // namespace mc::tool
