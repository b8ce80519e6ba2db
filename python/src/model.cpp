// Models: loading, tokens, generation as an iterator, scores, captures.
#include "model.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "common.h"
#include "mc/chat.h"
#include "mc/device.h"
#include "mc/edits.h"
#include "mc/embed.h"
#include "mc/generate.h"
#include "mc/interrupt.h"
#include "mc/memory.h"
#include "mc/ops.h"
#include "mc/probe.h"
#include "mc/sites.h"

namespace mcpy {

using ModelPtr = std::shared_ptr<mc::Model>;

std::string text_of(nb::handle h) {
  Py_ssize_t n = 0;
  const char* p = PyUnicode_AsUTF8AndSize(h.ptr(), &n);
  if (!p) raise_pending();
  return {p, static_cast<size_t>(n)};
}

std::vector<int32_t> ids_of(nb::handle h) {
  std::vector<int32_t> out;
  for (nb::handle x : nb::iter(h)) out.push_back(nb::cast<int32_t>(x));
  return out;
}
std::vector<std::vector<int32_t>> rows_of(nb::handle h) {
  std::vector<std::vector<int32_t>> rows;
  for (nb::handle r : nb::iter(h)) rows.push_back(ids_of(r));
  return rows;
}

namespace {

nb::list list_of(const std::vector<int32_t>& ids) {
  nb::list out;
  for (int32_t i : ids) out.append(i);
  return out;
}
nb::list list_of(const std::vector<double>& v) {
  nb::list out;
  for (double d : v) out.append(d);
  return out;
}
nb::object optional_id(std::optional<int32_t> id) { return id ? nb::object(nb::int_(*id)) : nb::none(); }

// Inclusive ranges, given as pairs.
std::vector<std::pair<int64_t, int64_t>> ranges_of(nb::handle h) {
  std::vector<std::pair<int64_t, int64_t>> out;
  for (nb::handle r : nb::iter(h)) out.emplace_back(nb::cast<int64_t>(r[0]), nb::cast<int64_t>(r[1]));
  return out;
}

}  // namespace

std::vector<mc::Edit> edits_of(const PyModel& m, nb::handle edits, int64_t tokens) {
  const int64_t layers = m.model->config().layers;
  std::vector<mc::Edit> out;
  for (nb::handle e : nb::iter(edits)) {
    if (PyUnicode_Check(e.ptr())) {
      for (mc::Edit& x : mc::parse_edit(text_of(e), layers, tokens)) out.push_back(std::move(x));
      continue;
    }
    const std::string kind = text_of(e[0]);
    bool known = false;
    for (mc::EditKind k :
         {mc::EditKind::Replace, mc::EditKind::Scale, mc::EditKind::ProjectOut, mc::EditKind::Add})
      for (const mc::Site& s :
           kind == mc::edit_name(k) ? mc::parse_sites(text_of(e[1]), layers) : std::vector<mc::Site>()) {
        mc::Edit x;
        x.kind = k;
        x.site = s;
        if (nb::object v = e[2]; !v.is_none()) x.value = to_array(v);
        x.factor = nb::cast<double>(e[3]);
        x.positions = ranges_of(e[4]);
        for (nb::handle head : nb::iter(e[5])) x.heads.push_back(nb::cast<int>(head));
        x.keys = ranges_of(e[6]);
        mc::check_edit(x);
        out.push_back(std::move(x));
        known = true;
      }
    if (!known) throw nb::value_error("an edit's kind is 'replace', 'scale', 'project-out' or 'add'");
  }
  return out;
}

namespace {

// Runs on a thread of its own, at most kAhead tokens before its reader; ends when the reader is dropped.
class Generation {
 public:
  Generation(ModelPtr model, std::vector<int32_t> prompt, mc::GenerateOptions options)
      : device_(mc::default_device()) {
    thread_ = std::thread(
        [this, model = std::move(model), prompt = std::move(prompt), options = std::move(options)] {
          mc::GenerateResult result;
          std::exception_ptr error;
          try {
            const mc::DeviceScope scope(device_);
            result = mc::generate(model, prompt, options, [this](const mc::GeneratedToken& t) {
              std::unique_lock<std::mutex> lock(mutex_);
              room_.wait(lock, [&] { return cancelled_ || queue_.size() < kAhead; });
              queue_.push_back(t);
              ready_.notify_one();
              return !cancelled_;
            });
          } catch (...) {
            error = std::current_exception();
          }
          const std::lock_guard<std::mutex> lock(mutex_);
          result_ = std::move(result);
          error_ = error;
          done_ = true;
          ready_.notify_one();
        });
  }
  ~Generation() { close(); }
  Generation(const Generation&) = delete;
  Generation& operator=(const Generation&) = delete;

