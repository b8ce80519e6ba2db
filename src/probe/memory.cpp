#include "mc/memory.h"

#include <algorithm>
#include <charconv>

#include "mc/array.h"
#include "mc/detail/show.h"
#include "mc/detail/str.h"
#include "mc/device.h"
#include "mc/embed.h"
#include "mc/error.h"
#include "mc/system.h"

namespace mc {
namespace {

// Stacks, allocator's slack and kernels' scratch, by measurement.
constexpr size_t kThread = 3u << 20;

std::string shown(size_t bytes) { return show_bytes(static_cast<double>(bytes)); }

}  // namespace

std::optional<size_t> parse_byte_size(const std::string& text) {
  double v = 0;
  const auto r = std::from_chars(text.data(), text.data() + text.size(), v);
  std::string unit(r.ptr, text.data() + text.size());
  std::erase(unit, ' ');
  const std::pair<const char*, double> units[] = {{"", 1},         {"B", 1},        {"kB", 1e3},
                                                  {"MB", 1e6},     {"GB", 1e9},     {"KiB", 0x1p10},
                                                  {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40}};
  if (r.ec == std::errc())
    for (auto [name, factor] : units)
      if (unit == name && v > 0 && v * factor < 0x1p62) return static_cast<size_t>(v * factor);
  return {};
}

PeakMemory peak_memory(const Model& model, const MemoryPlan& device, size_t host) {
  PeakMemory p;
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

std::vector<CommandPlan> plan_commands(const std::shared_ptr<const Model>& model, const PlanOptions& o) {
  if (!model)
    throw Error(ErrorCode::InvalidArgument, "there is no model", "plan_commands", "load one with load_model");
  std::vector<CommandPlan> plans;
  auto add = [&](const char* command, std::string what, int64_t n, int64_t tokens, const MemoryPlan& device,
                 size_t host) {
    plans.push_back({command, std::move(what), n, tokens, peak_memory(*model, device, host)});
  };
  if (!model->config().encoder) {
    add("infer", cat(o.prompt, " tokens of prompt, ", o.max_tokens, " generated"), 1, o.prompt + o.max_tokens,
        plan_generate(model, o.prompt, o.max_tokens, o.chunk), 0);
    add("score", cat("one text of ", o.prompt, " tokens"), 1, o.prompt, plan_score(model, o.prompt, o.chunk),
        0);
  } else {
    const EmbedPlan e = plan_embed(model, {.batch_size = o.rows}, o.prompt);
    add("embed", cat(o.rows, o.rows == 1 ? " text of " : " texts side by side of ", o.prompt, " tokens"),
        o.rows, o.prompt, e.device, e.host);
  }
  if (o.sites.empty()) return plans;
  CaptureOptions c;
  c.out = "-";
  c.batch_size = o.rows;
  c.chunk = o.chunk;
  c.pool = o.pool;
  c.sites = o.sites;
  const bool layers = std::all_of(o.sites.begin(), o.sites.end(),
                                  [](const Site& s) { return s.kind == SiteKind::ResidPost; });
  const CapturePlan p = plan_capture(model, c, o.prompt);
  add("probe capture",
      cat(o.rows, o.rows == 1 ? " prompt of " : " prompts side by side of ", o.prompt, " tokens, ",
          o.sites.size(), layers ? " layer" : " site", o.sites.size() == 1 ? "" : "s"),
      o.rows, o.prompt, p.device, p.host);
  return plans;
}

BatchFit fit_batch(const std::shared_ptr<const Model>& model, const CaptureOptions& o, size_t limit,
                   bool fixed) {
  const CaptureExtent extent = measure_prompts(*model, o.data);
  if (extent.prompts == 0) return {};  // capture says so
  auto peak = [&](int64_t batch) {
    CaptureOptions c = o;
    c.batch_size = batch;
    const CapturePlan p = plan_capture(model, c, extent.longest);
    return peak_memory(*model, p.device, p.host).limited();
  };
  const size_t one = peak(1);
  if (one > limit)
    throw Error(ErrorCode::MemoryLimit,
                cat("a batch of one prompt of ", extent.longest, " tokens needs ", shown(one), ", ",
                    shown(limit), " are allowed"),
                "memory limit",
                cat("allow ", shown(one), ", ask for fewer sites, or shorten the longest prompt"));
  if (fixed)
    if (const size_t needed = peak(o.batch_size); needed <= limit)
      return {o.batch_size, needed, extent.longest};
  // The peak grows with the batch.
  int64_t low = 1, high = std::min(fixed ? o.batch_size : 4096, extent.prompts);
  while (low < high) {
    const int64_t middle = low + (high - low + 1) / 2;
    if (peak(middle) <= limit)
      low = middle;
    else
      high = middle - 1;
  }
  if (fixed)
    throw Error(ErrorCode::MemoryLimit,
                cat("batches of ", o.batch_size, " need ", shown(peak(o.batch_size)), ", ", shown(limit),
                    " are allowed"),
                "memory limit",
                cat("use batches of ", low, " (--batch-size ", low, "), which need ", shown(peak(low))));
  return {low, peak(low), extent.longest};
}

}  // namespace mc
