#include "mc/parity.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/generate.h"
#include "mc/interrupt.h"
#include "mc/ops.h"
#include "mc/random.h"
#include "mc/sha256.h"
#include "mc/system.h"

namespace mc {
namespace {

using Note = std::function<void(const std::string&)>;
using Rows = std::vector<std::vector<double>>;  // one a token

double unit_of(Dtype d) { return d == Dtype::BF16 ? 0x1p-7 : d == Dtype::F16 ? 0x1p-10 : 0x1p-23; }

Rows rows_of(const Array& a) {
  const int64_t d = a.shape(-1), n = a.size() / d;
  std::vector<double> flat;
  if (a.dtype() == Dtype::F64) {
    flat = a.to_vector<double>();
  } else {
    const std::vector<float> narrow = astype(a, Dtype::F32).to_vector<float>();
    flat.assign(narrow.begin(), narrow.end());
  }
  Rows out;
  for (int64_t i = 0; i < n; ++i) out.emplace_back(flat.begin() + i * d, flat.begin() + (i + 1) * d);
  return out;
}

// Of one text: the wanted layers, then the logits.
struct Look {
  std::vector<Rows> parts;
};

Look look(const std::shared_ptr<const Model>& model, const std::vector<int32_t>& ids,
          const std::vector<int>& layers) {
  Session session(model);
  std::vector<Site> taps;
  for (int l : layers) taps.push_back({SiteKind::ResidPost, l});
  Arrays tapped;
  const Array hidden = session.run(ids, kMaxPass, true, taps, &tapped);
  Look out;
  for (const Array& t : tapped) out.parts.push_back(rows_of(t));
  out.parts.push_back(rows_of(model->logits(hidden)));
  return out;
}

double norm(const std::vector<double>& v) {
  double s = 0;
  for (double x : v) s += x * x;
  return std::sqrt(s);
}
double distance(const std::vector<double>& a, const std::vector<double>& b) {
  double s = 0;
  for (size_t i = 0; i < a.size(); ++i) s += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(s);
}
double furthest(const std::vector<double>& a, const std::vector<double>& b, int64_t* at = nullptr) {
  double most = -1;
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(a[i] - b[i]);
    if (d > most || !(d == d)) {
      most = d;
      if (at) *at = static_cast<int64_t>(i);
      if (!(d == d)) return d;
    }
  }
  return most;
}
size_t best(const std::vector<double>& v) {
  return static_cast<size_t>(std::max_element(v.begin(), v.end()) - v.begin());
}
double log_sum(const std::vector<double>& v) {
  const double top = v[best(v)];
  double s = 0;
  for (double x : v) s += std::exp(x - top);
  return top + std::log(s);
}
double divergence_of(const std::vector<double>& p, const std::vector<double>& q) {
  const double zp = log_sum(p), zq = log_sum(q);
  double kl = 0;
  for (size_t i = 0; i < p.size(); ++i) kl += std::exp(p[i] - zp) * ((p[i] - zp) - (q[i] - zq));
  return kl > 0 || !(kl == kl) ? kl : 0;  // a sum of rounding errors may be below 0
}

// A row that one large activation rules moves along one direction, where a single draw may happen to be
// small.
constexpr int kDraws = 4;

struct Oracle {
  std::vector<Look> exact;               // by text
  std::vector<std::vector<Look>> noisy;  // by text, a draw each
  // The furthest that noise moved the row.
  double moved(size_t text, size_t part, size_t row) const {
    double most = 0;
    for (const Look& n : noisy[text])
      most = std::max(most, distance(n.parts[part][row], exact[text].parts[part][row]));
    return most;
  }
  double kl_noise = 0;  // mean
  // How far a logit of this row may be off.
  double logit_bound(size_t text, size_t row) const {
    double most = 0;
    for (const Look& n : noisy[text])
      most = std::max(most, furthest(exact[text].parts.back()[row], n.parts.back()[row]));
    return kParityFactor * most;
  }
};

std::string place(const ParityPart& p) {
  return cat(p.name, ", text ", p.text + 1, ", token ", p.token, ", feature ", p.feature, ": ", p.got,
             ", the oracle says ", p.wanted);
}

void compare(const Oracle& oracle, size_t text, const Look& got, double eps, std::vector<ParityPart>& parts,
             std::vector<int64_t>& counts) {
  for (size_t i = 0; i < parts.size(); ++i) {
    ParityPart& p = parts[i];
    const Rows& want = oracle.exact[text].parts[i];
    for (size_t t = 0; t < want.size(); ++t) {
      const double size = norm(want[t]);
      const double error = distance(got.parts[i][t], want[t]),
                   bound = kParityFactor * oracle.moved(text, i, t);
      const double ulps = error / size / eps;
      const bool lost = !(error == error);
      const double share = lost ? INFINITY : error == 0 ? 0 : error / bound;
      p.mean_ulps += ulps;
      ++counts[i];
      p.max_ulps = lost ? INFINITY : std::max(p.max_ulps, ulps);
      if (share <= p.worst && p.bound_ulps > 0) continue;
      p.worst = share;
      p.bound_ulps = bound / size / eps;
      p.text = static_cast<int64_t>(text);
      p.token = static_cast<int64_t>(t);
      furthest(got.parts[i][t], want[t], &p.feature);
      p.got = got.parts[i][t][static_cast<size_t>(p.feature)];
      p.wanted = want[t][static_cast<size_t>(p.feature)];
      p.ok = share <= 1;
    }
  }
}

void compare_tokens(const Oracle& oracle, size_t text, const Rows& got, ParityEngine& e) {
  const Rows& want = oracle.exact[text].parts.back();
  for (size_t t = 0; t < want.size(); ++t) {
    const double kl = divergence_of(want[t], got[t]);
    e.mean_kl += kl;
    e.max_kl = !(kl == kl) ? INFINITY : std::max(e.max_kl, kl);
    ++e.positions;
    const size_t a = best(want[t]), b = best(got[t]);
    if (a == b) {
      ++e.agreeing;
      continue;
    }
    const ParityTie tie{static_cast<int64_t>(text), static_cast<int64_t>(t), static_cast<int32_t>(a),
                        static_cast<int32_t>(b),    want[t][a] - want[t][b], 2 * oracle.logit_bound(text, t)};
    (tie.gap <= tie.bound ? e.ties : e.misses).push_back(tie);
  }
}

std::vector<int32_t> generate_greedily(const std::shared_ptr<const Model>& model,
                                       const std::vector<int32_t>& prompt, int64_t count) {
  Session session(model);
  const Array hidden = session.run(prompt, kMaxPass, false);
  std::vector<int32_t> out{
      argmax(model->logits(slice_axis(hidden, 1, hidden.shape(1) - 1, hidden.shape(1))), -1)
          .to_vector<int32_t>()[0]};
  while (static_cast<int64_t>(out.size()) < count) {
    check_interrupt();
    out.push_back(session.greedy_step(out.back()));
  }
  return out;
}

// Leading tokens of `ids` that are the oracle's choice after the same tokens, or tie with it.
void judge_greedy(const std::shared_ptr<const Model>& exact, const std::shared_ptr<const Model>& noisy,
                  const std::vector<int32_t>& prompt, ParityEngine& e) {
  std::vector<int32_t> ids = prompt;
  ids.insert(ids.end(), e.greedy.begin(), e.greedy.end() - 1);
  Oracle o;
  o.exact.push_back(look(exact, ids, {}));
  o.noisy.emplace_back();
  for (int d = 0; d < kDraws; ++d) o.noisy[0].push_back(look(noisy, ids, {}));
  for (size_t i = 0; i < e.greedy.size(); ++i) {
    const size_t row = prompt.size() - 1 + i;
    const std::vector<double>& want = o.exact[0].parts[0][row];
    const size_t a = best(want), b = static_cast<size_t>(e.greedy[i]);
    if (b >= want.size() || want[a] - want[b] > 2 * o.logit_bound(0, row)) return;
    ++e.greedy_equal;
  }
}

std::string packed_sha(const QTensor& q) {
  Sha256 sum;
  for (const Array& part : q.parts) {
    std::vector<std::byte> bytes(part.nbytes());
    part.to_bytes(bytes.data());
    sum.update(bytes);
  }
  return sum.hex();
}

// The engine's own packing of two of the model's matrices beside the host engine's, as 4 and 8 bits.
void compare_bytes(const Model& model, const Device& device, ParityEngine& e) {
  const auto& all = model.weights();
  for (size_t i : {size_t{1}, all.size() - 1}) {
    if (i >= all.size() || !all[i].second.packed) continue;
    const QTensor& w = *all[i].second.packed;
    const int group = w.shape[1] % 64 == 0 ? 64 : 32;
    for (int bits : {4, 8}) {
      ParityBytes b{all[i].first, cat("affine", bits, ":", group), {}, false, {}};
      if (w.shape[1] % group != 0) {
        b.skipped = cat("rows of ", w.shape[1], " are no whole groups");
      } else {
        const auto pack = [&](const Device& where) {
          const DeviceScope scope(where);
          return packed_sha(quantize_affine(astype(dequantize(w), Dtype::F32), group, bits));
        };
        b.sha256 = pack(device);
        b.equal = b.sha256 == pack(host_device());
      }
      e.bytes.push_back(std::move(b));
    }
  }
}

void conclude(ParityEngine& e, const ParityOptions& options) {
  for (const ParityPart& p : e.parts)
    if (!p.ok && e.divergence.empty()) e.divergence = cat(place(p), " (", p.worst, " of its bound)");
  if (e.divergence.empty() && !(e.mean_kl <= e.kl_bound))
    e.divergence = cat("mean KL is ", e.mean_kl, ", the bound ", e.kl_bound);
  if (e.divergence.empty() && !e.misses.empty())
    e.divergence = cat("text ", e.misses[0].text + 1, ", token ", e.misses[0].token, ": the best token is ",
                       e.misses[0].engine, ", the oracle's ", e.misses[0].oracle);
  if (e.divergence.empty() && e.greedy_equal < static_cast<int64_t>(e.greedy.size()))
    e.divergence = cat("greedy token ", e.greedy_equal, " is not the oracle's");
  for (const ParityBytes& b : e.bytes)
    if (e.divergence.empty() && b.skipped.empty() && !b.equal)
      e.divergence = cat("bytes of ", b.tensor, " as ", b.format, " are not the host engine's");
  (void)options;
  e.ok = e.divergence.empty();
}

}  // namespace

