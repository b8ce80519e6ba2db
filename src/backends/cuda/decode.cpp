#include "backends/cuda/decode.h"

#include <algorithm>
#include <map>

#include "backends/cuda/cu/decode.h"
#include "backends/cuda/cu/quant.h"
#include "backends/cuda/quant_call.h"
#include "backends/cuda/rope_call.h"
#include "prims/attrs.h"

namespace mc::cuda {
namespace {

constexpr size_t kReach = 8;  // how many steps further the other parts of a join are looked for

class Joiner {
 public:
  explicit Joiner(Plan& plan) : plan_(plan), gone_(plan.steps.size()) {
    for (size_t i = 0; i < plan_.steps.size(); ++i) {
      const Step& s = plan_.steps[i];
      for (int k = 0; k < s.n_in; ++k) {
        auto& r = readers_[s.operands[static_cast<size_t>(k)].storage];
        if (r.empty() || r.back() != i) r.push_back(i);
      }
    }
    for (const strided::OutputRef& o : plan_.outputs) readers_[o.storage].push_back(SIZE_MAX);
  }

  void run() {
    for (size_t i = 0; i < plan_.steps.size(); ++i) {
      products(i);
      cache_write(i);
    }
    for (size_t i = 0; i < plan_.steps.size(); ++i) attention(i);
    mark_early();
    std::vector<Step> left;
    for (size_t i = 0; i < plan_.steps.size(); ++i)
      if (!gone_[i]) left.push_back(std::move(plan_.steps[i]));
    plan_.steps = std::move(left);
  }

 private:
  Step& step(size_t i) { return plan_.steps[i]; }
  size_t root(const strided::Operand& o) const { return plan_.roots[static_cast<size_t>(o.storage)]; }
  // The step that alone reads the value of an operand; SIZE_MAX if there is none or it goes out.
  size_t only_reader(const strided::Operand& o) {
    const auto& r = readers_[o.storage];
    return r.size() == 1 ? r[0] : SIZE_MAX;
  }
  bool writes(const Step& s, size_t memory) const {
    for (size_t k = static_cast<size_t>(s.n_in); k < s.operands.size(); ++k)
      if (root(s.operands[k]) == memory) return true;
    return false;
  }
  bool reads(const Step& s, size_t memory) const {
    for (int k = 0; k < s.n_in; ++k)
      if (root(s.operands[static_cast<size_t>(k)]) == memory) return true;
    return false;
  }
  // Whether what steps from..to (both without) do leaves step `from` free to run at `to`.
  bool can_sink(size_t from, size_t to) {
    const Step& s = step(from);
    for (size_t i = from + 1; i < to; ++i) {
      if (gone_[i]) continue;
      for (size_t k = 0; k < s.operands.size(); ++k) {
        const size_t m = root(s.operands[k]);
        if (writes(step(i), m) || (static_cast<int>(k) >= s.n_in && reads(step(i), m))) return false;
      }
    }
    return true;
  }
  static void take_operand(Step& to, size_t at, const Step& from, size_t k) {
    const auto d = static_cast<std::ptrdiff_t>(at);
    to.operands.insert(to.operands.begin() + d, from.operands[k]);
    to.tensors.insert(to.tensors.begin() + d, from.tensors[k]);
  }

  // Products whose weights no step writes, behind one that is launched when all before it has ended.
  void mark_early() {
    std::vector<bool> written(plan_.storages.size());
    for (size_t i = 0; i < plan_.steps.size(); ++i)
      for (size_t k = static_cast<size_t>(step(i).n_in); !gone_[i] && k < step(i).operands.size(); ++k)
        written[root(step(i).operands[k])] = true;
    bool stopped = false;
    for (size_t i = 0; i < plan_.steps.size(); ++i) {
      if (gone_[i]) continue;
      Step& s = step(i);
      auto* p = dynamic_cast<JoinedProducts*>(s.joined.get());
      if (p && stopped) {
        p->early = true;
        const int last = s.n_in - (p->residual ? 1 : 0);
        for (int k = 1; k < last; ++k) {
          const size_t m = root(s.operands[static_cast<size_t>(k)]);
          if (plan_.storages[m].kind != Storage::Kind::Input || written[m]) p->early = false;
        }
      }
      const bool takes = s.kernel && (s.op == Op::QuantizedTake || s.op == Op::Gather);
      if ((takes || s.fused) && s.tensors.back().numel() > 0) stopped = true;
    }
  }

