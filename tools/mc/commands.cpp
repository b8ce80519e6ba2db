#include "commands.h"

namespace mc::tool {
std::vector<Command> all_commands() {
  return {infer_command(),     score_command(), embed_command(),      probe_capture_command(),
          parity_command(),    bench_command(), model_info_command(), backends_command(),
          doctor_command(),    ops_command(),   cache_ls_command(),   cache_clear_command(),
          completion_command()};
}
}  // namespace mc::tool
