#include <sys/utsname.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "commands.h"
#include "format.h"
#include "mc/detail/str.h"
#include "mc/device.h"
#include "mc/error.h"
#include "mc/system.h"

extern char** environ;

namespace mc::tool {
namespace {

std::string cpu_name() {
  std::string name = "unknown";
  if (std::FILE* f = std::fopen("/proc/cpuinfo", "r")) {
    char line[512];
    while (std::fgets(line, sizeof line, f)) {
      if (std::strncmp(line, "model name", 10) != 0) continue;
      if (const char* colon = std::strchr(line, ':')) name.assign(colon + 2, std::strcspn(colon + 2, "\n"));
      break;
    }
    std::fclose(f);
  }
  return name;
}

// Variables that change what ModelCypher does.
std::vector<std::pair<std::string, std::string>> settings() {
  std::vector<std::pair<std::string, std::string>> out;
  for (char** e = environ; *e; ++e) {
    const std::string_view entry = *e;
    const size_t equals = entry.find('=');
    if (equals != std::string_view::npos &&
        (entry.substr(0, 3) == "MC_" || entry.substr(0, 12) == "MODELCYPHER_"))
      out.emplace_back(entry.substr(0, equals), entry.substr(equals + 1));
  }
  return out;
}

int run(const Args& args) {
  utsname system = {};
  uname(&system);
  const std::vector<std::pair<std::string, Value>> facts = {
      {"version", MC_VERSION},
      {"compiler", cat("g++ ", __VERSION__)},
      {"system", cat(system.sysname, " ", system.release, " ", system.machine)},
      {"cpu", cpu_name()},
      {"threads", num_threads()},
      {"available_memory_bytes", available_memory()}};
  const std::vector<BackendStatus> engines = backend_status();
  if (args.format == Format::Text) {
    const auto line = [](std::string left, std::string_view right) {
      left.resize(std::max<size_t>(left.size() + 1, 20), ' ');
      write_out(cat(left, right, "\n"));
    };
    line("ModelCypher", MC_VERSION);
    line("compiler", cat("g++ ", __VERSION__));
    line("system", cat(system.sysname, " ", system.release, " ", system.machine));
    line("cpu", cpu_name());
    line("threads", cat(num_threads()));
    const size_t memory = available_memory();
    line("available memory", memory ? show_bytes(static_cast<double>(memory)) : "unknown");
    for (const auto& [name, value] : settings()) line(name, value);
    for (const BackendStatus& b : engines) {
      line(cat("engine ", b.name), b.available ? join(b.devices) : cat("not available: ", b.message));
      if (!b.available) line("", cat("next: ", b.fix));
      for (const auto& [name, value] : b.facts) line(cat("  ", name), value);
    }
    return kOk;
  }
  Value v = Value::object();
  v.set("schema", "mc.doctor/1");
  for (const auto& [name, value] : facts) v.set(name, value);
  Value environment = Value::object(), list = Value::list();
  for (const auto& [name, value] : settings()) environment.set(name, value);
  for (const BackendStatus& b : engines) {
    Value row = Value::object(), of_engine = Value::object();
    row.set("name", b.name).set("available", b.available).set("devices", Value::list_of(b.devices));
    if (!b.available) row.set("message", b.message).set("next", b.fix);
    for (const auto& [name, value] : b.facts) of_engine.set(name, value);
    list.push(row.set("facts", std::move(of_engine)));
  }
  write_result(args.format, v.set("environment", std::move(environment)).set("engines", std::move(list)));
  return kOk;
}

}  // namespace

Command doctor_command() {
  return {.name = "doctor",
          .summary = "what ModelCypher sees of this machine and which path it takes",
          .examples = "  mc doctor\n  MC_SIMD=avx2 mc doctor --output json\n",
          .run = run};
}
}  // namespace mc::tool
