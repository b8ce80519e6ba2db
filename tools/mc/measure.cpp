#include "measure.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <span>

#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/file.h"

namespace mc::tool {

const Option kOnly = {"sites", Kind::Text, "LIST",
                      "only these sites or matrices: resid_post.3,resid_post.7 (default all)"};
const Option kSvg = {"svg", Kind::Text, "FILE", "draw it"};
const Option kAgainst = {"against", Kind::Text,
                         "SAMPLES", "compare with these samples, of the same prompts, instead of with itself",
                         {},        {},
                         true};
const char* const kSourceNotes =
    "SAMPLES is the folder of a capture, a .npy file of one matrix, or a .npz or .safetensors file of "
    "several; "
    "rows are\nsamples and must be the same ones everywhere. docs/probing.md says what the measure means.\n";

SampleSet samples_of(const Args& args) {
  if (args.words.empty())
    usage_error("no samples are given", cat("mc ", args.command->name),
                "name the folder of a capture, or .npy, .npz or .safetensors files");
  std::vector<std::string> only;
  if (args.has("sites")) {
    std::string list = args.text("sites");
    for (size_t at = 0; at <= list.size();) {
      const size_t end = std::min(list.find(',', at), list.size());
      only.push_back(list.substr(at, end - at));
      at = end + 1;
    }
  }
  return SampleSet(args.words, only);
}

std::vector<std::string> against_of(const Args& args) { return args.all("against"); }

void write_svg(const Args& args, const std::string& svg) {
  if (!args.has("svg")) return;
  const std::span<const std::byte> part = std::as_bytes(std::span(svg));
  write_file(args.text("svg"), {&part, 1});
}

std::vector<std::string> short_names(const std::vector<std::string>& names) {
  std::vector<std::string> out;
  for (const std::string& n : names) {
    const size_t dot = n.find('.');
    if (dot == std::string::npos || n.substr(0, dot) != names[0].substr(0, names[0].find('.'))) return names;
    out.push_back(n.substr(dot + 1));
  }
  return out;
}

std::string table_of(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  // Letters of more than one byte take one place.
  const auto width = [](const std::string& s) {
    return static_cast<size_t>(std::count_if(s.begin(), s.end(), [](char c) { return (c & 0xC0) != 0x80; }));
  };
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size(); ++i) {
      if (i == widths.size()) widths.push_back(0);
      widths[i] = std::max(widths[i], width(row[i]));
    }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string room(widths[i] - width(row[i]), ' ');
      line += (i ? "  " : "") + (i ? room + row[i] : row[i] + room);
    }
    out += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return out;
}

std::string show_number(double v, int digits) {
  if (!std::isfinite(v)) return "-";
  char text[40];
  std::snprintf(text, sizeof text, "%.*f", digits, v);
  return text;
}

std::string show_interval(const std::optional<Interval>& i) {
  return i ? cat(show_number(i->low, 2), " to ", show_number(i->high, 2)) : "-";
}

Value value_of(const std::optional<Interval>& i) {
  if (!i) return {};
  return Value::list().push(number_or_null(i->low)).push(number_or_null(i->high));
}

Value number_or_null(double v) { return std::isfinite(v) ? Value(v) : Value(); }

Value matrix_of(const std::vector<double>& v, size_t rows) {
  Value out = Value::list();
  for (size_t i = 0; i < rows; ++i) {
    Value row = Value::list();
    for (size_t j = 0; j < v.size() / rows; ++j) row.push(number_or_null(v[i * (v.size() / rows) + j]));
    out.push(std::move(row));
  }
  return out;
}

}  // namespace mc::tool
