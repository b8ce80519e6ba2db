#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <iterator>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_set>

#include "base/debug.h"
#include "base/thread_pool.h"
#include "core/op_names.h"
#include "mc/array.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/ops.h"
#include "mc/system.h"
#include "runtime/exec_cache.h"
#include "runtime/profile.h"
#include "runtime/registry.h"
#include "runtime/run.h"
#include "transforms/trace.h"
#include "transforms/walk.h"

namespace mc {

namespace {
const Value& value_of(const Array& a) {
  const Value& v = a.node()->values[a.index()];
  if (!v.buffer)
    throw Error(ErrorCode::InvalidArgument, "the array's memory was given to a compiled function (donate)",
                "eval", "use the function's result in its place, or don't donate the argument");
  return v;
}
}  // namespace

Device placed_device(const Arrays& inputs) {
  Device device;
  for (const Array& a : inputs) {
    const Device d = value_of(a).buffer->device;
    if (!d.backend) continue;
    if (device.backend && !(device == d))
      throw Error(ErrorCode::DeviceUnavailable,
                  cat("one operation has inputs on ", device_name(device), " and ", device_name(d)), "eval",
                  "copy one of them with to_device");
    device = d;
  }
  return device;
}

Device device_of(const Arrays& inputs) {
  const Device device = placed_device(inputs);
  return device.backend ? device : default_device();
}

Value place(const Array& a, const Device& device) {
  value_of(a);
  Value& v = a.node()->values[a.index()];
  if (v.buffer->device == device) return v;
  if (v.buffer->device.backend)
    throw Error(ErrorCode::DeviceUnavailable,
                cat("an array on ", device_name(v.buffer->device), " is used on ", device_name(device)),
                "eval", "copy it with to_device");
  Value on = device.backend->adopt(device, v);
  if (!on.buffer) {
    const size_t bytes = aval_of(a).nbytes();
    on = {device.backend->allocate(device, bytes), 0};
    device.backend->upload(device, v.host(), on, bytes);
    on.buffer->constant = v.buffer->constant;
    v = on;  // uploaded once
  } else if (on.buffer.get() != v.buffer.get()) {
    v = on;  // the engine's own form of it, and what it keeps there, stay
  }
  return on;
}

namespace {

// In debug mode, of the one node that `c` runs.
void check_finite(const Capture& c) {
  for (const Array& a : c.outputs) {
    if (!is_floating(a.dtype())) continue;
    const Array nan = any(isnan(a));
    if (!nan.item<bool>()) continue;
    bool was = false;
    for (const Array& in : c.inputs) was = was || (is_floating(in.dtype()) && any(isnan(in)).item<bool>());
    if (!was && !c.inputs.empty()) {
      const GraphNode& n = c.graph.nodes.back();
      throw Error(
          ErrorCode::NotFinite,
          cat(op_name(n.op), " made a NaN out of inputs without one; its result has shape ", a.shape().str()),
          std::string(op_name(n.op)));
    }
  }
}

thread_local bool checking = false;

// Unevaluated nodes behind `arrays`, each after those that it needs.
std::vector<Array> in_order(const Arrays& arrays) {
  std::vector<Array> order;
  std::unordered_set<const Node*> seen;
  walk_graph(
      arrays, [&](Node* n) { return !n->evaluated.load(std::memory_order_acquire) && seen.insert(n).second; },
      [&](Node* n) { order.push_back(share(n, 0)); });
  return order;
}

void run_nodes(const Arrays& todo);

// Debug mode: one node at a time, so that an error can name it and where it was built.
void run_one_by_one(const Arrays& todo) {
  for (const Array& a : in_order(todo)) {
    Node* n = a.node();
    Arrays outs;
    for (uint32_t i = 0; i < n->outs.size(); ++i) outs.push_back(share(n, i));
    try {
      run_nodes(outs);
    } catch (const Error& e) {
      const OriginText origin = origin_of(n);
      if (n->op == kPlaceholder || origin.where.empty() ||
          e.message().find("; built by ") != std::string::npos)
        throw;
      throw Error(e.code(), cat(e.message(), "; built by ", origin.where), e.where(),
                  cat(e.next(), "; `", origin.lookup, "` names the line"));
    }
  }
}

void eval_locked(const Arrays& arrays) {
  size_t lazy = 0;
  for (const Array& a : arrays) {
    a.shape();
    lazy += !a.is_evaluated();
  }
  if (!lazy) return;
  Arrays some;
  if (lazy < arrays.size())
    std::copy_if(arrays.begin(), arrays.end(), std::back_inserter(some),
                 [](const Array& a) { return !a.is_evaluated(); });
  const Arrays& todo = lazy < arrays.size() ? some : arrays;
  if (debug_mode() && !checking) return run_one_by_one(todo);
  run_nodes(todo);
}

// What one evaluation needs beside the arrays: small ones would spend a third of their time on taking the
// memory anew. A thread lends its own; who evaluates meanwhile, further inside, finds none and takes some.
struct Work {
  Capture capture;
  std::vector<Value> in, out;
  void clear() {
    capture.graph.clear(), capture.inputs.clear(), capture.outputs.clear(), in.clear(), out.clear();
  }
};
thread_local std::unique_ptr<Work> spare;
constexpr size_t kKeptNodes = 64;  // larger graphs give their memory back

class Borrowed {
 public:
  Borrowed() : work_(spare ? std::move(spare) : std::make_unique<Work>()) {}
  ~Borrowed() {
    const bool small = work_->capture.graph.nodes.size() <= kKeptNodes;
    work_->clear();
    if (small) spare = std::move(work_);
  }
  Work* operator->() const { return work_.get(); }

