#include "mc/lens.h"

#include <algorithm>
#include <cmath>

#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/fast.h"
#include "mc/interrupt.h"
#include "mc/ops.h"

namespace mc {
namespace {

// Tokens at once through the head, so that their logits stay within 64 MiB.
int64_t slab_of(const Model& m) {
  return std::clamp<int64_t>((int64_t{64} << 20) / (m.config().vocab * 4), 1, 256);
}

// Of log probabilities (m, V).
std::vector<Prediction> read(const Array& logp) {
  const Array top = argmax(logp, 1, true);
  const std::vector<int32_t> ids = astype(reshape(top, {-1}), Dtype::I32).to_vector<int32_t>();
  const std::vector<float> at = reshape(take_along_axis(logp, top, 1), {-1}).to_vector<float>();
  // Where a probability is 0 its logarithm adds nothing.
  const std::vector<double> h =
      sum(astype(where(greater(logp, Array(-1e30f)), exp(logp) * logp, zeros_like(logp)), Dtype::F64), {1})
          .to_vector<double>();
  std::vector<Prediction> out;
  for (size_t i = 0; i < ids.size(); ++i) out.push_back({ids[i], static_cast<double>(at[i]), -h[i]});
  return out;
}

std::vector<double> kl(const Array& p, const Array& q) {
  const Array term = where(greater(p, Array(-1e30f)), exp(p) * (p - q), zeros_like(p));
  std::vector<double> out = sum(astype(term, Dtype::F64), {1}).to_vector<double>();
  for (double& v : out) v = v > 0 || !(v == v) ? v : 0;  // a sum of rounding errors may be below 0
  return out;
}

// Calls `use` with the log probabilities of some tokens at a time: those from `at` on.
class Head {
 public:
  Head(const std::shared_ptr<const Model>& model, const std::vector<int32_t>& ids, std::vector<Edit> edits,
       const std::vector<Site>& taps = {})
      : model_(model), session_(model, 1, std::move(edits)) {
    if (ids.empty())
      throw Error(ErrorCode::InvalidArgument, "the text has no tokens", "text",
                  "give at least one character");
    session_.reserve(static_cast<int64_t>(ids.size()));
    hidden_ =
        reshape(session_.run(ids, kMaxPass, true, taps, &tapped_), {static_cast<int64_t>(ids.size()), -1})
            .eval();
    session_.require_fired();
  }
  int64_t tokens() const { return hidden_.shape(0); }
  Array logp(int64_t from, int64_t to) {
    std::vector<int32_t> places;
    for (int64_t i = from; i < to; ++i) places.push_back(static_cast<int32_t>(i));
    return log_softmax(session_.logits(slice_axis(hidden_, 0, from, to), places)).eval();
  }
  const Arrays& tapped() const { return tapped_; }

