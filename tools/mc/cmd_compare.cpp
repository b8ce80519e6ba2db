// `mc backends compare`: the engines of this machine beside each other, measured.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>

#include "commands.h"
#include "format.h"
#include "mc/array.h"
#include "mc/detail/str.h"
#include "mc/device.h"
#include "mc/error.h"
#include "mc/generate.h"
#include "mc/interrupt.h"
#include "mc/model.h"
#include "mc/op_table.h"
#include "mc/ops.h"
#include "mc/system.h"
#include "mc/transforms.h"

namespace mc::tool {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point t) { return std::chrono::duration<double>(Clock::now() - t).count(); }

// What a child tells of its engine: a line "name value" each.
using Measured = std::map<std::string, double>;

struct Column {
  BackendStatus status;
  bool gpu = false;
  std::string quantized_product;       // how the engine computes quantized_matmul
  std::string gradients, attention;    // "native", "decomposed"
  std::map<std::string, Measured> of;  // by form: "as the file has them", "affine4", "affine8"
  std::map<std::string, std::string> failed;
};

const std::vector<std::string> kForms = {"file", "affine8", "affine4"};

// ---- The child: one engine, one process, so that peaks and first compilations are its own.
int measure_alone(const Args& args) {
  const auto tell = [](const char* name, double v) {
    char line[96];
    std::snprintf(line, sizeof line, "%s %.9g\n", name, v);
    write_out(line);
  };
  set_default_device(parse_device(args.text("only")));
  LoadOptions options;
  if (args.has("quantize")) options.quantize = parse_quantize(args.text("quantize"));
  const Clock::time_point begin = Clock::now();
  const std::shared_ptr<Model> model = load_model(args.model(), options);
  tell("load_s", seconds_since(begin));
  const int64_t prompt = args.integer("prompt-tokens", 64), steps = args.integer("gen-tokens", 16);
  if (prompt + steps > model->config().context)
    throw Error(ErrorCode::ContextTooLong,
                cat(prompt, " + ", steps, " tokens, the model's context has ", model->config().context),
                "--prompt-tokens");
  std::vector<int32_t> ids;  // spread over the vocabulary: which they are does not matter
  for (int64_t i = 0; i < prompt; ++i) ids.push_back(static_cast<int32_t>(i * 7919 % model->config().vocab));
  Session session(model);
  int32_t next = 0;
  const auto prefill = [&] {
    check_interrupt();
    session.reset();
    const Clock::time_point t = Clock::now();
    const Array hidden = session.run(ids, kMaxPass, false);
    const int64_t n = hidden.shape(1);
    next = argmax(model->logits(slice_axis(hidden, 1, n - 1, n)), -1).to_vector<int32_t>()[0];
    return seconds_since(t);
  };
  const double first_prefill = prefill();
  tell("time_to_first_token_s", seconds_since(begin));
  const double warm_prefill = std::min(prefill(), prefill());
  const auto step = [&] {
    check_interrupt();
    const Clock::time_point t = Clock::now();
    next = session.greedy_step(next);
    return seconds_since(t);
  };
  const double first_step = step();
  std::vector<double> rest;
  for (int64_t i = 1; i < steps; ++i) rest.push_back(step());
  std::sort(rest.begin(), rest.end());
  const double warm_step = rest[rest.size() / 2];
  tell("prefill_tokens_per_s", static_cast<double>(prompt) / warm_prefill);
  tell("decode_tokens_per_s", 1 / warm_step);
  // What the first runs took beyond the later ones: compiling, packing, reading the file's pages.
  tell("first_runs_extra_s",
       std::max(0.0, first_prefill - warm_prefill) + std::max(0.0, first_step - warm_step));
  tell("peak_host_bytes", static_cast<double>(peak_rss_bytes()));
  tell("peak_device_bytes", static_cast<double>(memory_stats(default_device()).peak));
  return kOk;
}

// ---- The parent.
struct Ran {
  std::string out;
  int code = -1;
};

