// From a graph to a flat list of steps over planned memory, for engines that compute on strided operands:
// views become strides, elementwise nodes become groups, results take over memory that dies, temporaries
// share one block.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "runtime/strided.h"

namespace mc::strided {

// Memory that values live in. Views of a value share its storage.
struct Storage {
  enum class Kind : uint8_t { Input, Temp, Output, Const } kind = Kind::Temp;
  int index = 0;  // of the input, output buffer or constant
  size_t bytes = 0;
  int32_t alias = -1;             // shares the memory of another storage (in place)
  int32_t first = -1, last = -1;  // steps that write first and use last
  size_t offset = 0;              // Temp: in the scratch block
};

struct Operand {
  int32_t storage;
  int64_t offset;  // bytes
};

struct View {
  Shape shape, strides;  // strides in elements
  Dtype dtype = Dtype::F32;
};

struct OutputRef {
  int32_t storage;
  size_t offset;
};

// `nodes` in topological order; every input of a node is the output of an earlier one of the group or one of
// `inputs`.
struct PointwiseGroup {
  std::vector<const GraphNode*> nodes;
  std::vector<ValueId> inputs;  // values from outside
  ValueId output = 0;
};

struct Step {
  enum class Kind : uint8_t { Kernel, Pointwise, Copy, Products } kind = Kind::Copy;
  Op op{};
  Attrs attrs;               // Kernel
  PointwiseGroup pointwise;  // Pointwise; the operands' strides are broadcast to the output's shape
  std::vector<Attrs> group;  // Products: the attributes of each of several QuantizedMatmul nodes with one x
  int n_in = 0;
  std::vector<Operand> operands;  // inputs, then outputs
  std::vector<View> views;        // of the operands
};

// Of an output that lives in the memory of a donated input.
inline constexpr size_t kNoBuffer = SIZE_MAX;

struct MC_ENGINE_API Memory {
  std::vector<Storage> storages;
  std::vector<size_t> roots;  // of each storage the one whose memory it is in
  std::vector<OutputRef> outputs;
  std::vector<size_t> output_buffers;          // bytes of each Output storage, or kNoBuffer
  std::vector<std::vector<std::byte>> consts;  // data of each Const storage: one element
  size_t temp_bytes = 0;
  bool apart = false;  // no two temporaries share memory, but for those in place

  // Where output i lies: an input's memory, or an output buffer.
  const Storage& output_storage(size_t i) const {
    return storages[roots[static_cast<size_t>(outputs[i].storage)]];
  }
  size_t output_bytes() const;
};

struct Plan : Memory {
  std::vector<Step> steps;
};

struct Rules {
  std::string_view engine;                      // for errors: "the host engine"
  std::optional<uint32_t> (*kernel_flags)(Op);  // of the kernel of a node that is no view and not pointwise
  size_t align = 64;                            // of temporaries
  size_t guard = 0;                             // bytes kept free behind each temporary
  size_t const_bytes = 16;                      // of each constant
  bool products = false;                        // products of one x with several weights are one step
  size_t apart = 0;                             // temporaries lie apart if all of them take no more bytes
};

// Throws UnsupportedOp for a node without a kernel. Groups point into `graph`.
MC_ENGINE_API Plan make_plan(const Graph& graph, const std::vector<bool>& donated, const Rules& rules);

}  // namespace mc::strided
