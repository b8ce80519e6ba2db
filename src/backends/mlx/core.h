// Between the two libraries of this engine: libmc_engine_mlx.so finds and loads libmlx, then
// libmc_mlx_core.so, which is linked to libmlx and could not be loaded before it.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace mc {
class Backend;
namespace mlx_engine {
using Places =
    std::vector<std::pair<std::string, std::string>>;  // where libmlx was sought, and what was there
using MakeCore = Backend* (*)(const Places& places);
inline constexpr const char* kMakeCore = "mc_mlx_core";
}  // namespace mlx_engine
}  // namespace mc
