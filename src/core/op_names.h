// The name of an operation; defined beside the table in prims.
#pragma once

#include <string_view>

#include "core/node.h"

namespace mc {
MC_ENGINE_API std::string_view op_name(Op op);
}  // namespace mc
