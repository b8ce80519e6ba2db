#include "backends/mlx/core/program.h"

#include <algorithm>
#include <atomic>

#include "backends/mlx/core/emit.h"
#include "backends/mlx/core/host_node.h"
#include "core/op_names.h"
#include "mc/system.h"

namespace mc::mlx_engine {
namespace {

// Evaluated in between, so that a graph of a million nodes takes neither the memory of all nor of all their
// results.
constexpr size_t kNodesPerEval = 4096;

class Program final : public Executable {
 public:
  Program(const Graph& graph, const CompileOptions& options)
      : graph_(graph),
        device_(options.device),
        donated_(options.donated),
        uses_(graph.use_counts()),
        host_(graph.nodes.size()) {
    for (ValueId v : graph_.outputs) output_bytes_ += graph_.values[static_cast<size_t>(v)].nbytes();
    for (const Aval& a : graph_.values) {
      mlx_shape(a.shape);
      mlx_dtype(a.dtype);
    }
  }

  void run(std::span<Value> inputs, std::span<Value> outputs) override {
    refuse_after_fork();
    check_limit(output_bytes_, "eval");
    guarded("eval", [&] { compute(inputs, outputs); });
  }

  PlanInfo plan() const override {
    PlanInfo p;
    p.output_bytes = output_bytes_;
    p.steps = graph_.nodes.size();
    return p;
  }

 private:
  using Slot = std::optional<mx::array>;

  bool is_donated(size_t i) const { return i < donated_.size() && donated_[i]; }

  void compute(std::span<Value> inputs, std::span<Value> outputs) {
    const mx::Stream stream = library().stream(device_.index);
    const bool on_gpu = stream.device == mx::Device::gpu;
    const auto stream_of = [&](ValueId v) {
      return stream_for(graph_.values[static_cast<size_t>(v)], stream);
    };
    auto failure = std::make_shared<Failure>();
    std::vector<Slot> slots(graph_.values.size());
    std::vector<int32_t> left = uses_;
    std::vector<Value> sources(inputs.begin(), inputs.end());
    for (size_t i = 0; i < inputs.size(); ++i) {
      slots[i] = array_of(inputs[i], graph_.values[i], stream_of(static_cast<ValueId>(i)));
      if (is_donated(i))
        sources[i] = inputs[i] = Value{};  // a buffer that nobody else holds is now the graph's
    }
    size_t since = 0;
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      std::vector<mx::array> out = node(n, slots, left, sources, stream, on_gpu, failure);
      const GraphNode& g = graph_.nodes[n];
      for (int32_t i = 0; i < g.n_out; ++i) {
        const auto v = static_cast<size_t>(g.first_out + i);
        if (left[v] > 0) slots[v] = std::move(out[static_cast<size_t>(i)]);
      }
      if (++since == kNodesPerEval) {
        since = 0;
        std::vector<mx::array> live;
        for (const Slot& s : slots)
          if (s) live.push_back(*s);
        force(std::move(live), *failure);
      }
    }
    std::vector<mx::array> results;
    for (ValueId v : graph_.outputs)
      results.push_back(mx::contiguous(*slots[static_cast<size_t>(v)], false, stream_of(v)));
    slots.clear();
    sources.clear();
    force(results, *failure);
    for (size_t i = 0; i < outputs.size(); ++i) {
      auto h = std::make_shared<Holder>();
      h->bytes = results[i].nbytes();
      h->array = results[i];
      outputs[i] = {buffer_of(device_, std::move(h)), 0};
    }
  }

  // float64 is the CPU's alone.
  static const mx::Stream& stream_for(const Aval& a, const mx::Stream& stream) {
    return a.dtype == Dtype::F64 ? library().cpu : stream;
  }

  static void force(std::vector<mx::array> arrays, Failure& failure) {
    try {
      mx::eval(std::move(arrays));
    } catch (...) {
      if (!failure.first) throw;
    }
    std::lock_guard lock(failure.mutex);
    if (failure.first) std::rethrow_exception(failure.first);
  }

