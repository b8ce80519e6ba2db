// safetensors files of captured rows, written a shard at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "mc/dtype.h"

namespace mc::probe {

struct Shard {
  std::string file;
  int64_t first_prompt = 0, prompts = 0, rows = 0;
  uint64_t bytes = 0;
  std::string sha256;
};

// Collects rows of `width` elements for each layer and writes them out when they reach `shard_bytes`.
class ShardWriter {
 public:
  ShardWriter(std::string folder, std::vector<int> layers, int64_t width, Dtype dtype, bool offsets,
              size_t shard_bytes);
  // Rows of one prompt: for each layer `rows`·width elements.
  void add(const std::vector<const std::byte*>& layers, int64_t rows);
  void flush();
  const std::vector<Shard>& shards() const { return shards_; }

 private:
  std::string folder_;
  std::vector<int> layers_;
  int64_t width_;
  Dtype dtype_;
  bool with_offsets_;
  size_t shard_bytes_;
  std::vector<std::vector<std::byte>> data_;  // by layer
  std::vector<int64_t> offsets_{0};
  int64_t prompts_done_ = 0;
  std::vector<Shard> shards_;
};

// A file that appears whole or not at all: a temporary one beside it, synced and renamed. Throws FileWrite.
void write_whole(const std::string& path, const std::vector<std::pair<const void*, size_t>>& parts);

}  // namespace mc::probe
