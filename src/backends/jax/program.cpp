#include "backends/jax/program.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <map>

#include "backends/jax/lower.h"
#include "base/log.h"
#include "core/op_names.h"
#include "mc/detail/str.h"
#include "mc/quantize.h"
#include "mc/sha256.h"
#include "runtime/disk_cache.h"
#include "runtime/segments.h"

namespace mc::jax_engine {
namespace {

std::atomic<size_t> compiled{0}, from_disk{0};
std::atomic<int64_t> microseconds{0};

DiskCache& disk() {
  static auto* cache = new DiskCache("xla");
  return *cache;
}

// Compiled, or read from the cache on disk.
Loaded load_or_compile(const Client& client, int device, const std::string& program, size_t operations) {
  const std::string key_text =
      cat(client.plugin().path, "\n", client.plugin().id, "\n", client.version(), "\n",
          client.device_text(device), "\n", client.compile_options(device), "\n", program);
  const std::string key = sha256_hex(std::as_bytes(std::span(key_text)));
  if (const std::optional<std::string> known = disk().read(key)) {
    try {
      Loaded exe = client.load(*known);
      ++from_disk;
      log_debug(cat("jax: a program of ", operations, " operations was read from the cache; ",
                    compiled.load(), " compiled and ", from_disk.load(), " read so far"));
      return exe;
    } catch (const Error&) {  // of another compiler after all: built anew
      disk().drop(key);
    }
  }
  const auto start = std::chrono::steady_clock::now();
  Loaded exe = client.compile(program, device);
  const auto took = std::chrono::steady_clock::now() - start;
  ++compiled;
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(took).count();
  microseconds += us;
  log_debug(cat("jax: a program of ", operations, " operations was compiled in ", us / 1000, " ms; ",
                compiled.load(), " compiled and ", from_disk.load(), " read so far"));
  // A program that is made faster than a file is read is not worth one.
  if (took >= std::chrono::milliseconds(50)) {
    try {
      disk().write(key, client.serialize(exe));
    } catch (const Error&) {  // a plugin that can't write programs down
    }
  }
  return exe;
}

bool keep_packed() {
  const char* v = std::getenv("MODELCYPHER_JAX_WEIGHTS");
  if (!v || !*v || std::string_view(v) == "expanded") return false;
  if (std::string_view(v) == "packed") return true;
  throw Error(ErrorCode::InvalidArgument, cat("'", v, "' is neither 'expanded' nor 'packed'"),
              "MODELCYPHER_JAX_WEIGHTS", "unset it, or set it to one of them");
}

// Where a program's parameter comes from.
struct Parameter {
  size_t input;  // of the graph
  // An expanded weight: its quantized parts among the graph's inputs, and what they are.
  std::vector<size_t> parts;
  Attrs quant;
  Aval aval;
};

class Program final : public Executable {
 public:
  Program(const Graph& graph, const CompileOptions& options, const EngineDevice& device)
      : device_(options.device), on_(device), donated_(options.donated), steps_(graph.nodes.size()) {
    inputs_.assign(graph.values.begin(),
                   graph.values.begin() + static_cast<std::ptrdiff_t>(graph.inputs.size()));
    for (ValueId v : graph.outputs) {
      outputs_.push_back(graph.values[static_cast<size_t>(v)]);
      output_bytes_ += outputs_.back().nbytes();
    }
    const std::string text = lower(graph);
    if (const char* dump = std::getenv("MODELCYPHER_JAX_DUMP"); dump && *dump)
      std::fputs(text.c_str(), stderr);
    exe_ = load_or_compile(*on_.client, on_.number, text, graph.nodes.size());
    if (on_.client->output_count(exe_) != outputs_.size())
      throw Error(ErrorCode::Internal, "the compiled program has another number of results", "jax");
    temp_bytes_ = on_.client->bytes_of(exe_).temp;
  }

  void run(std::span<Value> inputs, std::span<Value> outputs) override {
    refuse_after_fork();
    check_limit(on_, output_bytes_ + temp_bytes_, "eval");
    std::vector<DeviceArrayPtr> held;
    std::vector<PJRT_Buffer*> in, out(outputs_.size());
    for (const Parameter& p : parameters_) {
      if (p.quant) {
        std::vector<Value> parts;
        std::vector<Aval> avals;
        for (size_t i : p.parts) {
          parts.push_back(inputs[i]);
          avals.push_back(inputs_[i]);
        }
        held.push_back(expanded(parts, avals, p.quant, p.aval.dtype));
      } else {
        held.push_back(array_of(inputs[p.input], p.aval));
      }
      in.push_back(held.back()->get());
    }
    on_.client->execute(exe_, in, out);
    for (size_t i = 0; i < out.size(); ++i) {
      const auto result = of_result(on_, {&on_.client->api(), out[i]}, outputs_[i]);
      if (i == 0) remember_last(on_, result);
      outputs[i] = {mc::jax_engine::buffer_of(device_, result), 0};
    }
    for (size_t i = 0; i < donated_.size() && i < inputs.size(); ++i)
      if (donated_[i]) inputs[i] = Value{};
  }

