// Values of edits out of files.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "mc/sites.h"

namespace mc::nn {

// Which rows (first axis) of what the file holds; nothing: all of it.
struct RowChoice {
  std::optional<int64_t> prompt, row;
  bool mean = false;  // of the rows, formed in float64
};

// "FILE.npy", "FILE.safetensors[#TENSOR]" or "CAPTURE[#TENSOR]" as float32. Throws FileNotFound, FileRead,
// BadFormat, BadData, InvalidArgument naming the tensors that are there.
Array read_edit_value(const std::string& source, const Site& site, const RowChoice& rows);

}  // namespace mc::nn
