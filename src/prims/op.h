// The operations as an enumeration, generated from ops.def.
#pragma once

#include "core/node.h"

namespace mc {

enum class Op : uint16_t {
#define MC_OP(name, text, kind) name,
#include "prims/ops.def"
#undef MC_OP
};
inline constexpr int kOpCount = 0
#define MC_OP(name, text, kind) +1
#include "prims/ops.def"
#undef MC_OP
    ;

enum class OpKind : uint8_t { Core, Fused, Host };

}  // namespace mc
