#include "mc/generate.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/fast.h"
#include "mc/interrupt.h"
#include "mc/ops.h"
#include "mc/plan.h"
#include "mc/transforms.h"
#include "sampler.h"

namespace mc {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point t) { return std::chrono::duration<double>(Clock::now() - t).count(); }

// Text that may be shown: all but a tail that could become a stop string.
class StopFilter {
 public:
  explicit StopFilter(const std::vector<std::string>& stops) : stops_(stops) {}
  // Returns what can be shown now. After `hit` nothing more comes.
  std::string push(std::string_view text) {
    held_.append(text);
    size_t at = std::string::npos;
    for (const std::string& s : stops_)
      if (!s.empty()) at = std::min(at, held_.find(s));
    if (at != std::string::npos) {
      hit_ = true;
      std::string out = held_.substr(0, at);
      held_.clear();
      return out;
    }
    size_t keep = 0;
    for (const std::string& s : stops_)
      for (size_t n = std::min(s.size() - (s.empty() ? 0 : 1), held_.size()); n > keep; --n)
        if (held_.compare(held_.size() - n, n, s, 0, n) == 0) {
          keep = n;
          break;
        }
    std::string out = held_.substr(0, held_.size() - keep);
    held_.erase(0, held_.size() - keep);
    return out;
  }
  std::string flush() { return std::exchange(held_, {}); }
  bool hit() const { return hit_; }

 private:
  const std::vector<std::string>& stops_;
  std::string held_;
  bool hit_ = false;
};

// Overflow of the half range shows as NaN: infinite activations meet zero or each other before the head.
void check_overflow(const Model& model, const Array& logits) {
  if (model.dtype() == Dtype::F16 && any(isnan(logits)).item<bool>()) model.overflowed();
}

void require_causal(const std::shared_ptr<const Model>& model, const char* what) {
  if (!model) throw Error(ErrorCode::InvalidArgument, "there is no model", what, "load one with load_model");
  if (model->config().encoder)
    throw Error(ErrorCode::InvalidArgument,
                cat(model->config().architecture, " is an encoder: it predicts no next token"), what,
                "use `mc embed` for vectors of texts, `mc probe capture` for states");
}

// Tokens that the cache has room for from the beginning: all, unless many more are allowed than are likely.
int64_t room_for(int64_t prompt, int64_t max_tokens) { return prompt + std::min<int64_t>(max_tokens, 1024); }

// The head's logits are the largest array of all: few rows at a time.
int64_t head_rows(const Model& model) {
  return std::clamp<int64_t>((int64_t{64} << 20) / (model.config().vocab * 4), 1, 64);
}

double logprob_of(const Array& logits, int32_t id) {
  return static_cast<double>(-cross_entropy(logits, Array(id)).item<float>());
}

}  // namespace

const char* stop_reason_name(StopReason r) {
  switch (r) {
    case StopReason::EndOfText: return "end_of_text";
    case StopReason::MaxTokens: return "max_tokens";
    case StopReason::StopString: return "stop_string";
    case StopReason::Cancelled: return "interrupted";
    case StopReason::ContextFull: return "context_full";
  }
  return "";
}

namespace {
void check(const Model& model, const std::vector<int32_t>& prompt, const GenerateOptions& options) {
  for (const std::string& s : options.stop)
    if (s.empty()) throw Error(ErrorCode::InvalidArgument, "an empty string would stop at once", "stop");
  if (prompt.empty())
    throw Error(ErrorCode::InvalidArgument, "the prompt has no tokens", "prompt",
                "give at least one character");
  if (options.max_tokens < 0)
    throw Error(ErrorCode::InvalidArgument, cat("max-tokens must be 0 or more, got ", options.max_tokens),
                "max-tokens");
  const int64_t context = model.config().context;
  if (static_cast<int64_t>(prompt.size()) > context)
    throw Error(ErrorCode::ContextTooLong,
                cat("the prompt has ", prompt.size(), " tokens, the model's context ", context), "prompt");
}
}  // namespace

GenerateResult generate(const std::shared_ptr<const Model>& model, const std::vector<int32_t>& prompt,
                        const GenerateOptions& options, const TokenCallback& on_token) {
  require_causal(model, "generate");
  check(*model, prompt, options);
  Session session(model, 1, options.edits);
  return generate(session, prompt, options, on_token);
}

