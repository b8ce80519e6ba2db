#include "commands.h"

namespace mc::tool {
std::vector<Command> all_commands() { return {model_info_command(), backends_command(), doctor_command()}; }
}  // namespace mc::tool
