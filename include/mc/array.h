// Array: an immutable, lazy, n-dimensional value. Operations build a graph; eval runs it on a device.
#pragma once

#include <complex>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "mc/device.h"
#include "mc/dtype.h"
#include "mc/export.h"
#include "mc/shape.h"

namespace mc {

struct Node;

// A number without a dtype of its own: it takes that of the array it meets (a float beside an integer array
// makes float32, an integer beside a bool array int32).
class Scalar {
 public:
  template <class T>
  requires(std::is_arithmetic_v<T>) Scalar(T v) {  // NOLINT: implicit by design
    if constexpr (std::is_same_v<T, bool>) {
      kind_ = Kind::Bool;
      i_ = v;
    } else if constexpr (std::is_integral_v<T>) {
      kind_ = Kind::Int;
      i_ = static_cast<int64_t>(v);
      wide_ = std::is_unsigned_v<T> && i_ < 0;
    } else {
      kind_ = Kind::Float;
    }
    d_ = static_cast<double>(v);
  }
  bool is_float() const { return kind_ == Kind::Float; }
  bool is_bool() const { return kind_ == Kind::Bool; }
  double as_double() const { return d_; }
  // Unsigned integers of 2^63 and more as their bits: is_wide() tells.
  int64_t as_int() const { return kind_ == Kind::Float ? static_cast<int64_t>(d_) : i_; }
  bool is_wide() const { return wide_; }

 private:
  enum class Kind : uint8_t { Bool, Int, Float } kind_ = Kind::Int;
  bool wide_ = false;
  int64_t i_ = 0;
  double d_ = 0;
};

// The Dtype of a C++ element type.
template <class T>
constexpr Dtype dtype_of() {
  if constexpr (std::is_same_v<T, bool>)
    return Dtype::Bool;
  else if constexpr (std::is_same_v<T, uint8_t>)
    return Dtype::U8;
  else if constexpr (std::is_same_v<T, uint16_t>)
    return Dtype::U16;
  else if constexpr (std::is_same_v<T, uint32_t>)
    return Dtype::U32;
  else if constexpr (std::is_same_v<T, uint64_t>)
    return Dtype::U64;
  else if constexpr (std::is_same_v<T, int8_t>)
    return Dtype::I8;
  else if constexpr (std::is_same_v<T, int16_t>)
    return Dtype::I16;
  else if constexpr (std::is_same_v<T, int32_t>)
    return Dtype::I32;
  else if constexpr (std::is_same_v<T, int64_t>)
    return Dtype::I64;
  else if constexpr (std::is_same_v<T, float16>)
    return Dtype::F16;
  else if constexpr (std::is_same_v<T, bfloat16>)
    return Dtype::BF16;
  else if constexpr (std::is_same_v<T, float>)
    return Dtype::F32;
  else if constexpr (std::is_same_v<T, double>)
    return Dtype::F64;
  else if constexpr (std::is_same_v<T, std::complex<float>>)
    return Dtype::C64;
  else {
    static_assert(std::is_same_v<T, std::complex<double>>, "no dtype for this type");
    return Dtype::C128;
  }
}

// What wrapped memory is. Constant: a model's weight, of which engines may keep a packed form. MappedFile:
// the same in a private mapping of a file, whose pages engines may drop once they have packed it.
enum class Memory : uint8_t { Plain, Constant, MappedFile };

class MC_API Array {
 public:
  // No array: only assignment and destruction are allowed.
  Array() = default;
  Array(const Array& other) noexcept;
  Array(Array&& other) noexcept : node_(other.node_), index_(other.index_) { other.node_ = nullptr; }
  Array& operator=(Array other) noexcept {
    std::swap(node_, other.node_);
    std::swap(index_, other.index_);
    return *this;
  }
  ~Array() {
    if (node_) release(node_);
  }
  // A scalar of shape (): bool, int32 (an integer that does not fit throws InvalidArgument) or float32.
  explicit Array(Scalar v);
  // Not a bool: Array("x") and other pointers.
  template <class T>
  explicit Array(T*) = delete;
  // Copies row-major host data; data.size() must equal shape.numel().
  template <class T>
  Array(std::span<const T> data, const Shape& shape)
      : Array(copy_of(data.data(), data.size(), dtype_of<T>(), shape)) {}
  template <class T>
  requires(!std::is_same_v<T, bool>) Array(const std::vector<T>& data, const Shape& shape)
      : Array(std::span<const T>(data), shape) {}
  template <class T>
  Array(std::initializer_list<T> data, const Shape& shape)
      : Array(std::span<const T>(data.begin(), data.size()), shape) {}
  Array(const std::vector<bool>& data, const Shape& shape);
  // Copies shape.numel() elements of `dtype` from host memory.
  static Array from_bytes(const void* data, const Shape& shape, Dtype dtype);
  // Uses host memory without a copy while `keep` lives. The memory must not change.
  static Array wrap(const void* data, const Shape& shape, Dtype dtype, std::shared_ptr<const void> keep,
                    Memory memory = Memory::Plain);

