#include "backends/cuda/executable.h"

#include <algorithm>

namespace mc::cuda {
namespace {

constexpr size_t kMaxGraphs = 8;  // captured forms of one program, by the addresses that it works on
constexpr size_t kMinGraphSteps =
    8;                              // fewer launches are not worth a capture, but of generated kernels alone:
constexpr size_t kSmallGraphs = 3;  // a graph of one costs the host half of what its launch does
constexpr size_t kSmallTemp = size_t{1} << 20;
constexpr uint64_t kWorth = 64;                      // replays that pay for a capture
constexpr size_t kMaxGraphTemp = size_t{256} << 20;  // a captured program keeps its scratch memory

}  // namespace

CudaExecutable::CudaExecutable(const Graph& graph, const CompileOptions& options)
    : device_(options.device), donated_(options.donated), plan_(make_plan(graph, options.donated)) {
  base_.resize(plan_.storages.size());
  buffers_.resize(plan_.output_buffers.size());
  for (const Step& s : plan_.steps) capturable_ = capturable_ && !(s.kernel && (s.kernel->flags & kWaits));
  small_ = plan_.steps.size() < kMinGraphSteps;
  for (const Step& s : plan_.steps) capturable_ = capturable_ && (!small_ || s.fused);
  capturable_ =
      capturable_ && !plan_.steps.empty() && plan_.temp_bytes <= (small_ ? kSmallTemp : kMaxGraphTemp);
  DeviceLock hold(device_.index);
  if (!plan_.consts.empty()) {
    size_t size = plan_.consts[0].size();
    std::vector<std::byte> all;
    for (const auto& c : plan_.consts) all.insert(all.end(), c.begin(), c.end());
    consts_ = allocate(device_, all.size());
    const_bytes_ = size;
    check(cudaMemcpyAsync(consts_->data, all.data(), all.size(), cudaMemcpyHostToDevice,
                          device_state(device_.index).stream),
          "copying constants to the device");
  }
}

CudaExecutable::~CudaExecutable() {
  if (!graphs_.empty()) cudaStreamSynchronize(device_state(device_.index).stream);
  for (Captured& c : graphs_) cudaGraphExecDestroy(c.exec);
}

void CudaExecutable::enqueue(DeviceState& device, ScratchList& scratch) {
  for (Step& s : plan_.steps) {
    for (size_t k = 0; k < s.tensors.size(); ++k)
      s.tensors[k].data = base_[static_cast<size_t>(s.operands[k].storage)] + s.operands[k].offset;
    const std::span<const Tensor> all(s.tensors);
    const auto in = all.first(static_cast<size_t>(s.n_in)), out = all.subspan(static_cast<size_t>(s.n_in));
    const size_t mark = scratch.size();
    if (s.fused)
      s.fused->run(device, device.stream, in, out[0]);
    else if (s.joined)
      s.joined->run({s.op, s.attrs, in, out, device, device.stream, scratch, &s.kept});
    else if (s.kernel)
      s.kernel->run({s.op, s.attrs, in, out, device, device.stream, scratch, &s.kept});
    else
      copy_strided(in[0], out[0].data, device.stream);
    if (!keep_scratch_) scratch.drop_from(mark);
  }
}

// The same program on the same addresses is one graph: decoding meets the same few sets of them again and
// again.
bool CudaExecutable::replay(DeviceState& device, const std::vector<std::byte*>& key) {
  for (Captured& c : graphs_)
    if (c.key == key) {
      c.used = ++clock_;
      ++replayed_;
      check(cudaGraphLaunch(c.exec, device.stream), "launching a graph");
      return true;
    }
  const size_t most = small_ ? kSmallGraphs : kMaxGraphs;
  // Of small programs that rarely meet the same addresses captures and the search for them cost more than
  // they save.
  if (small_ && (runs_ > kWorth * (replayed_ + 1) || (made_ >= most && replayed_ < kWorth * made_)))
    return false;
  if (std::find(seen_.begin(), seen_.end(), key) == seen_.end()) {
    if (seen_.size() >= 2 * most) seen_.erase(seen_.begin());
    seen_.push_back(key);
    return false;
  }
  Captured c{key, nullptr, ScratchList(device.index), ++clock_};
  cudaGraph_t graph = nullptr;
  check(cudaStreamBeginCapture(device.stream, cudaStreamCaptureModeRelaxed), "beginning a graph");
  keep_scratch_ = true;
  try {
    enqueue(device, c.scratch);
  } catch (...) {
    keep_scratch_ = false;
    cudaStreamEndCapture(device.stream, &graph);
    if (graph) cudaGraphDestroy(graph);
    cudaGetLastError();
    throw;
  }
  keep_scratch_ = false;
  check(cudaStreamEndCapture(device.stream, &graph), "ending a graph");
  const cudaError_t made = cudaGraphInstantiate(&c.exec, graph, 0);
  cudaGraphDestroy(graph);
  check(made, "making a graph");
  ++made_;
  if (graphs_.size() >= most) {
    auto oldest = std::min_element(graphs_.begin(), graphs_.end(),
                                   [](const Captured& a, const Captured& b) { return a.used < b.used; });
    cudaGraphExecDestroy(oldest->exec);
    graphs_.erase(oldest);
  }
  graphs_.push_back(std::move(c));
  check(cudaGraphLaunch(graphs_.back().exec, device.stream), "launching a graph");
  return true;
}

void CudaExecutable::run(std::span<Value> inputs, std::span<Value> outputs) {
  DeviceState& device = device_state(device_.index);
  DeviceLock hold(device);
  struct Letting {  // the outputs hold them in the end, or nobody
    std::vector<BufferPtr>& buffers;
    ~Letting() {
      for (BufferPtr& b : buffers) b = BufferPtr();
    }
  } const letting{buffers_};
  // The scratch block stays with a program that is captured, since graphs hold its address.
  if (!temp_.data() && plan_.temp_bytes) temp_ = Scratch(device_.index, plan_.temp_bytes);
  for (size_t i = 0; i < buffers_.size(); ++i)
    buffers_[i] =
        plan_.output_buffers[i] == kNoBuffer ? BufferPtr() : allocate(device_, plan_.output_buffers[i]);
  for (size_t i = 0; i < plan_.storages.size(); ++i) {
    const Storage& s = plan_.storages[i];
    switch (s.kind) {
      case Storage::Kind::Input: base_[i] = inputs[static_cast<size_t>(s.index)].host(); break;
      case Storage::Kind::Temp: base_[i] = temp_.data() + s.offset; break;
      case Storage::Kind::Output:
        if (const BufferPtr& b = buffers_[static_cast<size_t>(s.index)])
          base_[i] = static_cast<std::byte*>(b->data);
        break;
      case Storage::Kind::Const:
        base_[i] = static_cast<std::byte*>(consts_->data) + static_cast<size_t>(s.index) * const_bytes_;
        break;
    }
  }
  for (size_t i = 0; i < plan_.roots.size(); ++i) base_[i] = base_[plan_.roots[i]];
  try {
    if (!capturable_ || runs_ == 0 || !replay(device, base_)) {
      ScratchList scratch(device_.index);
      enqueue(device, scratch);
    }
  } catch (...) {
    // A donated input may be half overwritten: nobody shall take it for what it was.
    for (size_t i = 0; i < donated_.size() && i < inputs.size(); ++i)
      if (donated_[i]) inputs[i] = Value{};
    throw;
  }
  ++runs_;
  if (graphs_.empty() && (!capturable_ || runs_ == 1)) temp_ = Scratch();
  for (size_t i = 0; i < plan_.outputs.size(); ++i) {
    const Storage& s = plan_.output_storage(i);
    if (s.kind == Storage::Kind::Input) {
      const Value& v = inputs[static_cast<size_t>(s.index)];
      outputs[i] = {v.buffer, v.offset + plan_.outputs[i].offset};
    } else {
      outputs[i] = {buffers_[static_cast<size_t>(s.index)], plan_.outputs[i].offset};
    }
  }
  for (size_t i = 0; i < donated_.size() && i < inputs.size(); ++i)
    if (donated_[i]) {
      inputs[i].buffer->packed.reset();
      inputs[i] = Value{};
    }
}

PlanInfo CudaExecutable::plan() const {
  PlanInfo p;
  p.temp_bytes = plan_.temp_bytes;
  p.output_bytes = plan_.output_bytes();
  p.steps = plan_.steps.size();
  return p;
}

}  // namespace mc::cuda