ParityReport parity(const std::string& path, const ParityOptions& options, const Note& note) {
  const auto say = [&](const std::string& line) {
    if (note) note(line);
  };
  if (options.engines.empty() || options.texts.empty())
    throw Error(ErrorCode::InvalidArgument, "there are no engines or no texts to compare", "parity");
  if (options.tokens < 2 || options.tokens > kMaxPass || options.greedy < 0)
    throw Error(ErrorCode::InvalidArgument,
                cat(options.tokens, " tokens a text and ", options.greedy, " greedy ones"), "parity",
                cat("take 2 to ", kMaxPass, " tokens a text, and 0 or more greedy ones"));
  if (options.load.dtype != Dtype::F32 && options.load.dtype != Dtype::BF16 &&
      options.load.dtype != Dtype::F16)
    throw Error(ErrorCode::DtypeMismatch,
                cat("the bound is stated for 16-bit and float32 activations, not for ",
                    dtype_name(options.load.dtype)),
                "dtype", "take float32, bfloat16 or float16");
  ParityReport report;
  report.dtype = dtype_name(options.load.dtype);
  report.eps = unit_of(options.load.dtype);

  std::shared_ptr<Model> exact, noisy;
  Oracle oracle;
  std::vector<int32_t> prompt;
  {
    const DeviceScope host(host_device());
    random::seed(0);
    LoadOptions wide = options.load;
    wide.dtype = Dtype::F64;
    exact = load_model(path, wide);
    report.requantized = exact->requantized();
    wide.noise = report.eps / 2;
    noisy = load_model(path, wide);
    for (int64_t l : options.layers) report.layers.push_back(exact->layer_index(l));
    if (options.layers.empty())
      for (int l = 0; l < static_cast<int>(exact->config().layers); ++l) report.layers.push_back(l);
    std::sort(report.layers.begin(), report.layers.end());
    report.layers.erase(std::unique(report.layers.begin(), report.layers.end()), report.layers.end());
    for (const std::string& text : options.texts) {
      std::vector<int32_t> ids = exact->tokenizer().encode(text);
      if (static_cast<int64_t>(ids.size()) > options.tokens) ids.resize(static_cast<size_t>(options.tokens));
      if (ids.empty())
        throw Error(ErrorCode::InvalidArgument, cat("text ", report.ids.size() + 1, " has no tokens"), "data",
                    "give at least one character");
      report.ids.push_back(std::move(ids));
    }
    int64_t rows = 0;
    for (size_t i = 0; i < report.ids.size(); ++i) {
      say(cat("oracle: text ", i + 1, " of ", report.ids.size(), ", ", report.ids[i].size(), " tokens"));
      check_interrupt();
      oracle.exact.push_back(look(exact, report.ids[i], report.layers));
      oracle.noisy.emplace_back();
      const Rows& want = oracle.exact[i].parts.back();
      for (int d = 0; d < kDraws; ++d) {
        check_interrupt();
        oracle.noisy[i].push_back(look(noisy, report.ids[i], report.layers));
        const Rows& moved = oracle.noisy[i].back().parts.back();
        for (size_t t = 0; t < want.size(); ++t, ++rows) oracle.kl_noise += divergence_of(want[t], moved[t]);
      }
    }
    oracle.kl_noise /= static_cast<double>(rows);
    prompt = report.ids[0];
    prompt.resize(std::min<size_t>(prompt.size(), 16));
  }

  for (const std::string& name : options.engines) {
    ParityEngine e;
    e.name = name;
    const auto begin = std::chrono::steady_clock::now();
    try {
      const Device device = parse_device(name);
      e.available = true;
      e.device = device_name(device);
      const DeviceScope scope(device);
      const std::shared_ptr<Model> model = load_model(path, options.load);
      for (int l : report.layers) e.parts.push_back({.name = cat("layer.", l)});
      e.parts.push_back({.name = "logits"});
      std::vector<int64_t> counts(e.parts.size());
      for (size_t i = 0; i < report.ids.size(); ++i) {
        say(cat(name, ": text ", i + 1, " of ", report.ids.size()));
        check_interrupt();
        const Look got = look(model, report.ids[i], report.layers);
        compare(oracle, i, got, report.eps, e.parts, counts);
        compare_tokens(oracle, i, got.parts.back(), e);
      }
      for (size_t i = 0; i < e.parts.size(); ++i) e.parts[i].mean_ulps /= static_cast<double>(counts[i]);
      e.mean_kl /= static_cast<double>(e.positions);
      // KL grows with the square of what moves the logits. One in a million is the least that is asked for.
      e.kl_bound = std::max(1e-6, kParityFactor * kParityFactor * oracle.kl_noise);
      if (options.greedy > 0) {
        say(cat(name, ": ", options.greedy, " greedy tokens"));
        e.greedy = generate_greedily(model, prompt, options.greedy);
        const ParityEngine* same = nullptr;
        for (const ParityEngine& other : report.engines)
          if (other.greedy == e.greedy) same = &other;
        const DeviceScope host(host_device());
        if (same)
          e.greedy_equal = same->greedy_equal;
        else
          judge_greedy(exact, noisy, prompt, e);
      }
      say(cat(name, ": packed bytes"));
      compare_bytes(*exact, device, e);
      conclude(e, options);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::Interrupted || error.code() == ErrorCode::UnknownBackend) throw;
      e.message = error.what();
      e.fix = error.next();
      e.ok = false;
    }
    e.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    report.engines.push_back(std::move(e));
    clear_cache();
  }
  report.ok =
      std::all_of(report.engines.begin(), report.engines.end(), [](const ParityEngine& e) { return e.ok; });
  return report;
}

}  // namespace mc
