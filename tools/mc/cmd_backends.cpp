#include <algorithm>

#include "commands.h"
#include "mc/detail/str.h"
#include "mc/device.h"
#include "mc/error.h"

namespace mc::tool {
namespace {

int run(const Args& args) {
  const std::vector<BackendStatus> all = backend_status();
  std::string chosen, why, fix;
  try {
    const DeviceChoice c = default_choice();
    chosen = device_name(c.device);
    why = c.why;
  } catch (const Error& e) {  // what the environment asks for is not there
    why = e.what();
    fix = e.next();
  }
  if (args.format == Format::Text) {
    for (const BackendStatus& b : all) {
      std::string name = b.name;
      name.resize(std::max<size_t>(name.size() + 1, 8), ' ');
      if (b.available)
        write_out(cat(name, join(b.devices), "\n"));
      else
        write_out(cat(name, "not available: ", b.message, "\n", std::string(8, ' '), "next: ", b.fix, "\n"));
    }
    if (chosen.empty())
      write_out(cat("default: none: ", why, "\n", std::string(8, ' '), "next: ", fix, "\n"));
    else
      write_out(cat("default ", chosen, ": ", why, "\n"));
    return chosen.empty() ? kError : kOk;
  }
  Value list = Value::list();
  for (const BackendStatus& b : all) {
    Value row = Value::object();
    row.set("name", b.name).set("available", b.available).set("devices", Value::list_of(b.devices));
    if (!b.available) row.set("message", b.message).set("next", b.fix);
    list.push(std::move(row));
  }
  Value choice = Value::object();
  if (!chosen.empty()) choice.set("device", chosen);
  choice.set("why", why);
  if (!fix.empty()) choice.set("next", fix);
  Value v = Value::object();
  v.set("schema", "mc.backends/1").set("default", std::move(choice));
  write_result(args.format, v.set("backends", std::move(list)));
  return chosen.empty() ? kError : kOk;
}

}  // namespace

Command backends_command() {
  return {.name = "backends",
          .summary = "list the engines, their devices, and what is missing for the others",
          .examples = "  mc backends\n  mc backends --output json\n",
          .run = run};
}
}  // namespace mc::tool
