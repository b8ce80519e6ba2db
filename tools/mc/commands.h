// The commands, one file each.
#pragma once

#include <vector>

#include "cli.h"

namespace mc::tool {
Command backends_command();
Command bench_command();
Command cache_clear_command();
Command cache_ls_command();
Command chat_command();
Command compare_command();
Command completion_command();
Command doctor_command();
Command embed_command();
Command infer_command();
Command model_info_command();
Command ops_command();
Command parity_command();
Command plan_command();
Command probe_capture_command();
Command probe_cka_command();
Command probe_dimension_command();
Command probe_direction_command();
Command probe_entropy_command();
Command probe_geodesic_command();
Command probe_lens_command();
Command probe_neighbours_command();
Command probe_procrustes_command();
Command probe_rank_command();
Command probe_merge_command();
Command score_command();
Command tokenize_command();

// In the order of `mc --help`.
std::vector<Command> all_commands();
}  // namespace mc::tool
