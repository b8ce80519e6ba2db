// What engines keep on disk between runs: compiled programs and kernels.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "mc/export.h"

namespace mc {

// Folder of all of it: $MODELCYPHER_CACHE/v1, else $XDG_CACHE_HOME/modelcypher/v1, else
// ~/.cache/modelcypher/v1; empty if none of them is set.
MC_API std::string cache_folder();

struct CacheKind {
  std::string name;  // "xla", "nvrtc"
  std::string folder;
  size_t files = 0, bytes = 0;
  size_t hits = 0, misses = 0;  // look-ups since it was last cleared, where the kind counts them
};
// Each kind that the folder holds, by name.
MC_API std::vector<CacheKind> cache_list();
// Removes the files of one kind, or of all for an empty name; what was removed. Throws InvalidArgument for a
// kind that is not there, FileWrite if a file stays.
MC_API std::vector<CacheKind> cache_remove(std::string_view kind = {});

}  // namespace mc
