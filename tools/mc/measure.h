// What the commands that measure captures share.
#pragma once

#include <string>
#include <vector>

#include "cli.h"
#include "mc/measures.h"

namespace mc::tool {
// --sites: of captures the sites, of files the matrices to measure.
extern const Option kOnly, kSvg, kAgainst;
inline constexpr const char* kSources = "SAMPLES...";
extern const char* const kSourceNotes;

// The words, with --sites in force.
SampleSet samples_of(const Args& args);
// The other side of --against; empty where it is not given.
std::vector<std::string> against_of(const Args& args);
void write_svg(const Args& args, const std::string& svg);
// Names without what they have in common: "resid_post.12" as "12" where all are resid_post.
std::vector<std::string> short_names(const std::vector<std::string>& names);
// A table with aligned columns; numbers to the right.
std::string table_of(const std::vector<std::vector<std::string>>& rows);
// "0.123", "-" for what is undefined.
std::string show_number(double v, int digits = 3);
std::string show_interval(const std::optional<Interval>& i);
Value value_of(const std::optional<Interval>& i);
// NaN as null.
Value number_or_null(double v);
// rows × columns as a list of lists.
Value matrix_of(const std::vector<double>& v, size_t rows);
}  // namespace mc::tool