  PlanInfo plan() const override {
    PlanInfo p;
    p.temp_bytes = temp_bytes_;
    p.output_bytes = output_bytes_;
    for (const Parameter& q : parameters_)
      if (q.quant) p.constant_bytes += q.aval.nbytes();
    p.steps = steps_;
    return p;
  }

 private:
  bool is_donated(size_t i) const { return i < donated_.size() && donated_[i]; }

  // The weight's parts among a node's operands; none where it has no quantized weight.
  static std::span<const ValueId> parts_of(const Graph& graph, const GraphNode& n) {
    const std::span<const ValueId> in = graph.operands_of(n);
    if (n.op == Op::QuantizedMatmul || n.op == Op::QuantizedTake) return in.subspan(1);
    if (n.op == Op::QuantizedMatmulWhere) return in.subspan(1, in.size() - 2);  // the mask behind them
    return {};
  }

  // Constant inputs that are read as a quantized weight's parts and nothing else, by the weight's first part.
  std::map<ValueId, Parameter> weights(const Graph& graph) const {
    std::map<ValueId, Parameter> found;
    if (keep_packed()) return found;
    std::map<ValueId, bool> usable;
    const auto constant = [&](ValueId v) {
      return static_cast<size_t>(v) < graph.inputs.size() &&
             graph.inputs[static_cast<size_t>(v)] == InputKind::Constant &&
             !is_donated(static_cast<size_t>(v));
    };
    for (ValueId v : graph.outputs) usable[v] = false;
    for (const GraphNode& n : graph.nodes) {
      const auto in = graph.operands_of(n);
      const size_t parts = parts_of(graph, n).size();
      for (size_t i = 0; i < in.size(); ++i)
        if (i == 0 || i > parts) usable[in[i]] = false;
    }
    for (const GraphNode& n : graph.nodes) {
      const auto parts = parts_of(graph, n);
      if (parts.empty()) continue;
      const auto in = graph.operands_of(n).first(1 + parts.size());
      const auto& a = n.attrs.as<QuantAttrs>();
      Parameter p{static_cast<size_t>(in[1]), {}, n.attrs, {{a.rows, a.cols}, Dtype::F32}};
      bool all = true;
      for (size_t i = 1; i < in.size(); ++i) {
        all = all && constant(in[i]) && usable.try_emplace(in[i], true).first->second;
        p.parts.push_back(static_cast<size_t>(in[i]));
      }
      const auto format = static_cast<BlockFormat>(a.format);
      if (a.kind == static_cast<int>(QTensor::Kind::Block) && !on_.client->on_host()) {
        const Dtype x = graph.values[static_cast<size_t>(in[0])].dtype;
        if (format == BlockFormat::BF16 && (x == Dtype::BF16 || n.op == Op::QuantizedTake))
          p.aval.dtype = Dtype::BF16;
        if (format == BlockFormat::F16 && (x == Dtype::F16 || n.op == Op::QuantizedTake))
          p.aval.dtype = Dtype::F16;
      }
      if (!all) {
        for (size_t i = 1; i < in.size(); ++i) usable[in[i]] = false;
        found.erase(in[1]);
        continue;
      }
      auto [it, made] = found.try_emplace(in[1], p);
      if (made) continue;
      const auto& b = it->second.quant.as<QuantAttrs>();
      if (it->second.parts != p.parts || b.rows != a.rows || b.cols != a.cols || b.format != a.format ||
          b.bits != a.bits || b.group != a.group) {
        usable[in[1]] = false;
        found.erase(it);
      } else if (p.aval.dtype == Dtype::F32) {
        it->second.aval.dtype = Dtype::F32;
      }
    }
    // One that fell out after it was found takes its other uses along.
    std::erase_if(found, [&](const auto& f) {
      return std::any_of(f.second.parts.begin(), f.second.parts.end(),
                         [&](size_t i) { return !usable.at(static_cast<ValueId>(i)); });
    });
    return found;
  }

