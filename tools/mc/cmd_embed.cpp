#include <algorithm>

#include "commands.h"
#include "engine.h"
#include "jsonl.h"
#include "mc/detail/str.h"
#include "mc/embed.h"
#include "mc/error.h"
#include "mc/interrupt.h"
#include "progress.h"

namespace mc::tool {
namespace {

int run(const Args& args) {
  const std::string path = args.model();
  const bool many = args.has("file") && is_json_lines(args.text("file"));
  const std::vector<std::string> texts = many && !args.has("text")
                                             ? read_texts(args.text("file"))
                                             : std::vector{text_or_file(args, "text", "file")};
  EmbedOptions o;
  o.batch_size = args.integer("batch-size", o.batch_size);
  o.normalize = args.has("normalize");
  if (args.has("pooling")) o.pool = parse_embed_pool(args.text("pooling"));
  Engine engine(args);
  const std::shared_ptr<Model> model = engine.load(path);
  if (!o.pool) o.pool = default_embed_pool(*model);

  Value results = Value::list();
  {
    Progress progress("texts", static_cast<int64_t>(texts.size()));
    const size_t batch = static_cast<size_t>(o.batch_size);
    for (size_t at = 0; at < texts.size(); at += batch) {
      check_interrupt();
      const auto first = texts.begin() + static_cast<std::ptrdiff_t>(at);
      const std::vector<std::string> part(
          first, first + static_cast<std::ptrdiff_t>(std::min(batch, texts.size() - at)));
      const std::vector<std::vector<float>> vectors = embed(model, part, o);
      for (size_t i = 0; i < vectors.size(); ++i) {
        if (args.format == Format::Text) {
          std::string line;
          for (float x : vectors[i])
            line += cat(line.empty() ? "" : " ", Value(static_cast<double>(x)).json());
          write_out(line + "\n");
          continue;
        }
        std::vector<double> numbers(vectors[i].begin(), vectors[i].end());
        Value one = Value::object();
        one.set("ids", Value::list_of(embed_ids(*model, part[i]))).set("vector", Value::list_of(numbers));
        results.push(std::move(one));
      }
      progress.update(static_cast<int64_t>(at + part.size()));
    }
  }
  if (args.format == Format::Text) return kOk;
  Value v = Value::object();
  v.set("schema", "mc.embed/1");
  engine.describe(v);
  v.set("pool", embed_pool_name(*o.pool)).set("normalized", o.normalize).set("width", model->config().hidden);
  write_result(args.format, v.set("results", std::move(results)));
  return kOk;
}

}  // namespace

Command embed_command() {
  return {
      .name = "embed",
      .summary = "one vector for each text: what sentence encoders are for",
      .groups = kModel | kEngine,
      .options =
          {{"text", Kind::Text, "TEXT", "what to embed"},
           {"file", Kind::Text, "FILE",
            "the same from a file (- is standard input); FILE.jsonl: one text a line, {\"text\": \"…\"}"},
           {"pooling", Kind::Choice, "mean|first|last",
            "over a text's tokens (default: as the model's files say, else the mean)"},
           {"normalize", Kind::Flag, "", "scale vectors to length 1: their products are cosines"},
           {"batch-size", Kind::Integer, "N", "texts side by side; never changes the result (default 8)", 1,
            4096}},
      .notes =
          "As text, a vector a line, its numbers apart by spaces. Of a decoder, the states behind the final "
          "norm are pooled. Nothing is truncated.\n",
      .examples =
          "  mc embed --model all-MiniLM-L6-v2 --text \"A sentence.\" --normalize\n"
          "  mc embed --model all-MiniLM-L6-v2 --file texts.jsonl --output json\n",
      .run = run};
}
}  // namespace mc::tool
