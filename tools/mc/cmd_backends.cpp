#include <algorithm>

#include "commands.h"
#include "mc/detail/str.h"
#include "mc/device.h"

namespace mc::tool {
namespace {

int run(const Args& args) {
  const std::vector<BackendStatus> all = backend_status();
  if (args.format == Format::Text) {
    for (const BackendStatus& b : all) {
      std::string name = b.name;
      name.resize(std::max<size_t>(name.size() + 1, 8), ' ');
      if (b.available)
        write_out(cat(name, join(b.devices), "\n"));
      else
        write_out(cat(name, "not available: ", b.message, "\n", std::string(8, ' '), "next: ", b.fix, "\n"));
    }
    return kOk;
  }
  Value list = Value::list();
  for (const BackendStatus& b : all) {
    Value row = Value::object();
    row.set("name", b.name).set("available", b.available).set("devices", Value::list_of(b.devices));
    if (!b.available) row.set("message", b.message).set("next", b.fix);
    list.push(std::move(row));
  }
  write_result(args.format, Value::object().set("schema", "mc.backends/1").set("backends", std::move(list)));
  return kOk;
}

}  // namespace

Command backends_command() {
  return {.name = "backends",
          .summary = "list the engines, their devices, and what is missing for the others",
          .examples = "  mc backends\n  mc backends --output json\n",
          .run = run};
}
}  // namespace mc::tool
