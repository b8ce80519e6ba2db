// compile: trace once, then run the program.
#include <map>
#include <mutex>

#include "base/debug.h"
#include "mc/detail/str.h"
#include "mc/transforms.h"
#include "prims/op_def.h"
#include "prims/random_state.h"
#include "prims/replay.h"
#include "runtime/exec_cache.h"
#include "runtime/profile.h"
#include "runtime/run.h"
#include "transforms/cse.h"
#include "transforms/trace.h"

namespace mc {
namespace {

struct Program {
  std::vector<Aval> args;
  Device device;
  Graph graph;
  Arrays captured;   // inputs after the arguments and the random state
  Device own;        // where those lie, if anywhere
  int64_t keys = 0;  // drawn from the random state at each call; if any, it is the input after the arguments
  std::shared_ptr<Executable> exe;
};

class Compiled {
 public:
  Compiled(Function f, bool shapeless, std::vector<int> donate)
      : f_(std::move(f)), shapeless_(shapeless), donate_(std::move(donate)) {}

  Arrays call(const Arrays& args) {
    for (const Array& a : args) {
      a.shape();                              // throws for an empty Array
      if (a.node()->tracer) return f_(args);  // inside another transform: part of its graph
    }
    if (RandomTrace::active())
      return f_(args);  // or of another compiled function, whose calls each draw anew
    for (int d : donate_)
      if (d < 0 || d >= static_cast<int>(args.size()))
        throw Error(ErrorCode::IndexOutOfRange, cat("donate names argument ", d, " of ", args.size()),
                    "compile");
    if (debug_mode()) return f_(args);  // every operation on its own, checked
    const std::shared_ptr<Program> program = program_of(args);
    if (!program) return f_(args);  // f closes over arguments of a transform around it
    Program& p = *program;
    GraphLock lock;
    eval(args);
    std::vector<Value> in, out(p.graph.outputs.size());
    in.reserve(args.size() + p.captured.size() + 1);
    for (const Array& a : args) in.push_back(place(a, p.device));
    if (p.keys) in.push_back(place(advance_random_state(p.keys), p.device));
    for (const Array& a : p.captured) in.push_back(place(a, p.device));
    try {
      for (int d : donate_) give_away(args[static_cast<size_t>(d)], in[static_cast<size_t>(d)], p.device);
      ProfileScope profile("compiled", p.graph.nodes.size());
      p.exe->run(in, out);
    } catch (...) {
      // What was not touched is the caller's again.
      for (int d : donate_) {
        const Array& arg = args[static_cast<size_t>(d)];
        if (in[static_cast<size_t>(d)].buffer) arg.node()->values[arg.index()] = in[static_cast<size_t>(d)];
      }
      throw;
    }
    Arrays result;
    result.reserve(out.size());
    for (size_t i = 0; i < out.size(); ++i)
      result.push_back(make_leaf(p.graph.values[static_cast<size_t>(p.graph.outputs[i])], std::move(out[i])));
    return result;
  }

 private:
  static constexpr size_t kMaxPrograms = 256;

  // `placed` is where the arguments lie, if anywhere; else the program's own arrays decide, as in device_of.
  std::shared_ptr<Program> find(const Arrays& args, const Device& placed) {
    for (auto& p : programs_) {
      const Device own = placed.backend ? placed : p->own, device = own.backend ? own : default_device();
      if (!(p->device == device) || p->args.size() != args.size()) continue;
      bool same = true;
      for (size_t i = 0; i < args.size() && same; ++i) same = p->args[i] == aval_of(args[i]);
      if (same) return p;
    }
    return nullptr;
  }

  std::shared_ptr<Program> program_of(const Arrays& args) {
    Device device;
    std::shared_ptr<Program> first;
    uint64_t seen = 0;
    {
      GraphLock lock;
      eval(args);
      device = placed_device(args);
      if (const uint64_t now = exec_cache_generation(); now != generation_) {
        generation_ = now;
        programs_.clear();
        varied_.clear();
      }
      if (auto known = find(args, device)) return known;
      if (shapeless_ && !by_shape_ && !programs_.empty()) {
        first = programs_.front();
        seen = varied(*first);
      }
    }
    auto p = std::make_shared<Program>();
    Arrays placeholders;
    for (const Array& a : args) {
      p->args.push_back(aval_of(a));
      placeholders.push_back(make_placeholder(aval_of(a)));
    }
    Arrays outputs;
    const auto [comparable, differs] =
        first ? difference(p->args, first->args) : std::pair<bool, uint64_t>(false, 0);
    bool replayed = false;
    if (comparable && (differs & ~seen) == 0) {
      const size_t arguments = placeholders.size();
      try {
        p->keys = first->keys;
        outputs = again(*first, placeholders);
        replayed = true;
      } catch (const Error&) {  // a window that does not fit: f cut it to the first shape
        placeholders.resize(arguments);
      }
    }
    if (!replayed) {  // traced without the lock: f may wait for other threads' work
      RandomTrace random;
      outputs = f_(placeholders);
      p->keys = random.count();
      if (p->keys) placeholders.push_back(random.input());
    }
    GraphLock lock;
    const Dependence dependence(outputs, placeholders);
    if (dependence.foreign) return nullptr;
    if (auto known = find(args, device)) return known;  // another thread was quicker
    hoist(outputs, dependence);
    Capture c = capture(outputs, placeholders, false);
    p->graph = simplify(c.graph);
    p->captured.assign(c.inputs.begin() + static_cast<std::ptrdiff_t>(placeholders.size()), c.inputs.end());
    Arrays all = args;
    all.insert(all.end(), p->captured.begin(), p->captured.end());
    p->device = device_of(all);
    p->own = placed_device(p->captured);
    if (comparable && !replayed) verify(*p, *first, differs);
    CompileOptions options;
    options.device = p->device;
    if (!donate_.empty()) options.donated.resize(c.inputs.size());
    for (int d : donate_) options.donated[static_cast<size_t>(d)] = true;
    p->exe = executable_of(p->graph, options);
    if (programs_.size() >= kMaxPrograms) programs_.erase(programs_.begin() + 1);
    programs_.push_back(p);
    return p;
  }

