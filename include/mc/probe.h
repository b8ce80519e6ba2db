// Looking inside a model: what it computes at chosen sites for many prompts, streamed to files.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "mc/generate.h"
#include "mc/model.h"
#include "mc/sites.h"

namespace mc {

enum class Pool : uint8_t { None, Last, Mean };
// Throws InvalidArgument listing the valid names.
MC_API Pool parse_pool(const std::string& name);
MC_API const char* pool_name(Pool pool);

// Tokens of a prompt by position, inclusive ranges; negative ones count from its end (-1 is the last token).
using PositionRanges = std::vector<std::pair<int64_t, int64_t>>;
// "0", "-1", "0,4-7,-3--1". Throws InvalidArgument.
MC_API PositionRanges parse_positions(const std::string& list);

// One prompt, as it was captured: `rows` rows at each site, in the order of the options' sites.
struct CapturedPrompt {
  int64_t prompt = 0, tokens = 0, rows = 0;
  std::vector<const std::byte*> values;  // valid during the call
};

struct CaptureOptions {
  std::string data;  // JSON lines, each with a "text" (mc/jsonl.h)
  std::string out;   // a folder that does not exist yet; empty: only `on_prompt` sees the values
  // What to read, each once; not `pattern`, whose rows differ in length.
  std::vector<Site> sites;
  // Which tokens: all where empty. A prompt without a position asked for is an error; a range is cut to it.
  PositionRanges positions;
  int64_t batch_size = 4;    // prompts side by side; never changes a bit of the result
  Pool pool = Pool::None;    // over the chosen tokens
  int64_t chunk = kMaxPass;  // tokens a pass
  size_t shard_bytes = 16u << 20;
  std::string precision = "highest";    // written into the manifest
  std::vector<Edit> edits;  // written in every pass; one that reaches no prompt is an error at the end
  // Goes on where a run that was stopped or killed left `out`: the same bytes as of a run in one go. The
  // prompts, the model and all options that matter must be the same.
  bool resume = false;
  // The part `part` of `parts` equal parts of the prompts, in order; merge_captures puts them together.
  int64_t part = 0, parts = 1;
  std::function<void(const CapturedPrompt&)> on_prompt;
};

struct CaptureProgress {
  int64_t prompts = 0, tokens = 0;  // done, those of an earlier run too
  int64_t resumed = 0;              // prompts of an earlier run
  double seconds = 0;               // of this run
};

struct CaptureSummary {
  int64_t prompts = 0, tokens = 0, resumed = 0, resumed_tokens = 0, shards = 0;
  uint64_t bytes = 0;
  double seconds = 0;
  std::string manifest;  // path; empty without `out`
};

// What a capture holds for one site: the tensor's name, dtype and the shape of one row.
struct CaptureColumn {
  Site site;
  std::string tensor;  // "layer.12" for resid_post.12, else the site's name
  Dtype dtype = Dtype::F32;
  Shape row;  // (d,), or (heads, head_dim)
};
// Of the sites, in their order. Throws as `capture` does.
MC_API std::vector<CaptureColumn> capture_columns(const Model& model, const std::vector<Site>& sites);

// Writes out/capture-00000.safetensors … and out/manifest.json (schema mc.capture/1). Tensors have the
// model's dtype, logits float32; a mean is formed in float64 and rounded. Their rows are prompts for Last and
// Mean, tokens for None, where int64 "offsets" (prompts of the shard + 1) tells each prompt's rows; int64
// "tokens" (prompts of the shard,) are the prompts' lengths. Every file appears whole or not at all, and the
// manifest after each shard. Memory does not grow with the data: one batch and one shard. `progress` is
// called after each batch; returning false stops and throws Interrupted, with the shards and a manifest that
// says "complete": false left behind. While it runs `out` is locked. Throws FileExists, FileLocked,
// UnknownLayer, UnknownSite, BadData with the line's number, InvalidArgument for a resume that does not fit
// what is there, naming the difference.
MC_API CaptureSummary capture(const std::shared_ptr<const Model>& model, const CaptureOptions& options,
                              const std::function<bool(const CaptureProgress&)>& progress = {});

// Puts the parts of one capture together in `out`, a folder that does not exist yet: the same bytes as of a
// run without parts. Throws InvalidArgument for parts that are missing, twice, or not of one capture,
// BadFormat for files that are not as their manifest says, FileExists.
MC_API CaptureSummary merge_captures(const std::vector<std::string>& parts, const std::string& out);

// Bytes that capture takes beside the model itself, on the device and in host memory: for `batch_size`
// prompts of up to `tokens` tokens.
struct CapturePlan {
  MemoryPlan device;
  size_t host = 0;  // copies of a batch's values, and a shard being collected and written
};
MC_API CapturePlan plan_capture(const std::shared_ptr<const Model>& model, const CaptureOptions& options,
                                int64_t tokens);
// The most tokens that a prompt of the data has, and how many prompts there are. Throws as `capture` does.
struct CaptureExtent {
  int64_t prompts = 0, longest = 0;
};
MC_API CaptureExtent measure_prompts(const Model& model, const std::string& data);

}  // namespace mc