  void close() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      cancelled_ = true;
      room_.notify_one();
    }
    if (!thread_.joinable()) return;
    nb::gil_scoped_release nogil;
    thread_.join();
  }

  nb::object next() {
    for (;;) {
      if (PyErr_CheckSignals() != 0) {
        close();
        raise_pending();
      }
      nb::gil_scoped_release nogil;
      std::unique_lock<std::mutex> lock(mutex_);
      if (ready_.wait_for(lock, std::chrono::milliseconds(50), [&] { return done_ || !queue_.empty(); }))
        break;
    }
    mc::GeneratedToken token;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (queue_.empty()) {
        if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
        throw nb::stop_iteration();
      }
      token = std::move(queue_.front());
      queue_.pop_front();
      room_.notify_one();
    }
    return nb::make_tuple(token.id, str_of(token.text),
                          token.logprob ? nb::object(nb::float_(*token.logprob)) : nb::none(), token.rest);
  }

  nb::object result() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!done_ || error_) return nb::none();
    nb::dict d;
    d["prompt_ids"] = list_of(result_.prompt_ids);
    d["ids"] = list_of(result_.ids);
    d["logprobs"] = list_of(result_.logprobs);
    d["text"] = str_of(result_.text);
    d["stop_reason"] = mc::stop_reason_name(result_.stop_reason);
    d["time_to_first_token_s"] = result_.time_to_first_token_s;
    d["prefill_s"] = result_.prefill_s;
    d["decode_s"] = result_.decode_s;
    d["decoded"] = result_.decoded;
    return d;
  }

 private:
  static constexpr size_t kAhead = 8;
  mc::Device device_;
  std::mutex mutex_;
  std::condition_variable room_, ready_;
  std::deque<mc::GeneratedToken> queue_;
  bool cancelled_ = false, done_ = false;
  mc::GenerateResult result_;
  std::exception_ptr error_;
  std::thread thread_;
};

nb::dict config_dict(const mc::ModelConfig& c) {
  nb::dict d;
  d["architecture"] = str_of(c.architecture);
  d["name"] = str_of(c.name);
  d["layers"] = c.layers;
  d["hidden"] = c.hidden;
  d["heads"] = c.heads;
  d["kv_heads"] = c.kv_heads;
  d["head_dim"] = c.head_dim;
  d["ffn"] = c.ffn;
  d["vocab"] = c.vocab;
  d["context"] = c.context;
  d["norm_eps"] = c.norm_eps;
  d["rope_base"] = c.rope_base;
  d["window"] = c.window;
  return d;
}

nb::list score(const PyModel& m, nb::handle rows_in, int64_t chunk, nb::handle edits) {
  const auto rows = rows_of(rows_in);
  const std::vector<mc::Edit> written =
      edits_of(m, edits, rows.size() == 1 ? static_cast<int64_t>(rows[0].size()) : -1);
  std::vector<std::vector<double>> scores;
  {
    const InterruptScope interrupts;
    nb::gil_scoped_release nogil;
    mc::ScoreOptions options;
    options.chunk = chunk;
    options.edits = written;
    scores = mc::score(m.model, rows, options);
  }
  nb::list out;
  for (const auto& row : scores) out.append(list_of(row));
  return out;
}