GenerateResult generate(Session& session, const std::vector<int32_t>& prompt, const GenerateOptions& options,
                        const TokenCallback& on_token) {
  const Model& model = session.model();
  check(model, prompt, options);
  const int64_t context = model.config().context, before = session.position();
  if (before >= static_cast<int64_t>(prompt.size()))
    throw Error(
        ErrorCode::InvalidArgument,
        cat("the session holds ", before, " tokens, of the prompt's ", prompt.size(), " none is left to run"),
        "prompt", "rewind() the session");
  Sampler sampler(options.sampling);
  for (int32_t id : prompt) sampler.see(id);
  const Tokenizer& tokenizer = model.tokenizer();
  StreamDecoder decoder(tokenizer);
  StopFilter filter(options.stop);
  GenerateResult r;
  r.prompt_ids = prompt;
  if (options.max_tokens == 0) return r;

  const Clock::time_point begin = Clock::now();
  session.reserve(room_for(static_cast<int64_t>(prompt.size()), options.max_tokens));
  const std::vector<int32_t> fresh(prompt.begin() + static_cast<std::ptrdiff_t>(before), prompt.end());
  const Array hidden = session.run(fresh, options.chunk, false);
  const Array last = reshape(slice_axis(hidden, 1, hidden.shape(1) - 1, hidden.shape(1)), {1, -1});
  Array logits = reshape(session.logits(last, {static_cast<int32_t>(prompt.size()) - 1}), {-1});
  check_overflow(model, logits.eval());
  int32_t next = sampler.choose(logits);
  r.prefill_s = r.time_to_first_token_s = seconds_since(begin);
  const bool need_logits = !sampler.greedy() || options.logprobs;

  const Clock::time_point decode_begin = Clock::now();
  for (;;) {
    if (!options.ignore_eos && tokenizer.is_end_of_generation(next)) {
      r.stop_reason = StopReason::EndOfText;
      break;
    }
    GeneratedToken token;
    token.id = next;
    if (options.logprobs) r.logprobs.push_back(*(token.logprob = logprob_of(logits, next)));
    token.text = filter.push(decoder.push(next));
    r.ids.push_back(next);
    r.text += token.text;
    sampler.see(next);
    const bool go_on = !on_token || on_token(token);
    if (filter.hit()) {
      r.stop_reason = StopReason::StopString;
      break;
    }
    if (!go_on) {
      r.stop_reason = StopReason::Cancelled;
      break;
    }
    if (static_cast<int64_t>(r.ids.size()) >= options.max_tokens) {
      r.stop_reason = StopReason::MaxTokens;
      break;
    }
    if (session.position() >= context) {
      r.stop_reason = StopReason::ContextFull;
      break;
    }
    if (need_logits) {
      logits = session.step_logits(next);
      check_overflow(model, logits);
      next = sampler.choose(logits);
    } else {
      next = session.greedy_step(next);
    }
    ++r.decoded;
  }
  r.decode_s = seconds_since(decode_begin);
  if (!filter.hit()) {
    const std::string rest = filter.push(decoder.flush()) + filter.flush();
    if (!rest.empty()) {
      r.text += rest;
      if (on_token) on_token({r.ids.empty() ? 0 : r.ids.back(), rest, std::nullopt, true});
    }
  }
  if (r.stop_reason != StopReason::Cancelled) session.require_fired();
  return r;
}

