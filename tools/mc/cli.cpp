#include "cli.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>

#include "mc/detail/str.h"
#include "mc/error.h"

namespace mc::tool {
namespace {

const std::vector<Option> kCommonOptions = {
    {"output", Kind::Choice, "text|json|yaml", "form of the result on stdout (default text)"},
    {"quiet", Kind::Flag, "", "no progress and no notes on stderr, errors only", 0, 0, false, 'q'},
    {"log-level", Kind::Choice, "error|warning|info|debug", "how much to say on stderr (default info)"},
    {"help", Kind::Flag, "", "this text", 0, 0, false, 'h'},
};
const std::vector<Option> kEngineOptions = {
    {"backend", Kind::Text, "ENGINE",
     "engine, or engine:device (`mc backends` lists them; default $MODELCYPHER_BACKEND, else by what the "
     "machine has)"},
    {"device", Kind::Text, "DEVICE", "number or kind of a device of the engine: 0, cpu, gpu"},
    {"threads", Kind::Integer, "N",
     "threads of the host engine (default $MC_NUM_THREADS, else the CPUs this process may use)", 1, 1024},
    {"precision", Kind::Choice, "highest|fast",
     "highest: float32 means float32; fast: int8 activations in quantized products (default highest)"},
    {"dtype", Kind::Choice, "f32|bf16|f16", "activations and KV cache (default f32)"},
    {"quantize", Kind::Text, "FORMAT",
     "convert weights at load: affine4 or affine8, with :32, :64 (default) or :128 for the group"},
    {"context", Kind::Integer, "TOKENS",
     "how long texts may get: models whose rotation is scaled by it choose once (default: the original)", 1,
     1099511627776.0},
    {"seed", Kind::Integer, "N", "of the random numbers (default 0)", 0, 9223372036854775807.0},
    {"profile", Kind::Text, "FILE", "write a Chrome trace of what the engine ran"},
};
const std::vector<Option> kModelOptions = {
    {"model", Kind::Text, "FILE",
     "the model: a GGUF file or a Hugging Face folder (or give it as the first word)", 0, 0, false, 'm'},
};

std::vector<std::string> split(std::string_view s, char at) {
  std::vector<std::string> out;
  for (size_t begin = 0;;) {
    const size_t end = s.find(at, begin);
    out.emplace_back(s.substr(begin, end - begin));
    if (end == std::string_view::npos) return out;
    begin = end + 1;
  }
}

std::string first_word(std::string_view s) { return std::string(s.substr(0, s.find(' '))); }

// Edits (insert, delete, replace, swap of neighbours) from a to b.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) {
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        d[i][j] = i + j;
        continue;
      }
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[a.size()][b.size()];
}

template <class T>
bool parse_number(std::string_view s, T& out) {
  if (s.size() > 1 && s[0] == '+' && s[1] != '-') s.remove_prefix(1);
  const auto r = std::from_chars(s.data(), s.data() + s.size(), out);
  return r.ec == std::errc() && r.ptr == s.data() + s.size();
}

std::string range_text(const Option& o) {
  const auto show = [](double v) {
    return std::abs(v) < 1e15 ? cat(static_cast<int64_t>(v) == v ? cat(static_cast<int64_t>(v)) : cat(v))
                              : cat("2^63-1");
  };
  if (std::isinf(o.low) && std::isinf(o.high)) return "";
  if (std::isinf(o.high)) return cat(" of at least ", show(o.low));
  return cat(" from ", show(o.low), " to ", show(o.high));
}

// Throws for a value that the option can't have.
void check_value(const Option& o, const std::string& value) {
  const std::string where = cat("--", o.name);
  if (o.kind == Kind::Integer) {
    int64_t v = 0;
    if (!parse_number(value, v) || static_cast<double>(v) < o.low || static_cast<double>(v) > o.high)
      usage_error(cat("needs a whole number", range_text(o), ", got '", value, "'"), where);
  } else if (o.kind == Kind::Real) {
    double v = 0;
    if (!parse_number(value, v) || !std::isfinite(v) || v < o.low || v > o.high)
      usage_error(cat("needs a number", range_text(o), ", got '", value, "'"), where);
  } else if (o.kind == Kind::Integers) {
    for (const std::string& part : split(value, ',')) {
      int64_t v = 0;
      if (!parse_number(part, v))
        usage_error(cat("needs whole numbers separated by commas, such as 0,6,12, got '", value, "'"), where);
    }
  } else if (o.kind == Kind::Choice) {
    const std::vector<std::string> choices = split(o.metavar, '|');
    if (std::find(choices.begin(), choices.end(), value) == choices.end()) {
      const std::string meant = nearest(value, choices);
      usage_error(cat("'", value, "' is none of its values",
                      meant.empty() ? "" : cat("; did you mean '", meant, "'?")),
                  where, cat("use one of ", join(choices)));
    }
  } else if (value.empty() && o.kind == Kind::Text && std::strcmp(o.metavar, "FILE") == 0) {
    usage_error("needs the name of a file, got nothing", where);
  }
}

