#include "plan.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "cli.h"
#include "format.h"
#include "mc/array.h"
#include "mc/detail/str.h"
#include "mc/device.h"
#include "mc/error.h"
#include "mc/system.h"
#include "output.h"

namespace mc::tool {
namespace {

// Stacks, allocator's slack and kernels' scratch, by measurement.
constexpr size_t kThread = 3u << 20;

std::string shown(size_t bytes) { return show_bytes(static_cast<double>(bytes)); }

}  // namespace

size_t parse_bytes(const std::string& text, const std::string& where) {
  double v = 0;
  const char *begin = text.data(), *end = begin + text.size();
  const auto r = std::from_chars(begin, end, v);
  std::string unit(r.ptr, end);
  std::erase(unit, ' ');
  const std::pair<const char*, double> units[] = {{"", 1},         {"B", 1},        {"kB", 1e3},
                                                  {"MB", 1e6},     {"GB", 1e9},     {"KiB", 0x1p10},
                                                  {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40}};
  if (r.ec == std::errc())
    for (auto [name, factor] : units)
      if (unit == name && v > 0 && v * factor < 0x1p62) return static_cast<size_t>(v * factor);
  usage_error(cat("'", text, "' is no size"), where, "for example 2GiB, 512MiB or 1.5GB");
}

Peak peak_of(const Model& model, const MemoryPlan& device, size_t host) {
  Peak p;
  p.device = device;
  p.host = host;
  p.shared = default_device().backend == host_device().backend;
  // Dense weights are read where the file is mapped; packed ones leave their pages again.
  size_t mapped = 0;
  for (const auto& [name, w] : model.weights())
    if (!w.packed && w.dense.defined()) mapped += w.dense.nbytes();
  p.process = rss_bytes() + host + (p.shared ? device.total() + mapped : 0) +
              static_cast<size_t>(num_threads()) * kThread;
  return p;
}

void fit_batch(const std::shared_ptr<Model>& model, CaptureOptions& o, size_t limit, bool fixed) {
  const CaptureExtent extent = measure_prompts(*model, o.data);
  if (extent.prompts == 0) return;  // capture says so
  auto peak = [&](int64_t batch) {
    CaptureOptions c = o;
    c.batch_size = batch;
    const CapturePlan p = plan_capture(model, c, extent.longest);
    return peak_of(*model, p.device, p.host).limited();
  };
  const size_t one = peak(1);
  if (one > limit)
    throw Error(ErrorCode::MemoryLimit,
                cat("a batch of one prompt of ", extent.longest, " tokens needs ", shown(one), ", ",
                    shown(limit), " are allowed"),
                "--max-memory",
                cat("allow ", shown(one), ", ask for fewer sites, or shorten the longest prompt"));
  if (fixed) {
    const size_t needed = peak(o.batch_size);
    if (needed <= limit) {
      note(cat("batches of ", o.batch_size, " need ", shown(needed), " of ", shown(limit)));
      return;
    }
  }
  // The peak grows with the batch.
  int64_t low = 1, high = std::min(fixed ? o.batch_size : 4096, extent.prompts);
  while (low < high) {
    const int64_t middle = low + (high - low + 1) / 2;
    (peak(middle) <= limit ? low : high) = peak(middle) <= limit ? middle : middle - 1;
  }
  if (fixed)
    throw Error(ErrorCode::MemoryLimit,
                cat("batches of ", o.batch_size, " need ", shown(peak(o.batch_size)), ", ", shown(limit),
                    " are allowed"),
                "--max-memory", cat("--batch-size ", low, " fits with ", shown(peak(low))));
  o.batch_size = low;
  note(cat("batches of ", low, " need ", shown(peak(low)), " of ", shown(limit), ", the longest prompt has ",
           extent.longest, " tokens"));
}

}  // namespace mc::tool