  // Step i, if it is products of one vector, with its neighbours.
  void products(size_t i) {
    if (gone_[i] || !step(i).joined) return;
    auto* p = dynamic_cast<JoinedProducts*>(step(i).joined.get());
    if (!p || !same_form(step(i), *p)) return;
    // The norm before.
    for (size_t j = i - 1; j < i && i - j <= kReach; --j) {  // ends below 0
      const Step& n = step(j);
      if (gone_[j] || !n.kernel || n.op != Op::RmsNorm ||
          n.operands[static_cast<size_t>(n.n_in)].storage != step(i).operands[0].storage)
        continue;
      const Tensor &to = n.tensors[static_cast<size_t>(n.n_in)], &x = step(i).tensors[0];
      if (only_reader(n.operands[static_cast<size_t>(n.n_in)]) != i || to.numel() != x.numel() ||
          to.shape.back() != p->weights[0].as<QuantAttrs>().cols || !can_sink(j, i))
        break;
      const auto& a = n.attrs.as<NormAttrs>();
      Step& s = step(i);
      p->norm = true;
      p->eps = static_cast<float>(a.eps);
      s.operands[0] = n.operands[0];
      s.tensors[0].dtype = n.tensors[0].dtype;
      if ((p->norm_weight = a.has_weight)) {
        take_operand(s, static_cast<size_t>(s.n_in), n, 1);
        ++s.n_in;
      }
      gone_[j] = true;
      break;
    }
    const size_t first_out = static_cast<size_t>(step(i).n_in), outs = step(i).operands.size() - first_out;
    const size_t j = only_reader(step(i).operands[first_out]);
    if (j == SIZE_MAX || j <= i || j > i + kReach || gone_[j]) return;
    Step& next = step(j);
    const size_t out = static_cast<size_t>(next.n_in);
    auto same = [&](size_t a, size_t b) { return next.operands[a].storage == step(i).operands[b].storage; };
    if (outs == 2 && next.kernel && next.op == Op::Swiglu && same(0, first_out) && same(1, first_out + 1) &&
        only_reader(step(i).operands[first_out + 1]) == j && next.operands[0].offset == 0 &&
        next.operands[1].offset == 0 &&
        p->weights[0].as<QuantAttrs>().rows == p->weights[1].as<QuantAttrs>().rows &&
        apart(step(i), next.operands[out]) && can_sink(i, j)) {
      p->swiglu = true;
    } else if (outs == 1 && next.adds && can_sink(i, j)) {
      const size_t mine = same(0, first_out) ? 0 : 1, other = 1 - mine;
      if (!same(mine, first_out) || same(other, first_out) || next.operands[mine].offset != 0 ||
          !apart(step(i), next.operands[out]))
        return;
      p->residual = true;
      take_operand(step(i), first_out, next, other);
      ++step(i).n_in;
    } else {
      return;
    }
    // The join stands where the other stood.
    Step s = std::move(step(i));
    s.operands.resize(static_cast<size_t>(s.n_in));
    s.tensors.resize(static_cast<size_t>(s.n_in));
    s.operands.push_back(next.operands[out]);
    s.tensors.push_back(next.tensors[out]);
    for (int k = 0; k < s.n_in; ++k) {
      auto& r = readers_[s.operands[static_cast<size_t>(k)].storage];
      std::replace(r.begin(), r.end(), i, j);
    }
    gone_[i] = true;
    step(j) = std::move(s);
  }
  // Whether an output is in no memory that the step reads.
  bool apart(const Step& s, const strided::Operand& out) const { return !reads(s, root(out)); }
  static bool same_form(const Step& s, const JoinedProducts& p) {
    const auto& a = p.weights[0].as<QuantAttrs>();
    const int64_t m = a.cols ? s.tensors[0].numel() / a.cols : 0;
    return !a.fast && m >= 1 && m <= kFewRows && joins_products(p.weights, s.tensors[0].dtype, m);
  }

