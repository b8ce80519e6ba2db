// compile: trace once, then run the program.
#include <mutex>

#include "mc/detail/str.h"
#include "mc/transforms.h"
#include "prims/op_def.h"
#include "prims/random_state.h"
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
  int64_t keys = 0;  // drawn from the random state at each call; if any, it is the input after the arguments
  std::shared_ptr<Executable> exe;
};

class Compiled {
 public:
  Compiled(Function f, bool shapeless, const std::vector<int>& donate)
      : f_(std::move(f)), shapeless_(shapeless), donate_(donate) {}

  Arrays call(const Arrays& args) {
    for (const Array& a : args)
      if (a.node()->tracer) return f_(args);  // inside another transform: part of its graph
    if (RandomTrace::active())
      return f_(args);  // or of another compiled function, whose calls each draw anew
    for (int d : donate_)
      if (d < 0 || d >= static_cast<int>(args.size()))
        throw Error(ErrorCode::IndexOutOfRange, cat("donate names argument ", d, " of ", args.size()),
                    "compile");
    GraphLock lock;
    eval(args);
    Program& p = program_of(args);
    std::vector<Value> in, out(p.graph.outputs.size());
    in.reserve(args.size() + p.captured.size() + 1);
    for (const Array& a : args) in.push_back(place(a, p.device));
    if (p.keys) in.push_back(place(advance_random_state(p.keys), p.device));
    for (const Array& a : p.captured) in.push_back(place(a, p.device));
    for (int d : donate_) give_away(args[static_cast<size_t>(d)], in[static_cast<size_t>(d)], p.device);
    {
      ProfileScope profile("compiled", p.graph.nodes.size());
      p.exe->run(in, out);
    }
    Arrays result;
    result.reserve(out.size());
    for (size_t i = 0; i < out.size(); ++i)
      result.push_back(make_leaf(p.graph.values[static_cast<size_t>(p.graph.outputs[i])], std::move(out[i])));
    return result;
  }

 private:
  Program& program_of(const Arrays& args) {
    const Device device = device_of(args);
    for (auto& p : programs_) {
      if (!(p->device == device) || p->args.size() != args.size()) continue;
      bool same = true;
      for (size_t i = 0; i < args.size() && same; ++i) same = p->args[i] == aval_of(args[i]);
      if (same) return *p;
    }
    auto p = std::make_unique<Program>();
    p->device = device;
    Arrays placeholders;
    for (const Array& a : args) {
      p->args.push_back(aval_of(a));
      placeholders.push_back(make_placeholder(aval_of(a)));
    }
    Arrays outputs;
    if (shapeless_ && !programs_.empty()) {
      p->keys = programs_[0]->keys;
      if (p->keys) placeholders.push_back(make_placeholder({{2}, Dtype::U32}));
      Arrays in = placeholders;
      in.insert(in.end(), programs_[0]->captured.begin(), programs_[0]->captured.end());
      outputs = replay(programs_[0]->graph, in);
    } else {
      RandomTrace random;
      outputs = f_(placeholders);
      p->keys = random.count();
      if (p->keys) placeholders.push_back(random.input());
    }
    hoist(outputs);
    Capture c = capture(outputs, placeholders, false);
    p->graph = simplify(c.graph);
    p->captured.assign(c.inputs.begin() + static_cast<std::ptrdiff_t>(placeholders.size()), c.inputs.end());
    CompileOptions options;
    options.device = device;
    if (!donate_.empty()) options.donated.resize(c.inputs.size());
    for (int d : donate_) options.donated[static_cast<size_t>(d)] = true;
    p->exe = executable_of(p->graph, options);
    programs_.push_back(std::move(p));
    return *programs_.back();
  }

  // Takes the memory out of a donated argument; memory that others see is copied instead of overwritten.
  static void give_away(const Array& arg, Value& in, const Device& device) {
    arg.node()->values[arg.index()] = Value{};
    const bool sole = in.buffer->refs.load(std::memory_order_acquire) == 1 && !in.buffer->keep &&
                      !in.buffer->constant && in.offset == 0;
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
  std::vector<std::unique_ptr<Program>> programs_;  // under the graph lock
};

}  // namespace

Function compile(const Function& f, bool shapeless, std::vector<int> donate) {
  auto state = std::make_shared<Compiled>(f, shapeless, donate);
  return [state](const Arrays& args) { return state->call(args); };
}

}  // namespace mc
