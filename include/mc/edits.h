// Edits (mc/sites.h) as people write them: on a command line, or in a JSON file.
//
//   KIND SITES [VALUE] [factor=X] [positions=RANGES] [heads=RANGES] [keys=RANGES] [prompt=N] [row=N|mean]
//
// KIND is replace, scale, project-out or add, SITES a list as of parse_sites: one edit is made for each.
// VALUE is a number, numbers in JSON's brackets, FILE.npy, FILE.safetensors#TENSOR, or the folder of a
// capture, of which the tensor of the site itself is taken unless #TENSOR names another. Of a capture
// `prompt` chooses the rows of one prompt; `row` chooses one row (of that prompt) or their mean. RANGES are
// such as 0,4-7,12- ; positions below 0 count from the end of the text, where its length is known. In JSON an
// edit is an object with the keys kind, site, value and those above; ranges may be lists: [0, [4, 7]].
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mc/sites.h"

namespace mc {

// For a model of `layers` layers and a text of `tokens` tokens (-1: not known). Throws InvalidArgument,
// UnknownLayer, what reading the value throws, and what parse_sites and check_edit throw.
MC_API std::vector<Edit> parse_edit(const std::string& spec, int64_t layers, int64_t tokens = -1);
// The edits of a JSON file, a list of objects.
MC_API std::vector<Edit> read_edits(const std::string& path, int64_t layers, int64_t tokens = -1);
// One line that tells all of an edit, its value by shape and hash.
MC_API std::string edit_note(const Edit& edit);

}  // namespace mc
