// --edit and --edits, which several commands share.
#pragma once

#include <cstdint>
#include <vector>

#include "cli.h"
#include "mc/model.h"
#include "mc/sites.h"

namespace mc::tool {
extern const Option kEdit, kEditsFile;
// Help below the options of commands that take them.
extern const char* const kEditNotes;
// What both options ask for, in their order. `tokens` of the only text, -1 where there are several.
std::vector<Edit> edits_from(const Args& args, const Model& model, int64_t tokens);
// Adds "edits", a line for each, to a result; nothing where there are none.
void describe_edits(Value& result, const std::vector<Edit>& edits);
}  // namespace mc::tool