// What one row of ids has at sites: a list of arrays (1, tokens, …), and the hidden state after the last
// norm.
nb::list activations(const PyModel& m, nb::handle ids_in, nb::handle sites, nb::handle edits) {
  const std::vector<int32_t> ids = ids_of(ids_in);
  const std::vector<mc::Site> taps = mc::parse_sites(text_of(sites), m.model->config().layers);
  const std::vector<mc::Edit> written = edits_of(m, edits, static_cast<int64_t>(ids.size()));
  if (ids.empty()) throw nb::value_error("there are no tokens to run");
  Arrays out;
  {
    const InterruptScope interrupts;
    nb::gil_scoped_release nogil;
    mc::Session session(m.model, 1, written);
    const Array hidden = session.run(ids, mc::kMaxPass, true, taps, &out);
    session.require_fired();
    out.push_back(hidden);
    mc::eval(out);
  }
  return to_pylist(out);
}

// Copies what a prompt gave at each site: (rows, …) arrays of the columns' dtypes, on the default device.
nb::list arrays_of(const mc::CapturedPrompt& p, const std::vector<mc::CaptureColumn>& columns) {
  nb::list out;
  for (size_t i = 0; i < columns.size(); ++i) {
    Shape shape{p.rows};
    for (int64_t n : columns[i].row) shape.push_back(n);
    out.append(Array::from_bytes(p.values[i], shape, columns[i].dtype));
  }
  return out;
}

// With `given["each"]`, a function: called with each prompt's arrays.
nb::object capture(const PyModel& m, nb::dict given, nb::handle progress) {
  mc::CaptureOptions o;
  o.data = text_of(given["data"]);
  o.out = text_of(given["out"]);
  o.sites = mc::parse_sites(text_of(given["sites"]), m.model->config().layers);
  o.positions =
      given["positions"].is_none() ? mc::PositionRanges() : mc::parse_positions(text_of(given["positions"]));
  o.batch_size = nb::cast<int64_t>(given["batch_size"]);
  o.pool = mc::parse_pool(text_of(given["pool"]));
  o.resume = nb::cast<bool>(given["resume"]);
  o.part = nb::cast<int64_t>(given["part"]);
  o.parts = nb::cast<int64_t>(given["parts"]);
  o.edits = edits_of(m, given["edits"], -1);
  o.precision = m.fast ? "fast" : "highest";
  const std::vector<mc::CaptureColumn> columns = mc::capture_columns(*m.model, o.sites);
  const nb::object each = given["each"];
  if (!each.is_none())
    o.on_prompt = [&](const mc::CapturedPrompt& p) {
      nb::gil_scoped_acquire gil;
      each(arrays_of(p, columns));
    };
  const size_t limit = given["max_memory"].is_none() ? 0 : nb::cast<size_t>(given["max_memory"]);
  mc::CaptureSummary s;
  {
    const InterruptScope interrupts;
    nb::gil_scoped_release nogil;
    if (limit)
      if (const mc::BatchFit fit = mc::fit_batch(m.model, o, limit, o.batch_size > 0); fit.batch)
        o.batch_size = fit.batch;
    if (o.batch_size < 1) o.batch_size = mc::CaptureOptions().batch_size;
    s = mc::capture(m.model, o, [&](const mc::CaptureProgress& p) {
      nb::gil_scoped_acquire gil;
      if (PyErr_CheckSignals() != 0) {
        PyErr_Clear();  // the library reports it as its own Interrupted, which Python sees as
                        // KeyboardInterrupt
        return false;
      }
      if (progress.is_none()) return true;
      nb::object go = progress(p.prompts, p.tokens, p.seconds);
      return go.is_none() || nb::cast<bool>(go);
    });
  }
  nb::dict d;
  d["prompts"] = s.prompts;
  d["batch_size"] = o.batch_size;
  d["tokens"] = s.tokens;
  d["shards"] = s.shards;
  d["bytes"] = s.bytes;
  d["manifest"] = str_of(s.manifest);
  return d;
}