  // Step i, if it writes turned keys into a cache, with the write of the values and the turn of the queries.
  void cache_write(size_t i) {
    if (gone_[i] || !in_place_rows(step(i))) return;
    size_t turn_k = SIZE_MAX, turn_q = SIZE_MAX, values = SIZE_MAX;
    const size_t from = i > kReach ? i - kReach : 0, to = std::min(i + kReach, plan_.steps.size());
    for (size_t j = from; j < to; ++j) {
      const Step& s = step(j);
      if (gone_[j] || j == i) continue;
      if (one_turn(s)) {
        if (s.operands.back().storage == step(i).operands[1].storage)
          turn_k = j;
        else
          turn_q = j;
      } else if (j > i && values == SIZE_MAX && in_place_rows(s) &&
                 s.operands[2].storage == step(i).operands[2].storage &&
                 s.operands[2].offset == step(i).operands[2].offset) {
        values = j;
      }
    }
    if (turn_k == SIZE_MAX || turn_q == SIZE_MAX || values == SIZE_MAX || turn_k > i || turn_q > values)
      return;
    if (only_reader(step(turn_k).operands.back()) != i) return;
    const Step &k = step(turn_k), &q = step(turn_q), &uk = step(i), &uv = step(values);
    const Tensor& cache = uk.tensors[0];
    if (k.tensors[0].dtype != cache.dtype || q.tensors[0].dtype != cache.dtype ||
        !(uv.tensors[0].shape == cache.shape) || uv.tensors[0].dtype != cache.dtype ||
        q.tensors[0].shape[0] != cache.shape[0] || uv.tensors[1].strides.back() != 1 ||
        !(uk.tensors[1].shape == k.tensors[0].shape) || !(uv.tensors[1].shape == k.tensors[0].shape) ||
        uk.operands[1].offset != k.operands.back().offset)
      return;
    gone_[turn_k] = gone_[turn_q] = gone_[i] = true;
    const bool ok = can_sink(turn_q, values) && can_sink(turn_k, values) && can_sink(i, values);
    gone_[turn_k] = gone_[turn_q] = gone_[i] = ok;
    if (!ok) return;
    auto joined = std::make_unique<JoinedCacheWrite>();
    joined->q = q.attrs;
    joined->k = k.attrs;
    Step s;
    s.op = Op::DynamicUpdate;
    for (int n = 0; n < q.n_in; ++n) take_operand(s, s.operands.size(), q, static_cast<size_t>(n));
    for (int n = 0; n < k.n_in; ++n) take_operand(s, s.operands.size(), k, static_cast<size_t>(n));
    take_operand(s, s.operands.size(), uv, 1);
    take_operand(s, s.operands.size(), uv, 2);
    s.n_in = static_cast<int>(s.operands.size());
    take_operand(s, s.operands.size(), q, q.operands.size() - 1);
    take_operand(s, s.operands.size(), uk, 3);
    take_operand(s, s.operands.size(), uv, 3);
    s.joined = std::move(joined);
    step(values) = std::move(s);
  }
  // Step i, if it writes caches, with the attention over them.
  void attention(size_t i) {
    if (gone_[i]) return;
    auto* write = dynamic_cast<JoinedCacheWrite*>(step(i).joined.get());
    if (!write) return;
    const Step& w = step(i);
    const size_t q_out = static_cast<size_t>(w.n_in), j = only_reader(w.operands[q_out]);
    if (j == SIZE_MAX || j <= i || j > i + kReach || gone_[j]) return;
    const Step& s = step(j);
    if (!s.kernel || s.op != Op::Attention || s.operands[0].storage != w.operands[q_out].storage ||
        s.operands[0].offset != w.operands[q_out].offset || s.tensors[0].shape.ndim() != 4 ||
        s.tensors[0].shape[2] != 1 || s.attrs.as<AttentionAttrs>().has_mask)
      return;
    for (size_t k = 1; k <= 2; ++k) {
      const Tensor &cache = w.tensors[q_out + k], &seen = s.tensors[k];
      if (root(s.operands[k]) != root(w.operands[q_out + k]) ||
          s.operands[k].offset != w.operands[q_out + k].offset || !(cache.strides == seen.strides) ||
          cache.shape[0] != seen.shape[0] || cache.shape[1] != seen.shape[1] ||
          cache.shape[3] != seen.shape[3] || cache.dtype != seen.dtype)
        return;
    }
    const strided::Operand& out = s.operands.back();
    if (!can_sink(i, j) || reads(w, root(out)) || root(out) == root(w.operands[q_out])) return;
    auto joined = std::make_unique<JoinedAttention>();
    joined->q = write->q;
    joined->k = write->k;
    joined->attention = s.attrs;
    Step all;
    all.op = Op::Attention;
    for (size_t k = 0; k < q_out; ++k) take_operand(all, all.operands.size(), w, k);
    for (size_t k = 1; k < static_cast<size_t>(s.n_in); ++k) take_operand(all, all.operands.size(), s, k);
    all.n_in = static_cast<int>(all.operands.size());
    for (size_t k = q_out; k < w.operands.size(); ++k) take_operand(all, all.operands.size(), w, k);
    take_operand(all, all.operands.size(), s, s.operands.size() - 1);
    all.joined = std::move(joined);
    gone_[i] = true;
    step(j) = std::move(all);
  }
  // A row a batch entry into (batch, heads, rows, dim), in place.
  bool in_place_rows(const Step& s) const {
    return s.kernel && s.op == Op::DynamicUpdate && s.attrs.as<DynamicUpdateAttrs>().axis == 2 &&
           s.tensors[0].shape.ndim() == 4 && s.tensors[1].shape[2] == 1 && s.operands.size() == 4 &&
           root(s.operands[0]) == root(s.operands[3]) && s.operands[0].offset == s.operands[3].offset &&
           is_row_major(s.tensors[0].shape, s.tensors[0].strides);
  }
  static bool one_turn(const Step& s) {
    return s.kernel && s.op == Op::Rope && s.tensors[0].shape.ndim() == 4 && s.tensors[0].shape[2] == 1;
  }