  // Which output a donated input may become: the one that is written into it.
  std::vector<int> aliases(const Graph& graph) const {
    std::vector<int> out(graph.inputs.size(), -1);
    std::vector<ValueId> from(graph.values.size(), -1);  // the value that this one is an update of
    for (const GraphNode& n : graph.nodes)
      if (n.op == Op::DynamicUpdate || n.op == Op::SliceUpdate || n.op == Op::Scatter)
        from[static_cast<size_t>(n.first_out)] = graph.operands_of(n)[0];
    std::vector<bool> taken(graph.outputs.size());
    for (size_t o = 0; o < graph.outputs.size(); ++o) {
      ValueId v = graph.outputs[o];
      while (from[static_cast<size_t>(v)] >= 0) v = from[static_cast<size_t>(v)];
      const auto i = static_cast<size_t>(v);
      if (i >= out.size() || !is_donated(i) || out[i] >= 0 || v == graph.outputs[o]) continue;
      if (!(graph.values[i] == outputs_[o])) continue;
      out[i] = static_cast<int>(o);
      taken[o] = true;
    }
    for (size_t i = 0; i < out.size(); ++i)
      for (size_t o = 0; o < taken.size() && is_donated(i) && out[i] < 0; ++o)
        if (!taken[o] && graph.values[i] == outputs_[o] &&
            static_cast<size_t>(graph.outputs[o]) >= out.size()) {
          out[i] = static_cast<int>(o);
          taken[o] = true;
        }
    return out;
  }

  std::string lower(const Graph& graph) {
    Hlo h(on_.client->on_host());
    std::vector<Val> values(graph.values.size());
    const std::map<ValueId, Parameter> wide = weights(graph);
    std::vector<bool> inside(graph.inputs.size());  // part of an expanded weight
    for (const auto& [first, p] : wide)
      for (size_t i : p.parts) inside[i] = true;
    const std::vector<int> alias_of = aliases(graph);
    const std::vector<int32_t> uses = graph.use_counts();
    std::vector<int> alias;
    for (size_t i = 0; i < graph.inputs.size(); ++i) {
      if (const auto it = wide.find(static_cast<ValueId>(i)); it != wide.end()) {
        values[i] = h.parameter(it->second.aval);
        parameters_.push_back(it->second);
        alias.push_back(-1);
      } else if (!inside[i] && uses[i] > 0) {
        values[i] = h.parameter(graph.values[i]);
        parameters_.push_back({i, {}, {}, graph.values[i]});
        alias.push_back(alias_of[i]);
      }
    }
    std::vector<Val> in, results;
    for (const GraphNode& n : graph.nodes) {
      in.clear();
      results.clear();
      for (ValueId v : graph.operands_of(n))
        if (const Val& x = values[static_cast<size_t>(v)]; x.id >= 0) in.push_back(x);
      const std::span<const Aval> out(graph.values.data() + n.first_out, static_cast<size_t>(n.n_out));
      const LowerRow* row = find_row(n.op);
      if (!row)
        throw Error(ErrorCode::UnsupportedOp, "there is no StableHLO for it", std::string(op_name(n.op)));
      row->lower({h, n.op, n.attrs, in, out, results});
      for (size_t i = 0; i < out.size(); ++i) {
        if (!(results.at(i).aval == out[i]))
          throw Error(ErrorCode::Internal,
                      cat("its StableHLO gives ", type_text(results[i].aval), ", not ", type_text(out[i])),
                      std::string(op_name(n.op)));
        values[static_cast<size_t>(n.first_out) + i] = results[i];
      }
    }
    std::vector<Val> outputs;
    for (ValueId v : graph.outputs) outputs.push_back(values[static_cast<size_t>(v)]);
    return h.module(outputs, alias);
  }

  Device device_;
  EngineDevice on_;
  std::vector<bool> donated_;
  std::vector<Aval> inputs_, outputs_;
  std::vector<Parameter> parameters_;
  Loaded exe_;
  size_t output_bytes_ = 0, temp_bytes_ = 0, steps_;
};

// Compile time grows faster than a program does.
constexpr size_t kNodesPerProgram = 8192;

}  // namespace

std::unique_ptr<Executable> make_program(const Graph& graph, const CompileOptions& options,
                                         const EngineDevice& device) {
  if (graph.nodes.size() <= kNodesPerProgram) return std::make_unique<Program>(graph, options, device);
  std::vector<int> stage(graph.nodes.size());
  for (size_t n = 0; n < stage.size(); ++n) stage[n] = static_cast<int>(n / kNodesPerProgram);
  return make_segmented(graph, options, stage, [](int) { return false; });
}

CompileStats compile_stats() {
  return {compiled, from_disk, static_cast<double>(microseconds.load()) * 1e-6};
}

}  // namespace mc::jax_engine
