// A fused group of elementwise nodes as one generated kernel.
#pragma once

#include "backends/cuda/jit.h"
#include "backends/cuda/kernel.h"
#include "runtime/strided_plan.h"

namespace mc::cuda {

using strided::PointwiseGroup;

class PointwiseKernel {
 public:
  // in: the operands that every run will have, but for their addresses: strides broadcast to the output's
  // shape.
  PointwiseKernel(const Graph& graph, const PointwiseGroup& group, std::span<const Tensor> in,
                  const Tensor& out);
  // The output may be the memory of an input that is row-major, of its shape and item size.
  void run(DeviceState& device, cudaStream_t stream, std::span<const Tensor> in, const Tensor& out);
  // For tests: the sources of the kernels with and without vectors.
  std::string source(int width) const;

 private:
  enum class Kind : uint8_t { Literal, Scalar, Flat, Strided };
  struct Input {
    Dtype dtype;
    Kind kind;
    Shape strides;  // of the merged dimensions
  };
  std::string body_;  // statements from x0 … to y
  std::vector<Input> inputs_;
  Dtype out_dtype_;
  Shape shape_;  // merged
  int64_t numel_ = 0;
  int width_ = 1;  // elements a thread, where addresses allow
  bool strided_ = false;
  JitKernel kernels_[2] = {};  // by whether they are vectors
  JitParams params_;           // all but the addresses
  size_t out_at_ = 0;          // where these go
  std::vector<size_t> in_at_;  // 0: a literal
};

// The name of a stored type in generated code, and of the type it is computed in.
const char* jit_stored(Dtype dtype);
const char* jit_computed(Dtype dtype);

// One kernel that holds every operation on every dtype that it takes: the test of the generator.
std::vector<std::string> pointwise_samples();

}  // namespace mc::cuda
