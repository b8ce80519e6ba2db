// NumPy's files: .npy (one array) and .npz (an archive of them).
//
// A file is taken for hostile: header, shape, sizes and the archive's directory are checked against the bytes
// that are there before anything is allocated.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "mc/array.h"

namespace mc {

// Versions 1 to 3; little-endian bool, integers, float16/32/64, complex64/128; C or Fortran order (the array
// comes in C order). Throws FileNotFound, FileRead, BadFormat, Truncated, DtypeMismatch naming the kind.
MC_API Array read_npy(const std::string& path);
// Version 1, C order; bfloat16 is widened to float32, which NumPy lacks. Whole or not at all. Throws
// FileWrite.
MC_API void write_npy(const std::string& path, const Array& array);
// As np.savez and np.savez_compressed write it: members NAME.npy, in the file's order, checksums compared;
// archives past 4 GiB or 65,535 members (zip64), too.
MC_API std::vector<std::pair<std::string, Array>> read_npz(const std::string& path);
// Members as in the order given; at most 65,534, below 4 GiB together. Throws FileWrite; InvalidArgument for
// more and for a name that comes twice.
MC_API void write_npz(const std::string& path, const std::vector<std::pair<std::string, Array>>& arrays);

}  // namespace mc