  Plan& plan_;
  std::vector<bool> gone_;
  std::map<int32_t, std::vector<size_t>> readers_;  // of each storage
};

}  // namespace

void JoinedProducts::run(const Call& c) const { run_products(c, *this); }

namespace {

size_t rope_operands(const RopeAttrs& a) { return a.has_freqs ? 3 : 2; }

RopeAndCache cache_write(const Call& c, const RopeAttrs& qa, const RopeAttrs& ka) {
  const size_t nq = rope_operands(qa), nk = rope_operands(ka);
  const Tensor &value = c.in[nq + nk], &start = c.in[nq + nk + 1], &keys = c.out[1], &values = c.out[2];
  RopeAndCache a{};
  a.q = rope_call(qa, c.in.subspan(0, nq), c.out[0]);
  a.k = rope_call(ka, c.in.subspan(nq, nk), keys);
  a.v = value.data;
  a.v_out = values.data;
  for (int d = 0; d < 2; ++d) a.v_stride[d] = value.strides[d];
  for (int d = 0; d < 3; ++d) a.v_out_stride[d] = values.strides[d];
  a.v_dim = value.shape[3];
  a.start = start.data;
  a.start_dtype = static_cast<int>(start.dtype);
  a.start_stride = start.shape.ndim() && start.shape[0] != 1 ? start.strides[0] : 0;
  a.rows = keys.shape[2];
  return a;
}

}  // namespace

void JoinedCacheWrite::run(const Call& c) const {
  launch_rope_and_cache(cache_write(c, q.as<RopeAttrs>(), k.as<RopeAttrs>()), c.stream);
  check(cudaGetLastError(), "rope");
}

void JoinedAttention::run(const Call& c) const {
  const auto &qa = q.as<RopeAttrs>(), &ka = k.as<RopeAttrs>();
  const RopeAndCache r = cache_write(c, qa, ka);
  std::vector<Tensor> in{c.out[0]};
  for (size_t i = rope_operands(qa) + rope_operands(ka) + 2; i < c.in.size(); ++i) in.push_back(c.in[i]);
  const AttentionLaunch a = attention_call(attention.as<AttentionAttrs>(), in, c.out[3]);
  if (launch_turned_attention(r, a, c.stream)) return check(cudaGetLastError(), "attention");
  launch_rope_and_cache(r, c.stream);
  run_attention(c, a);
}

void join_steps(Plan& plan) { Joiner(plan).run(); }

}  // namespace mc::cuda
