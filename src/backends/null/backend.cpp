// An engine without data: graphs are captured, legalized and planned, nothing is computed. For tests of graph
// code.
#include <cstring>

#include "mc/detail/str.h"
#include "mc/error.h"
#include "runtime/engine_entry.h"

namespace mc {
namespace {

class NullExecutable final : public Executable {
 public:
  NullExecutable(const Graph& graph, Device device) : steps_(graph.nodes.size()), device_(device) {
    for (ValueId v : graph.outputs) output_bytes_ += graph.values[static_cast<size_t>(v)].nbytes();
  }
  void run(std::span<Value>, std::span<Value> outputs) override {
    for (Value& v : outputs) v = {device_.backend->allocate(device_, 0), 0};
  }
  PlanInfo plan() const override { return {0, output_bytes_, 0, steps_}; }

 private:
  size_t steps_, output_bytes_ = 0;
  Device device_;
};

class NullBackend final : public Backend {
 public:
  std::string_view name() const override { return "null"; }
  std::vector<DeviceInfo> devices() override { return {{"none", "shapes only", 0}}; }
  bool has_dtype(Dtype) const override { return true; }
  Support supports(Op, std::span<const Aval>, const Attrs&) const override { return {true, {}}; }
  BufferPtr allocate(const Device& device, size_t) override {
    BufferPtr b(new Buffer);
    b->device = device;
    return b;
  }
  void upload(const Device&, const void*, const Value&, size_t) override {}
  void download(const Value&, void*, size_t) override {
    throw Error(ErrorCode::DeviceUnavailable, "arrays of the null engine have no data", "null");
  }
  Value adopt(const Device&, const Value&) override { return {}; }
  std::unique_ptr<Executable> compile(const Graph& g, const CompileOptions& o) override {
    return std::make_unique<NullExecutable>(g, o.device);
  }
  void synchronize(const Device&) override {}
  MemoryStats memory(const Device&, const MemoryRequest&) override { return {}; }
  std::vector<std::pair<std::string, std::string>> facts() override { return {{"data", "none"}}; }
};

}  // namespace
}  // namespace mc

MC_ENGINE(new mc::NullBackend)
