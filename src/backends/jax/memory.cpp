#include "backends/jax/memory.h"

#include <atomic>
#include <cstring>
#include <map>
#include <new>

#include "mc/detail/str.h"
#include "mc/quantize.h"
#include "mc/system.h"
#include "prims/attrs.h"
#include "prims/op_def.h"
#include "runtime/exec_cache.h"
#include "runtime/segments.h"

namespace mc::jax_engine {
namespace {

std::atomic<size_t> active{0}, peak{0}, limit{0};

void count(size_t bytes) {
  const size_t now = active += bytes;
  size_t was = peak;
  while (now > was && !peak.compare_exchange_weak(was, now)) {
  }
}

bool is_aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 64 == 0; }

Value on_host(Holder& h, size_t offset, size_t bytes, std::vector<std::byte>& copy) {
  BufferPtr b(new Buffer);
  b->device = {&host_engine(), 0};
  b->bytes = bytes;
  if (h.host) {
    b->data = h.host + offset;
  } else {
    copy.resize(bytes);
    h.read(offset, copy.data(), bytes);
    b->data = copy.data();
  }
  return {b, 0};
}

}  // namespace

DeviceArray::DeviceArray(DeviceBuffer buffer, size_t bytes) : buffer_(std::move(buffer)), bytes_(bytes) {
  count(bytes);
}
DeviceArray::~DeviceArray() { active -= bytes_; }

DeviceArrayPtr Holder::find(const FormKey& key) const {
  for (const Form& f : forms)
    if (f.key == key) return f.array;
  return nullptr;
}

void Holder::read(size_t offset, void* dst, size_t size) const {
  if (size == 0) return;
  if (host) {
    std::memcpy(dst, host + offset, size);
    return;
  }
  for (const Form& f : forms) {
    const size_t have = f.key.aval.nbytes();
    if (f.key.decode >= 0 || offset < f.key.offset || offset + size > f.key.offset + have) continue;
    if (offset == f.key.offset && size == have) return device.client->to_host(f.array->get(), dst, size);
    std::vector<std::byte> all(have);
    device.client->to_host(f.array->get(), all.data(), have);
    std::memcpy(dst, all.data() + (offset - f.key.offset), size);
    return;
  }
  throw Error(ErrorCode::Internal, "a value's memory is nowhere", "jax");
}

std::shared_ptr<Holder> holder_of(const Value& v) {
  return std::static_pointer_cast<Holder>(v.buffer->packed);
}

BufferPtr buffer_of(const Device& device, std::shared_ptr<Holder> holder) {
  BufferPtr b(new Buffer);
  b->device = device;
  b->bytes = holder->bytes;
  b->packed = std::move(holder);
  b->release = [](Buffer&) {};  // the memory is ours to give away
  return b;
}

std::shared_ptr<Holder> allocate_host(const EngineDevice& device, size_t bytes) {
  auto h = std::make_shared<Holder>();
  h->device = device;
  h->bytes = bytes;
  if (!bytes) return h;
  auto* p = static_cast<std::byte*>(::operator new(bytes, std::align_val_t(64), std::nothrow));
  if (!p) throw Error(ErrorCode::OutOfMemory, cat("no memory for ", bytes, " bytes"), "jax");
  count(bytes);
  h->owner = std::shared_ptr<const void>(p, [bytes](const void* q) {
    active -= bytes;
    ::operator delete(const_cast<void*>(q), std::align_val_t(64));
  });
  h->host = p;
  return h;
}

std::shared_ptr<Holder> of_result(const EngineDevice& device, DeviceBuffer buffer, const Aval& aval) {
  auto h = std::make_shared<Holder>();
  h->device = device;
  h->bytes = aval.nbytes();
  h->forms.push_back({{0, aval}, std::make_shared<DeviceArray>(std::move(buffer), h->bytes), nullptr});
  return h;
}

DeviceArrayPtr array_of(const Value& v, const Aval& a) {
  const std::shared_ptr<Holder> h = holder_of(v);
  std::lock_guard lock(h->mutex);
  const FormKey key{v.offset, a};
  if (DeviceArrayPtr known = h->find(key)) return known;
  const size_t bytes = a.nbytes();
  std::vector<std::byte> copy;
  const std::byte* data = h->host ? h->host + v.offset : nullptr;
  if (!data && bytes) {
    copy.resize(bytes);
    h->read(v.offset, copy.data(), bytes);
    data = copy.data();
  }
  const Client& client = *h->device.client;
  const bool as_it_lies = h->adopted && client.on_host() && bytes && is_aligned(data);
  auto array = std::make_shared<DeviceArray>(
      client.from_host(data, a.shape, a.dtype, h->device.number, as_it_lies), as_it_lies ? 0 : bytes);
  h->forms.push_back({key, array, as_it_lies ? h->owner : nullptr});
  if (h->host && !as_it_lies && v.offset == 0 && bytes == h->bytes) {
    h->host = nullptr;
    h->owner.reset();
  }
  return array;
}

