#include <unistd.h>

#include <atomic>
#include <cstring>
#include <limits>
#include <new>

#include "backends/mlx/core/common.h"

namespace mc::mlx_engine {
namespace {

Library* opened = nullptr;
std::atomic<size_t> live_host_bytes{0};

// Whether an array made of Buffer{memory - 8} sees `memory`: libmlx's CPU allocator keeps a block's size in
// the word before it. Looked at, not assumed.
bool cpu_buffer_is_shifted() {
  alignas(64) static std::byte block[128];
  mx::allocator::Buffer b(block + 64 - sizeof(size_t));
  return b.raw_ptr() == block + 64;
}

mx::Stream make_stream(mx::Device device) { return mx::new_thread_unsafe_stream(device); }

}  // namespace

Library& library() { return *opened; }

void open_library(Places places) {
  if (opened) return;
  mx::Stream cpu = make_stream(mx::Device(mx::Device::cpu));
  std::optional<mx::Stream> gpu;
  if (mx::is_available(mx::Device(mx::Device::gpu))) gpu = make_stream(mx::Device(mx::Device::gpu));
  auto* lib = new Library{cpu, gpu};
  lib->wraps = !gpu && cpu_buffer_is_shifted();
  lib->host_sees = !gpu;
  lib->process = getpid();
  lib->places = std::move(places);
  opened = lib;
}

void rethrow(std::string_view where) {
  try {
    throw;
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::OutOfMemory, "libmlx found no memory", std::string(where));
  } catch (const std::exception& e) {
    const std::string_view what = e.what();
    const bool memory = what.find("alloc") != what.npos || what.find("memory") != what.npos;
    throw Error(memory ? ErrorCode::OutOfMemory : ErrorCode::UnsupportedOp, cat("libmlx: ", what),
                std::string(where));
  }
}

void refuse_after_fork() {
  if (getpid() != library().process)
    throw Error(ErrorCode::DeviceUnavailable, "libmlx's threads do not live in a forked process", "mlx",
                "start worker processes by spawn, not by fork");
}

mx::Dtype mlx_dtype(Dtype d) {
  switch (d) {
    case Dtype::Bool: return mx::bool_;
    case Dtype::U8: return mx::uint8;
    case Dtype::U16: return mx::uint16;
    case Dtype::U32: return mx::uint32;
    case Dtype::U64: return mx::uint64;
    case Dtype::I8: return mx::int8;
    case Dtype::I16: return mx::int16;
    case Dtype::I32: return mx::int32;
    case Dtype::I64: return mx::int64;
    case Dtype::F16: return mx::float16;
    case Dtype::BF16: return mx::bfloat16;
    case Dtype::F32: return mx::float32;
    case Dtype::F64: return mx::float64;
    case Dtype::C64: return mx::complex64;
    default: break;
  }
  throw Error(ErrorCode::DtypeMismatch, cat("libmlx has no ", dtype_name(d)), "mlx",
              "use complex64, or another engine");
}

mx::Shape mlx_shape(const Shape& shape) {
  mx::Shape out;
  for (int64_t d : shape) {
    if (d > std::numeric_limits<int32_t>::max())
      throw Error(ErrorCode::ShapeMismatch,
                  cat("libmlx counts dimensions in 32 bits, the shape is ", shape.str()), "mlx",
                  "reshape it, or use another engine");
    out.push_back(static_cast<int32_t>(d));
  }
  return out;
}
mx::Shape mlx_shape(std::initializer_list<int64_t> shape) { return mlx_shape(Shape(shape)); }

BufferPtr buffer_of(const Device& device, std::shared_ptr<Holder> holder) {
  BufferPtr b(new Buffer);
  b->device = device;
  b->bytes = holder->bytes;
  b->data = holder->base;
  if (!holder->base && holder->array && holder->bytes && library().host_sees)
    b->data = holder->array->data<std::byte>();
  b->packed = std::move(holder);
  b->release = [](Buffer&) {};  // the memory is ours to give away, by `packed`
  return b;
}

std::shared_ptr<Holder> holder_of(const Value& v) {
  return std::static_pointer_cast<Holder>(v.buffer->packed);
}

size_t host_bytes() { return live_host_bytes; }

std::shared_ptr<Holder> allocate_host(size_t bytes) {
  auto h = std::make_shared<Holder>();
  h->bytes = bytes;
  if (!bytes) return h;
  // libmlx's arrays look at the word before the bytes: it is ours, too.
  constexpr size_t kLead = 64;
  auto* p = static_cast<std::byte*>(::operator new(bytes + kLead, std::align_val_t(64), std::nothrow));
  if (!p) throw Error(ErrorCode::OutOfMemory, cat("no memory for ", bytes, " bytes"), "mlx");
  std::memcpy(p + kLead - sizeof bytes, &bytes, sizeof bytes);
  live_host_bytes += bytes;
  h->owner = std::shared_ptr<const void>(p, [bytes](const void* q) {
    live_host_bytes -= bytes;
    ::operator delete(const_cast<void*>(q), std::align_val_t(64));
  });
  h->base = p + kLead;
  return h;
}

mx::array wrap(const void* data, const Shape& shape, Dtype dtype, std::shared_ptr<const void> owner) {
  auto* p = static_cast<std::byte*>(const_cast<void*>(data));
  if (library().wraps) {
    return mx::array(mx::allocator::Data(mx::allocator::Buffer(p - sizeof(size_t)),
                                         [owner = std::move(owner)](mx::allocator::Buffer) {}),
                     mlx_shape(shape), mlx_dtype(dtype));
  }
  return mx::array(static_cast<void*>(p), mlx_shape(shape), mlx_dtype(dtype),
                   [owner = std::move(owner)](void*) {});
}

mx::array array_of(const Value& v, const Aval& a, const mx::Stream& s) {
  const mx::Shape shape = mlx_shape(a.shape);
  const mx::Dtype dtype = mlx_dtype(a.dtype);
  if (a.shape.numel() == 0) return mx::zeros(shape, dtype, s);
  const std::shared_ptr<Holder> h = holder_of(v);
  if (h->base) {
    if (library().wraps) return wrap(h->base + v.offset, a.shape, a.dtype, h);
    const auto key = std::make_tuple(v.offset, static_cast<int>(a.dtype),
                                     std::vector<int64_t>(a.shape.begin(), a.shape.end()));
    auto it = h->copies.find(key);
    if (it == h->copies.end())
      it = h->copies.emplace(key, wrap(h->base + v.offset, a.shape, a.dtype, h->owner)).first;
    return it->second;
  }
  mx::array x = *h->array;
  if (v.offset == 0 && x.nbytes() == a.nbytes() && x.dtype() == dtype)
    return x.shape() == shape ? x : mx::reshape(x, shape, s);
  const size_t item = itemsize(a.dtype);
  if (v.offset % item == 0 && x.nbytes() % item == 0 && x.dtype().size() == item) {
    x = mx::view(mx::reshape(x, {-1}, s), dtype, s);
    const auto at = static_cast<int32_t>(v.offset / item);
    x = mx::slice(x, mx::Shape{at}, mx::Shape{at + static_cast<int32_t>(a.shape.numel())}, s);
  } else {
    x = mx::view(mx::reshape(x, {-1}, s), mx::uint8, s);
    const auto at = static_cast<int32_t>(v.offset);
    x = mx::slice(x, mx::Shape{at}, mx::Shape{at + static_cast<int32_t>(a.nbytes())}, s);
    x = mx::view(mx::contiguous(x, false, s), dtype, s);
  }
  return mx::reshape(x, shape, s);
}

}  // namespace mc::mlx_engine