 private:
  std::shared_ptr<const Model> model_;
  Session session_;
  Arrays tapped_;
  Array hidden_;
};

}  // namespace

std::vector<Prediction> predictions(const std::shared_ptr<const Model>& model,
                                    const std::vector<int32_t>& ids, const std::vector<Edit>& edits) {
  Head head(model, ids, edits);
  std::vector<Prediction> out;
  for (int64_t at = 0, n = head.tokens(), step = slab_of(*model); at < n; at += step) {
    check_interrupt();
    const std::vector<Prediction> part = read(head.logp(at, std::min(at + step, n)));
    out.insert(out.end(), part.begin(), part.end());
  }
  return out;
}

std::vector<Divergence> divergences(const std::shared_ptr<const Model>& a, const std::vector<Edit>& edits_a,
                                    const std::shared_ptr<const Model>& b, const std::vector<Edit>& edits_b,
                                    const std::vector<int32_t>& ids) {
  if (!a || !b)
    throw Error(ErrorCode::InvalidArgument, "there is no model", "divergences", "load one with load_model");
  if (a->config().vocab != b->config().vocab)
    throw Error(ErrorCode::ShapeMismatch,
                cat("the vocabularies have ", a->config().vocab, " and ", b->config().vocab, " tokens"),
                "divergences", "compare models of one vocabulary");
  Head left(a, ids, edits_a), right(b, ids, edits_b);
  std::vector<Divergence> out;
  for (int64_t at = 0, n = left.tokens(), step = slab_of(*a) / 2 + 1; at < n; at += step) {
    check_interrupt();
    const int64_t end = std::min(at + step, n);
    const Array p = left.logp(at, end), q = right.logp(at, end);
    const std::vector<Prediction> pa = read(p), pb = read(q);
    const std::vector<double> forward = kl(p, q), back = kl(q, p);
    for (size_t i = 0; i < pa.size(); ++i) out.push_back({pa[i], pb[i], forward[i], back[i]});
  }
  return out;
}

std::vector<std::vector<LensCell>> logit_lens(const std::shared_ptr<const Model>& model,
                                              const std::vector<int32_t>& ids, const std::vector<int>& layers,
                                              const std::vector<Edit>& edits) {
  if (!model)
    throw Error(ErrorCode::InvalidArgument, "there is no model", "logit_lens", "load one with load_model");
  std::vector<Site> taps;
  for (int l : layers) taps.push_back({SiteKind::ResidPost, model->layer_index(l)});
  Head head(model, ids, edits, taps);
  std::vector<std::vector<LensCell>> out(layers.size());
  const int64_t n = head.tokens();
  for (int64_t at = 0, step = slab_of(*model) / 2 + 1; at < n; at += step) {
    const int64_t end = std::min(at + step, n);
    const Array last = head.logp(at, end), top = argmax(last, 1, true);
    for (size_t l = 0; l < layers.size(); ++l) {
      check_interrupt();
      const Array stream = slice_axis(reshape(head.tapped()[l], {n, -1}), 0, at, end);
      const Array here = log_softmax(model->unembed(stream)).eval();
      const std::vector<Prediction> p = read(here);
      const std::vector<double> d = kl(last, here);
      const std::vector<float> given = reshape(take_along_axis(here, top, 1), {-1}).to_vector<float>();
      for (size_t i = 0; i < p.size(); ++i) out[l].push_back({p[i], d[i], static_cast<double>(given[i])});
    }
  }
  return out;
}

AblationCheck check_by_ablation(const std::shared_ptr<const Model>& model,
                                const std::vector<std::vector<int32_t>>& texts,
                                const std::vector<Site>& sites, const Array& direction,
                                const Arrays& controls) {
  if (!model || texts.empty() || sites.empty())
    throw Error(ErrorCode::InvalidArgument, "a model, texts and sites are needed", "check_by_ablation");
  AblationCheck out;
  std::vector<double> sums(controls.size() + 1), own;  // own: means of each text
  std::vector<int64_t> lengths;
  int64_t same = 0;
  for (const std::vector<int32_t>& ids : texts) {
    Head plain(model, ids, {});
    const int64_t n = plain.tokens(), step = slab_of(*model) / 2 + 1;
    for (size_t c = 0; c < sums.size(); ++c) {
      std::vector<Edit> edits;
      for (const Site& site : sites) {
        Edit e;
        e.kind = EditKind::ProjectOut;
        e.site = site;
        e.value = c == 0 ? direction : controls[c - 1];
        edits.push_back(std::move(e));
      }
      Head without(model, ids, std::move(edits));
      double sum = 0;
      for (int64_t at = 0; at < n; at += step) {
        check_interrupt();
        const int64_t end = std::min(at + step, n);
        const Array p = plain.logp(at, end), q = without.logp(at, end);
        for (double v : kl(p, q)) sum += v;
        if (c > 0) continue;
        const std::vector<Prediction> a = read(p), b = read(q);
        for (size_t i = 0; i < a.size(); ++i) same += a[i].top == b[i].top;
      }
      sums[c] += sum;
      if (c == 0) {
        own.push_back(sum / static_cast<double>(n));
        lengths.push_back(n);
      }
    }
    out.tokens += n;
  }
  const double m = static_cast<double>(out.tokens), k = static_cast<double>(texts.size());
  out.texts = static_cast<int64_t>(texts.size());
  out.kl = sums[0] / m;
  out.top1 = static_cast<double>(same) / m;
  // Of a ratio of sums over texts: each text's deviation, weighed by its tokens.
  double squares = 0;
  for (size_t i = 0; i < own.size(); ++i) {
    const double d = static_cast<double>(lengths[i]) * (own[i] - out.kl);
    squares += d * d;
  }
  out.error = k > 1 ? std::sqrt(squares * k / (k - 1)) / m : NAN;
  int64_t larger = 0;
  for (size_t c = 1; c < sums.size(); ++c) {
    out.controls.push_back(sums[c] / m);
    larger += sums[c] >= sums[0];
  }
  out.p_value = static_cast<double>(1 + larger) / static_cast<double>(sums.size());
  return out;
}

}  // namespace mc
