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
  std::vector<nn::KvCache> cache;
  std::map<std::vector<int>, Function> forward;  // by taps
  Function greedy, logits;

  // Arguments of every program: ids, start, then keys and values of each layer (donated).
  Arrays arguments(const std::vector<int32_t>& ids, int64_t tokens) {
    Arrays args{
        Array(ids, {rows, tokens}),
        Array(std::vector<int32_t>(static_cast<size_t>(rows), static_cast<int32_t>(position)), {rows})};
    for (nn::KvCache& c : cache) {
      args.push_back(std::move(c.k));
      args.push_back(std::move(c.v));
    }
    return args;
  }

  ForwardOutput trace(const Arrays& args, const std::vector<int>& taps) const {
    ForwardInput in;
    in.ids = args[0];
    in.start = args[1];
    for (size_t i = 2; i + 1 < args.size(); i += 2) in.cache.push_back({args[i], args[i + 1]});
    in.taps = taps;
    return model->forward(in);
  }

  using Head = std::function<Arrays(const ForwardOutput&)>;

  // The head's outputs first, then the caches.
  Function step(Head head, const std::vector<int>& taps) const {
    return [this, head = std::move(head), taps](const Arrays& args) {
      ForwardOutput f = trace(args, taps);
      Arrays out = head(f);
      for (nn::KvCache& c : f.cache) {
        out.push_back(std::move(c.k));
        out.push_back(std::move(c.v));
      }
      return out;
    };
  }
  // The caches' places among the arguments.
  std::vector<int> donated() const {
    std::vector<int> donate;
    for (int i = 0; i < static_cast<int>(model->config().layers) * 2; ++i) donate.push_back(i + 2);
    return donate;
  }
  Function make(Head head, const std::vector<int>& taps) const {
    return compile(step(std::move(head), taps), false, donated());
  }

  static Arrays last_hidden(const ForwardOutput& o) { return {o.hidden}; }
  // The most probable token, or -1 where float16 did not hold the activations.
  Head greedy_head() const {
    return [m = model](const ForwardOutput& o) {
      const Array logits = m->logits(o.hidden), best = argmax(logits, -1);
      return Arrays{m->dtype() == Dtype::F16 ? where(any(isnan(logits), {-1}), full_like(best, -1), best)
                                             : best};
    };
  }

  Arrays run(const Function& f, const std::vector<int32_t>& ids, int64_t tokens) {
    reserve(position + tokens);
    Arrays out = f(arguments(ids, tokens));
    const size_t heads = out.size() - cache.size() * 2;
    for (size_t i = 0; i < cache.size(); ++i)
      cache[i] = {std::move(out[heads + 2 * i]), std::move(out[heads + 2 * i + 1])};
    out.resize(heads);
    position += tokens;
    return out;
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

Session::Session(std::shared_ptr<const Model> model, int64_t rows) : impl_(std::make_unique<Impl>()) {
  if (!model)
    throw Error(ErrorCode::InvalidArgument, "there is no model", "session", "load one with load_model");
  if (rows < 1)
    throw Error(ErrorCode::InvalidArgument, cat("a session has at least one row, got ", rows), "session");
  impl_->model = std::move(model);
  impl_->rows = rows;
}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;

void Session::reset() { impl_->position = 0; }
int64_t Session::position() const { return impl_->position; }
const Model& Session::model() const { return *impl_->model; }

Array Session::run(const std::vector<int32_t>& ids, int64_t chunk, bool all, const std::vector<int>& taps,
                   Arrays* tapped) {
  Impl& s = *impl_;
  if (chunk < 1)
    throw Error(ErrorCode::InvalidArgument, cat("a chunk has at least one token, got ", chunk), "chunk");
  std::vector<int> layers;
  for (int t : taps) layers.push_back(s.model->layer_index(t));  // throws for one that is not there
  chunk = std::min(chunk, kMaxPass);
  const int64_t n = static_cast<int64_t>(ids.size()) / s.rows;
  if (n * s.rows != static_cast<int64_t>(ids.size()) || n == 0)
    throw Error(ErrorCode::InvalidArgument,
                cat(ids.size(), " ids are not ", s.rows, " rows of at least one token"), "run");
  const int64_t context = s.model->config().context;
  if (s.position + n > context)
    throw Error(ErrorCode::ContextTooLong,
                cat("the input needs ", s.position + n, " tokens, the model's context has ", context), "run");
  for (int32_t id : ids)
    if (id < 0 || id >= s.model->config().vocab)
      throw Error(ErrorCode::IndexOutOfRange,
                  cat("token id ", id, " is not in the vocabulary of ", s.model->config().vocab), "run");
  Function& f = s.forward[layers];
  if (!f)
    f = s.make(
        [](const ForwardOutput& o) {
          Arrays out{o.hidden};
          out.insert(out.end(), o.taps.begin(), o.taps.end());
          return out;
        },
        layers);
  s.reserve(s.position + n);
  Arrays hidden;
  std::vector<Arrays> parts(layers.size());
  for (int64_t at = 0; at < n; at += chunk) {
    if (at > 0) check_interrupt();
    const int64_t t = std::min(chunk, n - at);
    std::vector<int32_t> part;
    part.reserve(static_cast<size_t>(s.rows * t));
    for (int64_t r = 0; r < s.rows; ++r)
      part.insert(part.end(), ids.begin() + static_cast<std::ptrdiff_t>(r * n + at),
                  ids.begin() + static_cast<std::ptrdiff_t>(r * n + at + t));
    Arrays out = s.run(f, part, t);
    if (!all) hidden.clear();
    hidden.push_back(std::move(out[0]));
    for (size_t i = 0; i < layers.size(); ++i) parts[i].push_back(std::move(out[i + 1]));
  }
  if (tapped) {
    tapped->clear();
    for (const Arrays& p : parts) tapped->push_back(p.size() == 1 ? p[0] : concatenate(p, 1));
  }
  return hidden.size() == 1 ? hidden[0] : concatenate(hidden, 1);
}

int32_t Session::greedy_step(int32_t id) {
  Impl& s = *impl_;
  if (!s.greedy) s.greedy = s.make(s.greedy_head(), {});
  const int32_t next = s.run(s.greedy, {id}, 1)[0].to_vector<int32_t>()[0];
  if (next < 0) s.model->overflowed();
  return next;
}

MemoryPlan plan_memory(const std::shared_ptr<const Model>& model, int64_t tokens, int64_t chunk,
                       int64_t rows) {
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
    for (int64_t i = 0; i < 2 * c.layers; ++i) args.push_back(zeros(shape, model->dtype()));
    return args;
  };
  const Arrays step = arguments(1);
  for (size_t i = 2; i < step.size(); ++i) p.cache += step[i].nbytes();
  const ProgramPlan decode = plan(s.step(s.greedy_head(), {}), step, s.donated());
  const ProgramPlan prefill = plan(s.step(Session::Impl::last_hidden, {}),
                                   arguments(std::min({tokens, chunk, kMaxPass})), s.donated());
  p.weights = decode.weights;  // the head's among them
  p.decode = decode.workspace + decode.outputs;
  p.prefill = prefill.workspace + prefill.outputs;
  return p;
}

Array Session::step_logits(int32_t id) {
  Impl& s = *impl_;
  if (!s.logits)
    s.logits = s.make(
        [m = s.model](const ForwardOutput& o) { return Arrays{reshape(m->logits(o.hidden), {-1})}; }, {});
  return s.run(s.logits, {id}, 1)[0];
}

}  // namespace mc
