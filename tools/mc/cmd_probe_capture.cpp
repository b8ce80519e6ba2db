#include <cstdio>
#include <memory>

#include "commands.h"
#include "engine.h"
#include "format.h"
#include "mc/detail/str.h"
#include "mc/interrupt.h"
#include "mc/probe.h"
#include "mc/system.h"
#include "progress.h"

namespace mc::tool {
namespace {

// Lines of a file, for the ETA; 0 where that can't be known before reading.
int64_t count_lines(const std::string& path) {
  struct Close {
    void operator()(std::FILE* f) const { std::fclose(f); }
  };
  const std::unique_ptr<std::FILE, Close> f(std::fopen(path.c_str(), "rb"));
  if (!f || std::fseek(f.get(), 0, SEEK_END) != 0) return 0;
  std::rewind(f.get());
  int64_t lines = 0;
  char buffer[1 << 14], last = '\n';
  while (const size_t n = std::fread(buffer, 1, sizeof buffer, f.get())) {
    for (size_t i = 0; i < n; ++i) lines += buffer[i] == '\n';
    last = buffer[n - 1];
  }
  return lines + (last != '\n');
}

int run(const Args& args) {
  const std::string path = args.model();
  for (const char* name : {"data", "layers", "out"})
    if (!args.has(name)) usage_error(cat("--", name, " is needed"), cat("mc ", args.command->name));
  CaptureOptions o;
  o.data = args.text("data");
  o.out = args.text("out");
  o.layers = args.integers("layers");
  o.batch_size = args.integer("batch-size", o.batch_size);
  o.pool = parse_pool(args.text("pool", "none"));
  o.chunk = args.integer("chunk", o.chunk);
  Engine engine(args);
  o.precision = engine.precision();
  const std::shared_ptr<Model> model = engine.load(path);
  check_interrupt();

  CaptureSummary s;
  {
    Progress progress("prompts", is_quiet() ? 0 : count_lines(o.data));
    s = capture(model, o, [&](const CaptureProgress& p) {
      progress.update(p.prompts);
      return !interrupted();
    });
  }
  note(cat("[", engine.str(), "; ", show_seconds(s.seconds), "; ",
           show3(s.seconds > 0 ? static_cast<double>(s.tokens) / s.seconds : 0), " tokens/s; peak memory ",
           show_bytes(static_cast<double>(peak_rss_bytes())), "]"));
  if (args.format == Format::Text) {
    write_out(cat("captured ", show_count(static_cast<long long>(o.layers.size())), " layers of ",
                  show_count(s.prompts), " prompts (", show_count(s.tokens), " tokens) into ",
                  show_count(s.shards), s.shards == 1 ? " file, " : " files, ",
                  show_bytes(static_cast<double>(s.bytes)), "\n", s.manifest, "\n"));
    return kOk;
  }
  Value v = Value::object();
  v.set("schema", "mc.capture_summary/1");
  engine.describe(v);
  v.set("layers", Value::list_of(o.layers))
      .set("pool", pool_name(o.pool))
      .set("prompts", s.prompts)
      .set("tokens", s.tokens);
  write_result(args.format, v.set("shards", s.shards).set("bytes", s.bytes).set("manifest", s.manifest));
  return kOk;
}

}  // namespace

Command probe_capture_command() {
  return {.name = "probe capture",
          .summary = "write the residual stream after chosen layers to safetensors files",
          .groups = kModel | kEngine,
          .options = {{"data", Kind::Text, "FILE", "the prompts: lines like {\"text\": \"…\"}"},
                      {"layers", Kind::Integers, "LIST", "layers by number, such as 0,6,12; -1 is the last"},
                      {"out", Kind::Text, "DIR", "where to write; must not exist yet"},
                      {"batch-size", Kind::Integer, "N",
                       "prompts side by side; never changes the result (default 4)", 1, 4096},
                      {"pool", Kind::Choice, "none|last|mean",
                       "every token, the last one, or the mean over a prompt (default none)"},
                      {"chunk", Kind::Integer, "N",
                       "tokens in one pass; never changes the result (default 512, and no pass takes more)",
                       1, 1 << 20}},
          .notes =
              "DIR/manifest.json names model, engine, precision, layers, shapes and files. Memory does not "
              "grow with the data.\n",
          .examples =
              "  mc probe capture --model model.gguf --data prompts.jsonl --layers 0,6,12,18,24 --batch-size "
              "4 --pool last --out states\n",
          .run = run};
}
}  // namespace mc::tool
