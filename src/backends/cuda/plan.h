// From a graph to a flat list of kernel calls over planned memory.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "backends/cuda/kernel.h"
#include "backends/cuda/pointwise.h"
#include "runtime/backend.h"

namespace mc::cuda {

// Memory that values live in. Views of a value share its storage.
struct Storage {
  enum class Kind : uint8_t { Input, Temp, Output, Const } kind = Kind::Temp;
  int index = 0;  // of the input, output buffer or constant
  size_t bytes = 0;
  int32_t alias = -1;             // shares the memory of another storage (in place)
  int32_t first = -1, last = -1;  // steps that write first and use last
  size_t offset = 0;              // Temp: in the scratch block
};

// Where a value is: a strided window of a storage.
struct Place {
  int32_t storage = -1;
  int64_t offset = 0;  // bytes
  Shape strides;       // elements
};

struct Operand {
  int32_t storage;
  int64_t offset;
};

struct Step {
  const KernelRow* kernel = nullptr;       // or
  std::unique_ptr<PointwiseKernel> fused;  // or neither: a strided copy of in[0]
  Op op{};
  Attrs attrs;
  int n_in = 0;
  std::vector<Operand> operands;  // inputs, then outputs
  std::vector<Tensor> tensors;    // their views; data is set at run time
};

struct OutputRef {
  int32_t storage;
  size_t offset;
};

// Of an output that lives in the memory of a donated input.
inline constexpr size_t kNoBuffer = SIZE_MAX;

struct Plan {
  std::vector<Storage> storages;
  std::vector<Step> steps;
  std::vector<OutputRef> outputs;
  std::vector<size_t> output_buffers;          // bytes of each Output storage
  std::vector<std::vector<std::byte>> consts;  // data of each Const storage
  size_t temp_bytes = 0;
};

Plan make_plan(const Graph& graph, const std::vector<bool>& donated);

}  // namespace mc::cuda
