// Limits of the control groups (version 2) that this process is in.
#pragma once

#include <functional>
#include <string>

namespace mc {

// Calls fn with the folder of the process's group and of every group around it, innermost first.
void each_cgroup(const std::function<void(const std::string& folder)>& fn);

}  // namespace mc