  bool defined() const { return node_ != nullptr; }
  const Shape& shape() const;
  int64_t shape(int axis) const;
  int ndim() const { return shape().ndim(); }
  int64_t size() const { return shape().numel(); }
  Dtype dtype() const;
  size_t nbytes() const { return static_cast<size_t>(size()) * itemsize(dtype()); }

  // Runs what this array needs; returns *this.
  const Array& eval() const;
  bool is_evaluated() const;
  // Where the data lie; for an array not evaluated, where they would be computed.
  Device device() const;
  // Evaluates and copies to the host; T must be the element type of dtype().
  template <class T>
  std::vector<T> to_vector() const {
    begin_copy(dtype_of<T>());
    if constexpr (std::is_same_v<T, bool>) {
      std::unique_ptr<bool[]> bytes(new bool[static_cast<size_t>(size()) + 1]);
      to_bytes(bytes.get());
      return std::vector<bool>(bytes.get(), bytes.get() + size());
    } else {
      std::vector<T> out(static_cast<size_t>(size()));
      to_bytes(out.data());
      return out;
    }
  }
  // The only element, converted; integers exactly. Throws ShapeMismatch unless size() == 1 and DtypeMismatch
  // for a complex array unless T is complex.
  template <class T = double>
  T item() const {
    if constexpr (std::is_arithmetic_v<T>) {
      if (is_integer(dtype())) {
        const uint64_t bits = item_int();
        return is_unsigned(dtype()) ? static_cast<T>(bits) : static_cast<T>(static_cast<int64_t>(bits));
      }
      return saturated<T>(item_double());
    } else {
      return T(item_complex());
    }
  }
  // Evaluates and copies nbytes() of row-major data to `dst`.
  void to_bytes(void* dst) const;
  // Evaluates; a pointer to row-major data for arrays on the host engine, valid while this array lives.
  // Throws DeviceUnavailable elsewhere.
  const void* host_data() const;
  template <class T>
  const T* data() const {
    check_dtype(dtype_of<T>());
    return static_cast<const T*>(host_data());
  }
  // A stable identity of the value (for caches).
  const void* id() const { return node_; }

  // Internal: the node and which of its outputs this is.
  Array(Node* adopted, uint32_t index) noexcept : node_(adopted), index_(index) {}
  Node* node() const { return node_; }
  uint32_t index() const { return index_; }

 private:
  static Array copy_of(const void* data, size_t count, Dtype dtype, const Shape& shape);
  static void release(Node* node) noexcept;
  void check_dtype(Dtype expected) const;
  void begin_copy(Dtype expected) const;  // evaluates; refuses what the host's memory can't hold
  double item_double() const;
  // Truncated; beyond T's range its end, NaN 0.
  template <class T>
  static T saturated(double v) {
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
      if (!(v > static_cast<double>(std::numeric_limits<T>::min())))
        return v != v ? T{0} : std::numeric_limits<T>::min();
      if (v >= static_cast<double>(std::numeric_limits<T>::max())) return std::numeric_limits<T>::max();
    }
    return static_cast<T>(v);
  }
  uint64_t item_int() const;  // of an integer array: its 64 bits
  std::complex<double> item_complex() const;

  Node* node_ = nullptr;
  uint32_t index_ = 0;
};

using Arrays = std::vector<Array>;

// Evaluates all; one graph, one program. With no arguments waits for all devices.
MC_API void eval(const Arrays& arrays);
MC_API void eval();
// Starts evaluating on another thread and returns; errors surface at the next eval of the same arrays.
MC_API void async_eval(const Arrays& arrays);
// A copy on another device.
MC_API Array to_device(const Array& array, const Device& device);

// Text of the graph behind the arrays, one line a node.
MC_API std::string graph_text(const Arrays& arrays);

// Writes a Chrome trace (chrome://tracing) of everything evaluated until profile_stop.
MC_API void profile_start(const std::string& path);
MC_API void profile_stop();

}  // namespace mc