  std::vector<mx::array> node(size_t n, std::vector<Slot>& slots, std::vector<int32_t>& left,
                              const std::vector<Value>& sources, const mx::Stream& stream, bool on_gpu,
                              const std::shared_ptr<Failure>& failure) {
    const GraphNode& g = graph_.nodes[n];
    const auto operands = graph_.operands_of(g);
    std::vector<Aval> in_avals;
    std::vector<mx::array> in, out;
    std::vector<Value> from;
    bool wide = false, empty_in = false, empty_out = true;
    for (ValueId id : operands) {
      const auto v = static_cast<size_t>(id);
      in_avals.push_back(graph_.values[v]);
      wide = wide || graph_.values[v].dtype == Dtype::F64;
      empty_in = empty_in || graph_.values[v].shape.numel() == 0;
      from.push_back(v < sources.size() ? sources[v] : Value{});
      // The last use takes the reference along: libmlx writes in place where nobody else holds an array.
      if (--left[v] == 0) {
        in.push_back(std::move(*slots[v]));
        slots[v].reset();
      } else {
        in.push_back(*slots[v]);
      }
    }
    const std::span<const Aval> out_avals(graph_.values.data() + g.first_out, static_cast<size_t>(g.n_out));
    for (const Aval& a : out_avals) {
      wide = wide || a.dtype == Dtype::F64;
      empty_out = empty_out && a.shape.numel() == 0;
    }
    if (empty_out) {
      for (const Aval& a : out_avals)
        out.push_back(mx::zeros(mlx_shape(a.shape), mlx_dtype(a.dtype), stream_for(a, stream)));
      return out;
    }
    const bool gpu = on_gpu && !wide;
    const Emit e{g.op, g.attrs, in_avals, out_avals, in, out, gpu ? stream : library().cpu, gpu, from};
    try {
      const bool host = host_[n] || (empty_in && g.op != Op::Concatenate);
      if (!host && emit(e)) return out;
    } catch (const Error&) {
      throw;
    } catch (const std::exception& x) {
      throw Error(ErrorCode::UnsupportedOp, cat("libmlx: ", x.what()), std::string(op_name(g.op)));
    }
    if (!host_[n]) host_[n] = std::make_unique<HostNode>(graph_, g);
    return host_[n]->apply(in, failure);
  }

  Graph graph_;
  Device device_;
  std::vector<bool> donated_;
  std::vector<int32_t> uses_;
  std::vector<std::unique_ptr<HostNode>> host_;  // made at the first run, under the lock
  size_t output_bytes_ = 0;
};

std::atomic<size_t> memory_limit{0};

}  // namespace

std::unique_ptr<Executable> make_program(const Graph& graph, const CompileOptions& options) {
  return std::make_unique<Program>(graph, options);
}

void check_limit(size_t bytes, std::string_view where) {
  const size_t held = mx::get_active_memory() + host_bytes(), limit = memory_limit;
  if (limit && held + bytes > limit)
    throw Error(ErrorCode::MemoryLimit,
                cat(bytes, " bytes beside ", held, " in use would pass the limit of ", limit),
                std::string(where));
  if (bytes >= (size_t{64} << 20) && bytes > available_memory())
    throw Error(ErrorCode::OutOfMemory,
                cat("results take ", bytes, " bytes, ", available_memory(), " are free"), std::string(where));
}

MemoryStats memory_of(const Backend::MemoryRequest& r) {
  return guarded("memory", [&] {
    if (r.set_limit) memory_limit = r.limit;
    if (r.reset_peak) mx::reset_peak_memory();
    if (r.clear) mx::clear_cache();
    MemoryStats m;
    m.active = mx::get_active_memory() + host_bytes();
    m.peak = mx::get_peak_memory() + host_bytes();
    m.cached = mx::get_cache_memory();
    m.limit = memory_limit;
    return m;
  });
}

}  // namespace mc::mlx_engine
