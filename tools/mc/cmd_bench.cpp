#include <algorithm>
#include <chrono>
#include <ctime>
#include <tuple>

#include "commands.h"
#include "engine.h"
#include "format.h"
#include "mc/detail/str.h"
#include "mc/device.h"
#include "mc/error.h"
#include "mc/generate.h"
#include "mc/interrupt.h"
#include "mc/ops.h"
#include "mc/system.h"

namespace mc::tool {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point t) { return std::chrono::duration<double>(Clock::now() - t).count(); }

// Wall time, and what all threads of the process computed meanwhile: on a machine shared with others the
// latter says more.
struct Took {
  double wall = 0, cpu = 0;
};
class Stopwatch {
 public:
  Took read() const {
    return {seconds_since(wall_), static_cast<double>(std::clock() - cpu_) / CLOCKS_PER_SEC};
  }

 private:
  Clock::time_point wall_ = Clock::now();
  std::clock_t cpu_ = std::clock();
};

// Ids spread over the vocabulary: what they are does not matter, only that all are valid and few repeat.
std::vector<int32_t> some_ids(int64_t n, int64_t vocab) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < n; ++i) ids.push_back(static_cast<int32_t>(i * 7919 % vocab));
  return ids;
}

// The prompt through the model up to the id of the next token.
int32_t prefill(Session& session, const std::vector<int32_t>& ids, int64_t chunk) {
  session.reset();
  const Array hidden = session.run(ids, chunk, false);
  const Array last = slice_axis(hidden, 1, hidden.shape(1) - 1, hidden.shape(1));
  return argmax(session.model().logits(last), -1).to_vector<int32_t>()[0];
}

struct Rates {
  double first_s = 0;         // of the run that compiles and packs
  std::vector<double> rates;  // tokens/s of the others, ascending
  double cpu_s = 0;           // a token, their mean
  double median() const { return rates[rates.size() / 2]; }
  Value value(int64_t tokens) const {
    Value v = Value::object();
    return v.set("tokens", tokens)
        .set("tokens_per_s", median())
        .set("min", rates.front())
        .set("max", rates.back())
        .set("cpu_s_per_token", cpu_s)
        .set("first_run_s", first_s);
  }
  std::string str() const {
    return cat(show3(median()), " tokens/s  (", show3(rates.front()), " to ", show3(rates.back()), " in ",
               rates.size(), " runs)");
  }
};

// `once` returns what one run over `tokens` took.
template <class F>
Rates measure(int64_t runs, int64_t tokens, F once) {
  Rates r;
  r.first_s = once().wall;
  for (int64_t i = 0; i < runs; ++i) {
    check_interrupt();
    const Took took = once();
    r.rates.push_back(static_cast<double>(tokens) / took.wall);
    r.cpu_s += took.cpu / static_cast<double>(runs * tokens);
  }
  std::sort(r.rates.begin(), r.rates.end());
  return r;
}

// --plan: what the two parts of the benchmark need, before anything is computed.
int show_plan(const Args& args, const Engine& engine, const std::shared_ptr<Model>& model,
              int64_t prompt_tokens, int64_t decode_tokens, int64_t context, int64_t chunk) {
  const MemoryPlan prefill = plan_memory(model, prompt_tokens, chunk),
                   decode = plan_memory(model, decode_tokens, std::min(context, chunk));
  const size_t total = std::max(prefill.total(), decode.total());
  const auto bytes = [](size_t n) { return show_bytes(static_cast<double>(n)); };
  if (args.format == Format::Text) {
    write_out(cat("weights  ", bytes(prefill.weights), ", packed\n"));
    for (const auto& [name, tokens, p] :
         {std::tuple("prefill", prompt_tokens, prefill), std::tuple("decode ", decode_tokens, decode)})
      write_out(cat(name, "  cache ", bytes(p.cache), " (", tokens, " tokens, room for ", p.capacity,
                    "), workspace ", bytes(std::max(p.prefill, p.decode)), "\n"));
    write_out(cat("total    ", bytes(total), "\nengine   ", engine.str(), "\n"));
    return kOk;
  }
  const auto part = [](int64_t tokens, const MemoryPlan& p) {
    return Value::object()
        .set("tokens", tokens)
        .set("capacity", p.capacity)
        .set("kv_cache_bytes", p.cache)
        .set("prefill_workspace_bytes", p.prefill)
        .set("decode_workspace_bytes", p.decode)
        .set("total_bytes", p.total());
  };
  Value v = Value::object();
  v.set("schema", "mc.bench_plan/1");
  engine.describe(v);
  v.set("weights_bytes", prefill.weights)
      .set("prefill", part(prompt_tokens, prefill))
      .set("decode", part(decode_tokens, decode))
      .set("total_bytes", total);
  write_result(args.format, v);
  return kOk;
}

