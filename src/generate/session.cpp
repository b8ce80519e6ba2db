#include <algorithm>
#include <map>

#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/generate.h"
#include "mc/interrupt.h"
#include "mc/ops.h"
#include "mc/plan.h"
#include "mc/transforms.h"

namespace mc {

struct Session::Impl {
  std::shared_ptr<const Model> model;
  int64_t rows = 1, position = 0;
  bool lost = false;  // a pass failed after it had begun to write into the cache
  std::vector<nn::KvCache> cache;
  std::vector<Edit> edits;
  Arrays operands;                                // of the edits
  std::map<std::vector<Site>, Function> forward;  // by taps
  Function greedy, logits, head;

  // Arguments of every program: ids, start, keys and values of each layer (donated), operands of the edits,
  // and of an encoder the rows' lengths.
  Arrays arguments(const std::vector<int32_t>& ids, int64_t tokens, const std::vector<int32_t>& lengths) {
    Arrays args{
        Array(ids, {rows, tokens}),
        Array(std::vector<int32_t>(static_cast<size_t>(rows), static_cast<int32_t>(position)), {rows})};
    for (nn::KvCache& c : cache) {
      args.push_back(std::move(c.k));
      args.push_back(std::move(c.v));
    }
    args.insert(args.end(), operands.begin(), operands.end());
    if (model->config().encoder)
      args.push_back(Array(lengths.empty()
                               ? std::vector<int32_t>(static_cast<size_t>(rows), static_cast<int32_t>(tokens))
                               : lengths,
                           {rows}));
    return args;
  }

  using Head = std::function<Arrays(const ForwardOutput&, Sites&, const Array& positions)>;

  // The head's outputs first, then the caches.
  Function step(Head head, const std::vector<Site>& taps) const {
    return [this, head = std::move(head), taps](const Arrays& args) {
      ForwardInput in;
      in.ids = args[0];
      in.start = args[1];
      size_t at = 2;
      for (size_t l = 0; l < caches(); ++l, at += 2) in.cache.push_back({args[at], args[at + 1]});
      const Arrays ops(args.begin() + static_cast<std::ptrdiff_t>(at),
                       args.begin() + static_cast<std::ptrdiff_t>(at + operands.size()));
      if (model->config().encoder) in.lengths = args.back();
      const Array positions = nn::positions_from(in.start, in.ids.shape(1)).positions;
      Sites sites(taps, edits, ops, positions);
      if (!taps.empty() || !edits.empty()) in.sites = &sites;
      ForwardOutput f = model->forward(in);
      sites.require_visited();
      Arrays out = head(f, sites, positions);
      for (nn::KvCache& c : f.cache) {
        out.push_back(std::move(c.k));
        out.push_back(std::move(c.v));
      }
      return out;
    };
  }
  size_t caches() const { return model->config().encoder ? 0 : static_cast<size_t>(model->config().layers); }
  // The caches' places among the arguments.
  std::vector<int> donated() const {
    std::vector<int> donate;
    for (int i = 0; i < static_cast<int>(caches()) * 2; ++i) donate.push_back(i + 2);
    return donate;
  }
  Function make(Head head, const std::vector<Site>& taps) const {
    return compile(step(std::move(head), taps), false, donated());
  }

  static Arrays last_hidden(const ForwardOutput& o, Sites&, const Array&) { return {o.hidden}; }
  // The hidden states, then what is tapped.
  Head tapping_head(const std::vector<Site>& taps) const {
    const bool logits =
        std::any_of(taps.begin(), taps.end(), [](const Site& t) { return t.kind == SiteKind::Logits; });
    return [m = model, logits](const ForwardOutput& o, Sites& sites, const Array& positions) {
      if (logits) sites.visit_logits(m->logits(o.hidden), positions);
      Arrays out{o.hidden};
      for (Array& v : sites.values()) out.push_back(std::move(v));
      return out;
    };
  }
  // The most probable token, or -1 where float16 did not hold the activations.
  Head greedy_head() const {
    return [m = model](const ForwardOutput& o, Sites& sites, const Array& positions) {
      const Array logits = sites.visit_logits(m->logits(o.hidden), positions), best = argmax(logits, -1);
      return Arrays{m->dtype() == Dtype::F16 ? where(any(isnan(logits), {-1}), full_like(best, -1), best)
                                             : best};
    };
  }

  Arrays run(const Function& f, const std::vector<int32_t>& ids, int64_t tokens,
             const std::vector<int32_t>& lengths = {}) {
    if (lost)
      throw Error(ErrorCode::InvalidArgument, "an earlier pass failed midway and took the cache along",
                  "session", "reset() it and give the text again");
    if (caches()) reserve(position + tokens);
    const Arrays args = arguments(ids, tokens, lengths);
    Arrays out;
    try {
      out = f(args);
    } catch (...) {  // what was not touched is ours again
      for (size_t i = 0; i < cache.size(); ++i) {
        cache[i] = {args[2 + 2 * i], args[3 + 2 * i]};
        lost = lost || !cache[i].k.is_evaluated() || !cache[i].v.is_evaluated();
      }
      if (lost) cache.clear();
      throw;
    }
    const size_t heads = out.size() - cache.size() * 2;
    for (size_t i = 0; i < cache.size(); ++i)
      cache[i] = {std::move(out[heads + 2 * i]), std::move(out[heads + 2 * i + 1])};
    out.resize(heads);
    position += tokens;
    return out;
  }