Ran run_child(const std::vector<std::string>& words, const std::string& cache) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw Error(ErrorCode::Internal, "no pipe for a child process");
  std::vector<char*> argv;
  for (const std::string& w : words) argv.push_back(const_cast<char*>(w.c_str()));
  argv.push_back(nullptr);
  std::vector<std::string> settings{cat("MODELCYPHER_CACHE=", cache)};
  for (char** e = environ; *e; ++e)
    if (std::strncmp(*e, "MODELCYPHER_CACHE=", 18) != 0) settings.emplace_back(*e);
  std::vector<char*> env;
  for (std::string& s : settings) env.push_back(s.data());
  env.push_back(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], 1);
    execve("/proc/self/exe", argv.data(), env.data());
    _exit(127);
  }
  close(ends[1]);
  if (child < 0) {
    close(ends[0]);
    throw Error(ErrorCode::Internal, "no child process could be started");
  }
  Ran r;
  char part[4096];
  for (;;) {
    const ssize_t n = read(ends[0], part, sizeof part);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    r.out.append(part, static_cast<size_t>(n));
  }
  close(ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  r.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return r;
}

Measured parse(const std::string& text) {
  Measured m;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size()), space = text.find(' ', at);
    if (space < end) m[text.substr(at, space - at)] = std::strtod(text.c_str() + space + 1, nullptr);
    at = end + 1;
  }
  return m;
}

// Why a child failed, out of its error as YAML ("  message: ...").
std::string reason(const Ran& r) {
  const size_t at = r.out.find("message: ");
  if (at == std::string::npos) return cat("the measuring process ended with ", r.code);
  return r.out.substr(at + 9, r.out.find('\n', at) - at - 9);
}

void measure(Column& c, const Args& args) {
  namespace fs = std::filesystem;
  const fs::path cache = fs::temp_directory_path() / cat("mc_compare_", ::getpid(), "_", c.status.name);
  for (const std::string& form : kForms) {
    note(cat("compare: ", c.status.name, ", ", form == "file" ? "weights as the file has them" : form));
    std::vector<std::string> words{"mc",
                                   "backends",
                                   "compare",
                                   "--model",
                                   args.model(),
                                   "--only",
                                   c.status.name,
                                   "--prompt-tokens",
                                   cat(args.integer("prompt-tokens", 64)),
                                   "--gen-tokens",
                                   cat(args.integer("gen-tokens", 16)),
                                   "--output",
                                   "yaml",
                                   "--quiet"};
    if (form != "file") words.insert(words.end(), {"--quantize", form});
    if (args.has("threads")) words.insert(words.end(), {"--threads", args.text("threads")});
    check_interrupt();
    // Twice: with an empty cache of programs, then with what the first left there.
    const Ran cold = run_child(words, cache.string());
    const Ran warm = cold.code == kOk ? run_child(words, cache.string()) : cold;
    if (warm.code == kInterrupted) {
      std::error_code ignored;
      fs::remove_all(cache, ignored);
    }
    check_interrupt();
    if (warm.code != kOk) {
      c.failed[form] = reason(warm);
      continue;
    }
    Measured m = parse(warm.out);
    const Measured first = parse(cold.out);
    m["first_compile_s"] = first.at("first_runs_extra_s");
    m["from_cache_s"] = m["first_runs_extra_s"];
    m.erase("first_runs_extra_s");
    c.of[form] = std::move(m);
  }
  std::error_code ignored;
  fs::remove_all(cache, ignored);
}

std::string support_of(const std::vector<OpInfo>& ops, const char* name, const std::string& engine) {
  for (const OpInfo& o : ops) {
    if (o.name != name) continue;
    for (const OpOnEngine& on : o.engines) {
      if (on.backend != engine) continue;
      for (size_t i = 0; i < o.dtypes.size(); ++i)
        if (o.dtypes[i] == Dtype::F32)
          return on.support[i] == OpSupport::Native       ? "own kernel"
                 : on.support[i] == OpSupport::Decomposed ? "decomposed"
                                                          : "no";
    }
  }
  return "unknown";
}

// One training step of a small network against the host engine's; "" where they agree, else why not.
std::string gradient_of(const std::string& engine) {
  try {
    const auto step = [](const Device& d) {
      const DeviceScope scope(d);
      std::vector<float> w, x;
      for (int i = 0; i < 12; ++i) w.push_back(0.1f * static_cast<float>(i % 5) - 0.2f);
      for (int i = 0; i < 8; ++i) x.push_back(0.3f * static_cast<float>(i % 3) - 0.2f);
      const Array in = to_device(Array(x, {2, 4}), d);
      const auto loss = [&](const Arrays& a) { return Arrays{sum(tanh(matmul(in, a[0])))}; };
      return grad(loss)({to_device(Array(w, {4, 3}), d)})[0].to_vector<float>();
    };
    const std::vector<float> got = step(parse_device(engine)), want = step(host_device());
    for (size_t i = 0; i < want.size(); ++i)
      if (!(std::abs(got[i] - want[i]) <= 1e-5f))
        return cat("no: gradient ", i, " is ", got[i], ", not ", want[i]);
    return "yes";
  } catch (const Error& e) {
    return cat("no: ", e.message());
  }
}

