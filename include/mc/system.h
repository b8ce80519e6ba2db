// Facts of the process and the machine.
#pragma once

#include <cstddef>

#include "mc/export.h"

namespace mc {
struct Device;
// The engine that is always there: it computes in host memory.
MC_API Device host_device();
// The largest resident size of this process so far, in bytes; 0 if the system does not say.
MC_API size_t peak_rss_bytes();
// The resident size now, in bytes; 0 if the system does not say.
MC_API size_t rss_bytes();
// Bytes that can be taken without being killed: the least of the machine's and the cgroup's; 0 if unknown.
MC_API size_t available_memory();
}  // namespace mc
