// Completion for shells, made from the tables of commands and options.
#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "commands.h"
#include "mc/detail/str.h"

namespace mc::tool {
namespace {

std::string first_word(std::string_view s) { return std::string(s.substr(0, s.find(' '))); }

// Words between a choice's bars, separated by spaces.
std::string choices(const char* metavar) {
  std::string out = metavar;
  std::replace(out.begin(), out.end(), '|', ' ');
  return out;
}

std::string joined(const std::vector<std::string>& names, const char* between) {
  std::string out;
  for (const std::string& n : names) out += cat(out.empty() ? "" : between, n);
  return out;
}

// One shell function, `_mc`, for bash and for zsh's emulation of it. Where it finds nothing the shell offers
// files.
std::string script(const std::vector<Command>& commands) {
  std::vector<std::string> top;
  std::map<std::string, std::vector<std::string>> groups;
  std::set<std::string> valued;
  std::map<std::string, std::set<std::string>> by_choices;  // values -> options
  std::string options;
  for (const Command& c : commands) {
    const std::string name = c.name, first = first_word(name);
    if (std::find(top.begin(), top.end(), first) == top.end()) top.push_back(first);
    if (first != name) groups[first].push_back(name.substr(first.size() + 1));
    std::vector<std::string> all;
    for (const Option& o : options_of(c)) {
      all.push_back(cat("--", o.name));
      if (o.kind == Kind::Flag) continue;
      std::vector<std::string> spellings{cat("--", o.name)};
      if (o.letter) spellings.push_back(cat("-", o.letter));
      for (const std::string& s : spellings) {
        valued.insert(s);
        if (o.kind == Kind::Choice) by_choices[choices(o.metavar)].insert(s);
      }
    }
    // A positional word that is a choice: "bash|zsh".
    const std::string words = std::strchr(c.words, '|') ? choices(c.words) : "";
    options += cat("    \"", name, " \"*) flags=\"", joined(all, " "), "\" values=\"", words, "\" ;;\n");
  }
  std::string values;
  for (const auto& [list, names] : by_choices)
    values += cat("    ", joined({names.begin(), names.end()}, "|"), ") COMPREPLY=($(compgen -W \"", list,
                  "\" -- \"$cur\")); return ;;\n");
  std::string second;
  for (const auto& [group, names] : groups)
    second += cat("    \"", group, " \") flags=\"--help\" values=\"", joined(names, " "), "\" ;;\n");
  const std::string with_value = joined({valued.begin(), valued.end()}, "|");
  return cat(R"(_mc() {
  local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}" given="" flags="" values="" i
  COMPREPLY=()
  # --option=value comes in three parts.
  if [ "$cur" = "=" ]; then
    cur=""
  elif [ "$prev" = "=" ]; then
    prev="${COMP_WORDS[COMP_CWORD-2]}"
  fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "${COMP_WORDS[i]}" in
      )",
             with_value, R"()
        i=$((i + 1))
        if [ "${COMP_WORDS[i]}" = "=" ]; then i=$((i + 1)); fi ;;
      -*) ;;
      *) given="$given${COMP_WORDS[i]} " ;;
    esac
  done
  case "$prev" in
)",
             values, "    ", with_value, R"() return ;;
  esac
  case "$given" in
)",
             options, second, R"(    "") flags="--help --version" values=")", joined(top, " "), R"(" ;;
  esac
  case "$cur" in
    -*) COMPREPLY=($(compgen -W "$flags" -- "$cur")) ;;
    *) COMPREPLY=($(compgen -W "$values" -- "$cur")) ;;
  esac
}
complete -o default -F _mc mc modelcypher
)");
}

int run(const Args& args) {
  const std::string shell = args.words.empty() ? "" : args.words[0];
  if (shell != "bash" && shell != "zsh")
    usage_error(shell.empty() ? "names no shell" : cat("'", shell, "' is no shell that it knows"),
                "mc completion", "use `mc completion bash` or `mc completion zsh`");
  const std::string text =
      cat(shell == "zsh" ? "#compdef mc modelcypher\nautoload -U +X bashcompinit && bashcompinit\n"
                         : "# Completion of mc for bash.\n",
          script(all_commands()));
  if (args.format == Format::Text)
    write_out(text);
  else
    write_result(args.format,
                 Value::object().set("schema", "mc.completion/1").set("shell", shell).set("script", text));
  return kOk;
}

}  // namespace

Command completion_command() {
  return {
      .name = "completion",
      .summary = "a script that makes the shell complete commands, options and values",
      .notes =
          "bash: put  source <(mc completion bash)  into ~/.bashrc; zsh:  source <(mc completion zsh)  into "
          "~/.zshrc,\nafter compinit.\n",
      .examples = "  source <(mc completion bash)\n  mc completion zsh > ~/.zfunc/_mc\n",
      .run = run,
      .words = "bash|zsh"};
}
}  // namespace mc::tool