 private:
  std::unique_ptr<Work> work_;
};

void run_nodes(const Arrays& todo) {
  const Borrowed work;
  Capture& c = work->capture;
  capture(c, todo, {}, true);
  c.graph.compute_hash();
  CompileOptions options;
  options.device = device_of(c.inputs);
  const std::shared_ptr<Executable> exe = executable_of(c.graph, options);
  std::vector<Value>&in = work->in, &out = work->out;
  out.resize(c.outputs.size());
  for (const Array& a : c.inputs) in.push_back(place(a, options.device));
  {
    ProfileScope profile("eval", c.graph.nodes.size());
    exe->run(in, out);
  }
  for (size_t i = 0; i < out.size(); ++i)
    c.outputs[i].node()->values[c.outputs[i].index()] = std::move(out[i]);
  for (const Array& a : c.outputs) {
    Node* n = a.node();
    // All outputs of a node are evaluated together, or it stays lazy: a missing one would have no value.
    bool whole = true;
    for (const Value& v : n->values) whole = whole && v.buffer;
    if (!whole) continue;
    n->evaluated.store(true, std::memory_order_release);
    if (!n->tracer) n->inputs.clear();
  }
  if (debug_mode() && !checking) {
    checking = true;
    try {
      check_finite(c);
    } catch (...) {
      checking = false;
      throw;
    }
    checking = false;
  }
}

// The asynchronous queue: one worker that evaluates in order. A failure is not kept: the arrays stay lazy,
// and the next eval of them meets the same error and throws it to the caller.
class AsyncQueue {
 public:
  void push(Arrays arrays) {
    const Device device = default_device();  // the caller's, whose scope the worker does not see
    std::lock_guard lock(mutex_);
    if (!worker_.joinable()) worker_ = std::thread([this] { work(); });
    queue_.push_back({std::move(arrays), device});
    ++pending_;
    wake_.notify_all();
  }
  void drain() {
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [&] { return pending_ == 0; });
  }
  void finish() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
      wake_.notify_all();
    }
    if (worker_.joinable()) worker_.join();
  }

 private:
  struct Job {
    Arrays arrays;
    Device device;
  };
  void work() {
    for (;;) {
      Job next;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return stop_ || !queue_.empty(); });
        if (queue_.empty()) return;
        next = std::move(queue_.front());
        queue_.pop_front();
      }
      try {
        DeviceScope scope(next.device);
        eval(next.arrays);
      } catch (...) {
      }
      next.arrays.clear();
      std::lock_guard lock(mutex_);
      if (--pending_ == 0) idle_.notify_all();
    }
  }
  std::mutex mutex_;
  std::condition_variable wake_, idle_;
  std::deque<Job> queue_;
  size_t pending_ = 0;
  bool stop_ = false;
  std::thread worker_;
};
// Never destroyed: at exit its work is waited for before the thread pool goes (which registered its own end
// earlier). A forked child gets a new one, since the worker is not there.
AsyncQueue*& async_slot() {
  static AsyncQueue* q = nullptr;
  return q;
}
AsyncQueue& async_queue() {
  static std::once_flag once;
  std::call_once(once, [] {
    start_thread_pool();
    async_slot() = new AsyncQueue;
    std::atexit([] { async_slot()->finish(); });
    // Nothing is evaluated while another thread forks, so that a child finds whole tables.
    pthread_atfork([] { lock_graph(); }, [] { unlock_graph(); },
                   [] {
                     unlock_graph();
                     async_slot() = new AsyncQueue;
                   });
  });
  return *async_slot();
}

}  // namespace

