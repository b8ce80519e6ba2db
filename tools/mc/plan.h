// What a command will need, before it computes anything.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "mc/generate.h"
#include "mc/probe.h"

namespace mc::tool {

// "2GiB", "512 MiB", "1.5GB", "1000000". Usage error naming `where`.
size_t parse_bytes(const std::string& text, const std::string& where);

// Peaks, in bytes.
struct Peak {
  MemoryPlan device;
  size_t host = 0;     // beside the engine's own: results on their way, files being written
  size_t process = 0;  // of this process: what is resident now, and what will come; on an engine with memory
                       // of its own only what the host holds
  bool shared = true;  // the engine computes in host memory
  // What a limit is held against.
  size_t limited() const { return shared ? process : device.total(); }
};
// Of a model that is loaded and has not run.
Peak peak_of(const Model& model, const MemoryPlan& device, size_t host);

// Sets the batch size to the largest whose peak is within `limit`, or, with `fixed`, checks the one that is
// set. Says what it found on stderr. Throws MemoryLimit naming the smallest change that fits.
void fit_batch(const std::shared_ptr<Model>& model, CaptureOptions& options, size_t limit, bool fixed);

}  // namespace mc::tool