std::vector<std::vector<double>> score(const std::shared_ptr<const Model>& model,
                                       const std::vector<std::vector<int32_t>>& rows,
                                       const ScoreOptions& options) {
  require_causal(model, "score");
  if (options.chunk < 1)
    throw Error(ErrorCode::InvalidArgument, cat("a chunk has at least one token, got ", options.chunk),
                "chunk");
  std::vector<std::vector<double>> out(rows.size());
  if (rows.empty()) return out;
  size_t longest = 0;
  for (const auto& r : rows) {
    if (r.empty())
      throw Error(ErrorCode::InvalidArgument, "a text has no tokens", "score", "give at least one character");
    longest = std::max(longest, r.size());
  }
  const int64_t b = static_cast<int64_t>(rows.size()), n = static_cast<int64_t>(longest);
  if (n > model->config().context)
    throw Error(ErrorCode::ContextTooLong,
                cat("a text has ", n, " tokens, the model's context ", model->config().context), "score");
  std::vector<int32_t> ids(static_cast<size_t>(b * n), 0);
  for (size_t r = 0; r < rows.size(); ++r)
    std::copy(rows[r].begin(), rows[r].end(), ids.begin() + static_cast<std::ptrdiff_t>(r * longest));

  const int64_t d = model->config().hidden, rows_at_once = head_rows(*model);
  // One program of head and loss; arguments: hidden, labels, positions, operands of the edits.
  const Arrays operands = Sites::operands(options.edits);
  const Function nll = compile([&](const Arrays& a) {
    Sites sites({}, options.edits, Arrays(a.begin() + 3, a.end()), a[2]);
    return Arrays{cross_entropy(sites.visit_logits(model->logits(a[0]), a[2]), a[1])};
  });
  Session session(model, b, options.edits);
  session.reserve(n);
  for (int64_t at = 0; at < n; at += options.chunk) {
    check_interrupt();
    const int64_t t = std::min(options.chunk, n - at);
    std::vector<int32_t> part;
    for (int64_t r = 0; r < b; ++r)
      part.insert(part.end(), ids.begin() + static_cast<std::ptrdiff_t>(r * n + at),
                  ids.begin() + static_cast<std::ptrdiff_t>(r * n + at + t));
    const Array hidden = reshape(session.run(part, t, true), {b * t, d}).eval();
    // Position at+i of row r predicts token at+i+1.
    std::vector<int32_t> from, label;
    std::vector<std::pair<size_t, size_t>> where;
    for (int64_t r = 0; r < b; ++r)
      for (int64_t i = 0; i < t; ++i) {
        const size_t next = static_cast<size_t>(at + i + 1);
        if (next >= rows[static_cast<size_t>(r)].size()) break;
        from.push_back(static_cast<int32_t>(r * t + i));
        label.push_back(rows[static_cast<size_t>(r)][next]);
        where.emplace_back(static_cast<size_t>(r), next);
      }
    for (size_t k = 0; k < from.size(); k += static_cast<size_t>(rows_at_once)) {
      const size_t m = std::min(from.size() - k, static_cast<size_t>(rows_at_once));
      const Array index(std::span<const int32_t>(from).subspan(k, m), Shape{static_cast<int64_t>(m)});
      const Array labels(std::span<const int32_t>(label).subspan(k, m), Shape{static_cast<int64_t>(m)});
      std::vector<int32_t> place;
      for (size_t j = 0; j < m; ++j) place.push_back(static_cast<int32_t>(where[k + j].second) - 1);
      Arrays args{take(hidden, index, 0), labels, Array(place, {static_cast<int64_t>(m)})};
      args.insert(args.end(), operands.begin(), operands.end());
      const std::vector<float> loss = nll(args)[0].to_vector<float>();
      for (size_t j = 0; j < m; ++j) {
        if (model->dtype() == Dtype::F16 && std::isnan(loss[j])) model->overflowed();
        auto& row = out[where[k + j].first];
        row.resize(rows[where[k + j].first].size() - 1);
        row[where[k + j].second - 1] = -static_cast<double>(loss[j]);
      }
    }
  }
  if (!options.may_miss) session.require_fired();
  return out;
}

MemoryPlan plan_generate(const std::shared_ptr<const Model>& model, int64_t prompt, int64_t max_tokens,
                         int64_t chunk) {
  require_causal(model, "plan_generate");
  const int64_t context = model->config().context;
  const int64_t end = std::min(prompt + std::max<int64_t>(max_tokens, 0), context),
                begin = std::min(room_for(prompt, max_tokens), context);
  MemoryPlan p = plan_memory(model, std::max(prompt, end), std::min(prompt, chunk));
  // While a cache grows one layer's is there twice.
  if (Model::cache_capacity(begin) < Model::cache_capacity(end))
    p.cache += p.cache / static_cast<size_t>(2 * std::max<int64_t>(1, model->config().layers));
  return p;
}

MemoryPlan plan_score(const std::shared_ptr<const Model>& model, int64_t tokens, int64_t chunk) {
  require_causal(model, "plan_score");
  const Function head = [&](const Arrays& a) { return Arrays{cross_entropy(model->logits(a[0]), a[1])}; };
  const int64_t d = model->config().hidden, pass = std::min({tokens, chunk, kMaxPass}),
                slab = head_rows(*model);
  MemoryPlan m = plan_memory(model, tokens, chunk);
  const int64_t rows = std::min(slab, pass);
  const ProgramPlan p = plan(head, {zeros({rows, d}, model->dtype()), zeros({rows}, Dtype::I32)});
  m.decode = p.workspace + p.outputs;
  // The states of a pass stay while the head reads them.
  m.decode += 2 * static_cast<size_t>(pass * d) * itemsize(model->dtype());
  // Passes and head take turns, and a pool keeps a little of what the one gave back beside the other.
  m.decode += size_t{4} << 20;
  return m;
}

}  // namespace mc
