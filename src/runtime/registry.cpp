#include "runtime/registry.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>

#include "base/log.h"
#include "engines.inc"
#include "mc/detail/str.h"
#include "mc/system.h"
#include "runtime/engine_library.h"

namespace mc {
namespace {

std::mutex& registry_mutex() {
  static std::mutex m;
  return m;
}
// Engines are never unloaded: their buffers may outlive everything else.
std::map<std::string, Backend*, std::less<>>& loaded() {
  static auto* m = new std::map<std::string, Backend*, std::less<>>;
  return *m;
}

std::string valid_names() {
  std::string out;
  for (const EngineRow& r : kEngineRows)
    if (!r.hidden) out += cat(out.empty() ? "" : ", ", r.name);
  return out;
}

const EngineRow& find_row(std::string_view name, std::string_view where) {
  for (const EngineRow& r : kEngineRows)
    if (name == r.name) return r;
  throw Error(ErrorCode::UnknownBackend, cat("no engine is named '", name, "'"), std::string(where),
              cat("use one of ", valid_names()));
}

thread_local std::optional<Device> scoped;
std::optional<Device> chosen;  // under registry_mutex

const char* env(const char* name) {
  const char* v = std::getenv(name);
  return v && *v ? v : nullptr;
}

}  // namespace

Backend& engine_of(const Device& device, std::string_view where) {
  if (!device.backend)
    throw Error(ErrorCode::InvalidArgument, "an empty Device was used", std::string(where),
                "take one from parse_device or default_device");
  if (device.index == 0) return *device.backend;
  if (const auto n = static_cast<int>(device.backend->devices().size());
      device.index < 0 || device.index >= n)
    throw Error(ErrorCode::DeviceUnavailable,
                cat(device.backend->name(), " has ", n, n == 1 ? " device" : " devices",
                    ", not one of number ", device.index),
                std::string(where));
  return *device.backend;
}

std::span<const EngineRow> engine_rows() { return kEngineRows; }

Backend& get_backend(std::string_view name) {
  std::lock_guard lock(registry_mutex());
  if (auto it = loaded().find(name); it != loaded().end()) return *it->second;
  const EngineRow& row = find_row(name, "backend");
  Backend* b = row.make ? row.make() : load_engine(row);
  loaded().emplace(row.name, b);
  return *b;
}

std::vector<Backend*> loaded_backends() {
  std::lock_guard lock(registry_mutex());
  std::vector<Backend*> out;
  for (auto& [name, b] : loaded()) out.push_back(b);
  return out;
}

std::string device_name(const Device& d) { return d.backend ? cat(d.backend->name(), ":", d.index) : "host"; }

Device parse_device(std::string_view spec) {
  const size_t colon = spec.find(':');
  const std::string_view engine = spec.substr(0, colon);
  Backend& b = get_backend(engine);
  if (colon == std::string_view::npos) return {&b, 0};
  const std::string_view which = spec.substr(colon + 1);
  const std::vector<DeviceInfo> devices = b.devices();
  std::string have;
  for (size_t i = 0; i < devices.size(); ++i) {
    if (which == cat(i) || which == devices[i].kind) return {&b, static_cast<int>(i)};
    have += cat(have.empty() ? "" : ", ", engine, ":", i, " (", devices[i].kind, ")");
  }
  throw Error(ErrorCode::DeviceUnavailable, cat("engine ", engine, " has no device '", which, "'"), "device",
              cat("it has ", have));
}

Selection select_default() {
  const char *a = env("MODELCYPHER_BACKEND"), *b = env("MC_BACKEND");
  if (a && b && std::string_view(a) != b)
    throw Error(ErrorCode::BackendConflict,
                cat("MODELCYPHER_BACKEND is '", a, "' and MC_BACKEND is '", b, "'"), "environment",
                "set only one of them, or both to the same engine");
  if (const char* v = a ? a : b) {
    const char* variable = a ? "MODELCYPHER_BACKEND" : "MC_BACKEND";
    try {
      return {parse_device(v), cat(variable, "=", v)};
    } catch (const Error& e) {
      if (e.code() != ErrorCode::UnknownBackend) throw;
      throw Error(e.code(), e.message(), variable, e.next());
    }
  }
  Probe probe;
#ifdef __APPLE__
  probe.apple = true;
#endif
  probe.exists = [](const std::string& file) {
    std::error_code ignored;
    return std::filesystem::exists(file, ignored);
  };
  probe.load = [](const EngineRow& row) -> Backend& { return get_backend(row.name); };
  return choose_engine(kEngineRows, probe);
}

namespace {
// The first of the row's files that is there.
std::string sign_of(const EngineRow& row, const Probe& probe) {
  std::string_view rest = row.signs;
  while (!rest.empty()) {
    const size_t colon = rest.find(':');
    const std::string file(rest.substr(0, colon));
    if (probe.exists(file)) return file;
    rest = colon == rest.npos ? std::string_view() : rest.substr(colon + 1);
  }
  return {};
}
}  // namespace

Selection choose_engine(std::span<const EngineRow> rows, const Probe& probe) {
  std::vector<const EngineRow*> order;
  for (const EngineRow& r : rows)
    if (*r.choose_for && r.apple == probe.apple) order.push_back(&r);
  std::stable_sort(order.begin(), order.end(),
                   [](const EngineRow* a, const EngineRow* b) { return a->rank < b->rank; });
  std::string failed, kinds;
  for (const EngineRow* r : order) {
    const std::string sign = probe.apple ? "macOS" : sign_of(*r, probe);
    kinds += cat(kinds.empty() ? "" : " or ", r->choose_for);
    if (sign.empty()) continue;
    try {
      Backend& b = probe.load(*r);
      const std::vector<DeviceInfo> devices = b.devices();
      for (size_t i = 0; i < devices.size(); ++i)
        if (devices[i].kind == r->choose_for)
          return {{&b, static_cast<int>(i)},
                  cat("chosen because its ", r->choose_for, " answers (", devices[i].description, ")")};
      failed += cat("; ", sign, " is there, but engine ", r->name, " sees no ", r->choose_for);
    } catch (const Error& e) {
      failed += cat("; ", sign, " is there, but ", e.message());
    }
  }
  return {{&probe.load(rows.front()), 0},
          failed.empty() ? cat("chosen because no ", kinds,
                               " was found (MODELCYPHER_BACKEND or --backend say otherwise)")
                         : cat("chosen because it is always there", failed)};
}

Device host_device() { return {&get_backend(kEngineRows[0].name), 0}; }

Device default_device() {
  if (scoped) return *scoped;
  {
    std::lock_guard lock(registry_mutex());
    if (chosen) return *chosen;
  }
  const Selection s = select_default();
  std::lock_guard lock(registry_mutex());
  if (!chosen) {
    chosen = s.device;
    log_info(cat("engine ", device_name(s.device), ": ", s.why));
  }
  return *chosen;
}

DeviceChoice default_choice() {
  {
    std::lock_guard lock(registry_mutex());
    if (chosen) return {*chosen, "the program said so"};
  }
  const Selection s = select_default();
  return {s.device, s.why};
}

void set_default_device(const Device& device) {
  engine_of(device, "set_default_device");
  std::lock_guard lock(registry_mutex());
  chosen = device;
}

DeviceScope::DeviceScope(const Device& device) : previous_(scoped.value_or(Device{})) {
  engine_of(device, "DeviceScope");
  scoped = device;
}
DeviceScope::~DeviceScope() {
  if (previous_.backend)
    scoped = previous_;
  else
    scoped.reset();
}

std::vector<BackendStatus> backend_status() {
  std::vector<BackendStatus> out;
  for (const EngineRow& r : kEngineRows) {
    if (r.hidden) continue;
    BackendStatus s;
    s.name = r.name;
    try {
      Backend& b = get_backend(r.name);
      for (const DeviceInfo& d : b.devices()) s.devices.push_back(cat(d.kind, ": ", d.description));
      s.facts = b.facts();
      s.available = true;
    } catch (const Error& e) {
      s.devices.clear();
      s.message = e.what();
      s.fix = e.next();
    }
    out.push_back(std::move(s));
  }
  return out;
}

MemoryStats memory_stats(const Device& d) { return engine_of(d, "memory_stats").memory(d, {}); }

size_t set_memory_limit(const Device& d, size_t bytes) {
  const size_t old = engine_of(d, "set_memory_limit").memory(d, {}).limit;
  d.backend->memory(d, {.set_limit = true, .limit = bytes});
  return old;
}

void reset_peak_memory(const Device& d) { engine_of(d, "reset_peak_memory").memory(d, {.reset_peak = true}); }

void synchronize(const Device& d) { engine_of(d, "synchronize").synchronize(d); }
void synchronize() {
  for (Backend* b : loaded_backends())
    for (int i = 0; i < static_cast<int>(b->devices().size()); ++i) b->synchronize({b, i});
}

}  // namespace mc
