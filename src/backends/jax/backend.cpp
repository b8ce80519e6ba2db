// The jax engine behind the waist.
#include <cstring>
#include <thread>

#include "backends/jax/lower.h"
#include "backends/jax/memory.h"
#include "backends/jax/program.h"
#include "core/op_names.h"
#include "mc/detail/str.h"
#include "mc/system.h"
#include "runtime/engine_entry.h"

namespace mc::jax_engine {
namespace {

// The last step of a look at the engine: a program that is compiled, run and read.
std::string first_program() {
  const EngineDevice& d = clients().devices[0];
  try {
    Hlo h(d.client->on_host());
    const Aval aval{{2}, Dtype::F32};
    const Val x = h.parameter(aval), y = h.add(x, x);
    const Loaded exe = d.client->compile(h.module({&y, 1}, {}), d.number);
    const float in[2] = {1, 2};
    float out[2] = {0, 0};
    const DeviceBuffer argument = d.client->from_host(in, aval.shape, aval.dtype, d.number, false);
    PJRT_Buffer* const arguments[1] = {argument.get()};
    PJRT_Buffer* results[1] = {nullptr};
    d.client->execute(exe, arguments, results);
    const DeviceBuffer result(&d.client->api(), results[0]);
    d.client->to_host(result.get(), out, sizeof out);
    if (out[0] != 2 || out[1] != 4) return cat("wrong: 1 + 1 = ", out[0], ", 2 + 2 = ", out[1]);
    return "compiled, run and read";
  } catch (const Error& e) {
    return cat("failed: ", e.what());
  }
}

class JaxBackend final : public Backend {
 public:
  JaxBackend() { clients(); }
  std::string_view name() const override { return "jax"; }
  std::vector<DeviceInfo> devices() override {
    std::vector<DeviceInfo> out;
    for (const EngineDevice& d : clients().devices) {
      const Client& c = *d.client;
      if (c.on_host())
        out.push_back(
            {"cpu", cat("XLA on ", std::thread::hardware_concurrency(), " cores"), available_memory()});
      else
        out.push_back({std::string(c.kind()), c.device_text(d.number), c.device_memory(d.number)});
    }
    return out;
  }
  bool has_dtype(Dtype) const override { return true; }
  Support supports(Op op, std::span<const Aval> in, const Attrs& attrs) const override {
    const LowerRow* row = find_row(op);
    if (!row) return {false, "there is no StableHLO for it"};
    if (row->when && !row->when(in, attrs)) return {false, "not for these dtypes"};
    return {true, {}};
  }
  BufferPtr allocate(const Device& d, size_t bytes) override {
    refuse_after_fork();
    check_limit(at(d), bytes, "memory");
    return buffer_of(d, allocate_host(at(d), bytes));
  }
  void upload(const Device&, const void* host, const Value& dst, size_t bytes) override {
    if (!bytes) return;
    const auto h = holder_of(dst);
    std::lock_guard lock(h->mutex);
    if (!h->host) throw Error(ErrorCode::Internal, "the array was written already", "jax");
    std::memcpy(h->host + dst.offset, host, bytes);
  }
  void download(const Value& src, void* host, size_t bytes) override {
    if (!bytes) return;
    refuse_after_fork();
    const auto h = holder_of(src);
    std::lock_guard lock(h->mutex);
    h->read(src.offset, host, bytes);
  }
  // Host memory stays where it is until a program reads it; the CPU's programs read it there.
  Value adopt(const Device& d, const Value& v) override {
    if (v.buffer->device.backend) return {};
    auto h = std::make_shared<Holder>();
    h->device = at(d);
    h->host = static_cast<std::byte*>(v.buffer->data);
    h->bytes = v.buffer->bytes;
    h->owner = std::make_shared<BufferPtr>(v.buffer);
    h->adopted = true;
    BufferPtr b = buffer_of(d, h);
    b->release = nullptr;
    b->constant = v.buffer->constant;
    b->mapped = v.buffer->mapped;
    return {b, v.offset};
  }
  std::unique_ptr<Executable> compile(const Graph& graph, const CompileOptions& options) override {
    refuse_after_fork();
    return make_program(graph, options, at(options.device));
  }
  void synchronize(const Device& d) override { wait_for_last(at(d)); }
  MemoryStats memory(const Device& d, const MemoryRequest& r) override { return memory_of(at(d), r); }
  Facts facts() override {
    Facts out = clients().facts;
    static const std::string first = first_program();
    out.emplace_back("first program", first);
    const CompileStats s = compile_stats();
    out.emplace_back("programs", cat(s.compiled, " compiled, ", s.from_disk, " read from the cache"));
    out.emplace_back("float32 products", "full (precision HIGHEST)");
    bool host = false;
    for (const EngineDevice& d : clients().devices) host = host || d.client->on_host();
    if (host) out.emplace_back("subnormals", "flushed to zero on the CPU, by XLA's client");
    out.emplace_back("packed weights",
                     "expanded to float32 when first used (MODELCYPHER_JAX_WEIGHTS=packed keeps them)");
    return out;
  }

 private:
  static const EngineDevice& at(const Device& d) {
    return clients().devices.at(static_cast<size_t>(d.index));
  }
};

}  // namespace
}  // namespace mc::jax_engine

MC_ENGINE(new mc::jax_engine::JaxBackend)
