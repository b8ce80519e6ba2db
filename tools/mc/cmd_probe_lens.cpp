// What a model predicts: entropy and KL by token, and the logit lens by layer.
#include <algorithm>
#include <cmath>

#include "commands.h"
#include "edits.h"
#include "engine.h"
#include "format.h"
#include "jsonl.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/interrupt.h"
#include "mc/lens.h"
#include "measure.h"
#include "progress.h"

namespace mc::tool {
namespace {

std::vector<std::vector<int32_t>> ids_of(const Args& args, const Tokenizer& tokenizer) {
  const bool many = args.has("file") && is_json_lines(args.text("file")) && !args.has("text");
  const std::vector<std::string> texts =
      many ? read_texts(args.text("file")) : std::vector{text_or_file(args, "text", "file")};
  std::vector<std::vector<int32_t>> out;
  for (const std::string& t : texts) {
    out.push_back(tokenizer.encode(t, {.parse_special = args.has("special")}));
    if (out.back().empty())
      throw Error(ErrorCode::InvalidArgument,
                  many ? cat("text ", out.size(), " has no tokens") : "the text has no tokens",
                  args.has("text") ? "--text" : args.text("file"), "give at least one character");
  }
  return out;
}

struct Mean {
  double sum = 0, squares = 0;
  int64_t n = 0;
  void add(double v) {
    sum += v;
    squares += v * v;
    ++n;
  }
  double value() const { return sum / static_cast<double>(n); }
  // Of the mean, tokens taken as independent.
  double error() const {
    if (n < 2) return NAN;
    const double m = value();
    return std::sqrt(std::max(0.0, squares / static_cast<double>(n) - m * m) / static_cast<double>(n - 1));
  }
};
Value value_of(const Mean& m) {
  return Value::object()
      .set("mean", number_or_null(m.value()))
      .set("standard_error", number_or_null(m.error()));
}
Value value_of(const Prediction& p, const Tokenizer& t) {
  return Value::object().set("id", p.top).set("text", t.token_text(p.top)).set("logprob", p.top_logprob);
}
std::string piece(const Tokenizer& t, int32_t id) { return Value(t.token_text(id)).json(); }

int run_entropy(const Args& args) {
  const std::string path = args.model();
  const bool edited = args.has("edit") || args.has("edits"), other = args.has("against");
  Engine engine(args);
  const std::shared_ptr<Model> a = engine.load(path), b = other ? engine.load(args.text("against")) : a;
  const Tokenizer& t = a->tokenizer();
  const std::vector<std::vector<int32_t>> texts = ids_of(args, t);
  const std::vector<Edit> edits =
      edits_from(args, *b, texts.size() == 1 ? static_cast<int64_t>(texts[0].size()) : -1);
  Mean entropy, entropy_b, kl, reverse;
  int64_t agreed = 0, tokens = 0;
  Value results = Value::list();
  std::vector<std::vector<std::string>> rows{{"token", "entropy", "most probable", "p"}};
  if (other || edited)
    for (const char* h : {"entropy there", "most probable there", "KL", "KL back"}) rows[0].push_back(h);
  Progress progress("texts", static_cast<int64_t>(texts.size()));
  for (const std::vector<int32_t>& ids : texts) {
    std::vector<Divergence> list;
    if (other || edited)
      list = divergences(a, {}, b, edits, ids);
    else
      for (const Prediction& p : predictions(a, ids)) list.push_back({p, p, 0, 0});
    Value one = Value::list();
    for (size_t i = 0; i < list.size(); ++i) {
      const Divergence& d = list[i];
      entropy.add(d.a.entropy);
      entropy_b.add(d.b.entropy);
      kl.add(d.kl);
      reverse.add(d.reverse);
      agreed += d.a.top == d.b.top;
      ++tokens;
      if (args.format == Format::Text) {
        rows.push_back({piece(t, ids[i]), show_number(d.a.entropy), piece(t, d.a.top),
                        show_number(std::exp(d.a.top_logprob))});
        if (other || edited) {
          rows.back().push_back(show_number(d.b.entropy));
          rows.back().push_back(piece(t, d.b.top));
          rows.back().push_back(show_number(d.kl, 4));
          rows.back().push_back(show_number(d.reverse, 4));
        }
        continue;
      }
      Value v = Value::object();
      v.set("id", ids[i])
          .set("text", t.token_text(ids[i]))
          .set("entropy", d.a.entropy)
          .set("top", value_of(d.a, t));
      if (other || edited)
        v.set("other_entropy", d.b.entropy)
            .set("other_top", value_of(d.b, t))
            .set("kl", d.kl)
            .set("kl_reverse", d.reverse);
      one.push(std::move(v));
    }
    results.push(Value::object().set("tokens", std::move(one)));
    progress.update(static_cast<int64_t>(&ids - texts.data()) + 1);
  }
  const double share = static_cast<double>(agreed) / static_cast<double>(tokens);
  if (args.format == Format::Text) {
    if (texts.size() == 1) write_out(table_of(rows));
    write_out(cat("entropy of the next token ", show_number(entropy.value()), " ± ",
                  show_number(entropy.error()), " nats, ", show_count(tokens), " tokens\n"));
    if (other || edited)
      write_out(cat(other ? "against " : "with the edits ", other ? args.text("against") : "",
                    other ? ": " : "", "entropy ", show_number(entropy_b.value()), ", KL ",
                    show_number(kl.value(), 5), " ± ", show_number(kl.error(), 5), ", back ",
                    show_number(reverse.value(), 5), ", the same top token for ", show_number(100 * share, 1),
                    " %\n"));
    return kOk;
  }
  Value v = Value::object();
  v.set("schema", "mc.entropy/1");
  engine.describe(v);
  describe_edits(v, edits);
  v.set("tokens", tokens).set("entropy", value_of(entropy));
  if (other || edited)
    v.set("other_entropy", value_of(entropy_b))
        .set("kl", value_of(kl))
        .set("kl_reverse", value_of(reverse))
        .set("top1_agreement", share);
  write_result(args.format, v.set("results", std::move(results)));
  return kOk;
}

int run_lens(const Args& args) {
  const std::string path = args.model();
  Engine engine(args);
  const std::shared_ptr<Model> model = engine.load(path);
  const Tokenizer& t = model->tokenizer();
  const std::vector<std::vector<int32_t>> texts = ids_of(args, t);
  if (texts.size() != 1)
    usage_error("looks at one text", "mc probe lens", "score many with `mc probe entropy`");
  const std::vector<int32_t>& ids = texts[0];
  const std::vector<int> layers = layers_from(args, "all", model->config().layers);
  const std::vector<Edit> edits = edits_from(args, *model, static_cast<int64_t>(ids.size()));
  const auto cells = logit_lens(model, ids, layers, edits);
  if (args.has("svg")) {
    HeatMap map{"Logit lens: probability of each layer's most probable next token",
                cat(ids.size(), " tokens"),
                "probability",
                {},
                {},
                {},
                0,
                1};
    for (int32_t id : ids) map.columns.push_back(show_text(t.token_text(id)));
    for (size_t l = layers.size(); l-- > 0;) {
      map.rows.push_back(cat(layers[l]));
      for (const LensCell& c : cells[l]) map.values.push_back(std::exp(c.prediction.top_logprob));
    }
    write_svg(args, svg_of(map));
  }
  if (args.format == Format::Text) {
    std::vector<std::vector<std::string>> rows{{"layer"}};
    // As many of the last tokens as a terminal shows.
    const size_t shown = std::min<size_t>(ids.size(), 8), first = ids.size() - shown;
    for (size_t i = first; i < ids.size(); ++i) rows[0].push_back(piece(t, ids[i]));
    rows[0].push_back("mean KL");
    for (size_t l = 0; l < layers.size(); ++l) {
      rows.push_back({cat(layers[l])});
      double sum = 0;
      for (const LensCell& c : cells[l]) sum += c.kl / static_cast<double>(cells[l].size());
      for (size_t i = first; i < ids.size(); ++i)
        rows.back().push_back(cat(piece(t, cells[l][i].prediction.top), " ",
                                  show_number(std::exp(cells[l][i].prediction.top_logprob), 2)));
      rows.back().push_back(show_number(sum));
    }
    write_out(table_of(rows));
    return kOk;
  }
  Value list = Value::list();
  for (size_t l = 0; l < layers.size(); ++l) {
    Value tokens = Value::list();
    for (const LensCell& c : cells[l])
      tokens.push(Value::object()
                      .set("top", value_of(c.prediction, t))
                      .set("entropy", c.prediction.entropy)
                      .set("kl", c.kl)
                      .set("final_logprob", c.final_logprob));
    list.push(Value::object().set("layer", layers[l]).set("tokens", std::move(tokens)));
  }
  Value v = Value::object();
  v.set("schema", "mc.lens/1");
  engine.describe(v);
  describe_edits(v, edits);
  Value words = Value::list();
  for (int32_t id : ids) words.push(Value::object().set("id", id).set("text", t.token_text(id)));
  write_result(
      args.format,
      v.set("source", "nostalgebraist 2020").set("tokens", std::move(words)).set("layers", std::move(list)));
  return kOk;
}

const Option kText = {"text", Kind::Text, "TEXT", "the text"};
const Option kFile = {"file", Kind::Text, "FILE", "the same from a file (- is standard input)"};
const Option kSpecial = {"special", Kind::Flag, "", "read special tokens in the text as such"};

}  // namespace

Command probe_entropy_command() {
  return {.name = "probe entropy",
          .summary = "entropy of each next token; KL to another model, or to this one with edits",
          .groups = kModel | kEngine,
          .options = {kText,
                      {"file", Kind::Text, "FILE",
                       "the same from a file; FILE.jsonl: one text a line, {\"text\": \"…\"}"},
                      {"against", Kind::Text, "MODEL", "compare with this model, of the same vocabulary"},
                      kEdit,
                      kEditsFile,
                      kSpecial},
          .notes = kEditNotes,
          .examples =
              "  mc probe entropy -m base.gguf --against tuned.gguf --file texts.jsonl --output json\n"
              "  mc probe entropy -m model.gguf --text \"The capital of France is\" --edit \"scale heads.5 "
              "factor=0 heads=1\"\n",
          .run = run_entropy};
}

Command probe_lens_command() {
  return {.name = "probe lens",
          .summary = "what each layer would predict, through the model's last norm and head (logit lens)",
          .groups = kModel | kEngine,
          .options = {kText,
                      kFile,
                      {"layers", Kind::Text, "LIST", "layers: 0,6-9,-1 or all (default all)"},
                      kEdit,
                      kEditsFile,
                      kSpecial,
                      kSvg},
          .notes = kEditNotes,
          .examples = "  mc probe lens -m model.gguf --text \"The capital of France is\" --svg lens.svg\n",
          .run = run_lens};
}
}  // namespace mc::tool
