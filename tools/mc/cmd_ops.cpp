#include <algorithm>

#include "commands.h"
#include "mc/detail/str.h"
#include "mc/device.h"
#include "mc/dtype.h"
#include "mc/error.h"
#include "mc/op_table.h"

namespace mc::tool {
namespace {

const char* support_name(OpSupport s) {
  switch (s) {
    case OpSupport::None: return "none";
    case OpSupport::Unknown: return "unknown";
    case OpSupport::Native: return "native";
    case OpSupport::Decomposed: return "decomposed";
  }
  return "";
}

// "f16 bf16 f32 f64 (native)", dtypes of one kind together.
std::string summary(const OpInfo& op, const OpOnEngine& on) {
  std::string out;
  for (OpSupport s : {OpSupport::Native, OpSupport::Decomposed, OpSupport::None, OpSupport::Unknown}) {
    std::string names;
    for (size_t i = 0; i < op.dtypes.size(); ++i)
      if (on.support[i] == s) names += cat(names.empty() ? "" : " ", dtype_name(op.dtypes[i]));
    if (!names.empty()) out += cat(out.empty() ? "" : "; ", support_name(s), ": ", names);
  }
  return out;
}

int run(const Args& args) {
  std::vector<OpInfo> ops = op_table();
  if (!args.words.empty()) {
    const auto it =
        std::find_if(ops.begin(), ops.end(), [&](const OpInfo& o) { return o.name == args.words[0]; });
    if (it == ops.end()) {
      std::vector<std::string> names;
      for (const OpInfo& o : ops) names.push_back(o.name);
      const std::string meant = nearest(args.words[0], names);
      usage_error(cat("no operation '", args.words[0], "'",
                      meant.empty() ? "" : cat("; did you mean '", meant, "'?")),
                  "mc ops", "`mc ops` lists them");
    }
    ops = {*it};
  }
  if (args.format == Format::Text) {
    for (const OpInfo& o : ops) {
      write_out(cat(o.name, "  (", o.kind, o.differentiable ? ", differentiable" : "", ")  ", o.doc, "\n"));
      for (const OpOnEngine& on : o.engines) write_out(cat("    ", on.backend, "  ", summary(o, on), "\n"));
    }
    for (const BackendStatus& b : backend_status())
      if (!b.available)
        write_out(cat("\n", b.name, " is unknown here: ", b.message, "\n    next: ", b.fix, "\n"));
    return kOk;
  }
  Value missing = Value::list();
  for (const BackendStatus& b : backend_status())
    if (!b.available)
      missing.push(Value::object().set("name", b.name).set("message", b.message).set("next", b.fix));
  Value list = Value::list();
  for (const OpInfo& o : ops) {
    Value op = Value::object(), engines = Value::object();
    for (const OpOnEngine& on : o.engines) {
      Value dtypes = Value::object();
      for (size_t i = 0; i < o.dtypes.size(); ++i)
        dtypes.set(dtype_name(o.dtypes[i]), support_name(on.support[i]));
      engines.set(on.backend, std::move(dtypes));
    }
    op.set("name", o.name).set("kind", o.kind).set("differentiable", o.differentiable).set("doc", o.doc);
    list.push(op.set("engines", std::move(engines)));
  }
  write_result(args.format, Value::object()
                                .set("schema", "mc.ops/1")
                                .set("not_here", std::move(missing))
                                .set("ops", std::move(list)));
  return kOk;
}

}  // namespace

Command ops_command() {
  return {
      .name = "ops",
      .summary = "which operation runs on which engine and dtype, natively or decomposed",
      .notes =
          "native: the engine's own kernel; decomposed: as several other operations; none: refused; unknown: "
          "the engine is not\nhere to be asked.\n",
      .examples = "  mc ops\n  mc ops softmax\n  mc ops --output json\n",
      .run = run,
      .words = "[OP]"};
}
}  // namespace mc::tool
