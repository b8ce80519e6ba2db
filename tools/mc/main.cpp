// The command `mc`.
#include <cstdlib>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <exception>
#include <new>
#include <optional>

#include "commands.h"
#include "format.h"
#include "mc/array.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/log.h"
#include "signals.h"

namespace mc::tool {
namespace {

// Tells the error in the form asked for and returns the exit code.
int report(const Error& e, Format format) {
  if (format == Format::Text) {
    flush_out();
    std::string text = cat("error[", e.id(), "]: ", show_text(e.what(), true), "\n");
    if (const std::string next = e.next(); !next.empty())
      text += cat("  next: ", show_text(next, true), "\n");
    std::fputs(text.c_str(), stderr);
  } else {
    Value error = Value::object();
    error.set("code", e.id()).set("message", e.message()).set("where", e.where()).set("next", e.next());
    write_result(format, Value::object().set("schema", "mc.error/1").set("error", std::move(error)));
  }
  if (e.code() == ErrorCode::Usage) return kUsage;
  return e.code() == ErrorCode::Interrupted ? interrupt_exit_code() : kError;
}

int level_of(const Args& args) {
  if (args.has("quiet")) return 0;
  const std::string level = args.text("log-level", "info");
  return level == "error" ? 0 : level == "warning" ? 1 : level == "info" ? 2 : 3;
}

int run(const CommandLine& line) {
  if (line.is_empty()) {
    std::fputs(line.help().c_str(), stderr);
    return kUsage;
  }
  if (const std::string help = line.help(); !help.empty()) {
    write_out(help);
    flush_out();
    return kOk;
  }
  if (line.wants_version()) {
    if (line.format() == Format::Text)
      write_out("mc " MC_VERSION "\n");
    else
      write_result(line.format(), Value::object().set("schema", "mc.version/1").set("version", MC_VERSION));
    flush_out();
    return kOk;
  }
  const Args args = line.parse();
  set_log_level(level_of(args));
  set_quiet(args.has("quiet"));
  const int code = args.command->run(args);
  profile_stop();  // a trace that could not be written is an error
  flush_out();
  return code;
}

// Any failure as an mc::Error.
Error as_error() {
  try {
    throw;
  } catch (const Error& e) {
    return e;
  } catch (const std::bad_alloc&) {
    return Error(ErrorCode::OutOfMemory, "the system gave no more memory");
  } catch (const std::exception& e) {
    return Error(ErrorCode::Internal, e.what());
  }
}

int guarded_main(int argc, char** argv) {
  install_signals();
  std::optional<CommandLine> line;
  const std::vector<Command> commands = all_commands();
  try {
    try {
      line.emplace(commands, argc, argv);
      return run(*line);
    } catch (const BrokenPipe&) {
      throw;
    } catch (...) {
      return report(as_error(), line ? line->format() : Format::Text);
    }
  } catch (const BrokenPipe&) {
    return exit_by_broken_pipe();
  } catch (...) {  // the error itself could not be written
    return report(as_error(), Format::Text);
  }
}

}  // namespace
}  // namespace mc::tool

int main(int argc, char** argv) {
#ifdef __GLIBC__
  // Large blocks go back to the system when they are freed, always: the peaks that `mc plan` tells hold then.
  mallopt(M_MMAP_THRESHOLD, 256 << 10);
#endif
  return mc::tool::guarded_main(argc, argv);
}
