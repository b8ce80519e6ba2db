#include <chrono>

#include "chat_options.h"
#include "commands.h"
#include "edits.h"
#include "engine.h"
#include "format.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/generate.h"
#include "mc/interrupt.h"
#include "mc/system.h"
#include "sampling.h"
#include "signals.h"

namespace mc::tool {
namespace {

GenerateOptions options_from(const Args& args) {
  GenerateOptions o = sampling_from(args);
  o.logprobs = args.has("logprobs");
  o.ignore_eos = args.has("ignore-eos");
  return o;
}

// Whether the prompt is what a user says in a conversation.
bool is_chat(const Args& args) {
  const bool chat = args.has("chat") || args.has("system") || args.has("messages");
  for (const char* name : {"chat-template", "tools", "template-variables"})
    if (args.has(name) && !chat) usage_error("belongs to a conversation", cat("--", name), "add --chat");
  if (args.has("messages") && (args.has("prompt") || args.has("prompt-file")))
    usage_error("the messages are the whole prompt", "--messages", "leave --prompt out");
  return chat;
}

std::string token_line(const Tokenizer& tokenizer, int32_t id, std::optional<double> logprob) {
  return cat(id, "\t", logprob ? Value(*logprob).json() : "", "\t", Value(tokenizer.token_text(id)).json(),
             "\n");
}

int run(const Args& args) {
  const std::string path = args.model();
  if (args.has("timings") && args.format == Format::Text)
    usage_error("goes with --output json or yaml; text shows the times anyway", "--timings");
  GenerateOptions options = options_from(args);
  const bool chat = is_chat(args);
  std::string prompt = args.has("messages") ? "" : text_or_file(args, "prompt", "prompt-file");
  const std::string messages = chat ? messages_from(args, prompt) : "";
  const bool text = args.format == Format::Text;
  Engine engine(args);
  const auto begin = std::chrono::steady_clock::now();
  const std::shared_ptr<Model> model = engine.load(path);
  const double load_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const Tokenizer& tokenizer = model->tokenizer();
  std::vector<int32_t> ids;
  if (chat) {
    ChatText told = template_from(args, *model).render(messages, chat_from(args));
    ids = encode_chat(tokenizer, told);
    prompt = std::move(told.text);
  } else {
    ids = tokenizer.encode(prompt, {.parse_special = args.has("special")});
  }
  options.edits = edits_from(args, *model, static_cast<int64_t>(ids.size()));
  check_interrupt();

  const GenerateResult r = generate(model, ids, options, [&](const GeneratedToken& token) {
    if (text) {
      if (options.logprobs && !token.rest) write_out(token_line(tokenizer, token.id, token.logprob));
      if (!options.logprobs) write_out(token.text);
      flush_out();  // people read along
    }
    return !interrupted();
  });
  if (text && !options.logprobs) write_out("\n");
  flush_out();
  const double prefill = per_second(static_cast<double>(ids.size()), r.prefill_s),
               decode = per_second(static_cast<double>(r.decoded), r.decode_s);
  std::string speed;
  if (!r.ids.empty())
    speed = cat("first token after ", show_seconds(r.time_to_first_token_s), "; prefill ", ids.size(),
                " tokens, ", show3(prefill), " tokens/s; decode ", r.decoded, " tokens, ", show3(decode),
                " tokens/s; ");
  note(cat("[", engine.str(), "; loaded in ", show_seconds(load_s), "; ", speed, "peak memory ",
           show_bytes(static_cast<double>(peak_rss_bytes())), "; stopped by ",
           stop_reason_name(r.stop_reason), "]"));
  if (text) {
    check_interrupt();
    return kOk;
  }

  Value v = Value::object(), tokens = Value::list();
  v.set("schema", "mc.infer/1");
  engine.describe(v);
  describe_edits(v, options.edits);
  for (size_t i = 0; i < r.ids.size(); ++i) {
    Value token = Value::object();
    token.set("id", r.ids[i]).set("text", tokenizer.token_text(r.ids[i]));
    if (options.logprobs) token.set("logprob", r.logprobs[i]);
    tokens.push(std::move(token));
  }
  v.set("seed", args.integer("seed", 0))
      .set("prompt", prompt)
      .set("prompt_ids", Value::list_of(r.prompt_ids))
      .set("text", r.text);
  v.set("ids", Value::list_of(r.ids))
      .set("tokens", std::move(tokens))
      .set("stop_reason", stop_reason_name(r.stop_reason));
  if (args.has("timings")) {
    Value t = Value::object();
    t.set("load_ms", load_s * 1e3).set("time_to_first_token_ms", r.time_to_first_token_s * 1e3);
    t.set("prefill_tokens", ids.size())
        .set("prefill_tokens_per_s", prefill)
        .set("decode_tokens", r.decoded)
        .set("decode_tokens_per_s", decode);
    v.set("timings", t.set("peak_rss_bytes", peak_rss_bytes()));
  }
  write_result(args.format, v);  // after Ctrl-C: what there is, "stop_reason": "interrupted"
  return interrupted() ? interrupt_exit_code() : kOk;
}

}  // namespace

Command infer_command() {
  static const std::string notes = cat(
      "The text goes to stdout as it comes; one line about speed and memory goes to stderr.\n", kEditNotes);
  std::vector<Option> options = {
      {"prompt", Kind::Text, "TEXT", "what to continue", 0, 0, false, 'p'},
      {"prompt-file", Kind::Text, "FILE", "the same from a file; - is standard input"},
      {"chat", Kind::Flag, "", "the prompt is what a user says: the model's chat template is put around it"},
      {"system", Kind::Text, "TEXT", "the system message; it makes a chat of it, as --chat does"},
      {"messages", Kind::Text, "FILE",
       "chat: the whole conversation, a JSON list of messages or one a line; - is standard input"},
      {"logprobs", Kind::Flag, "", "tell each token's natural log probability"},
      {"special", Kind::Flag, "",
       "read control tokens such as <|im_start|> in the prompt, or in messages, as such"},
      {"ignore-eos", Kind::Flag, "", "go on after the end-of-text token"},
      {"timings", Kind::Flag, "", "json, yaml: put the measured times into the result"},
      kEdit,
      kEditsFile};
  for (const std::vector<Option>& more : {sampling_options(), chat_options()})
    options.insert(options.end(), more.begin(), more.end());
  return {.name = "infer",
          .summary = "generate text, token by token",
          .groups = kModel | kEngine,
          .options = std::move(options),
          .notes = notes.c_str(),
          .examples =
              "  mc infer --model model.gguf --prompt \"The capital of France is\" --max-tokens 20\n"
              "  mc infer -m model.gguf -p \"Once upon a time\" --temperature 0.8 --top-p 0.95 --seed 7\n"
              "  mc infer -m model.gguf -p \"1, 2, 3,\" --stop \"10\" --logprobs --output json\n"
              "  mc infer -m model.gguf --chat --system \"Be brief.\" -p \"What is a tensor?\"\n"
              "  mc infer -m model.gguf -p \"I feel\" --edit \"add resid_post.12 steer.npy factor=8\"\n",
          .run = run};
}
}  // namespace mc::tool
