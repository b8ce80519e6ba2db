#include "runtime/exec_cache.h"

#include <algorithm>
#include <list>
#include <mutex>
#include <unordered_map>

#include "core/op_names.h"
#include "prims/op_def.h"
#include "runtime/segments.h"
#include "transforms/trace.h"

namespace mc {
namespace {

struct Entry {
  Graph graph;
  Device device;
  std::vector<bool> donated;
  std::shared_ptr<Executable> exe;
};
using Lru = std::list<Entry>;

struct Cache {
  std::mutex mutex;
  Lru lru;  // most recent first
  std::unordered_multimap<uint64_t, Lru::iterator> index;
  size_t hits = 0, misses = 0;
  size_t nodes = 0;  // of all entries
  uint64_t generation = 0;
};
Cache& cache() {
  static auto* c = new Cache;
  return *c;
}

constexpr size_t kMaxEntries = 2048;
constexpr size_t kMaxCachedNodes = 100'000;  // a larger graph is compiled for one run
constexpr size_t kMaxNodes = 200'000;        // of all entries: a planned node takes about 1 KB

uint64_t key_of(const Graph& g, const CompileOptions& o) {
  uint64_t h =
      hash_mix(g.hash, reinterpret_cast<uintptr_t>(o.device.backend) + static_cast<uint64_t>(o.device.index));
  for (size_t i = 0; i < o.donated.size(); ++i)
    if (o.donated[i]) h = hash_mix(h, i + 1);
  return h;
}

}  // namespace

std::shared_ptr<Executable> executable_of(const Graph& graph, const CompileOptions& options) {
  Cache& c = cache();
  const uint64_t key = key_of(graph, options);
  {
    std::lock_guard lock(c.mutex);
    auto [it, end] = c.index.equal_range(key);
    for (; it != end; ++it) {
      const Entry& e = *it->second;
      if (e.device == options.device && e.donated == options.donated && e.graph.same_as(graph)) {
        ++c.hits;
        c.lru.splice(c.lru.begin(), c.lru, it->second);
        return e.exe;
      }
    }
    ++c.misses;
  }
  Graph legal;
  Backend& backend = *options.device.backend;
  const Graph* use = legalize(graph, backend, legal) ? &legal : &graph;
  std::shared_ptr<Executable> exe = compile_with_host(*use, backend, options);
  if (graph.nodes.size() > kMaxCachedNodes) return exe;
  std::lock_guard lock(c.mutex);
  c.lru.push_front({graph, options.device, options.donated, exe});
  c.index.emplace(key, c.lru.begin());
  c.nodes += graph.nodes.size();
  while (c.lru.size() > 1 && (c.lru.size() > kMaxEntries || c.nodes > kMaxNodes)) {
    auto last = std::prev(c.lru.end());
    auto [it, end] = c.index.equal_range(key_of(last->graph, {last->device, last->donated}));
    for (; it != end; ++it)
      if (it->second == last) {
        c.index.erase(it);
        break;
      }
    c.nodes -= last->graph.nodes.size();
    c.lru.pop_back();
  }
  return exe;
}

ExecCacheStats exec_cache_stats() {
  Cache& c = cache();
  std::lock_guard lock(c.mutex);
  return {c.lru.size(), c.hits, c.misses};
}

void clear_exec_cache() {
  Cache& c = cache();
  std::lock_guard lock(c.mutex);
  c.index.clear();
  c.lru.clear();
  c.nodes = 0;
  ++c.generation;
}

uint64_t exec_cache_generation() {
  Cache& c = cache();
  std::lock_guard lock(c.mutex);
  return c.generation;
}

bool legalize(const Graph& graph, Backend& backend, Graph& out) {
  std::vector<Aval> in;
  auto native = [&](const GraphNode& n, std::string* reason) {
    in.clear();
    for (ValueId v : graph.operands_of(n)) in.push_back(graph.values[static_cast<size_t>(v)]);
    Support s = backend.supports(n.op, in, n.attrs);
    if (!s.native && runs_on_host(graph, n, backend)) return true;
    if (!s.native && reason) *reason = std::move(s.reason);
    return s.native;
  };
  bool all = true;
  for (const GraphNode& n : graph.nodes) all = all && native(n, nullptr);
  if (all) return false;

  GraphLock lock;
  Arrays args;
  for (size_t i = 0; i < graph.inputs.size(); ++i) args.push_back(make_placeholder(graph.values[i]));
  std::vector<Array> values(graph.values.size());
  std::copy(args.begin(), args.end(), values.begin());
  for (const GraphNode& n : graph.nodes) {
    Arrays operands;
    for (ValueId v : graph.operands_of(n)) operands.push_back(values[static_cast<size_t>(v)]);
    std::string reason;
    Arrays outs;
    if (native(n, &reason)) {
      outs = apply(n.op, operands, n.attrs);
    } else if (op_def(n.op).decompose) {
      outs = op_def(n.op).decompose(operands, n.attrs);
    } else {
      throw Error(ErrorCode::UnsupportedOp,
                  cat("the ", backend.name(), " engine can't run ", op_name(n.op), ": ", reason),
                  std::string(op_name(n.op)));
    }
    for (size_t i = 0; i < outs.size(); ++i)
      values[static_cast<size_t>(n.first_out) + i] = std::move(outs[i]);
  }
  Arrays outputs;
  for (ValueId v : graph.outputs) outputs.push_back(values[static_cast<size_t>(v)]);
  Capture c = capture(outputs, args, false);
  if (c.inputs.size() != args.size())
    throw Error(ErrorCode::Internal, "a decomposition brings data of its own", "legalize");
  out = std::move(c.graph);
  for (size_t i = 0; i < graph.inputs.size(); ++i) out.inputs[i] = graph.inputs[i];
  out.compute_hash();
  Graph deeper;  // a decomposition may hold Fused nodes itself
  if (legalize(out, backend, deeper)) out = std::move(deeper);
  return true;
}

}  // namespace mc