nb::list embed(const PyModel& m, nb::handle texts_in, nb::handle pool, bool normalize, int64_t batch) {
  std::vector<std::string> texts;
  for (nb::handle t : nb::iter(texts_in)) texts.push_back(text_of(t));
  mc::EmbedOptions o;
  if (!pool.is_none()) o.pool = mc::parse_embed_pool(text_of(pool));
  o.normalize = normalize;
  o.batch_size = batch;
  std::vector<std::vector<float>> vectors;
  {
    const InterruptScope interrupts;
    nb::gil_scoped_release nogil;
    vectors = mc::embed(m.model, texts, o);
  }
  nb::list out;
  for (const auto& v : vectors) {
    nb::list row;
    for (float x : v) row.append(x);
    out.append(row);
  }
  return out;
}

// (text, ids) of messages, given as JSON.
nb::tuple chat(const PyModel& m, nb::handle messages, nb::dict given) {
  mc::ChatOptions o;
  o.add_generation_prompt = nb::cast<bool>(given["add_generation_prompt"]);
  o.special = nb::cast<bool>(given["special"]);
  o.tools = text_of(given["tools"]);
  o.variables = text_of(given["variables"]);
  const mc::Tokenizer& t = m.model->tokenizer();
  const nb::object source = given["template"];
  const mc::ChatTemplate form = source.is_none() ? mc::ChatTemplate::of(*m.model, text_of(given["name"]))
                                                 : mc::ChatTemplate(text_of(source), t);
  const mc::ChatText told = form.render(text_of(messages), o);
  return nb::make_tuple(str_of(told.text), list_of(mc::encode_chat(t, told)));
}

}  // namespace

nb::dict plan_dict(const mc::MemoryPlan& plan) {
  nb::dict d;
  d["capacity"] = plan.capacity;
  d["weights"] = plan.weights;
  d["cache"] = plan.cache;
  d["prefill"] = plan.prefill;
  d["decode"] = plan.decode;
  d["total"] = plan.total();
  return d;
}

