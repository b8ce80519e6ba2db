#include "backends/jax/plugins.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "mc/detail/str.h"

namespace mc::jax_engine {
namespace {

namespace fs = std::filesystem;

// A package that brings a plugin: its file below a packages' folder.
struct Package {
  const char *name, *kind, *file;
};
// In the order in which their devices are listed.
constexpr Package kPackages[] = {
    {"libtpu", "tpu", "libtpu/libtpu.so"},
    {"jax-cuda13-pjrt", "gpu", "jax_plugins/xla_cuda13/xla_cuda_plugin.so"},
    {"jax-cuda12-pjrt", "gpu", "jax_plugins/xla_cuda12/xla_cuda_plugin.so"},
    {"lammps-jax-pjrt-cpu", "cpu", "lammps_jax_pjrt_cpu/pjrt_c_api_cpu_plugin.so"},
    {"xla-cpu-pjrt", "cpu", "xla_plugins/xla_cpu_pjrt/xla_cpu_pjrt.so"},
};
constexpr const char* kInstall =
    "pip install lammps-jax-pjrt-cpu==0.11.2 (with an NVIDIA GPU: pip install "
    "'jax-cuda13-plugin[with-cuda]'), or set "
    "MODELCYPHER_PJRT_PLUGIN to a plugin's library";

void add_prefix(std::vector<fs::path>& out, const fs::path& prefix) {
  std::error_code ignored;
  std::vector<fs::path> found;
  for (const char* lib : {"lib", "lib64"})
    for (const auto& entry : fs::directory_iterator(prefix / lib, ignored))
      if (entry.path().filename().string().starts_with("python3"))
        for (const char* folder : {"site-packages", "dist-packages"})
          if (fs::is_directory(entry.path() / folder, ignored)) found.push_back(entry.path() / folder);
  std::sort(found.begin(), found.end(), std::greater<>());
  for (const fs::path& f : found)
    if (std::find(out.begin(), out.end(), f) == out.end()) out.push_back(f);
}

// Folders of Python packages, the nearest first.
std::vector<fs::path> package_folders() {
  std::vector<fs::path> out;
  if (const char* venv = std::getenv("VIRTUAL_ENV"); venv && *venv) add_prefix(out, venv);
  const char* list = std::getenv("PATH");
  std::string_view rest = list ? list : "";
  while (!rest.empty()) {
    const size_t colon = rest.find(':');
    const fs::path folder(rest.substr(0, colon));
    rest = colon == rest.npos ? std::string_view() : rest.substr(colon + 1);
    std::error_code ignored;
    if (folder.empty() || !fs::exists(folder / "python3", ignored)) continue;
    add_prefix(out, folder.parent_path());
    break;
  }
  if (const char* home = std::getenv("HOME")) add_prefix(out, fs::path(home) / ".local");
  add_prefix(out, "/usr/local");
  add_prefix(out, "/usr");
  add_prefix(out, MC_JAX_ENVIRONMENT);
  return out;
}

// Why a plugin of this kind can't work here; empty if it may. Asked before the plugin's client is made, which
// on a machine without the device takes long or ends the process.
std::string no_device(std::string_view kind) {
  std::error_code ignored;
  if (kind == "tpu") {
    for (const char* node : {"/dev/accel0", "/dev/vfio/0"})
      if (fs::exists(node, ignored)) return {};
    return "this machine has no TPU (neither /dev/accel0 nor /dev/vfio/0)";
  }
  if (kind == "gpu") {
    for (const char* node : {"/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg"})
      if (fs::exists(node, ignored)) return {};
    return "this machine has no GPU (no /dev/nvidiactl)";
  }
  return {};
}

void add(Clients& all, const std::string& path, std::string_view kind) {
  auto* client = new Client(open_plugin(path), kind == "gpu");
  // A CPU's further devices are the same cores under other numbers.
  const int count = client->on_host() ? 1 : client->device_count();
  for (int i = 0; i < count; ++i) all.devices.push_back({client, i});
  const Plugin& p = client->plugin();
  all.facts.emplace_back(cat("plugin ", client->kind()),
                         cat(p.path, ", PJRT ", p.major, ".", p.minor,
                             p.attributes.empty() ? "" : cat(" (", p.attributes, ")")));
  all.facts.emplace_back(cat("platform ", client->kind()), cat(client->platform(), ", ", client->version()));
}

// A plugin of the packages: what fails is told by mc doctor, and the next one is tried.
void try_add(Clients& all, const Package& package, const fs::path& file, std::string& why) {
  const std::string place = cat("package ", package.name);
  try {
    // The handshake needs no device.
    const std::string none = no_device(package.kind);
    if (!none.empty()) {
      const Plugin p = open_plugin(file.string(), false);
      all.facts.emplace_back(place,
                             cat(file.string(), ", PJRT ", p.major, ".", p.minor, ": refused, ", none));
      why += cat(why.empty() ? "" : "; ", package.name, ": ", none);
      return;
    }
    add(all, file.string(), package.kind);
    all.facts.emplace_back(place, file.string());
  } catch (const Error& e) {
    all.facts.emplace_back(place, cat(file.string(), ": ", e.message()));
    why += cat(why.empty() ? "" : "; ", package.name, ": ", e.message());
  }
}

Clients open_all() {
  Clients all;
  all.process = getpid();
  if (const char* forced = std::getenv("MODELCYPHER_PJRT_PLUGIN"); forced && *forced) {
    std::error_code ignored;
    if (!fs::is_regular_file(forced, ignored))
      missing(cat("MODELCYPHER_PJRT_PLUGIN is ", forced, ", which is no file"),
              "set it to a plugin's library, or unset it");
    all.facts.emplace_back("MODELCYPHER_PJRT_PLUGIN", forced);
    std::string_view kind = "cpu";
    for (const Package& p : kPackages)
      if (fs::path(forced).filename() == fs::path(p.file).filename()) kind = p.kind;
    if (const std::string none = no_device(kind); !none.empty()) {
      open_plugin(forced, false);
      missing(cat(forced, " is refused: ", none),
              "unset MODELCYPHER_PJRT_PLUGIN, or use a plugin for the CPU");
    }
    try {
      add(all, forced, kind);
    } catch (const Error& e) {
      if (e.code() == ErrorCode::BackendMissing) throw;
      missing(cat(forced, " has no client: ", e.message()),
              "unset MODELCYPHER_PJRT_PLUGIN, or use another plugin");
    }
    return all;
  }
  all.facts.emplace_back("MODELCYPHER_PJRT_PLUGIN", "not set");
  const std::vector<fs::path> folders = package_folders();
  std::string why;
  for (const Package& package : kPackages) {
    fs::path file;
    std::error_code ignored;
    for (const fs::path& folder : folders)
      if (file.empty() && fs::is_regular_file(folder / package.file, ignored)) file = folder / package.file;
    if (file.empty()) {
      all.facts.emplace_back(cat("package ", package.name), "not installed");
      continue;
    }
    // One plugin of a kind.
    bool have = false;
    for (const EngineDevice& d : all.devices) have = have || d.client->kind() == package.kind;
    if (have) {
      all.facts.emplace_back(cat("package ", package.name), cat(file.string(), " (not used)"));
      continue;
    }
    try_add(all, package, file, why);
  }
  if (all.devices.empty()) {
    if (!why.empty()) missing(why, kInstall);
    std::string looked;
    for (const fs::path& f : folders) looked += cat(looked.empty() ? "" : ", ", f.string());
    missing(cat("no PJRT plugin is installed (looked in ", looked.empty() ? "no folder" : looked, ")"),
            kInstall);
  }
  return all;
}

}  // namespace

const Clients& clients() {
  static const Clients* all = new Clients(open_all());
  return *all;
}

void refuse_after_fork() {
  if (getpid() != clients().process)
    throw Error(ErrorCode::DeviceUnavailable, "XLA's threads do not live in a forked process", "jax",
                "start worker processes by spawn, not by fork");
}

}  // namespace mc::jax_engine
