// Files of lines like {"text": "…"}.
#pragma once

#include <string>
#include <vector>

namespace mc::tool {
// Whether a path is read as JSON lines: its name ends in ".jsonl".
bool is_json_lines(const std::string& path);
// The texts of all lines; empty lines are left out. Throws FileNotFound, FileRead, or BadData with the line's
// number.
std::vector<std::string> read_texts(const std::string& path);
}  // namespace mc::tool
