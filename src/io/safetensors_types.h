// The format's element types.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "mc/dtype.h"

namespace mc {

struct SafetensorsType {
  std::string_view name;
  size_t bytes;
  std::optional<Dtype> dtype;
};
// Null for an unknown name.
const SafetensorsType* find_safetensors_type(std::string_view name);

}  // namespace mc
