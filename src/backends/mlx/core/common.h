// What all files of the mlx engine share: libmlx, its streams and lock, dtypes, and the memory behind a
// Buffer.
#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "mc/detail/str.h"
#include "mc/error.h"
#include "mlx/mlx.h"
#include "prims/attrs.h"
#include "prims/op_def.h"
#include "runtime/backend.h"

namespace mc::mlx_engine {

namespace mx = ::mlx::core;
using Places = std::vector<std::pair<std::string, std::string>>;

struct Library {
  mx::Stream cpu;
  std::optional<mx::Stream> gpu;
  bool wraps = false;          // host memory becomes an array without a copy
  bool host_sees = false;      // results are read where libmlx wrote them
  std::recursive_mutex mutex;  // libmlx is called by one thread at a time
  pid_t process = 0;
  Places places;

  bool has_gpu() const { return gpu.has_value(); }
  // Stream of a device of ours: index 0 is the GPU where there is one.
  mx::Stream stream(int index) const { return gpu && index == 0 ? *gpu : cpu; }
};
Library& library();
void open_library(Places places);

// Runs `f` under libmlx's lock; what libmlx throws becomes an mc::Error of `where`.
[[noreturn]] void rethrow(std::string_view where);
template <class F>
auto guarded(std::string_view where, F f) {
  std::lock_guard lock(library().mutex);
  try {
    return f();
  } catch (...) {
    rethrow(where);
  }
}
// libmlx's threads do not survive a fork.
void refuse_after_fork();

mx::Dtype mlx_dtype(Dtype dtype);
mx::Shape mlx_shape(const Shape& shape);  // throws for dimensions beyond 2^31-1
mx::Shape mlx_shape(std::initializer_list<int64_t> shape);

// The memory behind one of our Buffers: bytes on the host, or an array that libmlx computed.
struct Holder {
  std::byte* base = nullptr;  // host bytes; null when `array` is all
  size_t bytes = 0;
  std::shared_ptr<const void> owner;
  std::optional<mx::array> array;
  // Arrays over the host bytes by (offset, dtype, shape), where making one takes a copy.
  std::map<std::tuple<size_t, int, std::vector<int64_t>>, mx::array> copies;
  // Re-coded weights by (offset, block format).
  std::map<std::pair<size_t, int>, std::vector<mx::array>> packed;
};

// A buffer on the device that holds `holder`.
BufferPtr buffer_of(const Device& device, std::shared_ptr<Holder> holder);
std::shared_ptr<Holder> holder_of(const Value& value);
// The value as an array of the graph; nothing is copied where libmlx wraps.
mx::array array_of(const Value& value, const Aval& aval, const mx::Stream& stream);
// Host bytes as an array; `owner` lives as long as the array does.
mx::array wrap(const void* data, const Shape& shape, Dtype dtype, std::shared_ptr<const void> owner);
std::shared_ptr<Holder> allocate_host(size_t bytes);
size_t host_bytes();  // held by allocate_host now

}  // namespace mc::mlx_engine
