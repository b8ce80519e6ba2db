// The mlx engine behind the waist.
#include <cstdio>
#include <cstring>
#include <thread>

#include "backends/mlx/core.h"
#include "backends/mlx/core/common.h"
#include "backends/mlx/core/emit.h"
#include "backends/mlx/core/host_node.h"
#include "backends/mlx/core/program.h"
#include "mc/system.h"

namespace mc {
namespace mlx_engine {
namespace {

class MlxBackend final : public Backend {
 public:
  std::string_view name() const override { return "mlx"; }
  std::vector<DeviceInfo> devices() override {
    std::vector<DeviceInfo> out;
    if (library().has_gpu()) {
      const auto& info = mx::device_info(mx::Device(mx::Device::gpu));
      std::string name = "GPU";
      size_t bytes = 0;
      if (auto it = info.find("device_name"); it != info.end())
        if (const auto* text = std::get_if<std::string>(&it->second)) name = *text;
      for (const char* key : {"memory_size", "total_memory"})
        if (auto it = info.find(key); it != info.end())
          if (const auto* n = std::get_if<size_t>(&it->second)) bytes = *n;
      out.push_back({"gpu", name, bytes});
    }
    out.push_back({"cpu",
                   cat("libmlx ", mx::version(), " on ", std::thread::hardware_concurrency(), " cores"),
                   available_memory()});
    return out;
  }
  bool has_dtype(Dtype d) const override { return d != Dtype::C128; }
  Support supports(Op op, std::span<const Aval> in, const Attrs& attrs) const override {
    if (op_is_fused(op)) {
      if (fused_is_native(op, in, attrs)) return {true, {}};
      return {false, "libmlx's form of it is not the contract's"};
    }
    if (host_only(op)) return {true, "on the CPU, by the host engine's kernel"};
    return {true, {}};
  }
  BufferPtr allocate(const Device& d, size_t bytes) override {
    refuse_after_fork();
    check_limit(bytes, "memory");
    return buffer_of(d, allocate_host(bytes));
  }
  void upload(const Device&, const void* host, const Value& dst, size_t bytes) override {
    if (bytes) std::memcpy(holder_of(dst)->base + dst.offset, host, bytes);
  }
  void download(const Value& src, void* host, size_t bytes) override {
    if (!bytes) return;
    refuse_after_fork();
    guarded("download", [&] {
      const auto h = holder_of(src);
      const std::byte* from = h->base ? h->base : h->array->data<std::byte>();
      std::memcpy(host, from + src.offset, bytes);
    });
  }
  Value adopt(const Device& d, const Value& v) override {
    if (v.buffer->device.backend == this) return library().host_sees ? v : Value{};
    if (!library().wraps || !v.buffer->data) return {};
    auto h = std::make_shared<Holder>();
    h->base = static_cast<std::byte*>(v.buffer->data);
    h->bytes = v.buffer->bytes;
    h->owner = std::make_shared<BufferPtr>(v.buffer);
    BufferPtr b = buffer_of(d, std::move(h));
    b->release = nullptr;  // someone else's
    b->constant = v.buffer->constant;
    b->mapped = v.buffer->mapped;
    return {b, v.offset};
  }
  std::unique_ptr<Executable> compile(const Graph& graph, const CompileOptions& options) override {
    return make_program(graph, options);
  }
  void synchronize(const Device& d) override {
    guarded("synchronize", [&] { mx::synchronize(library().stream(d.index)); });
  }
  MemoryStats memory(const Device&, const MemoryRequest& r) override { return memory_of(r); }
  Places facts() override {
    Places out = library().places;
    out.emplace_back("version", mx::version());
    out.emplace_back("GPU", library().has_gpu() ? "yes" : "no: this libmlx has none, or none answers");
    out.emplace_back("float32 products", "full (MLX_ENABLE_TF32=0)");
    out.emplace_back("host memory", library().wraps ? entered() : "copied");
    return out;
  }

 private:
  // Where a block of ours lies, and where libmlx's array over it begins: looked at, not assumed.
  static std::string entered() {
    return guarded("facts", [] {
      const auto h = allocate_host(64);
      std::memset(h->base, 0, 64);
      const mx::array a = wrap(h->base, {16}, Dtype::F32, h->owner);
      const void* there = a.data<std::byte>();
      auto hex = [](const void* p) {
        char text[24];
        std::snprintf(text, sizeof text, "%p", p);
        return std::string(text);
      };
      return cat(there == h->base ? "used as it stands, without a copy" : "copied", " (ours at ",
                 hex(h->base), ", libmlx's array at ", hex(there), ")");
    });
  }
  static bool op_is_fused(Op op) { return op_kind(op) == OpKind::Fused; }
  static bool host_only(Op op) {
    return op_kind(op) == OpKind::Host || op == Op::Sort || op == Op::ArgSort || op == Op::SearchSorted ||
           op == Op::Scatter || op == Op::ScatterAddAxis || op == Op::RandomBits || op == Op::CumSum ||
           op == Op::CumProd || op == Op::Arange;
  }
};

}  // namespace
}  // namespace mlx_engine
}  // namespace mc

extern "C" MC_API mc::Backend* mc_mlx_core(const mc::mlx_engine::Places& places) {
  mc::mlx_engine::open_library(places);
  return new mc::mlx_engine::MlxBackend;
}
