#include <algorithm>
#include <cmath>

#include "chat_options.h"
#include "commands.h"
#include "edits.h"
#include "engine.h"
#include "jsonl.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/generate.h"
#include "mc/interrupt.h"
#include "progress.h"

namespace mc::tool {
namespace {

struct Scored {
  std::vector<int32_t> ids;
  std::vector<double> logprobs;  // of all but the first
  std::optional<double> nll, perplexity;
};

void finish(Scored& s) {
  if (s.logprobs.empty()) return;
  double sum = 0;
  for (double p : s.logprobs) sum -= p;
  s.nll = sum / static_cast<double>(s.logprobs.size());
  s.perplexity = std::exp(*s.nll);
}

void print(const Tokenizer& tokenizer, const Scored& s) {
  for (size_t i = 0; i < s.ids.size(); ++i)
    write_out(cat(s.ids[i], "\t", i == 0 ? "-" : Value(s.logprobs[i - 1]).json(), "\t",
                  Value(tokenizer.token_text(s.ids[i])).json(), "\n"));
  if (s.nll)
    write_out(cat("nll ", Value(*s.nll).json(), " per token, perplexity ", Value(*s.perplexity).json(), ", ",
                  s.logprobs.size(), " tokens scored\n"));
}

void describe(Value& v, const Tokenizer& tokenizer, const Scored& s) {
  Value tokens = Value::list();
  for (size_t i = 0; i < s.ids.size(); ++i) {
    Value token = Value::object();
    token.set("id", s.ids[i])
        .set("text", tokenizer.token_text(s.ids[i]))
        .set("logprob", i == 0 ? Value() : Value(s.logprobs[i - 1]));
    tokens.push(std::move(token));
  }
  v.set("tokens", std::move(tokens)).set("nll", s.nll).set("perplexity", s.perplexity);
}

int run(const Args& args) {
  const std::string path = args.model();
  const bool talk = args.has("messages"), many = args.has("file") && is_json_lines(args.text("file"));
  if (talk && (args.has("text") || args.has("file")))
    usage_error("the messages are what is scored", "--messages", "leave --text and --file out");
  for (const char* name : {"system", "chat-template", "tools", "template-variables"})
    if (args.has(name) && !talk) usage_error("belongs to a conversation", cat("--", name), "add --messages");
  if (args.has("batch-size") && !many)
    usage_error("needs several texts: a --file of JSON lines whose name ends in .jsonl", "--batch-size");
  const std::vector<std::string> texts = talk ? std::vector{messages_from(args, {})}
                                         : many && !args.has("text")
                                             ? read_texts(args.text("file"))
                                             : std::vector{text_or_file(args, "text", "file")};
  const size_t batch = static_cast<size_t>(args.integer("batch-size", 4));
  Engine engine(args);
  const std::shared_ptr<Model> model = engine.load(path);
  const Tokenizer& tokenizer = model->tokenizer();
  ScoreOptions options;
  options.chunk = args.integer("chunk", options.chunk);

  std::vector<Scored> all;
  for (const std::string& text : texts) {
    Scored s;
    if (talk) {
      ChatOptions chat = chat_from(args);
      chat.add_generation_prompt = false;  // nothing is asked: the last answer is there
      s.ids = encode_chat(tokenizer, template_from(args, *model).render(text, chat));
    } else {
      s.ids = tokenizer.encode(text, {.parse_special = args.has("special")});
    }
    all.push_back(std::move(s));
    if (all.back().ids.empty())
      throw Error(ErrorCode::InvalidArgument,
                  many ? cat("text ", all.size(), " has no tokens") : "the text has no tokens",
                  talk               ? args.text("messages")
                  : args.has("text") ? "--text"
                                     : args.text("file"),
                  "give at least one character");
  }
  options.edits = edits_from(args, *model, many ? -1 : static_cast<int64_t>(all[0].ids.size()));
  size_t longest = 0;
  for (const Scored& s : all) longest = std::max(longest, s.ids.size());
  require_fired(options.edits, static_cast<int64_t>(longest));
  options.may_miss = true;  // shorter texts need not reach an edit's positions
  {
    Progress progress("texts", static_cast<int64_t>(all.size()));
    for (size_t at = 0; at < all.size(); at += batch) {
      std::vector<std::vector<int32_t>> rows;
      for (size_t i = at; i < std::min(at + batch, all.size()); ++i) rows.push_back(all[i].ids);
      const std::vector<std::vector<double>> logprobs = score(model, rows, options);
      for (size_t i = 0; i < rows.size(); ++i) {
        all[at + i].logprobs = logprobs[i];
        finish(all[at + i]);
      }
      check_interrupt();
      progress.update(static_cast<int64_t>(at + rows.size()));
    }
  }

  if (args.format == Format::Text) {
    for (const Scored& s : all) {
      if (&s != all.data()) write_out("\n");
      print(tokenizer, s);
    }
    return kOk;
  }
  Value v = Value::object();
  v.set("schema", "mc.score/1");
  engine.describe(v);
  describe_edits(v, options.edits);
  if (many) {
    Value results = Value::list();
    for (const Scored& s : all) {
      Value one = Value::object();
      describe(one, tokenizer, s);
      results.push(std::move(one));
    }
    v.set("results", std::move(results));
  } else {
    describe(v, tokenizer, all[0]);
  }
  write_result(args.format, v);
  return kOk;
}

}  // namespace

Command score_command() {
  static const std::string notes = cat(
      "Logarithms are natural. The first token has no log probability; nll is the mean of -logprob over the "
      "others,\n"
      "perplexity its exponential. A beginning-of-sequence token is added only where the model asks for it.\n"
      "For a .jsonl file the result holds a list \"results\", one entry a text.\n",
      kEditNotes);
  std::vector<Option> options = {
      {"text", Kind::Text, "TEXT", "what to score"},
      {"file", Kind::Text, "FILE",
       "the same from a file (- is standard input); FILE.jsonl: one text a line, {\"text\": \"…\"}"},
      {"messages", Kind::Text, "FILE",
       "a conversation, as the chat template writes it: a JSON list of messages or one a line; - is standard "
       "input"},
      {"system", Kind::Text, "TEXT", "messages: the system message"},
      {"batch-size", Kind::Integer, "N",
       "texts of a .jsonl file side by side; never changes the result (default 4)", 1, 4096},
      {"special", Kind::Flag, "",
       "read special tokens such as <|im_start|> in the text, or in messages, as such"},
      {"chunk", Kind::Integer, "N",
       "tokens in one pass; never changes the result (default 512, and no pass takes more)", 1, 1 << 20},
      kEdit,
      kEditsFile};
  const std::vector<Option> more = chat_options();
  options.insert(options.end() - 2, more.begin(), more.end());
  return {
      .name = "score",
      .summary = "log probability of every token of a text, and its perplexity",
      .groups = kModel | kEngine,
      .options = std::move(options),
      .notes = notes.c_str(),
      .examples =
          "  mc score --model model.gguf --text \"The capital of France is Paris.\"\n"
          "  mc score --model model.gguf --text \"The capital of France is Paris.\" --edit \"scale heads.5 "
          "factor=0 "
          "heads=1\"\n"
          "  mc score --model model.gguf --messages talk.json\n"
          "  mc score --model model.gguf --file essay.txt --output json --threads 2\n",
      .run = run};
}
}  // namespace mc::tool