const Option* find_option(const std::vector<Option>& options, std::string_view name) {
  for (const Option& o : options)
    if (name == o.name || (name.size() == 1 && name[0] == o.letter)) return &o;
  return nullptr;
}

std::string shown(std::string_view name) { return cat(name.size() == 1 ? "-" : "--", name); }

void append_options(std::string& out, const std::vector<Option>& options) {
  for (const Option& o : options) {
    std::string left = cat("  --", o.name);
    if (o.letter) left += cat(", -", o.letter);
    if (o.kind != Kind::Flag) left += cat(" ", o.metavar);
    if (left.size() < 30)
      left.resize(30, ' ');
    else
      left += "\n" + std::string(30, ' ');
    out += cat(left, o.help, o.repeats ? " (may be given several times)" : "", "\n");
  }
}

constexpr std::string_view kExitCodes =
    "exit codes: 0 done · 1 error (of parity also: engines disagree) · 2 the command line is wrong · 3 a "
    "check failed · 130 stopped by Ctrl-C "
    "(143 by SIGTERM)\n";

}  // namespace

void usage_error(std::string message, std::string where, std::string next) {
  if (!next.empty() && next.find("--help") == std::string::npos) next += " (--help tells more)";
  throw Error(ErrorCode::Usage, std::move(message), std::move(where), std::move(next));
}

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  size_t least = std::max<size_t>(1, word.size() / 3) + 1;
  for (const std::string& c : candidates) {
    const size_t d = c.size() > word.size() && word.size() >= 3 && c.compare(0, word.size(), word) == 0
                         ? 1
                         : distance(word, c);
    if (d < least) {
      least = d;
      best = c;
    }
  }
  return best;
}

std::vector<Option> options_of(const Command& c) {
  std::vector<Option> out;
  if (c.groups & kModel) out = kModelOptions;
  out.insert(out.end(), c.options.begin(), c.options.end());
  if (c.groups & kEngine) out.insert(out.end(), kEngineOptions.begin(), kEngineOptions.end());
  out.insert(out.end(), kCommonOptions.begin(), kCommonOptions.end());
  return out;
}

std::string Args::text(std::string_view name, std::string_view fallback) const {
  const auto it = given.find(name);
  return it == given.end() ? std::string(fallback) : it->second.back();
}

std::vector<std::string> Args::all(std::string_view name) const {
  const auto it = given.find(name);
  return it == given.end() ? std::vector<std::string>{} : it->second;
}

int64_t Args::integer(std::string_view name, int64_t fallback) const {
  const auto it = given.find(name);
  if (it != given.end()) parse_number(it->second.back(), fallback);
  return fallback;
}

double Args::real(std::string_view name, double fallback) const {
  const auto it = given.find(name);
  if (it != given.end()) parse_number(it->second.back(), fallback);
  return fallback;
}

std::vector<int64_t> Args::integers(std::string_view name) const {
  std::vector<int64_t> out;
  if (const auto it = given.find(name); it != given.end()) {
    for (const std::string& part : split(it->second.back(), ',')) parse_number(part, out.emplace_back());
  }
  return out;
}

std::string Args::model() const {
  if (has("model") && !words.empty())
    usage_error(cat("the model is given twice: --model ", text("model"), " and ", words[0]), "--model");
  if (has("model") && !text("model").empty()) return text("model");
  if (words.empty() || words[0].empty()) usage_error("no model is given", "--model", "add --model FILE");
  return words[0];
}

