// Where results go: stdout, in the form asked for. Logs and progress go to stderr.
#pragma once

#include <string_view>

#include "value.h"

namespace mc::tool {

enum class Format : uint8_t { Text, Json, Yaml };

// Thrown when the reader of stdout has gone.
struct BrokenPipe {};

// Writes to stdout through a buffer. Throws BrokenPipe, or FileWrite for any other failure.
void write_out(std::string_view text);
// Passes the buffer on.
void flush_out();
// One document.
void write_result(Format format, const Value& value);

// A line on stderr, unless --quiet.
void set_quiet(bool quiet);
bool is_quiet();
void note(std::string_view line);

}  // namespace mc::tool
