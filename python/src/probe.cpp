// Measures of representations and of predictions, and memory that is told in advance. Here matrices go in as
// sources or named arrays and results come out as dicts; modelcypher/probe.py gives them names and shapes.
#include "common.h"
#include "mc/device.h"
#include "mc/lens.h"
#include "mc/measures.h"
#include "mc/memory.h"
#include "mc/ops.h"
#include "mc/system.h"
#include "model.h"

namespace mcpy {
namespace {

// On the host, whatever the default device: results are read.
Array floats(const std::vector<double>& v, const Shape& shape) {
  const mc::DeviceScope host(mc::host_device());
  return Array(v, shape);
}
template <class T>
Array column(const std::vector<T>& v) {
  const mc::DeviceScope host(mc::host_device());
  return Array(v, Shape{static_cast<int64_t>(v.size())});
}
nb::list names_of(const std::vector<std::string>& names) {
  nb::list out;
  for (const std::string& n : names) out.append(str_of(n));
  return out;
}
nb::object pair_of(const mc::Interval& i) { return nb::make_tuple(i.low, i.high); }
nb::object pair_of(const std::optional<mc::Interval>& i) { return i ? pair_of(*i) : nb::none(); }

Array intervals_of(const std::vector<mc::Interval>& v, int64_t rows) {
  std::vector<double> flat;
  for (const mc::Interval& i : v) {
    flat.push_back(i.low);
    flat.push_back(i.high);
  }
  return floats(flat, {rows, static_cast<int64_t>(v.size()) / rows, 2});
}

// Sources (paths), or pairs (name, array).
mc::SampleSet* samples(nb::handle sources, nb::handle only_in) {
  std::vector<std::string> files, only;
  std::vector<std::pair<std::string, Array>> arrays;
  for (nb::handle s : nb::iter(sources)) {
    if (PyUnicode_Check(s.ptr()))
      files.push_back(text_of(s));
    else
      arrays.emplace_back(text_of(s[0]), to_array(s[1]));
  }
  for (nb::handle s : nb::iter(only_in)) only.push_back(text_of(s));
  nb::gil_scoped_release nogil;
  return arrays.empty() ? new mc::SampleSet(files, only) : new mc::SampleSet(std::move(arrays), only);
}

// Runs f without the GIL; Ctrl-C reaches it.
template <class F>
auto free_of_gil(F f) {
  const InterruptScope interrupts;
  nb::gil_scoped_release nogil;
  return f();
}

nb::dict cka(const mc::SampleSet& a, const mc::SampleSet* b, nb::dict given) {
  mc::CkaOptions o;
  o.debiased = nb::cast<bool>(given["debiased"]);
  o.rbf = nb::cast<bool>(given["rbf"]);
  o.bandwidth = nb::cast<double>(given["bandwidth"]);
  o.permutations = nb::cast<int64_t>(given["permutations"]);
  o.null_rows = nb::cast<int64_t>(given["null_samples"]);
  o.intervals = nb::cast<bool>(given["intervals"]);
  o.seed = nb::cast<uint64_t>(given["seed"]);
  const mc::CkaResult r = free_of_gil([&] { return mc::cka(a, b, o); });
  const auto rows = static_cast<int64_t>(r.left.size()), columns = static_cast<int64_t>(r.right.size());
  const bool null = o.permutations > 0;
  const auto table = [&](const std::vector<double>& v) {
    return null ? nb::cast(floats(v, {rows, columns})) : nb::none();
  };
  nb::dict d;
  d["left"] = names_of(r.left);
  d["right"] = names_of(r.right);
  d["samples"] = r.rows;
  d["values"] = floats(r.values, {rows, columns});
  d["intervals"] = o.intervals ? nb::cast(intervals_of(r.intervals, rows)) : nb::none();
  d["p_values"] = table(r.p_values);
  d["null_mean"] = table(r.null_mean);
  d["null_high"] = table(r.null_high);
  d["null_samples"] = null ? r.null_rows : 0;
  return d;
}

nb::dict mutual(const mc::SampleSet& a, const mc::SampleSet* b, int64_t k) {
  const mc::MutualResult r = free_of_gil([&] { return mc::mutual_neighbours(a, b, k); });
  nb::dict d;
  d["left"] = names_of(r.left);
  d["right"] = names_of(r.right);
  d["samples"] = r.rows;
  d["values"] = floats(r.values, {static_cast<int64_t>(r.left.size()), static_cast<int64_t>(r.right.size())});
  d["k"] = r.k;
  d["chance"] = r.chance;
  return d;
}

nb::tuple nearest(nb::handle x_in, int64_t k) {
  const Array x = to_array(x_in);
  const mc::Neighbours n = free_of_gil([&] { return mc::nearest_neighbours(x, k); });
  const mc::DeviceScope host(mc::host_device());
  return nb::make_tuple(Array(n.index, {n.n, n.k}), Array(n.distance, {n.n, n.k}));
}

nb::dict spectrum(const mc::SampleSet& a, size_t i, bool intervals) {
  const mc::SpectrumResult r = free_of_gil([&] { return mc::spectrum(a, i, intervals); });
  nb::dict d;
  d["name"] = str_of(r.name);
  d["samples"] = r.rows;
  d["width"] = r.width;
  d["eigenvalues"] = column(r.eigenvalues);
  d["rank"] = r.rank;
  d["effective_rank"] = r.effective_rank;
  d["participation_ratio"] = r.participation_ratio;
  d["stable_rank"] = r.stable_rank;
  d["spectral_entropy"] = r.spectral_entropy;
  d["power_law"] = r.power_law;
  d["power_law_error"] = r.power_law_error;
  d["power_law_r2"] = r.power_law_r2;
  d["power_law_range"] = nb::make_tuple(r.fit_first, r.fit_last);
  d["effective_rank_interval"] = pair_of(r.effective_rank_interval);
  d["participation_ratio_interval"] = pair_of(r.participation_ratio_interval);
  return d;
}

nb::dict dimension(const mc::SampleSet& a, size_t i, int64_t k, int64_t bootstrap, uint64_t seed) {
  const mc::DimensionOptions o{.k = k, .bootstrap = bootstrap, .seed = seed};
  const mc::DimensionResult r = free_of_gil([&] { return mc::intrinsic_dimension(a, i, o); });
  nb::dict d;
  d["name"] = str_of(r.name);
  d["samples"] = r.rows;
  d["duplicates"] = r.duplicates;
  d["twonn"] = r.twonn_mle;
  d["twonn_regression"] = r.twonn_regression;
  d["levina_bickel"] = r.levina_bickel;
  d["twonn_interval"] = pair_of(r.twonn_interval);
  d["levina_bickel_interval"] = pair_of(r.levina_bickel_interval);
  return d;
}

nb::dict geodesic(const mc::SampleSet& a, size_t i, int64_t k, bool keep) {
  const mc::GeodesicResult r = free_of_gil([&] { return mc::geodesic(a, i, k, keep); });
  nb::dict d;
  d["name"] = str_of(r.name);
  d["samples"] = r.rows;
  d["k"] = r.k;
  d["edges"] = r.edges;
  d["components"] = r.components;
  d["largest_component"] = r.largest;
  d["mean_ratio"] = r.mean_ratio;
  d["max_ratio"] = r.max_ratio;
  d["diameter"] = r.diameter;
  d["distances"] = keep ? nb::cast(floats(r.distances, {r.rows, r.rows})) : nb::none();
  return d;
}

nb::tuple procrustes(const mc::SampleSet& a, size_t i, const mc::SampleSet& b, size_t j) {
  const mc::ProcrustesResult r = free_of_gil([&] { return mc::procrustes(a, i, b, j); });
  return nb::make_tuple(str_of(r.left), str_of(r.right), r.distance);
}

nb::dict direction(const mc::SampleSet& a, size_t i, const mc::SampleSet& b, size_t j, double train,
                   uint64_t seed) {
  const mc::DirectionOptions o{.train = train, .seed = seed};
  const mc::DirectionResult r = free_of_gil([&] { return mc::mean_direction(a, i, b, j, o); });
  nb::dict d;
  d["name"] = str_of(r.name);
  d["direction"] = column(r.direction);
  d["norm"] = r.norm;
  d["threshold"] = r.threshold;
  d["accuracy"] = r.accuracy;
  d["accuracy_interval"] = pair_of(r.accuracy_interval);
  d["auc"] = r.auc;
  d["train"] = nb::make_tuple(r.train_positive, r.train_negative);
  d["held_out"] = nb::make_tuple(r.test_positive, r.test_negative);
  return d;
}

nb::list shuffled(const mc::SampleSet& a, size_t i, const mc::SampleSet& b, size_t j, int64_t count,
                  uint64_t seed) {
  const auto all = free_of_gil([&] { return mc::shuffled_directions(a, i, b, j, count, seed); });
  nb::list out;
  for (const std::vector<float>& u : all) out.append(column(u));
  return out;
}

nb::dict ablation(const PyModel& m, nb::handle rows_in, nb::handle sites, nb::handle direction,
                  nb::handle controls_in) {
  const auto rows = rows_of(rows_in);
  const auto places = mc::parse_sites(text_of(sites), m.model->config().layers);
  const Array u = to_array(direction);
  const Arrays controls = to_arrays(controls_in);
  const mc::AblationCheck r =
      free_of_gil([&] { return mc::check_by_ablation(m.model, rows, places, u, controls); });
  nb::dict d;
  d["texts"] = r.texts;
  d["tokens"] = r.tokens;
  d["kl"] = r.kl;
  d["standard_error"] = r.error;
  d["top1_agreement"] = r.top1;
  d["controls"] = column(r.controls);
  d["p_value"] = r.p_value;
  return d;
}

// Predictions as columns.
struct Columns {
  std::vector<int32_t> top;
  std::vector<double> top_logprob, entropy;
  void add(const mc::Prediction& p) {
    top.push_back(p.top);
    top_logprob.push_back(p.top_logprob);
    entropy.push_back(p.entropy);
  }
  nb::dict dict(const Shape& shape) const {
    const mc::DeviceScope host(mc::host_device());
    nb::dict d;
    d["top"] = Array(top, shape);
    d["top_logprob"] = Array(top_logprob, shape);
    d["entropy"] = Array(entropy, shape);
    return d;
  }
};

nb::dict predictions(const PyModel& m, nb::handle ids_in, nb::handle edits) {
  const std::vector<int32_t> ids = ids_of(ids_in);
  const auto written = edits_of(m, edits, static_cast<int64_t>(ids.size()));
  const auto r = free_of_gil([&] { return mc::predictions(m.model, ids, written); });
  Columns c;
  for (const mc::Prediction& p : r) c.add(p);
  return c.dict({static_cast<int64_t>(r.size())});
}

nb::dict divergences(const PyModel& a, nb::handle edits_a, const PyModel& b, nb::handle edits_b,
                     nb::handle ids_in) {
  const std::vector<int32_t> ids = ids_of(ids_in);
  const auto n = static_cast<int64_t>(ids.size());
  const auto left = edits_of(a, edits_a, n), right = edits_of(b, edits_b, n);
  const auto r = free_of_gil([&] { return mc::divergences(a.model, left, b.model, right, ids); });
  Columns one, other;
  std::vector<double> kl, reverse;
  for (const mc::Divergence& x : r) {
    one.add(x.a);
    other.add(x.b);
    kl.push_back(x.kl);
    reverse.push_back(x.reverse);
  }
  nb::dict d;
  d["a"] = one.dict({n});
  d["b"] = other.dict({n});
  d["kl"] = floats(kl, {n});
  d["reverse_kl"] = floats(reverse, {n});
  return d;
}

nb::dict lens(const PyModel& m, nb::handle ids_in, nb::handle layers_in, nb::handle edits) {
  const std::vector<int32_t> ids = ids_of(ids_in);
  const auto n = static_cast<int64_t>(ids.size());
  std::vector<int> layers;
  for (nb::handle l : nb::iter(layers_in)) layers.push_back(nb::cast<int>(l));
  const auto written = edits_of(m, edits, n);
  const auto r = free_of_gil([&] { return mc::logit_lens(m.model, ids, layers, written); });
  Columns c;
  std::vector<double> kl, final_logprob;
  for (const auto& row : r)
    for (const mc::LensCell& cell : row) {
      c.add(cell.prediction);
      kl.push_back(cell.kl);
      final_logprob.push_back(cell.final_logprob);
    }
  const Shape shape{static_cast<int64_t>(r.size()), n};
  nb::dict d = c.dict(shape);
  d["kl"] = floats(kl, shape);
  d["final_logprob"] = floats(final_logprob, shape);
  return d;
}

nb::list plan(const PyModel& m, nb::dict given) {
  mc::PlanOptions o;
  o.prompt = nb::cast<int64_t>(given["prompt_tokens"]);
  o.max_tokens = nb::cast<int64_t>(given["max_tokens"]);
  o.rows = nb::cast<int64_t>(given["batch_size"]);
  o.pool = mc::parse_pool(text_of(given["pool"]));
  if (const std::string sites = text_of(given["sites"]); !sites.empty())
    o.sites = mc::parse_sites(sites, m.model->config().layers);
  const auto plans = free_of_gil([&] { return mc::plan_commands(m.model, o); });
  nb::list out;
  for (const mc::CommandPlan& p : plans) {
    nb::dict d = plan_dict(p.peak.device);
    d["command"] = str_of(p.command);
    d["rows"] = p.rows;
    d["tokens"] = p.tokens;
    d["host"] = p.peak.host;
    d["process"] = p.peak.process;
    out.append(d);
  }
  return out;
}

}  // namespace

void bind_probe(nb::module_& m) {
  nb::class_<mc::SampleSet>(m, "Samples", "Matrices of samples × features over the same samples.")
      .def("__len__", &mc::SampleSet::size)
      .def_prop_ro("rows", &mc::SampleSet::rows)
      .def_prop_ro("names",
                   [](const mc::SampleSet& s) {
                     nb::list out;
                     for (size_t i = 0; i < s.size(); ++i) out.append(str_of(s.name(i)));
                     return out;
                   })
      .def("width", [](const mc::SampleSet& s, size_t i) { return s.width(i); });
  m.def("samples", &samples, nb::rv_policy::take_ownership);
  m.def("cka", &cka, nb::arg(), nb::arg().none(), nb::arg());
  m.def("mutual_neighbours", &mutual, nb::arg(), nb::arg().none(), nb::arg());
  m.def("nearest_neighbours", &nearest);
  m.def("spectrum", &spectrum);
  m.def("intrinsic_dimension", &dimension);
  m.def("geodesic", &geodesic);
  m.def("procrustes", &procrustes);
  m.def("mean_direction", &direction);
  m.def("shuffled_directions", &shuffled);
  m.def("check_by_ablation", &ablation);
  m.def("predictions", &predictions);
  m.def("divergences", &divergences);
  m.def("logit_lens", &lens);
  m.def("plan", &plan);
  m.def("parse_byte_size", [](nb::handle text) -> nb::object {
    const auto bytes = mc::parse_byte_size(text_of(text));
    return bytes ? nb::object(nb::int_(*bytes)) : nb::none();
  });
}

}  // namespace mcpy
