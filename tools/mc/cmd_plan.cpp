#include "commands.h"
#include "engine.h"
#include "format.h"
#include "mc/detail/str.h"
#include "mc/memory.h"

namespace mc::tool {
namespace {

Value value_of(const CommandPlan& n) {
  const MemoryPlan& d = n.peak.device;
  return Value::object()
      .set("command", n.command)
      .set("rows", n.rows)
      .set("tokens", n.tokens)
      .set("capacity", d.capacity)
      .set("weights_bytes", d.weights)
      .set("kv_cache_bytes", d.cache)
      .set("prefill_workspace_bytes", d.prefill)
      .set("decode_workspace_bytes", d.decode)
      .set("engine_bytes", d.total())
      .set("host_bytes", n.peak.host)
      .set("process_bytes", n.peak.process);
}

int run(const Args& args) {
  const std::string path = args.model();
  PlanOptions o;
  o.prompt = args.integer("prompt-tokens", o.prompt);
  o.max_tokens = args.integer("max-tokens", o.max_tokens);
  o.rows = args.integer("batch-size", o.rows);
  o.chunk = args.integer("chunk", o.chunk);
  o.pool = parse_pool(args.text("pool", "none"));
  Engine engine(args);
  const std::shared_ptr<Model> model = engine.load(path);
  if (args.has("sites"))
    o.sites = parse_sites(args.text("sites"), model->config().layers);
  else
    for (int l : layers_from(args, "-1", model->config().layers)) o.sites.push_back({SiteKind::ResidPost, l});
  const std::vector<CommandPlan> plans = plan_commands(model, o);

  if (args.format == Format::Text) {
    const auto bytes = [](size_t n) { return show_bytes(static_cast<double>(n)); };
    for (const CommandPlan& n : plans) {
      const MemoryPlan& d = n.peak.device;
      write_out(cat(n.command, ": ", n.what, "\n  peak of the process ", bytes(n.peak.process), "\n  engine ",
                    bytes(d.total()), ": weights ", bytes(d.weights), ", cache ", bytes(d.cache),
                    " (room for ", d.capacity, " tokens), workspace ", bytes(std::max(d.prefill, d.decode)),
                    "\n"));
      if (n.peak.host) write_out(cat("  host ", bytes(n.peak.host), ": results on their way to a file\n"));
    }
    write_out(cat("engine ", engine.str(), "\n"));
    return kOk;
  }
  Value v = Value::object();
  v.set("schema", "mc.plan/2");
  engine.describe(v);
  Value list = Value::list();
  for (const CommandPlan& n : plans) list.push(value_of(n));
  write_result(args.format, v.set("threads", num_threads()).set("plans", std::move(list)));
  return kOk;
}

}  // namespace

Command plan_command() {
  return {
      .name = "plan",
      .summary = "the memory that infer, score, embed and probe capture would take, before they run",
      .groups = kModel | kEngine,
      .options = {{"prompt-tokens", Kind::Integer, "N", "length of a prompt or text (default 512)", 1,
                   1 << 24},
                  {"max-tokens", Kind::Integer, "N", "tokens to generate (default 128)", 0, 1 << 24},
                  {"batch-size", Kind::Integer, "N",
                   "prompts or texts side by side in a capture or embed (default 4)", 1, 4096},
                  {"layers", Kind::Text, "LIST", "layers to capture: 0,6-9,-1 or all (default -1)"},
                  {"sites", Kind::Text, "LIST", "sites to capture instead"},
                  {"pool", Kind::Choice, "none|last|mean", "as in probe capture (default none)"},
                  {"chunk", Kind::Integer, "N", "tokens in one pass (default 512)", 1, 1 << 20}},
      .notes =
          "Nothing is computed: the same programs are planned and their bytes added up. The process's peak "
          "counts what\nis resident already; on an engine with memory of its own it is the host's part "
          "only. Of an encoder, embed is\nplanned in place of infer and score.\n",
      .examples =
          "  mc plan model.gguf --prompt-tokens 2000 --batch-size 16 --layers all\n"
          "  mc plan model.gguf --dtype bf16 --output json\n",
      .run = run};
}
}  // namespace mc::tool