  // --- shapeless: the first program is replayed for other shapes once a second trace has shown that what f
  // does does not depend on the dimensions that differ.

  // Bits of the dimensions, counted through all arguments, that differ; false if dtypes or ranks do, or if
  // there are too many dimensions to tell apart.
  static std::pair<bool, uint64_t> difference(const std::vector<Aval>& a, const std::vector<Aval>& b) {
    if (a.size() != b.size()) return {false, 0};
    uint64_t bits = 0;
    int at = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      if (a[i].dtype != b[i].dtype || a[i].shape.ndim() != b[i].shape.ndim()) return {false, 0};
      for (int d = 0; d < a[i].shape.ndim(); ++d, ++at) {
        if (at >= 64) return {false, 0};
        if (a[i].shape[d] != b[i].shape[d]) bits |= uint64_t{1} << at;
      }
    }
    return {true, bits};
  }
  uint64_t varied(const Program& first) const {
    const auto it = varied_.find(&first);
    return it == varied_.end() ? 0 : it->second;
  }
  static Arrays again(const Program& first, Arrays& placeholders) {
    if (first.keys) placeholders.push_back(make_placeholder({{2}, Dtype::U32}));
    Arrays in = placeholders;
    in.insert(in.end(), first.captured.begin(), first.captured.end());
    return replay(first.graph, in);
  }
  // Under the lock. Whether the trace for other shapes is what a replay of the first would have been.
  void verify(const Program& traced, const Program& first, uint64_t differs) {
    by_shape_ = true;
    if (traced.keys != first.keys) return;
    try {
      Arrays placeholders;
      for (const Aval& a : traced.args) placeholders.push_back(make_placeholder(a));
      const Arrays outputs = again(first, placeholders);
      const Dependence dependence(outputs, placeholders);
      Graph replayed = simplify(capture(outputs, placeholders, false).graph);
      Graph fresh = traced.graph;
      replayed.compute_hash();
      fresh.compute_hash();
      if (replayed.same_as(fresh)) {
        varied_[&first] = varied(first) | differs;
        by_shape_ = false;
      }
    } catch (const Error&) {  // the replay does not fit: f depends on the shape
    }
  }

  // Takes the memory out of a donated argument; memory that others see is copied instead of overwritten.
  static void give_away(const Array& arg, Value& in, const Device& device) {
    arg.node()->values[arg.index()] = Value{};
    // Memory that has no release is someone else's.
    const bool sole = in.buffer->refs.load(std::memory_order_acquire) == 1 && in.buffer->release &&
                      !in.buffer->keep && !in.buffer->constant && in.offset == 0;
    if (sole) return;
    const size_t bytes = aval_of(arg).nbytes();
    Value copy{device.backend->allocate(device, bytes), 0};
    std::vector<std::byte> host(bytes);
    if (in.buffer->device.backend)
      device.backend->download(in, host.data(), bytes);
    else
      std::copy_n(in.host(), bytes, host.data());
    device.backend->upload(device, host.data(), copy, bytes);
    in = std::move(copy);
  }

  Function f_;
  bool shapeless_;
  std::vector<int> donate_;
  // Under the graph lock.
  std::vector<std::shared_ptr<Program>> programs_;
  std::map<const Program*, uint64_t> varied_;  // dimensions of which a program was seen not to depend
  bool by_shape_ = false;                      // f was seen to depend on the shape: it is traced for each
  uint64_t generation_ = 0;
};

}  // namespace

Function compile(const Function& f, bool shapeless, std::vector<int> donate) {
  require_callable(f, "compile");
  auto state = std::make_shared<Compiled>(f, shapeless, std::move(donate));
  return [state](const Arrays& args) { return state->call(args); };
}

}  // namespace mc
