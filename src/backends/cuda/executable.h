// A planned graph: enqueued step by step, or replayed as one CUDA graph once the same addresses come again.
#pragma once

#include "backends/cuda/plan.h"

namespace mc::cuda {

class CudaExecutable final : public Executable {
 public:
  CudaExecutable(const Graph& graph, const CompileOptions& options);
  ~CudaExecutable() override;
  void run(std::span<Value> inputs, std::span<Value> outputs) override;
  PlanInfo plan() const override;

 private:
  struct Captured {
    std::vector<std::byte*> key;
    cudaGraphExec_t exec;
    ScratchList scratch;
    uint64_t used;
  };
  void enqueue(DeviceState& device, ScratchList& scratch);
  bool replay(DeviceState& device, const std::vector<std::byte*>& key);

  Device device_;
  std::vector<bool> donated_;
  Plan plan_;
  BufferPtr consts_;
  size_t const_bytes_ = 0;
  // Used under the device's lock.
  std::vector<std::byte*> base_;
  std::vector<BufferPtr> buffers_;
  Scratch temp_;
  bool capturable_ = true, keep_scratch_ = false;
  bool small_ = false;
  uint64_t runs_ = 0, clock_ = 0, made_ = 0, replayed_ = 0;
  std::vector<Captured> graphs_;
  std::vector<std::vector<std::byte*>> seen_;
};

}  // namespace mc::cuda