DeviceArrayPtr expanded(std::span<const Value> parts, std::span<const Aval> avals, const Attrs& quant,
                        Dtype dtype) {
  const auto& q = quant.as<QuantAttrs>();
  const bool block = q.kind == static_cast<int>(QTensor::Kind::Block);
  const std::shared_ptr<Holder> h = holder_of(parts[0]);
  FormKey key{parts[0].offset, {{q.rows, q.cols}, dtype}, block ? q.format : 1000 + q.bits * 1000 + q.group};
  if (!block) {
    for (size_t i = 0; i < 2; ++i) {
      key.beside[i] = parts[i + 1].buffer.get();
      key.beside_at[i] = parts[i + 1].offset;
    }
  }
  const Client& client = *h->device.client;
  {
    std::lock_guard lock(h->mutex);
    if (DeviceArrayPtr known = h->find(key)) return known;
  }
  // The host engine's own decoding: the bits of the contract, on all threads.
  Graph g;
  std::vector<Value> in;
  std::vector<std::vector<std::byte>> copies(parts.size());
  std::vector<ValueId> ids;
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::shared_ptr<Holder> p = holder_of(parts[i]);
    std::lock_guard lock(p->mutex);
    in.push_back(on_host(*p, parts[i].offset, avals[i].nbytes(), copies[i]));
    ids.push_back(g.add_input(avals[i], InputKind::Value));
  }
  const bool raw = block && block_elements(static_cast<BlockFormat>(q.format)) == 1 &&
                   itemsize(dtype) == static_cast<size_t>(block_bytes(static_cast<BlockFormat>(q.format)));
  Value out;
  if (raw) {
    out = in[0];  // plain floats of that dtype already
  } else {
    const Aval wide{{q.rows, q.cols}, Dtype::F32};
    if (block) {
      const Aval o[1] = {wide};
      g.outputs = {g.add_node(Op::BlockDequantize, BlockAttrs{q.format, q.rows, q.cols}, ids, o)};
    } else {
      for (size_t i = 1; i < 3; ++i)
        if (avals[i].dtype != Dtype::F32) {
          const Aval o[1] = {{avals[i].shape, Dtype::F32}};
          const ValueId one[1] = {ids[i]};
          ids[i] = g.add_node(Op::Astype, AstypeAttrs{Dtype::F32}, one, o);
        }
      const Aval o[1] = {wide};
      g.outputs = {g.add_node(Op::AffineDequantize, AffineAttrs{q.bits, q.group}, ids, o)};
    }
    g.compute_hash();
    CompileOptions options;
    options.device = {&host_engine(), 0};
    executable_of(g, options)->run(in, {&out, 1});
  }
  const size_t bytes = key.aval.nbytes();
  const bool as_it_lies = client.on_host() && is_aligned(out.host()) && (!raw || h->adopted);
  auto array = std::make_shared<DeviceArray>(
      client.from_host(out.host(), key.aval.shape, dtype, h->device.number, as_it_lies),
      raw && as_it_lies ? 0 : bytes);
  std::shared_ptr<const void> owner;
  if (as_it_lies) owner = raw ? h->owner : std::make_shared<BufferPtr>(out.buffer);
  std::lock_guard lock(h->mutex);
  if (DeviceArrayPtr known = h->find(key)) return known;
  h->forms.push_back({key, array, owner, {parts.begin() + 1, parts.end()}});
  return array;
}

namespace {
struct Last {
  std::mutex mutex;
  std::map<std::pair<const Client*, int>, std::weak_ptr<DeviceArray>> of;
};
Last& last() {
  static auto* l = new Last;
  return *l;
}
}  // namespace

void remember_last(const EngineDevice& device, const std::shared_ptr<Holder>& result) {
  if (device.client->on_host()) return;  // done already
  std::lock_guard lock(last().mutex);
  last().of[{device.client, device.number}] = result->forms[0].array;
}
void wait_for_last(const EngineDevice& device) {
  DeviceArrayPtr array;
  {
    std::lock_guard lock(last().mutex);
    if (const auto it = last().of.find({device.client, device.number}); it != last().of.end())
      array = it->second.lock();
  }
  if (array) device.client->wait(array->get());
}

void check_limit(const EngineDevice& device, size_t bytes, std::string_view where) {
  const size_t most = limit;
  if (most && active + bytes > most)
    throw Error(ErrorCode::MemoryLimit,
                cat(bytes, " bytes beside ", active.load(), " in use would pass the limit of ", most),
                std::string(where));
  if (device.client->on_host() && bytes >= (size_t{64} << 20) && bytes > available_memory())
    throw Error(ErrorCode::OutOfMemory,
                cat("a program takes ", bytes, " bytes, ", available_memory(), " are free"),
                std::string(where));
}

MemoryStats memory_of(const EngineDevice& device, const Backend::MemoryRequest& r) {
  if (r.set_limit) limit = r.limit;
  if (r.reset_peak) peak = active.load();
  MemoryStats m;
  m.active = active;
  m.peak = peak;
  m.limit = limit;
  PJRT_Device_MemoryStats_Args stats;
  if (!device.client->on_host() && device.client->memory_stats(device.number, stats) &&
      stats.pool_bytes_is_set && stats.pool_bytes > stats.bytes_in_use)
    m.cached = static_cast<size_t>(stats.pool_bytes - stats.bytes_in_use);
  return m;
}

}  // namespace mc::jax_engine
