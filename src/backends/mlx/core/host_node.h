// A node that libmlx can't compute as the contract asks: the house's host engine computes it, inside libmlx's
// graph, on libmlx's CPU stream.
#pragma once

#include <exception>

#include "backends/mlx/core/common.h"

namespace mc::mlx_engine {

// The first failure of a run's host nodes: libmlx would keep the text of an exception only.
struct Failure {
  std::mutex mutex;
  std::exception_ptr first;
};

class HostNode {
 public:
  HostNode(const Graph& graph, const GraphNode& node);
  // Lazy results of the node for these inputs.
  std::vector<mx::array> apply(const std::vector<mx::array>& in, std::shared_ptr<Failure> failure) const;
  // Computes into memory; called by libmlx's thread.
  void compute(const std::vector<const std::byte*>& in, const std::vector<std::byte*>& out) const;

 private:
  std::shared_ptr<Executable> exe_;
  std::vector<Aval> in_, out_;
};

// Whether the host engine has the operation itself.
bool host_has(Op op, std::span<const Aval> in, const Attrs& attrs);

}  // namespace mc::mlx_engine
