#include <sys/utsname.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "commands.h"
#include "format.h"
#include "mc/array.h"
#include "mc/detail/str.h"
#include "mc/device.h"
#include "mc/error.h"
#include "mc/ops.h"
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

struct Step {
  std::string name, told, fix;
  bool ok = true;
};

// What stands between a user and this engine, in order, up to the first step that fails. An engine that is
// not available names the failing step (package, library, symbol, version, driver or device) in its message.
std::vector<Step> steps_of(const BackendStatus& b) {
  if (!b.available) return {{"library", b.message, b.fix, false}};
  std::vector<Step> out{{"library", "found, of this version, loaded", "", true}};
  if (b.devices.empty()) {
    out.push_back({"device", "the engine has no device", "`mc backends` lists what is needed", false});
    return out;
  }
  out.push_back({"device", join(b.devices), "", true});
  for (size_t i = 0; i < b.devices.size(); ++i) {
    Step s{b.devices.size() == 1 ? "first kernel" : cat("first kernel of device ", i), "", "", true};
    try {
      const DeviceScope scope(parse_device(cat(b.name, ":", i)));
      const Array x = to_device(Array(std::vector<float>{1, 2, 3}, {3}), default_device());
      const std::vector<float> got = (x * x + x).to_vector<float>();
      s.ok = got == std::vector<float>{2, 6, 12};
      s.told = s.ok ? "computed and read back" : cat("wrong: ", join(got), " in place of 2, 6, 12");
      if (!s.ok) s.fix = "report it with the output of `mc doctor --output json`";
    } catch (const Error& e) {
      s.ok = false;
      s.told = e.what();
      s.fix = e.next();
    }
    out.push_back(s);
    if (!s.ok) break;
  }
  return out;
}

// Which engine computes when none is named.
Step choice_of() {
  try {
    const DeviceChoice c = default_choice();
    return {"default engine", cat(device_name(c.device), ", ", c.why), "", true};
  } catch (const Error& e) {
    return {"default engine", e.what(), e.next(), false};
  }
}

// The number of threads, or what is wrong with the setting.
Step threads_step() {
  try {
    return {"threads", cat(num_threads()), "", true};
  } catch (const Error& e) {
    return {"threads", e.what(), e.next(), false};
  }
}

int run(const Args& args) {
  utsname system = {};
  uname(&system);
  const Step threads = threads_step(), chosen = choice_of();
  const std::vector<std::pair<std::string, Value>> facts = {
      {"version", MC_VERSION},
      {"compiler", cat("g++ ", __VERSION__)},
      {"system", cat(system.sysname, " ", system.release, " ", system.machine)},
      {"cpu", cpu_name()},
      {"threads", threads.ok ? Value(num_threads()) : Value(threads.told)},
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
    line("threads", threads.told);
    if (!threads.ok) line("", cat("next: ", threads.fix));
    const size_t memory = available_memory();
    line("available memory", memory ? show_bytes(static_cast<double>(memory)) : "unknown");
    for (const auto& [name, value] : settings()) line(name, value);
    line(chosen.name, chosen.told);
    if (!chosen.ok) line("", cat("next: ", chosen.fix));
    for (const BackendStatus& b : engines) {
      line(cat("engine ", b.name), b.available ? join(b.devices) : cat("not available: ", b.message));
      if (!b.available) line("", cat("next: ", b.fix));
      for (const Step& s : steps_of(b)) {
        if (!b.available || s.name == "library" || s.name == "device") continue;  // told above
        line(cat("  ", s.name), s.told);
        if (!s.ok) line("", cat("next: ", s.fix));
      }
      for (const auto& [name, value] : b.facts) line(cat("  ", name), value);
    }
    return kOk;
  }
  Value v = Value::object();
  v.set("schema", "mc.doctor/1");
  for (const auto& [name, value] : facts) v.set(name, value);
  Value choice = Value::object();
  choice.set("ok", chosen.ok).set("told", chosen.told);
  if (!chosen.ok) choice.set("next", chosen.fix);
  v.set("default_engine", std::move(choice));
  Value environment = Value::object(), list = Value::list();
  for (const auto& [name, value] : settings()) environment.set(name, value);
  for (const BackendStatus& b : engines) {
    Value row = Value::object(), of_engine = Value::object();
    row.set("name", b.name).set("available", b.available).set("devices", Value::list_of(b.devices));
    if (!b.available) row.set("message", b.message).set("next", b.fix);
    for (const auto& [name, value] : b.facts) of_engine.set(name, value);
    Value steps = Value::list();
    for (const Step& s : steps_of(b)) {
      Value step = Value::object();
      step.set("step", s.name).set("ok", s.ok).set("told", s.told);
      if (!s.ok) step.set("next", s.fix);
      steps.push(std::move(step));
    }
    row.set("steps", std::move(steps));
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
