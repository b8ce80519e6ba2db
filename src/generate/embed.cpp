#include "mc/embed.h"

#include <algorithm>
#include <cmath>

#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/interrupt.h"
#include "mc/ops.h"

namespace mc {
namespace {

constexpr const char* kNames[] = {"mean", "first", "last"};

// Rows of one state are d apart.
std::vector<float> pooled(const float* states, size_t tokens, size_t d, const EmbedOptions& o,
                          EmbedPool pool) {
  std::vector<double> sum(d);
  const size_t first = pool == EmbedPool::Last ? tokens - 1 : 0, last = pool == EmbedPool::First ? 1 : tokens;
  for (size_t t = first; t < last; ++t)
    for (size_t c = 0; c < d; ++c) sum[c] += static_cast<double>(states[t * d + c]);
  double squares = 0;
  for (double& x : sum) {
    x /= static_cast<double>(last - first);
    squares += x * x;
  }
  const double length = o.normalize && squares > 0 ? std::sqrt(squares) : 1;
  std::vector<float> out;
  for (double x : sum) out.push_back(static_cast<float>(x / length));
  return out;
}

// Multiples of 8, so that few shapes are compiled.
int64_t padded(int64_t tokens, int64_t context) { return std::min((tokens + 7) / 8 * 8, context); }

void require_options(const std::shared_ptr<const Model>& model, const EmbedOptions& o) {
  if (!model)
    throw Error(ErrorCode::InvalidArgument, "there is no model", "embed", "load one with load_model");
  if (o.batch_size < 1 || o.batch_size > 4096)
    throw Error(ErrorCode::InvalidArgument, cat("the batch size must be from 1 to 4096, got ", o.batch_size),
                "batch-size");
}

}  // namespace

EmbedPool parse_embed_pool(const std::string& name) {
  for (int i = 0; i < 3; ++i)
    if (name == kNames[i]) return static_cast<EmbedPool>(i);
  throw Error(ErrorCode::InvalidArgument, cat("'", name, "' is no way to pool"), "pool",
              "use mean, first or last");
}
const char* embed_pool_name(EmbedPool pool) { return kNames[static_cast<int>(pool)]; }

EmbedPool default_embed_pool(const Model& model) {
  // GGUF's numbers: 0 none, 1 mean, 2 the first token's, 3 the last's.
  const uint64_t kind = model.file().u64(cat(model.config().architecture, ".pooling_type"), 1);
  return kind == 2 ? EmbedPool::First : kind == 3 ? EmbedPool::Last : EmbedPool::Mean;
}

std::vector<int32_t> embed_ids(const Model& model, const std::string& text) {
  return model.tokenizer().encode(text, {.add_eos = std::nullopt});
}

std::vector<std::vector<float>> embed(const std::shared_ptr<const Model>& model,
                                      const std::vector<std::string>& texts, const EmbedOptions& o) {
  require_options(model, o);
  const EmbedPool pool = o.pool.value_or(default_embed_pool(*model));
  const size_t context = static_cast<size_t>(model->config().context),
               d = static_cast<size_t>(model->config().hidden);
  std::vector<std::vector<int32_t>> ids;
  for (const std::string& text : texts) {
    ids.push_back(embed_ids(*model, text));
    if (ids.back().empty())
      throw Error(ErrorCode::InvalidArgument, cat("text ", ids.size(), " has no tokens"), "embed",
                  "give at least one character");
    if (ids.back().size() > context)
      throw Error(
          ErrorCode::ContextTooLong,
          cat("text ", ids.size(), " has ", ids.back().size(), " tokens, the model's context ", context),
          "embed", "cut it into parts: nothing is truncated");
  }
  std::vector<std::vector<float>> out;
  const size_t rows = std::min(static_cast<size_t>(o.batch_size), texts.size());
  if (rows == 0) return out;
  Session session(model, static_cast<int64_t>(rows));
  for (size_t at = 0; at < ids.size(); at += rows) {
    check_interrupt();
    const size_t n = std::min(rows, ids.size() - at);
    size_t longest = 0;
    for (size_t r = 0; r < n; ++r) longest = std::max(longest, ids[at + r].size());
    const auto tokens =
        static_cast<size_t>(padded(static_cast<int64_t>(longest), static_cast<int64_t>(context)));
    // Rows beyond the last text are read by nobody.
    std::vector<int32_t> flat(rows * tokens, 0), lengths(rows, 1);
    for (size_t r = 0; r < n; ++r) {
      std::copy(ids[at + r].begin(), ids[at + r].end(),
                flat.begin() + static_cast<std::ptrdiff_t>(r * tokens));
      lengths[r] = static_cast<int32_t>(ids[at + r].size());
    }
    session.reset();
    const std::vector<float> states =
        astype(session.run(flat, kMaxPass, true, {}, nullptr, lengths), Dtype::F32).to_vector<float>();
    for (size_t r = 0; r < n; ++r) {
      out.push_back(pooled(states.data() + r * tokens * d, ids[at + r].size(), d, o, pool));
      if (model->dtype() == Dtype::F16)
        for (float x : out.back())
          if (!std::isfinite(x)) model->overflowed();
    }
  }
  return out;
}

EmbedPlan plan_embed(const std::shared_ptr<const Model>& model, const EmbedOptions& o, int64_t tokens) {
  require_options(model, o);
  const ModelConfig& c = model->config();
  if (tokens > c.context)
    throw Error(ErrorCode::ContextTooLong,
                cat("a plan for ", tokens, " tokens, the model's context has ", c.context), "plan_embed");
  const int64_t length = padded(tokens, c.context);
  const auto states = static_cast<size_t>(o.batch_size * length * c.hidden);
  EmbedPlan p{plan_memory(model, length, kMaxPass, o.batch_size), states * sizeof(float)};
  p.device.decode = 0;
  // Passes' states are put together behind the last one; what is not float32 is widened.
  if (!c.encoder && length > kMaxPass) p.device.prefill += 2 * states * itemsize(model->dtype());
  if (model->dtype() != Dtype::F32) p.device.prefill += states * sizeof(float);
  return p;
}

}  // namespace mc
