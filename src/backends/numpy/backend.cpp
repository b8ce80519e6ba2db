// The host engine behind the waist.
#include <algorithm>
#include <cstring>
#include <mutex>
#include <thread>

#include "backends/numpy/memory.h"
#include "backends/numpy/plan.h"
#include "backends/numpy/simd/dispatch.h"
#include "core/op_names.h"
#include "mc/detail/str.h"
#include "mc/system.h"
#include "runtime/profile.h"

namespace mc {
namespace numpy {
namespace {

class NumpyExecutable final : public Executable {
 public:
  NumpyExecutable(const Graph& graph, const CompileOptions& options)
      : device_(options.device), donated_(options.donated), plan_(make_plan(graph, options.donated)) {
    constant_bytes_ = packed_constants(graph);
    base_.resize(plan_.storages.size());
    source_.resize(plan_.storages.size());
  }

  void run(std::span<Value> inputs, std::span<Value> outputs) override {
    std::lock_guard lock(mutex_);
    Scratch scratch(plan_.temp_bytes);
    std::vector<BufferPtr> buffers;
    buffers.reserve(plan_.output_buffers.size());
    for (size_t bytes : plan_.output_buffers)
      buffers.push_back(bytes == kNoBuffer ? BufferPtr() : allocate(device_, bytes));
    for (size_t i = 0; i < plan_.storages.size(); ++i) {
      const Storage& s = plan_.storages[i];
      switch (s.kind) {
        case Storage::Kind::Input: {
          const Value& v = inputs[static_cast<size_t>(s.index)];
          base_[i] = v.host();
          source_[i] = is_donated(s.index) ? nullptr : v.buffer.get();
          break;
        }
        case Storage::Kind::Temp: base_[i] = scratch.data() + s.offset; break;
        case Storage::Kind::Output:
          if (const BufferPtr& b = buffers[static_cast<size_t>(s.index)])
            base_[i] = static_cast<std::byte*>(b->data);
          break;
        case Storage::Kind::Const: base_[i] = plan_.consts[static_cast<size_t>(s.index)].data(); break;
      }
    }
    for (size_t i = 0; i < plan_.roots.size(); ++i) base_[i] = base_[plan_.roots[i]];
    try {
      steps(scratch.data());
    } catch (...) {
      // A donated input may be half overwritten: nobody shall take it for what it was.
      for (size_t i = 0; i < donated_.size() && i < inputs.size(); ++i)
        if (donated_[i]) inputs[i] = Value{};
      throw;
    }
    for (size_t i = 0; i < plan_.outputs.size(); ++i) {
      const Storage& s = plan_.output_storage(i);
      if (s.kind == Storage::Kind::Input) {
        const Value& v = inputs[static_cast<size_t>(s.index)];
        outputs[i] = {v.buffer, v.offset + plan_.outputs[i].offset};
      } else {
        outputs[i] = {buffers[static_cast<size_t>(s.index)], plan_.outputs[i].offset};
      }
    }
    for (size_t i = 0; i < donated_.size() && i < inputs.size(); ++i)
      if (donated_[i]) {
        inputs[i].buffer->packed.reset();  // it may hold something else now
        inputs[i] = Value{};
      }
  }

  PlanInfo plan() const override {
    PlanInfo p;
    p.temp_bytes = plan_.temp_bytes;
    p.constant_bytes = constant_bytes_;
    p.output_bytes = plan_.output_bytes();
    p.steps = plan_.steps.size();
    return p;
  }

 private:
  static std::string where(const Step& s) {
    return std::string(s.fused ? "pointwise" : s.kernel ? op_name(s.op) : std::string_view("copy"));
  }

  // With guards on: behind each temporary there is one from its first step to its last.
  void guards(std::byte* scratch, int32_t step, bool before) {
    for (const Storage& s : plan_.storages) {
      if (s.kind != Storage::Kind::Temp || s.alias >= 0 || s.last < 0) continue;
      if (before && s.first == step) set_guard(scratch + s.offset + s.bytes);
      if (!before && s.last == step) check_guard(scratch + s.offset + s.bytes);
    }
  }