CommandLine::CommandLine(const std::vector<Command>& commands, int argc, const char* const* argv)
    : commands_(commands) {
  // Options may stand before the command's name, so which of them take a value must be known for all commands
  // together.
  std::vector<Option> every = kCommonOptions;
  for (const Command& c : commands) {
    const std::vector<Option> of = options_of(c);
    every.insert(every.end(), of.begin(), of.end());
  }
  bool only_words = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view a = argv[i];
    if (only_words || a.size() < 2 || a[0] != '-') {
      tokens_.push_back({"", std::string(a), true});
      continue;
    }
    if (a == "--") {
      only_words = true;
      continue;
    }
    Token t;
    const size_t dashes = a[1] == '-' ? 2 : 1;
    const size_t equals = dashes == 2 ? a.find('=') : std::string_view::npos;
    t.name = std::string(a.substr(dashes, equals - dashes));
    const Option* o = find_option(every, t.name);
    if (o && (dashes == 1) == (t.name.size() == 1)) {
      t.name = o->name;
    } else {
      t.name = std::string(a.substr(0, equals));  // unknown: as it was written
    }
    if (equals != std::string_view::npos) {
      t.value = std::string(a.substr(equals + 1));
      t.has_value = true;
    } else if (o && o->kind != Kind::Flag && i + 1 < argc) {
      // A value may begin with a dash, but not look like an option that exists.
      const std::string_view next = argv[i + 1];
      const bool option = next.size() > 2 && next.substr(0, 2) == "--" &&
                          find_option(every, next.substr(2, next.find('=') - 2));
      if (!option) {
        t.value = argv[++i];
        t.has_value = true;
      }
    }
    if (t.name == "help") help_ = true;
    if (t.name == "--version") version_ = true;
    if (t.name == "output")
      format_ = t.value == "json" ? Format::Json : t.value == "yaml" ? Format::Yaml : Format::Text;
    tokens_.push_back(std::move(t));
  }
  if (const std::vector<std::string> w = words(); !w.empty() && w[0] == "help") help_ = true;
}

std::vector<std::string> CommandLine::words() const {
  std::vector<std::string> out;
  for (const Token& t : tokens_)
    if (t.name.empty()) out.push_back(t.value);
  return out;
}

// The command that the first words name; `used`: how many of them. Null if there are no words.
const Command* CommandLine::find_command(size_t& used) const {
  std::vector<std::string> w = words();
  if (!w.empty() && w[0] == "help") w.erase(w.begin());
  used = 0;
  if (w.empty()) return nullptr;
  std::vector<std::string> group;
  const Command* found = nullptr;
  for (const Command& c : commands_) {
    const std::vector<std::string> name = split(c.name, ' ');
    if (name.size() > used && name.size() <= w.size() && std::equal(name.begin(), name.end(), w.begin())) {
      used = name.size();
      found = &c;  // of `backends` and `backends compare` the longer
    }
    if (name.size() == 2 && name[0] == w[0]) group.push_back(name[1]);
  }
  if (found) return found;
  if (!group.empty()) {
    if (w.size() == 1) {
      if (help_) return nullptr;
      usage_error("is a group of commands", cat("mc ", w[0]), cat("use one of: ", join(group)));
    }
    const std::string meant = nearest(w[1], group);
    usage_error(cat("no command '", w[0], " ", w[1], "'",
                    meant.empty() ? "" : cat("; did you mean '", w[0], " ", meant, "'?")),
                "", cat("use one of: ", join(group)));
  }
  std::vector<std::string> names;
  for (const Command& c : commands_) names.push_back(first_word(c.name));
  const std::string meant = nearest(w[0], names);
  usage_error(cat("no command '", w[0], "'", meant.empty() ? "" : cat("; did you mean '", meant, "'?")), "",
              "`mc --help` lists the commands");
}

std::string CommandLine::help() const {
  if (tokens_.empty()) return main_help(commands_);
  if (!help_) return "";
  size_t used = 0;
  if (const Command* c = find_command(used)) return command_help(*c);
  const std::vector<std::string> w = words();
  const std::string group = w.empty() ? "" : w.back() == "help" ? "" : w.back();
  std::string out;
  for (const Command& c : commands_)
    if (!group.empty() && first_word(c.name) == group) out += command_help(c) + "\n";
  return out.empty() ? main_help(commands_) : out;
}

