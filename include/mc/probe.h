// Looking inside a model: the residual stream of many prompts, streamed to files.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "mc/model.h"

namespace mc {

enum class Pool : uint8_t { None, Last, Mean };
// Throws InvalidArgument listing the valid names.
MC_API Pool parse_pool(const std::string& name);
MC_API const char* pool_name(Pool pool);

struct CaptureOptions {
  std::string data;             // JSON lines, each with a "text"
  std::string out;              // a folder that does not exist yet
  std::vector<int64_t> layers;  // negative ones count from the end; each at most once
  int64_t batch_size = 4;       // prompts side by side; never changes a bit of the result
  Pool pool = Pool::None;
  int64_t chunk = 512;  // tokens a pass
  size_t shard_bytes = 16u << 20;
  std::string precision = "highest";  // written into the manifest
};

struct CaptureProgress {
  int64_t prompts = 0, tokens = 0;
  double seconds = 0;
};

struct CaptureSummary {
  int64_t prompts = 0, tokens = 0, shards = 0;
  uint64_t bytes = 0;
  double seconds = 0;
  std::string manifest;  // path
};

// Writes out/capture-00000.safetensors … and out/manifest.json (schema mc.capture/1). Tensor "layer.{i}" has
// the model's dtype (F32, BF16 or F16; a mean is formed in float64 and rounded): (prompts of the shard, d)
// for Last and Mean, (tokens of the shard, d) for None, where int64 "offsets" (prompts + 1) tells each
// prompt's rows. Every file appears whole or not at all. Memory does not grow with the data: one batch and
// one shard. `progress` is called after each batch; returning false stops and throws Interrupted, with the
// shards and a manifest that says "complete": false left behind. Throws FileExists, UnknownLayer, BadData
// with the line's number.
MC_API CaptureSummary capture(const std::shared_ptr<const Model>& model, const CaptureOptions& options,
                              const std::function<bool(const CaptureProgress&)>& progress = {});

}  // namespace mc
