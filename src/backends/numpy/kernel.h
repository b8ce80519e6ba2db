// How the engine's kernels look: a function over strided operands, and a table of them.
#pragma once

#include <memory>
#include <span>

#include "core/graph.h"
#include "prims/op_def.h"
#include "runtime/strided.h"

namespace mc::numpy {

// An operand of one call. Strides are in elements; zero for broadcast dimensions, negative for flipped ones.
struct Tensor {
  std::byte* data = nullptr;
  Shape shape;
  Shape strides;
  Dtype dtype = Dtype::F32;
  Buffer* source = nullptr;  // of an input that is not donated: where a kernel may keep a packed form
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data);
  }
  int64_t numel() const { return shape.numel(); }
};

struct Call {
  Op op;
  const Attrs& attrs;
  std::span<const Tensor> in;
  std::span<const Tensor> out;        // row-major
  std::span<const Attrs> group = {};  // of a step made of several nodes: the attributes of each
  template <class T>
  const T& attr() const {
    return attrs.as<T>();
  }
};

using strided::is_pointwise;
using strided::is_row_major;
using strided::is_view;
using strided::kAnyStrides;
using strided::kInPlace;
using strided::kRowStrides;
using strided::row_major;

struct KernelRow {
  Op op;
  void (*run)(const Call&);
  uint32_t flags = 0;
  // Null: always. Else whether the kernel takes these operands; a Fused operation that it does not take is
  // decomposed.
  bool (*when)(std::span<const Aval> in, const Attrs& attrs) = nullptr;
};

// The families of kernels; each is defined in the file of its name.
std::span<const KernelRow> shape_kernels();
std::span<const KernelRow> reduce_kernels();
std::span<const KernelRow> matmul_kernels();
std::span<const KernelRow> index_kernels();
std::span<const KernelRow> sort_kernels();
std::span<const KernelRow> random_kernels();
std::span<const KernelRow> fused_kernels();
std::span<const KernelRow> quant_kernels();
std::span<const KernelRow> linalg_kernels();
std::span<const KernelRow> fft_kernels();

// Several QuantizedMatmul nodes with one x as a step: inputs x, then each node's parts; one output a node.
extern const KernelRow kQuantizedMatmulGroup;

// Bytes that the packed forms of a graph's constant weights take, as they are laid out by its first run.
size_t packed_constants(const Graph& graph);

// The kernel of a node that is neither a view nor pointwise; null if there is none.
const KernelRow* find_kernel(Op op);

// dst (row-major) = src (any strides), item by item of `size` bytes.
void copy_strided(const Tensor& src, std::byte* dst);

}  // namespace mc::numpy