const std::vector<std::pair<const char*, const char*>> kRows = {
    {"time_to_first_token_s", "time to first token"}, {"prefill_tokens_per_s", "prefill, tokens/s"},
    {"decode_tokens_per_s", "decode, tokens/s"},      {"first_compile_s", "first runs, compiling"},
    {"from_cache_s", "first runs, from the cache"},   {"load_s", "load"},
    {"peak_host_bytes", "peak host memory"},          {"peak_device_bytes", "peak engine memory"}};

std::string show(const std::string& name, double v) {
  if (name.ends_with("_bytes")) return show_bytes(v);
  return name.ends_with("_per_s") ? show3(v) : show_seconds(v);
}

using Table = std::vector<std::vector<std::string>>;

std::string draw(const Table& t, bool markdown) {
  std::vector<size_t> width(t[0].size());
  for (const auto& row : t)
    for (size_t i = 0; i < row.size(); ++i) width[i] = std::max(width[i], row[i].size());
  std::string out;
  for (size_t r = 0; r < t.size(); ++r) {
    for (size_t i = 0; i < t[r].size(); ++i) {
      std::string cell = t[r][i];
      if (!markdown && i + 1 < t[r].size()) cell.resize(width[i] + 2, ' ');
      out += markdown ? cat("| ", cell, " ") : cell;
    }
    out += markdown ? "|\n" : "\n";
    if (r == 0 && markdown) {
      for (size_t i = 0; i < t[0].size(); ++i) out += "|---";
      out += "|\n";
    }
  }
  return out;
}

// `how`: what was measured.
std::string text_of(const std::vector<Column>& columns, const std::string& choice, const std::string& how,
                    bool markdown) {
  const auto title = [&](const char* s) { return markdown ? cat("\n### ", s, "\n\n") : cat("\n", s, "\n"); };
  std::string out = cat("chosen here: ", choice, "\n");
  // A reason may be long: those of the absent stand under the table.
  Table quick{{"engine", "here"}};
  std::string absent;
  for (const Column& c : columns) {
    quick.push_back({c.status.name, c.status.available ? join(c.status.devices, "; ") : "no"});
    if (!c.status.available)
      absent += cat(markdown ? "\n- " : "", c.status.name, ": ", c.status.message, markdown ? "; " : "\n  ",
                    "next: ", c.status.fix, "\n");
  }
  out += title("Quick selection") + draw(quick, markdown) + absent;

  Table matrix{{"feature"}};
  for (const Column& c : columns) matrix[0].push_back(c.status.name);
  const auto row = [&](const char* name, auto cell) {
    std::vector<std::string> cells{name};
    for (const Column& c : columns) cells.push_back(c.status.available ? cell(c) : "not here");
    matrix.push_back(std::move(cells));
  };
  row("GPU", [](const Column& c) { return std::string(c.gpu ? "yes" : "none here"); });
  row("gradients", [](const Column& c) { return c.gradients; });
  row("attention in one operation", [](const Column& c) { return c.attention; });
  row("quantized product", [](const Column& c) { return c.quantized_product; });
  bool measured = false;
  for (const Column& c : columns) measured = measured || !c.of.empty() || !c.failed.empty();
  if (measured)
    for (const std::string& form : kForms)
      row(form == "file"      ? "inference"
          : form == "affine4" ? "4-bit inference"
                              : "8-bit inference",
          [&](const Column& c) {
            const auto f = c.failed.find(form);
            return f == c.failed.end() ? std::string("yes") : cat("no: ", f->second);
          });
  out += title("Capability matrix") + draw(matrix, markdown);
  if (!measured) return out + "\nwith --model FILE speed and memory are measured\n";
  out += title("Speed and memory") + how + "\n";
  for (const std::string& form : kForms) {
    Table t{{form == "file" ? "weights as the file has them" : cat("converted to ", form)}};
    for (const Column& c : columns)
      if (c.status.available) t[0].push_back(c.status.name);
    for (const auto& [name, label] : kRows) {
      std::vector<std::string> cells{label};
      for (const Column& c : columns) {
        if (!c.status.available) continue;
        const auto m = c.of.find(form);
        cells.push_back(m == c.of.end() ? "failed" : show(name, m->second.at(name)));
      }
      t.push_back(std::move(cells));
    }
    out += "\n" + draw(t, markdown);
  }
  return out;
}