Args CommandLine::parse() const {
  size_t used = 0;
  const Command* c = nullptr;
  const auto unknown_option = [](const Token& t, const std::vector<std::string>& known, std::string next) {
    const std::string meant = nearest(t.name, known);
    usage_error(cat("unknown option", meant.empty() ? "" : cat("; did you mean '", meant, "'?")), t.name,
                std::move(next));
  };
  try {
    c = find_command(used);
    if (!c) usage_error("no command is given", "", "`mc --help` lists the commands");
  } catch (const Error&) {
    // An unknown option before the command's name hides the name: the option's value would be taken for it.
    std::vector<std::string> known = {"--version"};
    for (const Command& each : commands_)
      for (const Option& o : options_of(each)) known.push_back(cat("--", o.name));
    for (const Token& t : tokens_)
      if (!t.name.empty() && t.name[0] == '-') unknown_option(t, known, "`mc --help` lists the commands");
    throw;
  }
  const std::vector<Option> options = options_of(*c);
  std::vector<std::string> known;
  for (const Option& o : options) known.push_back(cat("--", o.name));
  Args args;
  args.command = c;
  args.format = format_;
  const std::string help_hint = cat("`mc ", c->name, " --help` lists its options");
  size_t skip = used;
  for (const Token& t : tokens_) {
    if (t.name.empty()) {
      if (skip)
        --skip;
      else
        args.words.push_back(t.value);
      continue;
    }
    const Option* o = t.name[0] == '-' ? nullptr : find_option(options, t.name);
    if (!o) {
      const std::string written = t.name[0] == '-' ? t.name : shown(t.name);
      if (t.name[0] != '-')
        usage_error(cat("`mc ", c->name, "` does not take this option"), written, help_hint);
      unknown_option(t, known, help_hint);
    }
    const std::string where = shown(o->name);
    if (o->kind == Kind::Flag && t.has_value) usage_error("takes no value", where, help_hint);
    if (o->kind != Kind::Flag && !t.has_value)
      usage_error(cat("needs a value: ", o->metavar), where, help_hint);
    if (o->kind != Kind::Flag) check_value(*o, t.value);
    std::vector<std::string>& values = args.given[o->name];
    if (!values.empty() && !o->repeats) usage_error("is given twice", where, "leave one of them out");
    values.push_back(t.value);
  }
  const bool many = std::string_view(c->words).ends_with("...");
  const size_t room = many ? args.words.size() : *c->words || (c->groups & kModel) ? 1 : 0;
  if (args.words.size() > room)
    usage_error(cat("'", args.words[room], "' is one word too many"), cat("mc ", c->name),
                "put text with spaces into quotes");
  return args;
}

std::string main_help(const std::vector<Command>& commands) {
  std::string out =
      "mc: run language models on the engine of your choice and look inside their layers\n\n"
      "usage: mc COMMAND [options]      options may stand anywhere on the line\n\ncommands:\n";
  for (const Command& c : commands) {
    std::string left = cat("  ", c.name);
    left.resize(std::max<size_t>(left.size() + 1, 18), ' ');
    out += cat(left, c.summary, "\n");
  }
  out += "\noptions of every command:\n";
  append_options(out, kCommonOptions);
  out += "  --version                   version of ModelCypher\n";
  out +=
      "\nexamples:\n"
      "  mc infer --model model.gguf --prompt \"The capital of France is\"\n"
      "  mc score --model model.gguf --text \"Hello, world\" --output json\n"
      "  mc probe capture --model model.gguf --data prompts.jsonl --layers 0,6,12 --out states\n"
      "\n`mc COMMAND --help` tells more. Results go to stdout, notes and progress to stderr.\n";
  out += kExitCodes;
  return out;
}

std::string command_help(const Command& c) {
  std::string out = cat("mc ", c.name, ": ", c.summary, "\n\nusage: mc ", c.name, *c.words ? " " : "",
                        c.words, (c.groups & kModel) && !*c.words ? " --model FILE" : "", " [options]\n");
  std::vector<Option> own = c.groups & kModel ? kModelOptions : std::vector<Option>{};
  own.insert(own.end(), c.options.begin(), c.options.end());
  if (!own.empty()) {
    out += "\noptions:\n";
    append_options(out, own);
  }
  if (c.groups & kEngine) {
    out += "\nwhere and how it is computed:\n";
    append_options(out, kEngineOptions);
  }
  out += "\noptions of every command:\n";
  append_options(out, kCommonOptions);
  if (*c.notes) out += cat("\n", c.notes);
  if (*c.examples) out += cat("\nexamples:\n", c.examples);
  out += cat("\n", kExitCodes);
  return out;
}

}  // namespace mc::tool
