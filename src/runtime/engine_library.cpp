#include "runtime/engine_library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>

#include "mc/detail/str.h"
#include "runtime/engine_entry.h"

namespace mc {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> engine_folders() {
  std::vector<fs::path> out;
  if (const char* list = std::getenv("MODELCYPHER_ENGINE_PATH")) {
    std::string_view rest = list;
    while (!rest.empty()) {
      const size_t colon = rest.find(':');
      if (colon != 0) out.emplace_back(rest.substr(0, colon));
      rest = colon == rest.npos ? std::string_view() : rest.substr(colon + 1);
    }
  }
  Dl_info here;
  if (dladdr(reinterpret_cast<const void*>(&load_engine), &here) && here.dli_fname) {
    std::error_code ignored;
    const fs::path self = fs::weakly_canonical(here.dli_fname, ignored);
    out.push_back(self.parent_path());
  }
  return out;
}

[[noreturn]] void missing(const EngineRow& row, const std::string& why, const std::string& fix) {
  throw Error(ErrorCode::BackendMissing, cat(row.message, ": ", why), {}, fix);
}

}  // namespace

Backend* load_engine(const EngineRow& row) {
  const std::string file = cat("libmc_engine_", row.name, ".so");
  for (const fs::path& folder : engine_folders()) {
    const fs::path path = folder / file;
    std::error_code ignored;
    if (!fs::exists(path, ignored)) continue;
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) {
      const char* error = dlerror();
      missing(row, cat("the engine's library can't be loaded: ", error ? error : path.string()), row.fix);
    }
    const auto entry = reinterpret_cast<EngineEntry>(dlsym(library, kEngineEntry));
    if (!entry)
      missing(row, cat(path.string(), " is no engine of ModelCypher"), "remove it, or build it anew");
    const char* abi = "";
    Backend* backend = entry(MC_ENGINE_ABI, &abi);
    if (!backend)
      missing(row,
              cat(path.string(), " was built for another ModelCypher (", abi, "; this one is ", MC_ENGINE_ABI,
                  ")"),
              "build the engine and the library together");
    return backend;
  }
  std::string searched;
  for (const fs::path& folder : engine_folders())
    searched += cat(searched.empty() ? "" : ", ", folder.string());
  missing(row, cat(row.missing, ": there is no ", file, " in ", searched), row.fix);
}

}  // namespace mc
