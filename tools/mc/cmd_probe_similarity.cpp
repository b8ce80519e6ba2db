// Similarity of representations: CKA, mutual neighbours, Procrustes distance.
#include <algorithm>
#include <cmath>

#include "commands.h"
#include "engine.h"
#include "format.h"
#include "mc/detail/str.h"
#include "measure.h"

namespace mc::tool {
namespace {

// The matrix as a table, or, where it is too wide for a terminal, each row's neighbours in it.
std::string grid(const std::vector<std::string>& left, const std::vector<std::string>& right,
                 const std::vector<double>& values) {
  std::vector<std::vector<std::string>> rows(1, {""});
  for (const std::string& n : right) rows[0].push_back(n);
  for (size_t i = 0; i < left.size(); ++i) {
    rows.push_back({left[i]});
    for (size_t j = 0; j < right.size(); ++j)
      rows.back().push_back(show_number(values[i * right.size() + j]));
  }
  return table_of(rows);
}

constexpr const char* kJackknife = "delete-one jackknife over samples (Efron & Stein 1981)";

std::optional<Interval> shown(const Interval& i) {
  return std::isfinite(i.low) ? std::optional(i) : std::nullopt;
}

int run_cka(const Args& args) {
  const Engine engine(args);
  CkaOptions o;
  o.debiased = args.text("estimator", "debiased") == "debiased";
  o.rbf = args.text("kernel", "linear") == "rbf";
  o.bandwidth = args.real("bandwidth", 1);
  o.permutations = args.integer("permutations", 0);
  o.intervals = args.has("intervals");
  o.seed = static_cast<uint64_t>(args.integer("seed", 0));
  const SampleSet a = samples_of(args);
  std::optional<SampleSet> b;
  if (args.has("against")) b.emplace(against_of(args));
  const CkaResult r = cka(a, b ? &*b : nullptr, o);
  const std::string estimator = cat(o.debiased ? "debiased " : "biased ", o.rbf ? "RBF" : "linear", " CKA");
  HeatMap map{cat(estimator, " of ", r.left.size(), b ? cat(" × ", r.right.size()) : "", " representations"),
              cat(show_count(r.rows), " samples"),
              "CKA",
              short_names(r.left),
              short_names(r.right),
              r.values,
              0,
              1};
  write_svg(args, svg_of(map));
  if (args.format == Format::Text) {
    write_out(cat(estimator, ", ", show_count(r.rows), " samples\n", grid(map.rows, map.columns, r.values)));
    if (o.intervals) {
      std::vector<std::vector<std::string>> rows(1, {""});
      for (const std::string& n : map.columns) rows[0].push_back(n);
      for (size_t i = 0; i < r.intervals.size(); ++i) {
        if (i % map.columns.size() == 0) rows.push_back({map.rows[i / map.columns.size()]});
        rows.back().push_back(show_interval(shown(r.intervals[i])));
      }
      write_out(cat("95 % intervals, ", kJackknife, "\n", table_of(rows)));
    }
    if (o.permutations > 0) {
      double most = 0, mean = 0;
      for (size_t i = 0; i < r.null_high.size(); ++i) {
        most = std::max(most, r.null_high[i]);
        mean += r.null_mean[i] / static_cast<double>(r.null_mean.size());
      }
      write_out(cat("shuffled ", o.permutations, " times (", show_count(r.null_rows), " samples): mean ",
                    show_number(mean, 4), ", 95th percentile at most ", show_number(most, 4), "\np values\n",
                    grid(map.rows, map.columns, r.p_values)));
    }
    return kOk;
  }
  Value v = Value::object();
  v.set("schema", "mc.cka/1")
      .set("estimator", estimator)
      .set("source", o.debiased ? "Song et al. 2012; Kornblith et al. 2019" : "Kornblith et al. 2019")
      .set("samples", r.rows)
      .set("rows", Value::list_of(r.left))
      .set("columns", Value::list_of(r.right))
      .set("values", matrix_of(r.values, r.left.size()));
  if (o.intervals) {
    Value rows = Value::list();
    for (size_t i = 0; i < r.left.size(); ++i) {
      Value row = Value::list();
      for (size_t j = 0; j < r.right.size(); ++j)
        row.push(value_of(shown(r.intervals[i * r.right.size() + j])));
      rows.push(std::move(row));
    }
    v.set("intervals", Value::object().set("method", cat(kJackknife, ", 95 %")).set("values", rows));
  } else {
    v.set("intervals", Value());
  }
  if (o.permutations > 0)
    v.set("null", Value::object()
                      .set("permutations", o.permutations)
                      .set("samples", r.null_rows)
                      .set("p_values", matrix_of(r.p_values, r.left.size()))
                      .set("mean", matrix_of(r.null_mean, r.left.size()))
                      .set("percentile_95", matrix_of(r.null_high, r.left.size())));
  else
    v.set("null", Value());
  write_result(args.format, v);
  return kOk;
}

int run_neighbours(const Args& args) {
  const Engine engine(args);
  const SampleSet a = samples_of(args);
  std::optional<SampleSet> b;
  if (args.has("against")) b.emplace(against_of(args));
  const MutualResult r = mutual_neighbours(a, b ? &*b : nullptr, args.integer("neighbours", 10));
  HeatMap map{cat("mutual ", r.k, " nearest neighbours"),
              cat(show_count(r.rows), " samples; chance ", show_number(r.chance, 4)),
              "share",
              short_names(r.left),
              short_names(r.right),
              r.values,
              0,
              1};
  write_svg(args, svg_of(map));
  if (args.format == Format::Text) {
    write_out(cat("mutual k nearest neighbours, k = ", r.k, ", ", show_count(r.rows), " samples; chance ",
                  show_number(r.chance, 4), "\n", grid(map.rows, map.columns, r.values)));
    return kOk;
  }
  Value v = Value::object();
  write_result(args.format, v.set("schema", "mc.neighbours/1")
                                .set("estimator", "mutual k nearest neighbours, Euclidean")
                                .set("source", "Huh et al. 2024")
                                .set("k", r.k)
                                .set("samples", r.rows)
                                .set("rows", Value::list_of(r.left))
                                .set("columns", Value::list_of(r.right))
                                .set("values", matrix_of(r.values, r.left.size()))
                                .set("chance", r.chance));
  return kOk;
}

int run_procrustes(const Args& args) {
  const Engine engine(args);
  const SampleSet a = samples_of(args);
  std::optional<SampleSet> b;
  if (args.has("against")) b.emplace(against_of(args));
  const SampleSet& other = b ? *b : a;
  const bool every = args.has("all-pairs");
  if (!b && !every && a.size() < 2)
    usage_error("one matrix has nothing to be compared with", "mc probe procrustes",
                "name another by --against");
  if (b && !every && a.size() != b->size())
    usage_error(cat(a.size(), " matrices here, ", b->size(), " there"), "--against", "add --all-pairs");
  std::vector<ProcrustesResult> list;
  for (size_t i = 0; i < a.size(); ++i)
    for (size_t j = every && !b ? i + 1 : 0; j < other.size(); ++j)
      if (every || (b ? i == j : j == i + 1)) list.push_back(procrustes(a, i, other, j));
  if (args.has("svg")) {
    Curves c{"Procrustes distance",
             cat(show_count(a.rows()), " samples"),
             b ? "site" : "from site to the next",
             "distance",
             {},
             {{"distance", {}, {}}}};
    for (const ProcrustesResult& p : list) {
      c.x.push_back(short_names({p.left})[0]);
      c.lines[0].y.push_back(p.distance);
    }
    write_svg(args, svg_of(c));
  }
  if (args.format == Format::Text) {
    std::vector<std::vector<std::string>> rows{{"left", "right", "distance"}};
    for (const ProcrustesResult& p : list) rows.push_back({p.left, p.right, show_number(p.distance, 4)});
    write_out(table_of(rows));
    return kOk;
  }
  Value pairs = Value::list();
  for (const ProcrustesResult& p : list)
    pairs.push(Value::object().set("left", p.left).set("right", p.right).set("distance", p.distance));
  Value v = Value::object();
  write_result(args.format, v.set("schema", "mc.procrustes/1")
                                .set("estimator", "orthogonal Procrustes, centred, unit Frobenius norm")
                                .set("source", "Schönemann 1966; Williams et al. 2021")
                                .set("samples", a.rows())
                                .set("pairs", std::move(pairs)));
  return kOk;
}

}  // namespace

Command probe_cka_command() {
  return {
      .name = "probe cka",
      .summary = "similarity of all pairs of captured layers (centred kernel alignment)",
      .groups = kEngine,
      .options =
          {kAgainst,
           {"estimator", Kind::Choice, "debiased|biased",
            "debiased is near 0 for unrelated samples, biased grows with width/samples (default debiased)"},
           {"kernel", Kind::Choice, "linear|rbf", "(default linear)"},
           {"bandwidth", Kind::Real, "X", "of rbf, in median distances (default 1)", 1e-6, 1e6},
           {"permutations", Kind::Integer, "N",
            "shuffle the samples so many times for p values (default 0: none)", 0, 1000000},
           {"intervals", Kind::Flag, "", "95 % intervals by a delete-one jackknife over samples"},
           kOnly,
           kSvg},
      .notes = kSourceNotes,
      .examples =
          "  mc probe cka states --intervals\n"
          "  mc probe cka states --permutations 200 --svg cka.svg\n"
          "  mc probe cka states --against other_model_states --output json\n",
      .run = run_cka,
      .words = kSources};
}

Command probe_neighbours_command() {
  return {.name = "probe neighbours",
          .summary = "share of nearest neighbours that captured layers have in common",
          .groups = kEngine,
          .options = {kAgainst,
                      {"neighbours", Kind::Integer, "N", "neighbours (default 10)", 1, 1 << 20},
                      kOnly,
                      kSvg},
          .notes = kSourceNotes,
          .examples = "  mc probe neighbours states --neighbours 20 --svg neighbours.svg\n",
          .run = run_neighbours,
          .words = kSources};
}

Command probe_procrustes_command() {
  return {.name = "probe procrustes",
          .summary = "distance between representations after the best rotation",
          .groups = kEngine,
          .options = {kAgainst,
                      {"all-pairs", Kind::Flag, "",
                       "every pair, not only each layer with the next (or with its like of --against)"},
                      kOnly,
                      kSvg},
          .notes = kSourceNotes,
          .examples =
              "  mc probe procrustes states\n"
              "  mc probe procrustes base --against finetuned --svg moved.svg\n",
          .run = run_procrustes,
          .words = kSources};
}
}  // namespace mc::tool
