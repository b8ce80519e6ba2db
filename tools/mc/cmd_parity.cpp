#include <algorithm>
#include <cstdio>
#include <fstream>

#include "commands.h"
#include "engine.h"
#include "file.h"
#include "format.h"
#include "jsonl.h"
#include "mc/detail/str.h"
#include "mc/device.h"
#include "mc/error.h"
#include "mc/parity.h"

namespace mc::tool {
namespace {

// Prose, code, digits and another alphabet, short: some engines' CPU builds are slow.
constexpr const char* kText = "The capital of France is Paris. for i in range(10): print(i * 3) # Москва";

std::vector<std::string> engines_of(const Args& args) {
  std::vector<std::string> out;
  if (!args.has("backends")) {
    for (const BackendStatus& b : backend_status())
      if (b.available) out.push_back(b.name);
    return out;
  }
  std::string rest = args.text("backends");
  for (size_t at; !rest.empty(); rest = at == rest.npos ? "" : rest.substr(at + 1)) {
    at = rest.find(',');
    if (const std::string one = rest.substr(0, at); !one.empty()) out.push_back(one);
  }
  if (out.empty()) usage_error("needs names of engines separated by commas", "--backends");
  return out;
}

std::string sci(double v) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2e", v);
  return text;
}

Value describe(const ParityTie& t) {
  return Value::object()
      .set("text", t.text)
      .set("token", t.token)
      .set("oracle", t.oracle)
      .set("engine", t.engine)
      .set("gap", t.gap)
      .set("bound", t.bound);
}

Value describe(const ParityEngine& e) {
  Value v = Value::object();
  v.set("name", e.name).set("available", e.available).set("ok", e.ok);
  if (!e.message.empty()) return v.set("message", e.message).set("next", e.fix);
  Value parts = Value::list(), ties = Value::list(), misses = Value::list(), bytes = Value::list();
  for (const ParityPart& p : e.parts)
    parts.push(Value::object()
                   .set("name", p.name)
                   .set("mean_ulps", p.mean_ulps)
                   .set("max_ulps", p.max_ulps)
                   .set("bound_ulps", p.bound_ulps)
                   .set("share_of_bound", p.worst)
                   .set("text", p.text)
                   .set("token", p.token)
                   .set("feature", p.feature)
                   .set("value", p.got)
                   .set("oracle", p.wanted)
                   .set("ok", p.ok));
  for (const ParityTie& t : e.ties) ties.push(describe(t));
  for (const ParityTie& t : e.misses) misses.push(describe(t));
  for (const ParityBytes& b : e.bytes) {
    Value one = Value::object();
    one.set("tensor", b.tensor).set("format", b.format);
    if (b.skipped.empty())
      one.set("sha256", b.sha256).set("equal", b.equal);
    else
      one.set("skipped", b.skipped);
    bytes.push(std::move(one));
  }
  return v.set("device", e.device)
      .set("parts", std::move(parts))
      .set("mean_kl", e.mean_kl)
      .set("max_kl", e.max_kl)
      .set("mean_kl_bound", e.kl_bound)
      .set("positions", e.positions)
      .set("top1_agreement", e.agreement())
      .set("ties", std::move(ties))
      .set("misses", std::move(misses))
      .set("greedy", Value::list_of(e.greedy))
      .set("greedy_equal", e.greedy_equal)
      .set("quantized_bytes", std::move(bytes))
      .set("first_divergence", e.divergence.empty() ? Value() : Value(e.divergence));
}

void print(const ParityEngine& e) {
  write_out(cat("\n", e.name, e.device.empty() ? "" : cat(" (", e.device, ")"), ": ",
                e.ok                ? "agrees"
                : e.message.empty() ? "BREACH"
                                    : "not run",
                "\n"));
  if (!e.message.empty()) {
    write_out(cat("  ", e.message, "\n  next: ", e.fix, "\n"));
    return;
  }
  char row[160];
  std::snprintf(row, sizeof row, "  %-10s %12s %12s %12s %9s\n", "part", "mean ulps", "max ulps", "bound",
                "of bound");
  write_out(row);
  for (const ParityPart& p : e.parts) {
    std::snprintf(row, sizeof row, "  %-10s %12.3f %12.3f %12.3f %8.1f%%%s\n", p.name.c_str(), p.mean_ulps,
                  p.max_ulps, p.bound_ulps, p.worst * 100, p.ok ? "" : "  <- breach");
    write_out(row);
  }
  write_out(cat("  KL      mean ", sci(e.mean_kl), ", max ", sci(e.max_kl), ", bound of the mean ",
                sci(e.kl_bound), "\n"));
  write_out(cat("  top-1   ", e.agreeing, " of ", e.positions, " are the oracle's, ", e.ties.size(),
                " ties, ", e.misses.size(), " misses\n"));
  for (const ParityTie& t : e.ties)
    write_out(cat("    tie: text ", t.text + 1, ", token ", t.token, ": ", t.oracle, " and ", t.engine,
                  " are ", sci(t.gap), " apart\n"));
  if (!e.greedy.empty())
    write_out(cat("  greedy  ", e.greedy_equal, " of ", e.greedy.size(),
                  " are the oracle's: ", join(e.greedy, " "), "\n"));
  size_t equal = 0, compared = 0;
  for (const ParityBytes& b : e.bytes) {
    compared += b.skipped.empty();
    equal += b.equal;
  }
  write_out(cat("  bytes   ", equal, " of ", compared, " packed matrices are the host engine's\n"));
  if (!e.divergence.empty()) write_out(cat("  first divergence: ", e.divergence, "\n"));
}

int run(const Args& args) {
  const std::string path = args.model();
  ParityOptions options;
  if (args.has("backend") || args.has("device"))
    usage_error("`mc parity` compares the engines of --backends", "--backend",
                "use --backends ENGINE,ENGINE");
  options.engines = engines_of(args);
  options.layers = args.integers("layers");
  options.tokens = args.integer("tokens", options.tokens);
  options.greedy = args.integer("greedy", options.greedy);
  if (!args.has("data"))
    options.texts = {kText};
  else if (is_json_lines(args.text("data")))
    options.texts = read_texts(args.text("data"));
  else
    options.texts = {read_file(args.text("data"))};
  const Engine engine(args);
  options.load = engine.options();
  const ParityReport report =
      parity(path, options, [](const std::string& line) { note(cat("parity: ", line)); });
  warn_of_requantized(report.requantized);
  if (args.has("svg")) {
    std::ofstream out(args.text("svg"), std::ios::binary);
    out << parity_svg(report, cat("Agreement on ", path.substr(path.rfind('/') + 1), ", ", report.dtype));
    if (!out.flush()) throw Error(ErrorCode::FileWrite, "the chart can't be written", args.text("svg"));
  }
  if (args.format == Format::Text) {
    size_t tokens = 0;
    for (const auto& ids : report.ids) tokens += ids.size();
    write_out(cat(report.ids.size(), " text(s), ", tokens, " tokens, ", report.dtype, ", ",
                  engine.precision(), "; an ulp is ", sci(report.eps), " of a row's length\n"));
    for (const ParityEngine& e : report.engines) print(e);
    write_out(report.ok ? "\nall engines agree within the bounds\n" : "\nthe engines do NOT all agree\n");
    return report.ok ? kOk : kError;
  }
  Value v = Value::object();
  v.set("schema", "mc.parity/1")
      .set("ok", report.ok)
      .set("precision", engine.precision())
      .set("dtype", report.dtype)
      .set("quantize", args.has("quantize") ? Value(args.text("quantize")) : Value())
      .set("requantized_from", Value::list_of(report.requantized))
      .set("ulp", report.eps)
      .set("factor_of_bound", kParityFactor);
  Value texts = Value::list(), list = Value::list();
  for (const auto& ids : report.ids) texts.push(Value::list_of(ids));
  for (const ParityEngine& e : report.engines) list.push(describe(e));
  write_result(args.format, v.set("ids", std::move(texts)).set("engines", std::move(list)));
  return report.ok ? kOk : kError;
}

}  // namespace