int run(const Args& args) {
  const std::string path = args.model();
  const int64_t prompt_tokens = args.integer("prompt-tokens", 512),
                gen_tokens = args.integer("gen-tokens", 128);
  const int64_t context = args.integer("decode-context", 32), runs = args.integer("runs", 3),
                chunk = args.integer("chunk", 512);
  Engine engine(args);
  const Clock::time_point begin = Clock::now();
  const std::shared_ptr<Model> model = engine.load(path);
  const double load_ms = seconds_since(begin) * 1e3;
  const int64_t room = model->config().context;
  for (const auto& [name, needed] :
       {std::pair("--prompt-tokens", prompt_tokens), std::pair("--decode-context", context + gen_tokens)})
    if (needed > room)
      throw Error(ErrorCode::ContextTooLong, cat("needs ", needed, " tokens, the model's context has ", room),
                  name);

  if (args.has("plan"))
    return show_plan(args, engine, model, prompt_tokens, context + gen_tokens, context, chunk);

  const std::vector<int32_t> prompt = some_ids(prompt_tokens, model->config().vocab),
                             start = some_ids(context, model->config().vocab);
  Rates of_prefill, of_decode;
  {
    Session session(model);
    of_prefill = measure(runs, prompt_tokens, [&] {
      const Stopwatch watch;
      prefill(session, prompt, chunk);
      return watch.read();
    });
  }
  {
    Session session(model);
    of_decode = measure(runs, gen_tokens, [&] {
      int32_t id = prefill(session, start, chunk);
      const Stopwatch watch;
      for (int64_t i = 0; i < gen_tokens; ++i) {
        id = session.greedy_step(id);
        check_interrupt();
      }
      return watch.read();
    });
  }

  if (args.format == Format::Text) {
    write_out(cat("prefill  ", of_prefill.str(), ", ", prompt_tokens, " tokens\n"));
    write_out(cat("decode   ", of_decode.str(), ", ", gen_tokens, " tokens after ", context, "\n"));
    write_out(cat("load     ", show_seconds(load_ms / 1e3), "\npeak     ",
                  show_bytes(static_cast<double>(peak_rss_bytes())), "\n"));
    write_out(
        cat("engine's ", show_bytes(static_cast<double>(memory_stats(default_device()).peak)), " at most\n"));
    write_out(cat("engine   ", engine.str(), ", ", num_threads(), " threads\n"));
    return kOk;
  }
  Value v = Value::object();
  v.set("schema", "mc.bench/1");
  engine.describe(v);
  v.set("prefill", of_prefill.value(prompt_tokens))
      .set("decode", of_decode.value(gen_tokens).set("context", context));
  v.set("load_ms", load_ms)
      .set("peak_rss_bytes", peak_rss_bytes())
      .set("peak_engine_bytes", memory_stats(default_device()).peak)
      .set("threads", num_threads());
  write_result(args.format, v);
  return kOk;
}

}  // namespace

Command bench_command() {
  return {
      .name = "bench",
      .summary = "how fast a model runs here: prefill, decoding, loading, memory",
      .groups = kModel | kEngine,
      .options = {{"prompt-tokens", Kind::Integer, "N", "length of the prefill (default 512)", 1, 1 << 24},
                  {"gen-tokens", Kind::Integer, "N", "tokens to decode (default 128)", 1, 1 << 24},
                  {"decode-context", Kind::Integer, "N", "tokens in the cache before decoding (default 32)",
                   1, 1 << 24},
                  {"runs", Kind::Integer, "N",
                   "measured runs after a first one that compiles and packs; the median counts (default 3)",
                   1, 1000},
                  {"chunk", Kind::Integer, "N",
                   "prompt tokens in one pass (default 512, and no pass takes more)", 1, 1 << 20},
                  {"plan", Kind::Flag, "",
                   "only tell the memory that this would take: packed weights, key-value cache, workspace"}},
      .notes =
          "--plan computes nothing: it plans the same programs and adds up their bytes. The model's file is "
          "mapped and\nnot counted; peak_engine_bytes of a run is what came of it.\n",
      .examples =
          "  mc bench --model model.gguf --prompt-tokens 512 --gen-tokens 128\n"
          "  mc bench --model model.gguf --precision fast --threads 1 --output json\n"
          "  mc bench --model model.gguf --plan --prompt-tokens 8000 --dtype bf16\n",
      .run = run};
}
}  // namespace mc::tool