void bind_model(nb::module_& m) {
  nb::class_<Generation>(m, "Generation")
      .def("__iter__", [](nb::handle self) { return nb::borrow(self); })
      .def("__next__", &Generation::next)
      .def("close", &Generation::close)
      .def("result", &Generation::result);

  nb::class_<PyModel>(m, "Model")
      .def_prop_ro("config", [](const PyModel& p) { return config_dict(p.model->config()); })
      .def_prop_ro("dtype", [](const PyModel& p) { return dtype_object(p.model->dtype()); })
      .def(
          "encode",
          [](const PyModel& p, nb::handle text, bool special, nb::handle bos) {
            mc::EncodeOptions o{.parse_special = special};
            if (!bos.is_none()) o.add_bos = nb::cast<bool>(bos);
            return list_of(p.model->tokenizer().encode(text_of(text), o));
          },
          nb::arg(), nb::arg(), nb::arg().none())
      .def(
          "encode_with_spans",
          [](const PyModel& p, nb::handle text, bool special, nb::handle bos) {
            mc::EncodeOptions o{.parse_special = special};
            if (!bos.is_none()) o.add_bos = nb::cast<bool>(bos);
            const mc::Encoding e = p.model->tokenizer().encode_with_spans(text_of(text), o);
            nb::list spans;
            for (const mc::TokenSpan& s : e.spans) spans.append(nb::make_tuple(s.begin, s.end));
            return nb::make_tuple(list_of(e.ids), spans);
          },
          nb::arg(), nb::arg(), nb::arg().none())
      .def("decode",
           [](const PyModel& p, nb::handle ids, bool skip_special) {
             const std::string s = p.model->tokenizer().decode(ids_of(ids), skip_special);
             return nb::bytes(s.data(), s.size());
           })
      .def("token_text",
           [](const PyModel& p, int32_t id) {
             const std::string s = p.model->tokenizer().token_text(id);
             return nb::bytes(s.data(), s.size());
           })
      .def("special_ids",
           [](const PyModel& p) {
             const mc::Tokenizer& t = p.model->tokenizer();
             nb::dict d;
             d["bos"] = optional_id(t.bos_id());
             d["eos"] = optional_id(t.eos_id());
             d["eot"] = optional_id(t.eot_id());
             d["unk"] = optional_id(t.unk_id());
             d["pad"] = optional_id(t.pad_id());
             d["end"] = list_of(t.end_of_generation_ids());
             return d;
           })
      .def("layer_index", [](const PyModel& p, int64_t l) { return p.model->layer_index(l); })
      .def(
          "generate",
          [](const PyModel& p, nb::handle ids, nb::dict o) {
            mc::GenerateOptions g;
            g.max_tokens = nb::cast<int64_t>(o["max_tokens"]);
            g.sampling.temperature = nb::cast<double>(o["temperature"]);
            g.sampling.top_k = nb::cast<int64_t>(o["top_k"]);
            g.sampling.top_p = nb::cast<double>(o["top_p"]);
            g.sampling.min_p = nb::cast<double>(o["min_p"]);
            g.sampling.repetition_penalty = nb::cast<double>(o["repetition_penalty"]);
            g.sampling.seed = nb::cast<uint64_t>(o["seed"]);
            g.logprobs = nb::cast<bool>(o["logprobs"]);
            g.ignore_eos = nb::cast<bool>(o["ignore_eos"]);
            for (nb::handle s : nb::iter(o["stop"])) g.stop.push_back(text_of(s));
            std::vector<int32_t> prompt = ids_of(ids);
            g.edits = edits_of(p, o["edits"], static_cast<int64_t>(prompt.size()));
            return new Generation(p.model, std::move(prompt), std::move(g));
          },
          nb::rv_policy::take_ownership)
      .def("score", &score)
      .def("activations", &activations)
      .def("embed", &embed, nb::arg(), nb::arg().none(), nb::arg(), nb::arg())
      .def("chat", &chat)
      .def("site_order",
           [](const PyModel& p, nb::handle sites) {
             nb::list out;
             for (const mc::Site& s : mc::parse_sites(text_of(sites), p.model->config().layers)) {
               const bool one = !mc::site_info(s.kind).per_layer;
               const int layer = one ? (s.kind == mc::SiteKind::Embed ? -1 : 1 << 20) : s.layer;
               out.append(nb::make_tuple(str_of(mc::site_name(s)), layer, static_cast<int>(s.kind)));
             }
             return out;
           })
      .def("capture", &capture, nb::arg(), nb::arg().none())
      .def("memory_plan", [](const PyModel& p, int64_t tokens, int64_t rows) {
        return plan_dict(mc::plan_memory(p.model, tokens, mc::kMaxPass, rows));
      });
  m.def("load_model", [](nb::handle path, bool fast, nb::handle dtype, nb::handle quantize, int64_t context) {
    const std::string p = text_of(path);
    mc::LoadOptions o{.fast = fast, .dtype = to_dtype(dtype)};
    if (const std::string q = text_of(quantize); !q.empty()) {
      o.quantize = mc::parse_quantize(q);
      o.quantize.scales = o.dtype;
    }
    o.context = context;
    PyModel r{nullptr, fast};
    {
      nb::gil_scoped_release nogil;
      r.model = mc::load_model(p, o);
    }
    return r;
  });
  m.def("supported_architectures", [] {
    nb::list out;
    for (const std::string& s : mc::supported_architectures()) out.append(str_of(s));
    return out;
  });
}

}  // namespace mcpy
