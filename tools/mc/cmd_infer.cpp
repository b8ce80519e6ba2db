#include <chrono>

#include "commands.h"
#include "edits.h"
#include "engine.h"
#include "format.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/generate.h"
#include "mc/interrupt.h"
#include "mc/system.h"
#include "signals.h"

namespace mc::tool {
namespace {

GenerateOptions options_from(const Args& args) {
  GenerateOptions o;
  o.max_tokens = args.integer("max-tokens", 128);
  o.sampling.temperature = args.real("temperature", 0);
  o.sampling.top_k = args.integer("top-k", 0);
  o.sampling.top_p = args.real("top-p", 1);
  if (o.sampling.top_p == 0) usage_error("needs a number above 0 and at most 1, got 0", "--top-p");
  o.sampling.min_p = args.real("min-p", 0);
  o.sampling.repetition_penalty = args.real("repetition-penalty", 1);
  o.sampling.seed = static_cast<uint64_t>(args.integer("seed", 0));
  o.stop = args.all("stop");
  o.logprobs = args.has("logprobs");
  o.ignore_eos = args.has("ignore-eos");
  o.chunk = args.integer("chunk", o.chunk);
  for (const char* name : {"top-k", "top-p", "min-p"})
    if (args.has(name) && o.sampling.temperature == 0)
      usage_error("has no effect at temperature 0, which always takes the most probable token",
                  cat("--", name), "add --temperature 0.8");
  for (const std::string& s : o.stop)
    if (s.empty()) usage_error("an empty string would stop at once", "--stop");
  return o;
}

double per_second(double n, double seconds) { return seconds > 0 ? n / seconds : 0; }

std::string token_line(const Tokenizer& tokenizer, int32_t id, std::optional<double> logprob) {
  return cat(id, "\t", logprob ? Value(*logprob).json() : "", "\t", Value(tokenizer.token_text(id)).json(),
             "\n");
}

int run(const Args& args) {
  const std::string path = args.model();
  if (args.has("timings") && args.format == Format::Text)
    usage_error("goes with --output json or yaml; text shows the times anyway", "--timings");
  GenerateOptions options = options_from(args);
  const std::string prompt = text_or_file(args, "prompt", "prompt-file");
  const bool text = args.format == Format::Text;
  Engine engine(args);
  const auto begin = std::chrono::steady_clock::now();
  const std::shared_ptr<Model> model = engine.load(path);
  const double load_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const Tokenizer& tokenizer = model->tokenizer();
  const std::vector<int32_t> ids = tokenizer.encode(prompt, {.parse_special = args.has("special")});
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
  constexpr double kBig = 1e9;
  static const std::string notes = cat(
      "The text goes to stdout as it comes; one line about speed and memory goes to stderr.\n", kEditNotes);
  return {
      .name = "infer",
      .summary = "generate text, token by token",
      .groups = kModel | kEngine,
      .options =
          {{"prompt", Kind::Text, "TEXT", "what to continue", 0, 0, false, 'p'},
           {"prompt-file", Kind::Text, "FILE", "the same from a file; - is standard input"},
           {"max-tokens", Kind::Integer, "N", "stop after so many tokens (default 128)", 0, kBig},
           {"temperature", Kind::Real, "X",
            "0 takes the most probable token (default), 1 samples the model's distribution", 0, 100},
           {"top-k", Kind::Integer, "N", "sample from the N most probable tokens only (0: all)", 0, kBig},
           {"top-p", Kind::Real, "X", "sample from the most probable tokens up to this mass (1: all)", 0, 1},
           {"min-p", Kind::Real, "X", "drop tokens less probable than this share of the best (0: none)", 0,
            1},
           {"repetition-penalty", Kind::Real, "X",
            "above 1: tokens seen before become less probable (1: off)", 1e-3, 1e3},
           {"stop", Kind::Text, "TEXT", "end before this text", 0, 0, true},
           {"logprobs", Kind::Flag, "", "tell each token's natural log probability"},
           {"special", Kind::Flag, "", "read special tokens such as <|im_start|> in the prompt as such"},
           {"ignore-eos", Kind::Flag, "", "go on after the end-of-text token"},
           {"chunk", Kind::Integer, "N",
            "prompt tokens in one pass; never changes the result (default 512, and no pass takes more)", 1,
            1 << 20},
           {"timings", Kind::Flag, "", "json, yaml: put the measured times into the result"},
           kEdit,
           kEditsFile},
      .notes = notes.c_str(),
      .examples =
          "  mc infer --model model.gguf --prompt \"The capital of France is\" --max-tokens 20\n"
          "  mc infer -m model.gguf -p \"Once upon a time\" --temperature 0.8 --top-p 0.95 --seed 7\n"
          "  mc infer -m model.gguf -p \"1, 2, 3,\" --stop \"10\" --logprobs --output json\n"
          "  mc infer -m model.gguf -p \"I feel\" --edit \"add resid_post.12 steer.npy factor=8\"\n",
      .run = run};
}
}  // namespace mc::tool
