// The shape of one representation: spectrum, intrinsic dimension, geodesic distances.
#include <cmath>

#include "commands.h"
#include "engine.h"
#include "format.h"
#include "mc/detail/str.h"
#include "mc/npy.h"
#include "measure.h"

namespace mc::tool {
namespace {

int run_rank(const Args& args) {
  const Engine engine(args);
  const SampleSet set = samples_of(args);
  std::vector<SpectrumResult> all;
  for (size_t i = 0; i < set.size(); ++i) all.push_back(spectrum(set, i, args.has("intervals")));
  if (args.has("svg")) {
    std::vector<std::string> names;
    for (const SpectrumResult& r : all) names.push_back(r.name);
    Curves c{"Rank of representations",
             cat(show_count(set.rows()), " samples"),
             "site",
             "dimensions",
             short_names(names),
             {}};
    Curves::Line effective{"effective rank", {}, {}}, ratio{"participation ratio", {}, {}},
        stable{"stable rank", {}, {}};
    for (const SpectrumResult& r : all) {
      effective.y.push_back(r.effective_rank);
      ratio.y.push_back(r.participation_ratio);
      stable.y.push_back(r.stable_rank);
      if (r.effective_rank_interval) effective.band.push_back(*r.effective_rank_interval);
      if (r.participation_ratio_interval) ratio.band.push_back(*r.participation_ratio_interval);
    }
    c.lines = {effective, ratio, stable};
    write_svg(args, svg_of(c));
  }
  if (args.format == Format::Text) {
    std::vector<std::vector<std::string>> rows{
        {"", "rank", "effective", "participation", "stable", "entropy", "power law", "R²"}};
    if (args.has("intervals")) rows[0].push_back("effective, 95 %");
    for (const SpectrumResult& r : all) {
      rows.push_back({r.name, cat(r.rank, "/", r.width), show_number(r.effective_rank, 1),
                      show_number(r.participation_ratio, 2), show_number(r.stable_rank, 2),
                      show_number(r.spectral_entropy, 3),
                      std::isfinite(r.power_law)
                          ? cat(show_number(r.power_law, 2), "±", show_number(r.power_law_error, 2))
                          : "-",
                      show_number(r.power_law_r2, 2)});
      if (args.has("intervals")) rows.back().push_back(show_interval(r.effective_rank_interval));
    }
    write_out(cat("spectrum of the covariance, ", show_count(set.rows()), " samples\n", table_of(rows)));
    return kOk;
  }
  Value list = Value::list();
  for (const SpectrumResult& r : all) {
    Value v = Value::object();
    v.set("name", r.name)
        .set("width", r.width)
        .set("rank", r.rank)
        .set("effective_rank", r.effective_rank)
        .set("effective_rank_interval", value_of(r.effective_rank_interval))
        .set("participation_ratio", r.participation_ratio)
        .set("participation_ratio_interval", value_of(r.participation_ratio_interval))
        .set("stable_rank", r.stable_rank)
        .set("spectral_entropy", r.spectral_entropy)
        .set("power_law", Value::object()
                              .set("exponent", number_or_null(r.power_law))
                              .set("standard_error", number_or_null(r.power_law_error))
                              .set("r2", number_or_null(r.power_law_r2))
                              .set("first", r.fit_first)
                              .set("last", r.fit_last));
    if (args.has("eigenvalues")) v.set("eigenvalues", Value::list_of(r.eigenvalues));
    list.push(std::move(v));
  }
  Value v = Value::object();
  write_result(
      args.format,
      v.set("schema", "mc.rank/1")
          .set("source",
               "Roy & Vetterli 2007; Gao et al. 2017; Rudelson & Vershynin 2007; Stringer et al. 2019")
          .set("intervals", args.has("intervals") ? Value("jackknife over 10 groups, 95 %") : Value())
          .set("samples", set.rows())
          .set("results", std::move(list)));
  return kOk;
}

int run_dimension(const Args& args) {
  const Engine engine(args);
  const SampleSet set = samples_of(args);
  DimensionOptions o;
  o.k = args.integer("neighbours", o.k);
  o.bootstrap = args.integer("bootstrap", o.bootstrap);
  o.seed = static_cast<uint64_t>(args.integer("seed", 0));
  std::vector<DimensionResult> all;
  for (size_t i = 0; i < set.size(); ++i) all.push_back(intrinsic_dimension(set, i, o));
  if (args.has("svg")) {
    std::vector<std::string> names;
    for (const DimensionResult& r : all) names.push_back(r.name);
    Curves c{"Intrinsic dimension",
             cat(show_count(set.rows()), " samples"),
             "site",
             "dimensions",
             short_names(names),
             {}};
    Curves::Line two{"TwoNN", {}, {}}, local{cat("Levina-Bickel, k = ", o.k), {}, {}};
    for (const DimensionResult& r : all) {
      two.y.push_back(r.twonn_mle);
      local.y.push_back(r.levina_bickel);
      if (r.twonn_interval) two.band.push_back(*r.twonn_interval);
      if (r.levina_bickel_interval) local.band.push_back(*r.levina_bickel_interval);
    }
    c.lines = {two, local};
    write_svg(args, svg_of(c));
  }
  if (args.format == Format::Text) {
    std::vector<std::vector<std::string>> rows{
        {"", "TwoNN", "95 %", "regression", "Levina-Bickel", "95 %", "duplicates"}};
    for (const DimensionResult& r : all)
      rows.push_back({r.name, show_number(r.twonn_mle, 2), show_interval(r.twonn_interval),
                      show_number(r.twonn_regression, 2), show_number(r.levina_bickel, 2),
                      show_interval(r.levina_bickel_interval), cat(r.duplicates)});
    write_out(
        cat("intrinsic dimension, ", show_count(set.rows()), " samples, k = ", o.k, "\n", table_of(rows)));
    return kOk;
  }
  Value list = Value::list();
  for (const DimensionResult& r : all)
    list.push(Value::object()
                  .set("name", r.name)
                  .set("duplicates", r.duplicates)
                  .set("twonn", Value::object()
                                    .set("mle", r.twonn_mle)
                                    .set("interval", value_of(r.twonn_interval))
                                    .set("regression", r.twonn_regression))
                  .set("levina_bickel", Value::object()
                                            .set("k", o.k)
                                            .set("value", r.levina_bickel)
                                            .set("interval", value_of(r.levina_bickel_interval))));
  Value v = Value::object();
  write_result(
      args.format,
      v.set("schema", "mc.dimension/1")
          .set("source", "Facco et al. 2017; Levina & Bickel 2004, MacKay & Ghahramani 2005")
          .set("intervals",
               o.bootstrap ? Value(cat("bootstrap over points, ", o.bootstrap, " times, 95 %")) : Value())
          .set("samples", set.rows())
          .set("results", std::move(list)));
  return kOk;
}

int run_geodesic(const Args& args) {
  const Engine engine(args);
  const SampleSet set = samples_of(args);
  const int64_t k = args.integer("neighbours", 10);
  if (args.has("out") && set.size() != 1)
    usage_error("writes the distances of one matrix", "--out", "choose it by --sites");
  std::vector<GeodesicResult> all;
  for (size_t i = 0; i < set.size(); ++i) all.push_back(geodesic(set, i, k, args.has("out")));
  if (args.has("out")) write_npy(args.text("out"), Array(all[0].distances, {all[0].rows, all[0].rows}));
  if (args.format == Format::Text) {
    std::vector<std::vector<std::string>> rows{
        {"", "components", "largest", "mean ratio", "largest ratio", "diameter"}};
    for (const GeodesicResult& r : all)
      rows.push_back({r.name, cat(r.components), cat(r.largest), show_number(r.mean_ratio),
                      show_number(r.max_ratio), show3(r.diameter)});
    write_out(cat("shortest paths on the graph of ", k, " nearest neighbours, ", show_count(set.rows()),
                  " samples\n", table_of(rows)));
    return kOk;
  }
  Value list = Value::list();
  for (const GeodesicResult& r : all)
    list.push(Value::object()
                  .set("name", r.name)
                  .set("edges", r.edges)
                  .set("components", r.components)
                  .set("largest_component", r.largest)
                  .set("mean_ratio", number_or_null(r.mean_ratio))
                  .set("max_ratio", number_or_null(r.max_ratio))
                  .set("diameter", r.diameter));
  Value v = Value::object();
  write_result(args.format, v.set("schema", "mc.geodesic/1")
                                .set("estimator", "Dijkstra on the symmetric k-nearest-neighbour graph")
                                .set("source", "Tenenbaum et al. 2000")
                                .set("k", k)
                                .set("samples", set.rows())
                                .set("results", std::move(list)));
  return kOk;
}

}  // namespace

Command probe_rank_command() {
  return {
      .name = "probe rank",
      .summary = "how many directions a representation uses: ranks, entropy, power law of its spectrum",
      .groups = kEngine,
      .options = {{"intervals", Kind::Flag, "", "95 % intervals by a jackknife over 10 groups of samples"},
                  {"eigenvalues", Kind::Flag, "", "tell all eigenvalues (JSON, YAML)"},
                  kOnly,
                  kSvg},
      .notes = kSourceNotes,
      .examples = "  mc probe rank states --intervals --svg rank.svg\n",
      .run = run_rank,
      .words = kSources};
}

Command probe_dimension_command() {
  return {
      .name = "probe dimension",
      .summary = "intrinsic dimension of a representation (TwoNN, Levina-Bickel)",
      .groups = kEngine,
      .options = {{"neighbours", Kind::Integer, "N", "neighbours of Levina-Bickel (default 10)", 3, 1 << 20},
                  {"bootstrap", Kind::Integer, "N", "resamples of the intervals (default 200; 0: none)", 0,
                   1000000},
                  kOnly,
                  kSvg},
      .notes = kSourceNotes,
      .examples = "  mc probe dimension states --neighbours 20 --svg dimension.svg\n",
      .run = run_dimension,
      .words = kSources};
}

Command probe_geodesic_command() {
  return {
      .name = "probe geodesic",
      .summary = "distances along the graph of nearest neighbours",
      .groups = kEngine,
      .options = {{"neighbours", Kind::Integer, "N", "neighbours (default 10)", 1, 1 << 20},
                  {"out", Kind::Text, "FILE",
                   "write all distances as a .npy matrix (infinite between components)"},
                  kOnly},
      .notes = kSourceNotes,
      .examples = "  mc probe geodesic states --sites resid_post.12 --neighbours 10 --out distances.npy\n",
      .run = run_geodesic,
      .words = kSources};
}
}  // namespace mc::tool