int run(const Args& args) {
  if (args.has("only")) {
    if (args.has("threads")) set_num_threads(static_cast<int>(args.integer("threads", 0)));
    return measure_alone(args);
  }
  const bool with_model = args.has("model") || !args.words.empty();
  if (with_model) open_model_file(args.model());  // a mistake is told before anything is measured
  const std::vector<OpInfo> ops = op_table();
  std::vector<Column> columns;
  for (BackendStatus& s : backend_status()) {
    Column c;
    c.status = std::move(s);
    if (c.status.available) {
      for (const std::string& d : c.status.devices) c.gpu = c.gpu || d.rfind("gpu", 0) == 0;
      c.quantized_product = support_of(ops, "quantized_matmul", c.status.name);
      c.attention = support_of(ops, "scaled_dot_product_attention", c.status.name);
      if (with_model) measure(c, args);
      c.gradients = gradient_of(c.status.name);
    }
    columns.push_back(std::move(c));
  }
  const std::string choice = device_name(default_device());
  if (args.format == Format::Text) {
    const std::string how = cat("a prompt of ", args.integer("prompt-tokens", 64), " tokens, then ",
                                args.integer("gen-tokens", 16), " more; the host engine on ",
                                args.has("threads") ? args.integer("threads", 0) : num_threads(), " threads");
    write_out(text_of(columns, choice, how, args.has("markdown")));
    return kOk;
  }
  Value list = Value::list();
  for (const Column& c : columns) {
    Value v = Value::object();
    v.set("name", c.status.name)
        .set("available", c.status.available)
        .set("devices", Value::list_of(c.status.devices));
    if (!c.status.available) {
      list.push(v.set("message", c.status.message).set("next", c.status.fix));
      continue;
    }
    v.set("gpu", c.gpu)
        .set("gradients", c.gradients)
        .set("attention", c.attention)
        .set("quantized_matmul", c.quantized_product);
    Value measured = Value::object();
    for (const std::string& form : kForms) {
      Value m = Value::object();
      if (const auto f = c.failed.find(form); f != c.failed.end()) {
        measured.set(form, m.set("error", f->second));
      } else if (const auto it = c.of.find(form); it != c.of.end()) {
        for (const auto& [name, label] : kRows)
          if (std::string_view(name).ends_with("_bytes"))
            m.set(name, static_cast<int64_t>(it->second.at(name)));
          else
            m.set(name, it->second.at(name));
        measured.set(form, std::move(m));
      }
    }
    list.push(v.set("measured", std::move(measured)));
  }
  Value v = Value::object();
  v.set("schema", "mc.compare/1").set("chosen", choice);
  if (with_model)
    v.set("model", args.model())
        .set("prompt_tokens", args.integer("prompt-tokens", 64))
        .set("gen_tokens", args.integer("gen-tokens", 16))
        .set("threads", args.has("threads") ? args.integer("threads", 0) : num_threads());
  write_result(args.format, v.set("engines", std::move(list)));
  return kOk;
}

}  // namespace

Command compare_command() {
  return {
      .name = "backends compare",
      .summary =
          "the engines of this machine beside each other: what each can do; with a model, speed and memory",
      .groups = kModel,
      .options = {{"prompt-tokens", Kind::Integer, "N", "tokens of the prompt (default 64)", 2, 1 << 20},
                  {"gen-tokens", Kind::Integer, "N", "tokens to decode (default 16)", 3, 1 << 20},
                  {"threads", Kind::Integer, "N", "threads of the host engine", 1, 1024},
                  {"markdown", Kind::Flag, "", "tables in Markdown"},
                  {"only", Kind::Text, "ENGINE",
                   "measure this engine alone and in this process, as the others' processes do: lines of a "
                   "name and a number"},
                  {"quantize", Kind::Text, "FORMAT",
                   "with --only: convert weights at load, affine4 or affine8"}},
      .notes =
          "Every engine and every form of the weights is measured in a process of its own, twice: with an "
          "empty "
          "cache of\ncompiled programs, then with what the first left there. Speeds are the second's, after "
          "its "
          "first runs.\n",
      .examples =
          "  mc backends compare\n"
          "  mc backends compare --model model.gguf --prompt-tokens 64 --gen-tokens 16\n"
          "  mc backends compare -m model.gguf --markdown > comparison.md\n",
      .run = run};
}
}  // namespace mc::tool