  void steps(std::byte* scratch) {
    const bool guarded = guard_bytes() > 0;
    for (size_t at = 0; at < plan_.steps.size(); ++at) {
      Step& s = plan_.steps[at];
      if (guarded) guards(scratch, static_cast<int32_t>(at), true);
      for (size_t k = 0; k < s.tensors.size(); ++k) {
        const strided::Operand& o = s.operands[k];
        s.tensors[k].data = base_[static_cast<size_t>(o.storage)] + o.offset;
        s.tensors[k].source = source_[static_cast<size_t>(o.storage)];
      }
      const std::span<const Tensor> all(s.tensors);
      const auto in = all.first(static_cast<size_t>(s.n_in)), out = all.subspan(static_cast<size_t>(s.n_in));
      ProfileScope profile(s.fused    ? "pointwise"
                           : s.kernel ? op_name(s.op)
                                      : std::string_view("copy"),
                           static_cast<size_t>(out[0].numel()));
      try {
        if (s.fused)
          s.fused->run(in, out);
        else if (s.kernel)
          s.kernel->run({s.op, s.attrs, in, out, s.group});
        else
          copy_strided(in[0], out[0].data);
      } catch (const std::bad_alloc&) {
        throw Error(ErrorCode::OutOfMemory, cat("no memory for a result of shape ", out[0].shape.str()),
                    where(s));
      } catch (const Error& e) {
        if (e.where() != "memory") throw;
        throw Error(e.code(), cat(e.message(), ", for a result of shape ", out[0].shape.str()), where(s),
                    e.next());
      }
      if (guarded) guards(scratch, static_cast<int32_t>(at), false);
    }
  }

  bool is_donated(int input) const {
    return static_cast<size_t>(input) < donated_.size() && donated_[static_cast<size_t>(input)];
  }

  Device device_;
  std::vector<bool> donated_;
  Plan plan_;
  size_t constant_bytes_ = 0;
  std::mutex mutex_;
  std::vector<std::byte*> base_;
  std::vector<Buffer*> source_;
};

class NumpyBackend final : public Backend {
 public:
  std::string_view name() const override { return "numpy"; }
  std::vector<DeviceInfo> devices() override {
    return {{"cpu", cat(std::thread::hardware_concurrency(), " cores, ", simd::isa_name(simd::active_isa())),
             available_memory()}};
  }
  bool has_dtype(Dtype) const override { return true; }
  Support supports(Op op, std::span<const Aval> in, const Attrs& attrs) const override {
    if (op == Op::Full || is_view(op) || is_pointwise(op)) return {true, {}};
    const KernelRow* k = find_kernel(op);
    if (!k) return {false, "the host engine has no kernel of its own for it"};
    if (k->when && !k->when(in, attrs)) return {false, "the host engine's kernel does not take these dtypes"};
    return {true, {}};
  }
  BufferPtr allocate(const Device& d, size_t bytes) override { return numpy::allocate(d, bytes); }
  void upload(const Device&, const void* host, const Value& dst, size_t bytes) override {
    if (bytes) std::memcpy(dst.host(), host, bytes);
  }
  void download(const Value& src, void* host, size_t bytes) override {
    if (bytes) std::memcpy(host, src.host(), bytes);
  }
  Value adopt(const Device&, const Value& host) override { return host; }
  std::unique_ptr<Executable> compile(const Graph& graph, const CompileOptions& options) override {
    return std::make_unique<NumpyExecutable>(graph, options);
  }
  void synchronize(const Device&) override {}
  MemoryStats memory(const Device&, const MemoryRequest& r) override { return numpy::memory(r); }
  std::vector<std::pair<std::string, std::string>> facts() override {
    std::vector<std::pair<std::string, std::string>> out = {
        {"instruction set", simd::isa_name(simd::active_isa())},
        {"best of this machine", simd::isa_name(simd::best_isa())},
        {"threads", cat(num_threads())},
        {"decompositions", "OpenBLAS/LAPACK, loaded at first use"}};
    if (const auto faults = guard_faults()) out.emplace_back("guard faults", cat(*faults));
    return out;
  }
};

}  // namespace
}  // namespace numpy

Backend* make_numpy_backend() { return new numpy::NumpyBackend; }

}  // namespace mc
