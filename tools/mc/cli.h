// The command line: a table of commands and options, parsed, checked and explained from one place.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "output.h"

namespace mc::tool {

enum class Kind : uint8_t { Flag, Text, Integer, Real, Choice, Integers };

struct Option {
  const char* name;  // without "--"
  Kind kind = Kind::Flag;
  const char* metavar = "";  // "N", "FILE"; for choices "a|b|c", which are also the valid values
  const char* help = "";
  double low = -std::numeric_limits<double>::infinity();  // of numbers
  double high = std::numeric_limits<double>::infinity();
  bool repeats = false;
  char letter = 0;  // short form
};

// Sets of options that several commands share.
enum Group : unsigned {
  kEngine = 1u,  // backend, device, threads, precision, dtype, seed, profile
  kModel = 2u,   // the model, as an option or as the first word
};

struct Args;
struct Command {
  const char* name;  // "infer", "probe capture"
  const char* summary;
  unsigned groups = 0;
  std::vector<Option> options;
  const char* notes = "";  // below the options
  const char* examples = "";
  int (*run)(const Args& args) = nullptr;  // returns the exit code
  const char* words = "";                  // positional arguments as shown: "MODEL", one at most, or "DIR..."
};

enum ExitCode : int { kOk = 0, kError = 1, kUsage = 2, kFailedCheck = 3, kInterrupted = 130 };

// What was given, checked: numbers are numbers and in range, choices are valid.
struct Args {
  const Command* command = nullptr;
  Format format = Format::Text;
  std::map<std::string, std::vector<std::string>, std::less<>> given;
  std::vector<std::string> words;

  bool has(std::string_view name) const { return given.find(name) != given.end(); }
  std::string text(std::string_view name, std::string_view fallback = "") const;
  std::vector<std::string> all(std::string_view name) const;
  int64_t integer(std::string_view name, int64_t fallback) const;
  double real(std::string_view name, double fallback) const;
  std::vector<int64_t> integers(std::string_view name) const;
  // The model's path: --model or the first word. Usage error if there is none.
  std::string model() const;
};

// The usage error for `message`, about `where` (an option, a command).
[[noreturn]] void usage_error(std::string message, std::string where = {}, std::string next = {});

// The words after the program's name, in two steps so that an error is already told in the form asked for.
class CommandLine {
 public:
  CommandLine(const std::vector<Command>& commands, int argc, const char* const* argv);
  // The form of output asked for, as far as it can be known of a line with mistakes.
  Format format() const { return format_; }
  bool wants_version() const { return version_; }
  // --help, `help`, or nothing at all: what to print; empty otherwise.
  std::string help() const;
  bool is_empty() const { return tokens_.empty(); }
  // Throws Error(Usage).
  Args parse() const;

 private:
  struct Token {
    std::string name;   // of an option; empty for a word
    std::string value;  // of an option with "=" or a following word; of a word the word
    bool has_value = false;
  };
  const Command* find_command(size_t& used) const;
  std::vector<std::string> words() const;

  const std::vector<Command>& commands_;
  std::vector<Token> tokens_;
  Format format_ = Format::Text;
  bool version_ = false, help_ = false;
};

std::string main_help(const std::vector<Command>& commands);
std::string command_help(const Command& command);
// The candidate that `word` was probably meant to be, or "".
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);
// Every option that a command takes, its own first.
std::vector<Option> options_of(const Command& command);

}  // namespace mc::tool