  void causal_only(const char* what) const {
    if (model->config().encoder)
      throw Error(ErrorCode::InvalidArgument,
                  cat(model->config().architecture, " is an encoder: it predicts no next token"), what,
                  "use `mc embed` for vectors of texts, `mc probe capture` for states");
  }

  // Moves the cache to the next bucket when it is full.
  void reserve(int64_t tokens) {
    const int64_t capacity = Model::cache_capacity(tokens);
    if (cache.empty()) {
      cache = model->make_cache(rows, tokens);
      return;
    }
    const int64_t now = cache[0].k.shape(2);
    if (capacity <= now) return;
    for (nn::KvCache& c : cache)
      for (Array* a : {&c.k, &c.v}) *a = pad(*a, {{0, 0}, {0, 0}, {0, capacity - now}, {0, 0}}).eval();
  }
};

Session::Session(std::shared_ptr<const Model> model, int64_t rows, std::vector<Edit> edits)
    : impl_(std::make_unique<Impl>()) {
  if (!model)
    throw Error(ErrorCode::InvalidArgument, "there is no model", "session", "load one with load_model");
  if (rows < 1)
    throw Error(ErrorCode::InvalidArgument, cat("a session has at least one row, got ", rows), "session");
  impl_->model = std::move(model);
  impl_->rows = rows;
  impl_->operands = Sites::operands(edits);
  for (const Edit& e : edits)
    if (site_info(e.site.kind).per_layer) impl_->model->layer_index(e.site.layer);
  impl_->edits = std::move(edits);
}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;

Session::Impl& Session::state() const {
  if (!impl_)
    throw Error(ErrorCode::InvalidArgument, "it was moved away", "Session",
                "use the one that it was moved to");
  return *impl_;
}

void Session::reserve(int64_t tokens) {
  Impl& s = state();
  if (s.caches()) s.reserve(std::min(tokens, s.model->config().context));
}
void Session::reset() {
  state().position = 0;
  state().lost = false;
}
void Session::rewind(int64_t tokens) {
  Impl& s = state();
  if (tokens < 0 || tokens > s.position)
    throw Error(ErrorCode::InvalidArgument,
                cat("can't go back to ", tokens, " tokens, there are ", s.position), "rewind");
  if (tokens == 0) return reset();
  s.position = tokens;
}
int64_t Session::position() const { return state().position; }
const Model& Session::model() const { return *state().model; }

Array Session::run(const std::vector<int32_t>& ids, int64_t chunk, bool all, const std::vector<Site>& taps,
                   Arrays* tapped, const std::vector<int32_t>& lengths) {
  Impl& s = state();
  if (chunk < 1)
    throw Error(ErrorCode::InvalidArgument, cat("a chunk has at least one token, got ", chunk), "chunk");
  for (const Site& t : taps)
    if (site_info(t.kind).per_layer) s.model->layer_index(t.layer);  // throws for one that is not there
  chunk = std::min(chunk, kMaxPass);
  const int64_t n = static_cast<int64_t>(ids.size()) / s.rows;
  if (n * s.rows != static_cast<int64_t>(ids.size()) || n == 0)
    throw Error(ErrorCode::InvalidArgument,
                cat(ids.size(), " ids are not ", s.rows, " rows of at least one token"), "run");
  // An encoder's tokens see one another: no chunks.
  if (s.model->config().encoder) {
    chunk = n;
    s.position = 0;
  }
  const int64_t context = s.model->config().context;
  if (s.position + n > context)
    throw Error(ErrorCode::ContextTooLong,
                cat("the input needs ", s.position + n, " tokens, the model's context has ", context), "run");
  for (int32_t id : ids)
    if (id < 0 || id >= s.model->config().vocab)
      throw Error(ErrorCode::IndexOutOfRange,
                  cat("token id ", id, " is not in the vocabulary of ", s.model->config().vocab), "run");
  Function& f = s.forward[taps];
  if (!f) f = s.make(s.tapping_head(taps), taps);
  if (s.caches()) s.reserve(s.position + n);
  Arrays hidden;
  std::vector<Arrays> parts(taps.size());
  for (int64_t at = 0; at < n; at += chunk) {
    if (at > 0) check_interrupt();
    const int64_t t = std::min(chunk, n - at);
    std::vector<int32_t> part;
    part.reserve(static_cast<size_t>(s.rows * t));
    for (int64_t r = 0; r < s.rows; ++r)
      part.insert(part.end(), ids.begin() + static_cast<std::ptrdiff_t>(r * n + at),
                  ids.begin() + static_cast<std::ptrdiff_t>(r * n + at + t));
    Arrays out = s.run(f, part, t, lengths);
    if (!all) hidden.clear();
    hidden.push_back(std::move(out[0]));
    for (size_t i = 0; i < taps.size(); ++i) parts[i].push_back(std::move(out[i + 1]));
  }
  if (tapped) {
    tapped->clear();
    for (size_t i = 0; i < parts.size(); ++i) {
      const bool pattern = taps[i].kind == SiteKind::Pattern;
      Array all = parts[i].size() == 1 ? parts[i][0] : concatenate(parts[i], pattern ? 2 : 1);
      tapped->push_back(pattern ? slice_axis(all, 3, 0, s.position) : all);
    }
  }
  return hidden.size() == 1 ? hidden[0] : concatenate(hidden, 1);
}

Array Session::logits(const Array& hidden, const std::vector<int32_t>& positions) {
  Impl& s = state();
  s.causal_only("logits");
  if (!s.head)
    s.head = compile([&s](const Arrays& a) {
      Sites sites({}, s.edits, Arrays(a.begin() + 2, a.end()), a[1]);
      return Arrays{sites.visit_logits(s.model->logits(a[0]), a[1])};
    });
  Arrays args{hidden, Array(positions, {static_cast<int64_t>(positions.size())})};
  args.insert(args.end(), s.operands.begin(), s.operands.end());
  return s.head(args)[0];
}

void require_fired(const std::vector<Edit>& edits, int64_t tokens) {
  for (const Edit& e : edits) {
    if (e.positions.empty()) continue;
    if (std::none_of(e.positions.begin(), e.positions.end(), [&](const auto& r) { return r.first < tokens; }))
      throw Error(ErrorCode::InvalidArgument,
                  cat(edit_name(e.kind), " at ", site_name(e.site), " never fired: its positions begin at ",
                      e.positions[0].first, ", the model saw ", tokens, " tokens"),
                  "edit", "choose positions that the input has");
  }
}
void Session::require_fired() const { mc::require_fired(state().edits, state().position); }

int32_t Session::greedy_step(int32_t id) {
  Impl& s = state();
  s.causal_only("generate");
  if (!s.greedy) s.greedy = s.make(s.greedy_head(), {});
  const int32_t next = s.run(s.greedy, {id}, 1)[0].to_vector<int32_t>()[0];
  if (next < 0) s.model->overflowed();
  return next;
}

MemoryPlan plan_memory(const std::shared_ptr<const Model>& model, int64_t tokens, int64_t chunk, int64_t rows,
                       const std::vector<Site>& taps) {
  if (!model)
    throw Error(ErrorCode::InvalidArgument, "there is no model", "plan_memory", "load one with load_model");
  const ModelConfig& c = model->config();
  if (tokens < 1 || chunk < 1 || rows < 1)
    throw Error(ErrorCode::InvalidArgument, cat(rows, " rows of ", tokens, " tokens in chunks of ", chunk),
                "plan_memory", "use numbers from 1 on");
  if (tokens > c.context)
    throw Error(ErrorCode::ContextTooLong,
                cat("a plan for ", tokens, " tokens, the model's context has ", c.context), "plan_memory");
  Session::Impl s;
  s.model = model;
  s.rows = rows;
  MemoryPlan p;
  p.capacity = Model::cache_capacity(tokens);
  const Shape shape{rows, c.kv_heads, p.capacity, c.head_dim};
  // Of T new tokens; nothing of this is ever evaluated.
  auto arguments = [&](int64_t t) {
    Arrays args{zeros({rows, t}, Dtype::I32), zeros({rows}, Dtype::I32)};
    for (size_t i = 0; i < 2 * s.caches(); ++i) args.push_back(zeros(shape, model->dtype()));
    if (c.encoder) args.push_back(zeros({rows}, Dtype::I32));  // lengths
    return args;
  };
  const Arrays step = arguments(1);
  for (size_t i = 2; i < step.size(); ++i) p.cache += step[i].nbytes();
  const int64_t pass = c.encoder ? tokens : std::min({tokens, chunk, kMaxPass});
  const Function pass_of = s.step(taps.empty() ? Session::Impl::last_hidden : s.tapping_head(taps), taps);
  const ProgramPlan prefill = plan(pass_of, arguments(pass), s.donated());
  p.weights = prefill.weights;
  p.prefill = prefill.workspace + prefill.outputs;
  if (tokens > pass) {
    // What passes read is kept until the last.
    if (!taps.empty())
      p.prefill += prefill.outputs * static_cast<size_t>(tokens - pass) / static_cast<size_t>(pass);
  }
  if (c.encoder || !taps.empty()) return p;
  const ProgramPlan decode = plan(s.step(s.greedy_head(), {}), step, s.donated());
  p.weights = decode.weights;  // the head's among them
  p.decode = decode.workspace + decode.outputs;
  return p;
}

Array Session::step_logits(int32_t id) {
  Impl& s = state();
  s.causal_only("generate");
  if (!s.logits)
    s.logits = s.make(
        [m = s.model](const ForwardOutput& o, Sites& sites, const Array& positions) {
          return Arrays{reshape(sites.visit_logits(m->logits(o.hidden), positions), {-1})};
        },
        {});
  return s.run(s.logits, {id}, 1)[0];
}

}  // namespace mc