Command parity_command() {
  return {
      .name = "parity",
      .summary = "prove that engines agree: a model's layers, logits and tokens against a float64 oracle",
      .groups = kModel | kEngine,
      .options = {{"backends", Kind::Text, "LIST",
                   "engines (or engine:device) separated by commas (default: all that are here)"},
                  {"data", Kind::Text, "FILE",
                   "text, or FILE.jsonl with one {\"text\": …} a line (default: a "
                   "built-in line)"},
                  {"layers", Kind::Integers, "LIST", "layers to compare, -1 is the last (default: all)"},
                  {"tokens", Kind::Integer, "N", "of each text at most (default 32)", 2, 512},
                  {"greedy", Kind::Integer, "N", "tokens to generate and compare (default 8)", 0, 512},
                  {"svg", Kind::Text, "FILE", "draw the errors by layer"}},
      .notes =
          "Every engine gets the same tokens. A row's error is its distance from the float64 oracle over the "
          "oracle's length,\n"
          "in ulps (units of the dtype's eps); its bound is 4 times what random noise of the dtype's own "
          "size at "
          "every product\n"
          "does to the oracle there. Exit code 1 tells that a bound was broken or an engine could not run.\n",
      .examples =
          "  mc parity -m model.gguf\n"
          "  mc parity -m model.gguf --backends ENGINE,ENGINE --svg parity.svg --output json\n"
          "  mc parity -m model.gguf --quantize affine4 --layers 0,10,-1\n",
      .run = run};
}
}  // namespace mc::tool
