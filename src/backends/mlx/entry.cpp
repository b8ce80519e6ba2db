// Finds libmlx, checks its version and loads it, then the part of the engine that is linked to it.
#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "backends/mlx/core.h"
#include "mc/detail/str.h"
#include "runtime/engine_entry.h"

namespace mc::mlx_engine {
namespace {

namespace fs = std::filesystem;

#if defined(__APPLE__)
constexpr const char *kLibrary = "libmlx.dylib", *kCore = "libmc_mlx_core.dylib";
#else
constexpr const char *kLibrary = "libmlx.so", *kCore = "libmc_mlx_core.so";
#endif
constexpr const char* kInstall = MC_MLX_INSTALL;

[[noreturn]] void missing(const std::string& why, const std::string& fix = kInstall) {
  throw Error(ErrorCode::BackendMissing, cat("mlx is required for the MLX backend: ", why), {}, fix);
}

// PREFIX/lib/python3.*/FOLDER/mlx for every Python there, newest first.
void add_prefix(std::vector<fs::path>& out, const fs::path& prefix) {
  std::error_code ignored;
  std::vector<fs::path> found;
  for (const char* lib : {"lib", "lib64"})
    for (const auto& entry : fs::directory_iterator(prefix / lib, ignored))
      if (entry.path().filename().string().starts_with("python3"))
        for (const char* folder : {"site-packages", "dist-packages"})
          found.push_back(entry.path() / folder / "mlx");
  std::sort(found.begin(), found.end(), std::greater<>());
  out.insert(out.end(), found.begin(), found.end());
}

struct Place {
  std::string what;
  std::vector<fs::path> folders;
};

std::vector<Place> places() {
  std::vector<Place> out;
  if (const char* venv = std::getenv("VIRTUAL_ENV")) {
    Place p{"$VIRTUAL_ENV", {}};
    add_prefix(p.folders, venv);
    out.push_back(std::move(p));
  }
  Place python{"the Python in PATH", {}};
  const char* list = std::getenv("PATH");
  std::string_view rest = list ? list : "";
  while (!rest.empty()) {
    const size_t colon = rest.find(':');
    const fs::path folder(rest.substr(0, colon));
    rest = colon == rest.npos ? std::string_view() : rest.substr(colon + 1);
    std::error_code ignored;
    if (!fs::exists(folder / "python3", ignored)) continue;
    add_prefix(python.folders, folder.parent_path());
    break;
  }
  out.push_back(std::move(python));
  Place user{"the user's and the system's packages", {}};
  if (const char* home = std::getenv("HOME")) add_prefix(user.folders, fs::path(home) / ".local");
  add_prefix(user.folders, "/usr/local");
  add_prefix(user.folders, "/usr");
  out.push_back(std::move(user));
  out.push_back({"where it was built", {fs::path(MC_MLX_FOLDER)}});
  return out;
}

fs::path library_in(const fs::path& place) {
  std::error_code ignored;
  if (fs::is_regular_file(place, ignored)) return place;
  for (const fs::path& p : {place / "lib" / kLibrary, place / kLibrary, place / "mlx" / "lib" / kLibrary})
    if (fs::is_regular_file(p, ignored)) return p;
  return {};
}

// A name in `space`, found by its mangled form: libmlx's functions are C++.
std::string version_of(void* library) {
  using Version = const char* (*)();
  const auto f = reinterpret_cast<Version>(dlsym(library, "_ZN3mlx4core7versionEv"));
  return f ? f() : "";
}

fs::path find(Places& seen) {
  if (const char* forced = std::getenv("MODELCYPHER_MLX"); forced && *forced) {
    const fs::path p = library_in(forced);
    if (p.empty()) missing(cat("MODELCYPHER_MLX is ", forced, ", where there is no ", kLibrary));
    seen.emplace_back("MODELCYPHER_MLX", p.string());
    return p;
  }
  seen.emplace_back("MODELCYPHER_MLX", "not set");
  fs::path chosen;
  std::string looked;
  for (const Place& place : places()) {
    fs::path here;
    for (const fs::path& folder : place.folders)
      if (here.empty()) here = library_in(folder);
    seen.emplace_back(place.what, here.empty()     ? "no libmlx"
                                  : chosen.empty() ? here.string()
                                                   : cat(here.string(), " (not used)"));
    looked += cat(looked.empty() ? "" : ", ", place.what);
    if (chosen.empty()) chosen = here;
  }
  if (chosen.empty()) missing(cat("there is no ", kLibrary, " (looked in ", looked, ")"));
  return chosen;
}

Backend* make() {
  // libmlx reads this once, at its first product; TensorFloat-32 is not float32.
  if (const char* tf32 = std::getenv("MLX_ENABLE_TF32"); tf32 && std::string_view(tf32) != "0")
    throw Error(ErrorCode::BackendConflict,
                cat("MLX_ENABLE_TF32=", tf32, " asks for products that are not float32"), "mlx",
                "unset MLX_ENABLE_TF32");
  setenv("MLX_ENABLE_TF32", "0", 1);
  Places seen;
  const fs::path path = find(seen);
  void* libmlx = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!libmlx) {
    const char* error = dlerror();
    missing(cat(path.string(), " can't be loaded: ", error ? error : "no reason given"));
  }
  const std::string version = version_of(libmlx);
  if (version != MC_MLX_VERSION)
    missing(cat(path.string(), " is version ", version.empty() ? "unknown" : version,
                ", this engine was built for ", MC_MLX_VERSION));
  Dl_info here;
  if (!dladdr(reinterpret_cast<const void*>(&make), &here) || !here.dli_fname)
    missing("the engine's own folder is unknown");
  const fs::path core = fs::path(here.dli_fname).parent_path() / kCore;
  void* library = dlopen(core.c_str(), RTLD_NOW | RTLD_LOCAL);
  const auto make_core = library ? reinterpret_cast<MakeCore>(dlsym(library, kMakeCore)) : nullptr;
  if (!make_core) {
    const char* error = dlerror();
    missing(cat(core.string(), " can't be loaded: ", error ? error : "no reason given"),
            "build ModelCypher anew");
  }
  try {
    return make_core(seen);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& e) {
    missing(cat("libmlx does not start: ", e.what()));
  }
}

}  // namespace
}  // namespace mc::mlx_engine

MC_ENGINE(mc::mlx_engine::make())
