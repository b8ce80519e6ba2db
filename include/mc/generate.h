// Running a model on text: generation and scoring.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mc/model.h"

namespace mc {

// Applied in this order: penalty, temperature, top-k, top-p, min-p.
struct Sampling {
  double temperature = 0;         // 0: the most probable token (the lowest id among equals)
  int64_t top_k = 0;              // 0: off
  double top_p = 1;               // keeps the most probable tokens up to this mass
  double min_p = 0;               // drops tokens less probable than this share of the best
  double repetition_penalty = 1;  // divides positive and multiplies negative logits of tokens seen before
  uint64_t seed = 0;              // Philox; the same seed and logits give the same tokens
};

// A pass takes at most so many tokens of a row, whatever a `chunk` asks for: Ctrl-C is heard between passes.
inline constexpr int64_t kMaxPass = 512;

struct GenerateOptions {
  int64_t max_tokens = 128;
  Sampling sampling;
  std::vector<std::string> stop;  // generation ends before the first of these strings
  bool logprobs = false;
  bool ignore_eos = false;   // for benchmarks
  int64_t chunk = kMaxPass;  // prompt tokens a pass
  std::vector<Edit> edits;   // written in every pass, of the prompt and of what is generated (mc/sites.h)
};

struct GeneratedToken {
  int32_t id = 0;
  std::string text;  // what can be shown now; never part of a character, nothing of a possible stop string
  std::optional<double> logprob;  // natural, of the model's distribution before sampling
  bool rest = false;              // no token of its own: text that was held back until the end
};

enum class StopReason : uint8_t { EndOfText, MaxTokens, StopString, Cancelled, ContextFull };
MC_API const char* stop_reason_name(StopReason reason);

struct GenerateResult {
  std::vector<int32_t> prompt_ids, ids;  // `ids` without the end-of-text token
  std::vector<double> logprobs;          // one per id, if asked for
  std::string text;
  StopReason stop_reason = StopReason::MaxTokens;
  double time_to_first_token_s = 0, prefill_s = 0, decode_s = 0;
  int64_t decoded = 0;  // steps counted in decode_s
};

// Throws InvalidArgument for an edit none of whose positions is among the first `tokens`.
MC_API void require_fired(const std::vector<Edit>& edits, int64_t tokens);

// A conversation with a model: its cache and position. One thread at a time.
class MC_API Session {
 public:
  // For `rows` sequences side by side and up to `tokens` tokens each (the cache grows in buckets as needed).
  // `edits` are written in every pass; they are operands of the compiled programs.
  explicit Session(std::shared_ptr<const Model> model, int64_t rows = 1, std::vector<Edit> edits = {});
  ~Session();
  Session(Session&&) noexcept;
  // Runs the ids (rows × n, row by row) through the model behind what is in the cache, `chunk` at a time
  // (at most kMaxPass).
  // Shorter rows are padded on the right, which changes nothing in what stands before. Returns (rows, n, d)
  // hidden states after the final norm: of the last chunk only unless `all` is set. `tapped` gets the values
  // of `taps`, in their order, of all chunks; a pattern's keys are those up to the last token. `lengths`, of
  // each row without its padding, is what encoders need.
  Array run(const std::vector<int32_t>& ids, int64_t chunk, bool all, const std::vector<Site>& taps = {},
            Arrays* tapped = nullptr, const std::vector<int32_t>& lengths = {});
  // (m, d) hidden states of tokens at `positions` (m,) -> (m, vocab), with the edits of logits.
  Array logits(const Array& hidden, const std::vector<int32_t>& positions);
  // Throws InvalidArgument for an edit none of whose positions came by since the beginning or reset.
  void require_fired() const;
  // Makes room for so many tokens in all, which otherwise grows as they come.
  void reserve(int64_t tokens);
  // Forgets the tokens from the `tokens`-th on, which other ones may then follow. Throws InvalidArgument if there
  // are fewer.
  void rewind(int64_t tokens);
  // Forgets all tokens; memory and compiled programs are kept.
  void reset();
  // One greedy step: feeds `id` (rows == 1) and returns the next token.
  int32_t greedy_step(int32_t id);
  // Logits (vocab,) after feeding one id (rows == 1).
  Array step_logits(int32_t id);
  int64_t position() const;
  const Model& model() const;
  struct Impl;

 private:
  Impl& state() const;  // throws InvalidArgument where the session was moved away

  std::unique_ptr<Impl> impl_;
};

// Bytes on the device of a Session that runs a prompt and then decodes. The engine's kernels may use some MiB
// a thread beside.
struct MemoryPlan {
  int64_t capacity = 0;  // tokens that the cache has room for
  size_t weights = 0;    // packed; the model's file is mapped and not counted
  size_t cache = 0;      // keys and values of all layers
  size_t prefill = 0;    // workspace and results of a pass over a chunk of the prompt
  size_t decode = 0;     // workspace and results of one step
  size_t total() const { return weights + cache + (prefill > decode ? prefill : decode); }
};
// For `rows` sequences of up to `tokens` tokens, the prompt in passes of up to `chunk` (at most
// kMaxPass), with `taps` read in all of them. Throws ContextTooLong.
MC_API MemoryPlan plan_memory(const std::shared_ptr<const Model>& model, int64_t tokens,
                              int64_t chunk = kMaxPass, int64_t rows = 1, const std::vector<Site>& taps = {});

// Of `generate`: a prompt and up to so many tokens more.
MC_API MemoryPlan plan_generate(const std::shared_ptr<const Model>& model, int64_t prompt, int64_t max_tokens,
                                int64_t chunk = kMaxPass);
// Of `score` for one text of so many tokens: the decode part is its head, for some tokens at a time.
MC_API MemoryPlan plan_score(const std::shared_ptr<const Model>& model, int64_t tokens,
                             int64_t chunk = kMaxPass);

// Called with each token; return false to cancel.
using TokenCallback = std::function<bool(const GeneratedToken&)>;
// Throws ContextTooLong if the prompt does not fit the model's context, InvalidArgument for an empty prompt.
MC_API GenerateResult generate(const std::shared_ptr<const Model>& model, const std::vector<int32_t>& prompt,
                               const GenerateOptions& options, const TokenCallback& on_token = {});

// The same behind what the session holds, which must be the first tokens of `prompt`: only the others are run.
// Edits are the session's, not those of the options.
MC_API GenerateResult generate(Session& session, const std::vector<int32_t>& prompt,
                               const GenerateOptions& options, const TokenCallback& on_token = {});

struct ScoreOptions {
  int64_t chunk = kMaxPass;  // tokens a pass; never changes a bit of the result
  std::vector<Edit> edits;   // written in every pass (mc/sites.h)
  bool may_miss = false;     // an edit whose positions no row reaches is no error
};
// Natural logprob of each token given those before it; the first has none.
MC_API std::vector<std::vector<double>> score(const std::shared_ptr<const Model>& model,
                                              const std::vector<std::vector<int32_t>>& rows,
                                              const ScoreOptions& options = {});

}  // namespace mc
