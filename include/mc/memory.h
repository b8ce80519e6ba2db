// Peaks of memory, told before anything is computed: what `mc plan` prints and `--max-memory` holds a capture
// to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mc/generate.h"
#include "mc/probe.h"

namespace mc {

// "2GiB", "512 MiB", "1.5GB", "1000000" in bytes; nothing for what is no size above 0.
MC_API std::optional<size_t> parse_byte_size(const std::string& text);

struct PeakMemory {
  MemoryPlan device;
  size_t host = 0;     // beside the engine's own: results on their way, files being written
  size_t process = 0;  // of this process: what is resident now, and what will come; on an engine with memory
                       // of its own only what the host holds
  bool shared = true;  // the engine computes in host memory
  // What a limit is held against.
  size_t limited() const { return shared ? process : device.total(); }
};
// Of a model that is loaded and has not run, on the default device.
MC_API PeakMemory peak_memory(const Model& model, const MemoryPlan& device, size_t host);

struct PlanOptions {
  int64_t prompt = 512;      // tokens of a prompt or text
  int64_t max_tokens = 128;  // to generate
  int64_t rows = 4;          // texts side by side in a capture or embed
  int64_t chunk = kMaxPass;  // tokens in one pass
  std::vector<Site> sites;   // to capture
  Pool pool = Pool::None;
};
struct CommandPlan {
  std::string command, what;  // "infer"; "512 tokens of prompt, 128 generated"
  int64_t rows = 0, tokens = 0;
  PeakMemory peak;
};
// Of infer, score (of an encoder: embed) and probe capture. Throws ContextTooLong, InvalidArgument.
MC_API std::vector<CommandPlan> plan_commands(const std::shared_ptr<const Model>& model,
                                              const PlanOptions& options);

struct BatchFit {
  int64_t batch = 0;    // prompts side by side; 0 where there is no prompt
  size_t peak = 0;      // bytes that it needs
  int64_t longest = 0;  // tokens of the longest prompt
};
// The largest batch of the capture whose peak is within `limit` bytes; with `fixed` that of the options, if
// it fits. Throws MemoryLimit naming the smallest change that fits, what measure_prompts throws.
MC_API BatchFit fit_batch(const std::shared_ptr<const Model>& model, const CaptureOptions& options,
                          size_t limit, bool fixed);

}  // namespace mc
