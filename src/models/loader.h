// What every architecture's file uses: typed access to weights, with errors that name tensor and file.
#pragma once

#include <memory>
#include <string>

#include "mc/model.h"

namespace mc::models {

class Loader {
 public:
  Loader(std::shared_ptr<GgufFile> file, std::string architecture, LoadOptions options)
      : file_(std::move(file)), prefix_(std::move(architecture)), options_(options) {}

  const GgufFile& file() const { return *file_; }
  // Metadata under the architecture's prefix: u("block_count") reads llama.block_count.
  int64_t u(std::string_view key) const;
  int64_t u(std::string_view key, int64_t fallback) const;
  double f(std::string_view key) const;
  double f(std::string_view key, double fallback) const;
  bool has(std::string_view tensor) const { return file_->find_tensor(tensor) != nullptr; }

  // (out, in), any computable type, mapped.
  nn::Linear linear(const std::string& tensor, int64_t out, int64_t in) const;
  // (n,) float32.
  Array vector(const std::string& tensor, int64_t n) const;
  nn::RmsNorm norm(const std::string& tensor, int64_t n, double eps) const {
    return {vector(tensor, n), eps};
  }
  // The fields that all architectures share.
  ModelConfig config() const;

 private:
  std::shared_ptr<GgufFile> file_;
  std::string prefix_;
  LoadOptions options_;
};

// One row an architecture, in the file of its name.
struct ModelDef {
  const char* architecture;  // general.architecture
  std::shared_ptr<Model> (*load)(const Loader& loader);
};
extern const ModelDef kLlama, kGemma3;

// "blk.3." + rest
std::string block(int64_t layer, std::string_view rest);

}  // namespace mc::models
