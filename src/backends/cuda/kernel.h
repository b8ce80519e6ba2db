// How the engine's kernels look: a function that enqueues work on strided operands, and a table of them.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "backends/cuda/device.h"
#include "backends/cuda/jit.h"
#include "backends/cuda/memory.h"
#include "core/graph.h"
#include "prims/op_def.h"
#include "runtime/strided.h"

namespace mc::cuda {

// An operand of one call, on the device. Strides are in elements; zero for broadcast dimensions, negative for
// flipped ones.
struct Tensor {
  std::byte* data = nullptr;
  Shape shape;
  Shape strides;
  Dtype dtype = Dtype::F32;
  const std::byte* literal = nullptr;  // on the host: the one element of a constant that the plan knows
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data);
  }
  int64_t numel() const { return shape.numel(); }
};

// Memory that calls take while they run. What a captured graph took stays its own.
class ScratchList {
 public:
  explicit ScratchList(int device) : device_(device) {}
  std::byte* take(size_t bytes) {
    blocks_.emplace_back(device_, bytes);
    return blocks_.back().data();
  }
  size_t size() const { return blocks_.size(); }
  void drop_from(size_t n) { blocks_.resize(n); }

 private:
  int device_;
  std::vector<Scratch> blocks_;
};

struct Call {
  Op op;
  const Attrs& attrs;
  std::span<const Tensor> in;
  std::span<const Tensor> out;  // row-major
  DeviceState& device;
  cudaStream_t stream;
  ScratchList& scratch;
  JitKernel* kept = nullptr;  // the step's generated kernel, which its next run finds here
  template <class T>
  const T& attr() const {
    return attrs.as<T>();
  }
  // The kernel of source(), which the step's operation, shapes and dtypes alone decide.
  template <class Source>
  JitKernel kernel_of(Source source) const {
    if (kept && *kept) return *kept;
    const JitKernel k = jit_kernel(device, source());
    if (kept) *kept = k;
    return k;
  }
};

using strided::is_pointwise;
using strided::is_row_major;
using strided::is_view;
using strided::kAnyStrides;
using strided::kInPlace;
using strided::kRowStrides;
using strided::row_major;
inline constexpr uint32_t kWaits =
    strided::kFirstOwnFlag;  // waits for the device: can't be part of a captured graph

struct KernelRow {
  Op op;
  void (*run)(const Call&);
  uint32_t flags = 0;
  // Null: always. Else whether the kernel takes these operands, and why not.
  bool (*when)(std::span<const Aval> in, const Attrs& attrs) = nullptr;
};

// The families of kernels; each is defined in the file of its name.
std::span<const KernelRow> shape_kernels();
std::span<const KernelRow> reduce_kernels();
std::span<const KernelRow> matmul_kernels();
std::span<const KernelRow> index_kernels();
std::span<const KernelRow> sort_kernels();
std::span<const KernelRow> fused_kernels();
std::span<const KernelRow> quant_kernels();
std::span<const KernelRow> linalg_kernels();

// The kernel of a node that is neither a view nor pointwise; null if there is none.
const KernelRow* find_kernel(Op op);

// dst (row-major) = src (any strides).
void copy_strided(const Tensor& src, std::byte* dst, cudaStream_t stream);

}  // namespace mc::cuda