void eval(const Arrays& arrays) {
  GraphLock lock;
  // An output node of several values must be asked for as a whole.
  Arrays all;
  bool widened = false;
  for (const Array& a : arrays)
    if (a.defined() && a.node()->outs.size() > 1) widened = true;
  if (!widened) return eval_locked(arrays);
  for (const Array& a : arrays) {
    a.shape();
    for (uint32_t i = 0; i < a.node()->outs.size(); ++i) all.push_back(share(a.node(), i));
  }
  eval_locked(all);
}

void eval() {
  async_queue().drain();
  synchronize();
}

void async_eval(const Arrays& arrays) { async_queue().push(arrays); }

const Array& Array::eval() const {
  shape();
  if (!is_evaluated()) mc::eval({*this});
  return *this;
}

Device Array::device() const {
  shape();
  if (is_evaluated()) {
    const Device d = value_of(*this).buffer->device;
    return d.backend ? d : default_device();
  }
  GraphLock lock;
  return device_of(capture({*this}, {}, false).inputs);
}

void Array::begin_copy(Dtype expected) const {
  check_dtype(expected);
  eval();
  const size_t available = nbytes() >= (size_t{64} << 20) ? available_memory() : 0;
  if (available && nbytes() > available)
    throw Error(
        ErrorCode::OutOfMemory,
        cat("a copy of shape ", shape().str(), " takes ", nbytes(), " bytes, ", available, " are free"),
        "to_vector", "copy a slice at a time");
}

void Array::to_bytes(void* dst) const {
  eval();
  const Value& v = value_of(*this);
  const size_t bytes = nbytes();
  if (!bytes) return;
  if (v.buffer->device.backend)
    v.buffer->device.backend->download(v, dst, bytes);
  else
    std::memcpy(dst, v.host(), bytes);
}

const void* Array::host_data() const {
  eval();
  const Value& v = value_of(*this);
  const Device d = v.buffer->device;
  if (d.backend && !d.backend->adopt(d, v).buffer)
    throw Error(ErrorCode::DeviceUnavailable, cat("the data lie on ", device_name(d), ", not in host memory"),
                "host_data", "use to_vector or to_bytes");
  return v.host();
}

double Array::item_double() const {
  if (size() != 1)
    throw Error(ErrorCode::ShapeMismatch,
                cat("item() needs one element, the array has shape ", shape().str()), "item");
  if (is_complex(dtype()))
    throw Error(ErrorCode::DtypeMismatch, cat("the element is ", dtype_name(dtype()), ", not a real number"),
                "item", "use item<std::complex<double>>(), or real() or abs() first");
  return astype(*this, Dtype::F64).to_vector<double>()[0];
}

uint64_t Array::item_int() const {
  if (size() != 1) item_double();  // throws
  if (dtype() == Dtype::U64) return to_vector<uint64_t>()[0];
  return static_cast<uint64_t>(astype(*this, Dtype::I64).to_vector<int64_t>()[0]);
}

std::complex<double> Array::item_complex() const {
  if (size() != 1) item_double();
  return astype(*this, Dtype::C128).to_vector<std::complex<double>>()[0];
}

Array to_device(const Array& array, const Device& device) {
  engine_of(device, "to_device");
  array.eval();
  const Value& v = value_of(array);
  const size_t bytes = array.nbytes();
  Value copy{device.backend->allocate(device, bytes), 0};
  std::vector<std::byte> host(bytes);
  array.to_bytes(host.data());
  device.backend->upload(device, host.data(), copy, bytes);
  copy.buffer->constant = v.buffer->constant;
  return make_leaf(aval_of(array), std::move(copy));
}

std::string graph_text(const Arrays& arrays) {
  GraphLock lock;
  return capture(arrays, {}, false).graph.text();
}

void clear_cache() {
  clear_exec_cache();
  for (Backend* b : loaded_backends())
    for (int i = 0; i < static_cast<int>(b->devices().size()); ++i) b->memory({b, i}, {.clear = true});
}

}  // namespace mc
