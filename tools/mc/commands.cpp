#include "commands.h"

namespace mc::tool {
std::vector<Command> all_commands() {
  // One a line: new commands don't meet in one hunk.
  // clang-format off
  return {
      infer_command(),
      chat_command(),
      score_command(),
      embed_command(),
      tokenize_command(),
      probe_capture_command(),
      probe_merge_command(),
      probe_cka_command(),
      probe_neighbours_command(),
      probe_procrustes_command(),
      probe_rank_command(),
      probe_dimension_command(),
      probe_geodesic_command(),
      probe_direction_command(),
      probe_lens_command(),
      probe_entropy_command(),
      plan_command(),
      parity_command(),
      bench_command(),
      model_info_command(),
      backends_command(),
      compare_command(),
      doctor_command(),
      ops_command(),
      cache_ls_command(),
      cache_clear_command(),
      completion_command(),
  };
  // clang-format on
}
}  // namespace mc::tool
