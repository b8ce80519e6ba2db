// The commands, one file each.
#pragma once

#include <vector>

#include "cli.h"

namespace mc::tool {
Command backends_command();
Command doctor_command();
Command model_info_command();

std::vector<Command> all_commands();
}  // namespace mc::tool
