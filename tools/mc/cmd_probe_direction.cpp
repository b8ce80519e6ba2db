// The direction between two classes of prompts, and whether it causes anything.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "commands.h"
#include "engine.h"
#include "format.h"
#include "jsonl.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/lens.h"
#include "mc/safetensors.h"
#include "mc/sites.h"
#include "measure.h"
#include "progress.h"

namespace mc::tool {
namespace {

constexpr const char* kWhere = "at resid_post.all (directions of other sites: at their own)";

double mean_of(const std::vector<double>& v) {
  return v.empty() ? NAN : std::accumulate(v.begin(), v.end(), 0.0) / static_cast<double>(v.size());
}

// Where a direction is taken out: of the residual stream in every block, else where it was found.
std::vector<Site> sites_for(const std::string& name, const Model& model) {
  const std::vector<Site> own = parse_sites(name, model.config().layers);
  const SiteKind kind = own.at(0).kind;
  if (kind == SiteKind::Embed || kind == SiteKind::ResidPre || kind == SiteKind::ResidPost)
    return parse_sites("resid_post.all", model.config().layers);
  return own;
}

// The other class's samples of the same name; the only ones where both have one set.
size_t partner_of(const SampleSet& positive, size_t i, const SampleSet& negative) {
  for (size_t j = 0; j < negative.size(); ++j)
    if (negative.name(j) == positive.name(i)) return j;
  if (positive.size() != 1 || negative.size() != 1)
    usage_error(cat("has no ", positive.name(i)), "--against", "capture the same sites of both classes");
  return 0;
}

// --check: one for each direction; nothing without it.
std::vector<std::optional<AblationCheck>> checked(const Args& args, const Engine& engine,
                                                  const SampleSet& positive, const SampleSet& negative,
                                                  const std::vector<DirectionResult>& all,
                                                  const DirectionOptions& o) {
  std::vector<std::optional<AblationCheck>> out(all.size());
  if (!args.has("check")) return out;
  const std::shared_ptr<Model> model = engine.load(args.text("model"));
  std::vector<std::vector<int32_t>> texts;
  for (const std::string& t : read_texts(args.text("check"))) {
    texts.push_back(model->tokenizer().encode(t));
    if (texts.back().empty())
      throw Error(ErrorCode::InvalidArgument, cat("text ", texts.size(), " has no tokens"),
                  args.text("check"));
  }
  Progress progress("directions", static_cast<int64_t>(all.size()));
  for (size_t i = 0; i < all.size(); ++i) {
    Arrays controls;
    for (const std::vector<float>& u : shuffled_directions(
             positive, i, negative, partner_of(positive, i, negative), args.integer("controls", 9), o.seed))
      controls.emplace_back(u, Shape{all[i].width});
    out[i] = check_by_ablation(model, texts, sites_for(all[i].name, *model),
                               Array(all[i].direction, {all[i].width}), controls);
    progress.update(static_cast<int64_t>(i) + 1);
  }
  return out;
}

Value told_of(const std::optional<AblationCheck>& c) {
  if (!c) return {};
  Value v = Value::object();
  return v.set("estimator", cat("mean KL(model || model without the direction), taken out ", kWhere))
      .set("source", "Arditi et al. 2024")
      .set("texts", c->texts)
      .set("tokens", c->tokens)
      .set("kl", c->kl)
      .set("standard_error", number_or_null(c->error))
      .set("top1_agreement", c->top1)
      .set("controls", Value::list_of(c->controls))
      .set("p_value", c->controls.empty() ? Value() : Value(c->p_value));
}

int run_direction(const Args& args) {
  const Engine engine(args);
  if (!args.has("against"))
    usage_error("--against is needed: the samples of the other class", "mc probe direction");
  if (args.has("check") != args.has("model"))
    usage_error("--check and --model go together", "mc probe direction",
                "add --model FILE --check PROMPTS.jsonl");
  const SampleSet positive = samples_of(args), negative(against_of(args));
  DirectionOptions o;
  o.train = args.real("train", o.train);
  o.seed = static_cast<uint64_t>(args.integer("seed", 0));
  std::vector<DirectionResult> all;
  for (size_t i = 0; i < positive.size(); ++i) {
    all.push_back(mean_direction(positive, i, negative, partner_of(positive, i, negative), o));
  }
  const std::vector<std::optional<AblationCheck>> checks = checked(args, engine, positive, negative, all, o);
  if (args.has("out")) {
    SafetensorsWriter w;
    for (const DirectionResult& r : all)
      w.add(r.name, Dtype::F32, {r.width}, std::as_bytes(std::span(r.direction)));
    w.write(args.text("out"));
  }
  if (args.has("svg")) {
    std::vector<std::string> names;
    Curves::Line line{"accuracy", {}, {}}, auc{"AUC", {}, {}};
    for (const DirectionResult& r : all) {
      names.push_back(r.name);
      line.y.push_back(r.accuracy);
      line.band.push_back(r.accuracy_interval);
      auc.y.push_back(r.auc);
    }
    write_svg(args,
              svg_of(Curves{"Difference of means: held-out accuracy",
                            cat(all[0].test_positive, " and ", all[0].test_negative, " samples held out"),
                            "site",
                            "share",
                            short_names(names),
                            {line, auc}}));
  }
  if (args.format == Format::Text) {
    std::vector<std::vector<std::string>> rows{{"", "accuracy", "95 %", "AUC", "norm"}};
    const bool causal = args.has("check");
    if (causal)
      for (const char* h : {"KL without it", "controls", "largest", "p"}) rows[0].push_back(h);
    for (size_t i = 0; i < all.size(); ++i) {
      const DirectionResult& r = all[i];
      rows.push_back({r.name, show_number(r.accuracy), show_interval(r.accuracy_interval), show_number(r.auc),
                      show3(r.norm)});
      if (!causal) continue;
      const AblationCheck& k = *checks[i];
      rows.back().push_back(
          cat(show_number(k.kl, 4), std::isfinite(k.error) ? cat(" ± ", show_number(k.error, 4)) : ""));
      rows.back().push_back(show_number(mean_of(k.controls), 4));
      rows.back().push_back(
          k.controls.empty() ? "-" : show_number(*std::max_element(k.controls.begin(), k.controls.end()), 4));
      rows.back().push_back(k.controls.empty() ? "-" : show_number(k.p_value, 3));
    }
    write_out(cat("difference of means, ", all[0].train_positive, "+", all[0].train_negative,
                  " samples train, ", all[0].test_positive, "+", all[0].test_negative, " are held out\n",
                  table_of(rows)));
    if (causal)
      write_out(cat("KL of the next token in nats, the direction taken out ", kWhere, ", over ",
                    show_count(checks[0]->tokens), " tokens of ", show_count(checks[0]->texts),
                    " texts;\ncontrols: ", checks[0]->controls.size(),
                    " directions of the same samples, classes shuffled\n"));
    if (args.has("out") && !causal)
      write_out(cat("see whether it causes anything: --edit \"project-out resid_post.all ", args.text("out"),
                    "#", all[0].name, "\"\n"));
    return kOk;
  }
  Value list = Value::list();
  for (size_t i = 0; i < all.size(); ++i) {
    const DirectionResult& r = all[i];
    list.push(Value::object()
                  .set("name", r.name)
                  .set("width", r.width)
                  .set("norm", r.norm)
                  .set("threshold", r.threshold)
                  .set("accuracy", r.accuracy)
                  .set("accuracy_interval", value_of(std::optional(r.accuracy_interval)))
                  .set("auc", r.auc)
                  .set("train", r.train_positive + r.train_negative)
                  .set("held_out", r.test_positive + r.test_negative)
                  .set("ablation", told_of(checks[i])));
  }
  Value v = Value::object();
  write_result(args.format,
               v.set("schema", "mc.direction/1")
                   .set("estimator", "difference of means, threshold halfway; interval of Wilson 1927")
                   .set("source", "Marks & Tegmark 2023; Arditi et al. 2024")
                   .set("results", std::move(list)));
  return kOk;
}

}  // namespace

Command probe_direction_command() {
  return {.name = "probe direction",
          .summary = "the direction between two classes of prompts, tested on prompts held out",
          .groups = kEngine,
          .options = {kAgainst,
                      {"train", Kind::Real, "X", "share of each class that makes the direction (default 0.5)",
                       0.001, 0.999},
                      {"out", Kind::Text, "FILE", "write the directions as safetensors, for --edit"},
                      {"check", Kind::Text, "FILE",
                       "causal check: what the model (--model) predicts on these texts, lines like "
                       "{\"text\": \"…\"}, without the direction"},
                      {"model", Kind::Text, "FILE", "the model of --check", 0, 0, false, 'm'},
                      {"controls", Kind::Integer, "N",
                       "directions of shuffled classes to compare with (default 9; p is at least 1/(N+1))", 0,
                       10000},
                      kOnly,
                      kSvg},
          .notes = kSourceNotes,
          .examples =
              "  mc probe direction harmful --against harmless --out directions.safetensors\n"
              "  mc probe direction harmful --against harmless --sites resid_post.12 -m model.gguf --check "
              "prompts.jsonl\n"
              "  mc infer -m model.gguf --prompt \"…\" --edit \"project-out resid_post.all "
              "directions.safetensors#resid_post.12\"\n",
          .run = run_direction,
          .words = kSources};
}
}  // namespace mc::tool
