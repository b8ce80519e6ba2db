#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <memory>

#include "commands.h"
#include "edits.h"
#include "engine.h"
#include "format.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/interrupt.h"
#include "mc/jsonl.h"
#include "mc/memory.h"
#include "mc/ops.h"
#include "mc/probe.h"
#include "mc/system.h"
#include "progress.h"

namespace mc::tool {
namespace {

size_t bytes_of(const std::string& text, const std::string& where) {
  if (const auto bytes = parse_byte_size(text)) return *bytes;
  usage_error(cat("'", text, "' is no size"), where, "for example 2GiB, 512MiB or 1.5GB");
}

// Before a model is loaded: mistakes that need none.
void check_lists(const Args& args) {
  if (args.has("layers") == args.has("sites"))
    usage_error("give one of --layers and --sites", "mc probe capture");
  if (!args.has("layers")) return;
  const std::string list = args.text("layers");
  for (size_t at = 0; at <= list.size();) {
    const size_t end = std::min(list.find(',', at), list.size());
    const std::string part = list.substr(at, end - at);
    if (part != "all" && part != "*" &&
        (part.empty() || part.find_first_not_of("0123456789-") != std::string::npos))
      usage_error(cat("'", part, "' names no layers"), "--layers", "for example 0,6-9,-1 or all");
    at = end + 1;
  }
}

std::vector<Site> sites_of(const Args& args, const Model& model) {
  if (args.has("sites")) return parse_sites(args.text("sites"), model.config().layers);
  std::vector<Site> out;
  for (int l : layers_from(args, "", model.config().layers)) out.push_back({SiteKind::ResidPost, l});
  return out;
}

// "2/8" -> part 1 of 8
void parse_part(const std::string& text, CaptureOptions& o) {
  const char *begin = text.data(), *end = begin + text.size();
  int64_t i = 0, n = 0;
  const auto a = std::from_chars(begin, end, i);
  const bool slash = a.ec == std::errc() && a.ptr != end && *a.ptr == '/';
  const auto b = slash ? std::from_chars(a.ptr + 1, end, n) : a;
  if (!slash || b.ec != std::errc() || b.ptr != end || i < 1 || n < i)
    usage_error(cat("'", text, "' is no part"), "--shard", "write 1/4, 2/4, 3/4, 4/4 for four parts");
  o.part = i - 1;
  o.parts = n;
}

// One line of NDJSON a prompt.
std::string stream_line(const CapturedPrompt& p, const std::vector<CaptureColumn>& columns, bool table) {
  std::string out = cat("{\"prompt\":", p.prompt, ",\"tokens\":", p.tokens, ",\"values\":{");
  std::vector<float> row;
  for (size_t c = 0; c < columns.size(); ++c) {
    const int64_t width = columns[c].row.numel();
    row.resize(static_cast<size_t>(p.rows * width));
    const size_t bytes = row.size() * itemsize(columns[c].dtype);
    if (columns[c].dtype == Dtype::F32)
      std::memcpy(row.data(), p.values[c], bytes);
    else
      row = astype(Array::from_bytes(p.values[c], {p.rows * width}, columns[c].dtype), Dtype::F32)
                .to_vector<float>();
    out += cat(c ? "," : "", "\"", site_name(columns[c].site), "\":", table ? "[" : "");
    for (int64_t r = 0; r < p.rows; ++r) {
      out += r ? ",[" : "[";
      char text[32];
      for (int64_t k = 0; k < width; ++k) {
        const float v = row[static_cast<size_t>(r * width + k)];
        if (k) out += ',';
        if (v - v != 0) {
          out += "null";
          continue;
        }
        out.append(text, std::to_chars(text, text + sizeof text, v).ptr);
      }
      out += ']';
    }
    if (table) out += ']';
  }
  return out += "}}\n";
}

int run(const Args& args) {
  const std::string path = args.model();
  if (!args.has("data")) usage_error("--data is needed", "mc probe capture");
  const bool stream = args.has("stream");
  if (!stream && !args.has("out")) usage_error("--out or --stream is needed", "mc probe capture");
  if (stream && args.format != Format::Text)
    usage_error("--stream writes NDJSON; --output does not go with it", "mc probe capture");
  for (const char* name : {"resume", "shard"})
    if (args.has(name) && !args.has("out")) usage_error(cat("--", name, " needs --out"), "mc probe capture");
  check_lists(args);
  CaptureOptions o;
  o.data = args.text("data");
  o.out = args.text("out");
  o.pool = parse_pool(args.text("pool", "none"));
  o.chunk = args.integer("chunk", o.chunk);
  o.resume = args.has("resume");
  if (args.has("positions")) o.positions = parse_positions(args.text("positions"));
  if (args.has("shard")) parse_part(args.text("shard"), o);
  const size_t limit = args.has("max-memory") ? bytes_of(args.text("max-memory"), "--max-memory") : 0;
  Engine engine(args);
  o.precision = engine.precision();
  const std::shared_ptr<Model> model = engine.load(path);
  o.sites = sites_of(args, *model);
  o.edits = edits_from(args, *model, -1);
  const std::vector<CaptureColumn> columns = capture_columns(*model, o.sites);
  o.batch_size = args.integer("batch-size", limit ? 4096 : o.batch_size);
  if (limit)
    if (const BatchFit fit = fit_batch(model, o, limit, args.has("batch-size")); fit.batch) {
      o.batch_size = fit.batch;
      note(cat("batches of ", fit.batch, " need ", show_bytes(static_cast<double>(fit.peak)), " of ",
               show_bytes(static_cast<double>(limit)), ", the longest prompt has ", fit.longest, " tokens"));
    }
  if (stream) {
    const bool table = o.pool == Pool::None;
    o.on_prompt = [&columns, table](const CapturedPrompt& p) {
      write_out(stream_line(p, columns, table));
      flush_out();
    };
  }
  check_interrupt();

  CaptureSummary s;
  {
    Progress progress("prompts", is_quiet() ? 0
                                            : count_texts(o.data) * (o.part + 1) / o.parts -
                                                  count_texts(o.data) * o.part / o.parts);
    s = capture(model, o, [&](const CaptureProgress& p) {
      progress.update(p.prompts, p.resumed);
      return !interrupted();
    });
  }
  note(cat("[", engine.str(), "; ", show_seconds(s.seconds), "; ",
           show3(s.seconds > 0 ? static_cast<double>(s.tokens - s.resumed_tokens) / s.seconds : 0),
           " tokens/s; peak memory ", show_bytes(static_cast<double>(peak_rss_bytes())), "]"));
  if (stream) return kOk;
  if (args.format == Format::Text) {
    write_out(cat("captured ", show_count(static_cast<long long>(columns.size())),
                  args.has("sites") ? " sites of " : " layers of ", show_count(s.prompts), " prompts (",
                  show_count(s.tokens), " tokens) into ", show_count(s.shards),
                  s.shards == 1 ? " file, " : " files, ", show_bytes(static_cast<double>(s.bytes)),
                  s.resumed ? cat("; ", show_count(s.resumed), " prompts were there already") : "", "\n",
                  s.manifest, "\n"));
    return kOk;
  }
  Value v = Value::object();
  v.set("schema", "mc.capture_summary/1");
  engine.describe(v);
  Value names = Value::list();
  for (const CaptureColumn& c : columns) names.push(site_name(c.site));
  if (args.has("layers")) {
    Value layers = Value::list();
    for (const CaptureColumn& c : columns) layers.push(c.site.layer);
    v.set("layers", std::move(layers));
  }
  v.set("sites", std::move(names))
      .set("pool", pool_name(o.pool))
      .set("batch_size", o.batch_size)
      .set("prompts", s.prompts)
      .set("resumed", s.resumed)
      .set("tokens", s.tokens);
  write_result(args.format, v.set("shards", s.shards).set("bytes", s.bytes).set("manifest", s.manifest));
  return kOk;
}

int run_merge(const Args& args) {
  if (args.words.empty()) usage_error("name the folders of all parts", "mc probe merge");
  if (!args.has("out")) usage_error("--out is needed", "mc probe merge");
  const CaptureSummary s = merge_captures(args.words, args.text("out"));
  if (args.format == Format::Text) {
    write_out(cat("merged ", args.words.size(), " parts: ", show_count(s.prompts), " prompts (",
                  show_count(s.tokens), " tokens) in ", show_count(s.shards),
                  s.shards == 1 ? " file, " : " files, ", show_bytes(static_cast<double>(s.bytes)), "\n",
                  s.manifest, "\n"));
    return kOk;
  }
  Value v = Value::object();
  write_result(args.format, v.set("schema", "mc.merge_summary/1")
                                .set("parts", args.words.size())
                                .set("prompts", s.prompts)
                                .set("tokens", s.tokens)
                                .set("shards", s.shards)
                                .set("bytes", s.bytes)
                                .set("manifest", s.manifest));
  return kOk;
}

}  // namespace

Command probe_capture_command() {
  static const std::string notes = cat(
      "DIR/manifest.json names model, engine, precision, sites, shapes and files. Memory does not grow with "
      "the data.\n",
      kEditNotes);
  return {
      .name = "probe capture",
      .summary = "write what a model computes at chosen layers or sites to safetensors files",
      .groups = kModel | kEngine,
      .options =
          {{"data", Kind::Text, "FILE", "the prompts: lines like {\"text\": \"…\"}"},
           {"layers", Kind::Text, "LIST",
            "the residual stream after these layers: 0,6-9,-1 (the last) or all"},
           {"sites", Kind::Text, "LIST",
            "any sites instead: resid_post.0-5,attn_out.-1,mlp_act.all,final_norm (docs/sites.md)"},
           {"positions", Kind::Text, "LIST",
            "only these tokens of each prompt: 0,4-7,-1; negative ones count from its end (default all)"},
           {"pool", Kind::Choice, "none|last|mean",
            "every token, the last one, or the mean over a prompt (default none)"},
           {"out", Kind::Text, "DIR", "where to write; must not exist yet"},
           {"resume", Kind::Flag, "",
            "go on where a run into --out ended: the same bytes as in one go; after a kill, from the last "
            "whole "
            "shard (16 MiB)"},
           {"shard", Kind::Text, "I/N",
            "only the I-th of N equal parts of the prompts, for `mc probe merge`"},
           {"stream", Kind::Flag, "", "write each prompt's values to stdout as a line of JSON, as it goes"},
           {"batch-size", Kind::Integer, "N", "prompts side by side; never changes the result (default 4)", 1,
            4096},
           {"max-memory", Kind::Text, "SIZE",
            "take the largest batch whose peak fits, such as 2GiB, or refuse; with --batch-size: check it"},
           {"chunk", Kind::Integer, "N",
            "tokens in one pass; never changes the result (default 512, and no pass takes more)", 1, 1 << 20},
           kEdit,
           kEditsFile},
      .notes = notes.c_str(),
      .examples =
          "  mc probe capture --model model.gguf --data prompts.jsonl --layers 0,6,12,18,24 --batch-size "
          "4 --pool last --out states\n"
          "  mc probe capture --model model.gguf --data prompts.jsonl --sites attn_out.all,mlp_out.all "
          "--positions -1 --max-memory 2GiB --out states\n"
          "  mc probe capture --model model.gguf --data prompts.jsonl --layers all --out states --resume\n",
      .run = run};
}

Command probe_merge_command() {
  return {.name = "probe merge",
          .summary = "put the parts of a capture together",
          .options = {{"out", Kind::Text, "DIR", "where to write; must not exist yet"}},
          .notes = "The result has the same bytes as a capture without --shard.\n",
          .examples = "  mc probe merge part1 part2 part3 --out states\n",
          .run = run_merge,
          .words = "DIR..."};
}
}  // namespace mc::tool
