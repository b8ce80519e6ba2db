// safetensors files of captured rows, written a shard at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "mc/dtype.h"
#include "mc/shape.h"

namespace mc::probe {

struct Shard {
  std::string file;
  int64_t first_prompt = 0, prompts = 0, tokens = 0, rows = 0;
  uint64_t bytes = 0;
  std::string sha256;
};

// One tensor of every shard: rows of one shape.
struct Column {
  std::string name;
  Dtype dtype = Dtype::F32;
  Shape row;  // (d,), or (heads, head_dim)
  size_t row_bytes() const { return static_cast<size_t>(row.numel()) * itemsize(dtype); }
};

// Collects the rows of each column and writes them out when they reach `shard_bytes` together. What a shard
// holds follows from the rows alone.
class ShardWriter {
 public:
  // `written`: shards of an earlier run that are kept; `first_prompt` the number of the first prompt of all.
  ShardWriter(std::string folder, std::vector<Column> columns, bool offsets, size_t shard_bytes,
              std::vector<Shard> written = {}, int64_t first_prompt = 0);
  // Of one prompt of `tokens` tokens: for each column `rows` rows. True when that wrote a shard.
  bool add(const std::vector<const std::byte*>& columns, int64_t rows, int64_t tokens);
  void flush();
  const std::vector<Shard>& shards() const { return shards_; }

 private:
  std::string folder_;
  std::vector<Column> columns_;
  bool with_offsets_;
  size_t shard_bytes_, row_bytes_ = 0;
  std::vector<std::vector<std::byte>> data_;  // by column
  std::vector<int64_t> offsets_{0}, tokens_;
  int64_t prompts_done_ = 0;
  std::vector<Shard> shards_;
};

}  // namespace mc::probe
