// The processor's caches.
#pragma once

#include <cstdint>

namespace mc {
// Bytes of the largest cache that the first core uses; 32 MiB if the system does not say.
int64_t last_level_cache();
}  // namespace mc
