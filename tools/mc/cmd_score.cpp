#include <cmath>

#include "commands.h"
#include "engine.h"
#include "format.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/generate.h"
#include "mc/interrupt.h"

namespace mc::tool {
namespace {

int run(const Args& args) {
  const std::string text = text_or_file(args, "text", "file");
  Engine engine(args);
  const std::shared_ptr<Model> model = engine.load(args.model());
  const Tokenizer& tokenizer = model->tokenizer();
  const std::vector<int32_t> ids = tokenizer.encode(text, {.parse_special = args.has("special")});
  if (ids.empty()) throw Error(ErrorCode::InvalidArgument, "the text has no tokens", args.has("text") ? "--text" : "--file", "give at least one character");
  ScoreOptions options;
  options.chunk = args.integer("chunk", options.chunk);
  const std::vector<double> logprobs = score(model, {ids}, options)[0];
  check_interrupt();

  double sum = 0;
  for (double p : logprobs) sum -= p;
  std::optional<double> nll, perplexity;
  if (!logprobs.empty()) {
    nll = sum / static_cast<double>(logprobs.size());
    perplexity = std::exp(*nll);
  }
  if (args.format == Format::Text) {
    for (size_t i = 0; i < ids.size(); ++i)
      write_out(cat(ids[i], "\t", i == 0 ? "-" : Value(logprobs[i - 1]).json(), "\t", Value(tokenizer.token_text(ids[i])).json(), "\n"));
    if (nll) write_out(cat("nll ", Value(*nll).json(), " per token, perplexity ", Value(*perplexity).json(), ", ", logprobs.size(), " tokens scored\n"));
    return kOk;
  }
  Value v = Value::object(), tokens = Value::list();
  v.set("schema", "mc.score/1");
  engine.describe(v);
  for (size_t i = 0; i < ids.size(); ++i) {
    Value token = Value::object();
    token.set("id", ids[i]).set("text", tokenizer.token_text(ids[i])).set("logprob", i == 0 ? Value() : Value(logprobs[i - 1]));
    tokens.push(std::move(token));
  }
  write_result(args.format, v.set("tokens", std::move(tokens)).set("nll", nll).set("perplexity", perplexity));
  return kOk;
}

}  // namespace

Command score_command() {
  return {.name = "score",
          .summary = "log probability of every token of a text, and its perplexity",
          .groups = kModel | kEngine,
          .options = {{"text", Kind::Text, "TEXT", "what to score"},
                      {"file", Kind::Text, "FILE", "the same from a file; - is standard input"},
                      {"special", Kind::Flag, "", "read special tokens such as <|im_start|> in the text as such"},
                      {"chunk", Kind::Integer, "N", "tokens in one pass; never changes the result (default 512)", 1, 1 << 20}},
          .notes = "Logarithms are natural. The first token has no log probability; nll is the mean of -logprob over the others,\n"
                   "perplexity its exponential. A beginning-of-sequence token is added only where the model asks for it.\n",
          .examples = "  mc score --model model.gguf --text \"The capital of France is Paris.\"\n"
                      "  mc score --model model.gguf --file essay.txt --output json --threads 2\n",
          .run = run};
}
}  // namespace mc::tool
