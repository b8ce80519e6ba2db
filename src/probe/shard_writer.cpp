#include "shard_writer.h"

#include <span>

#include "mc/detail/str.h"
#include "mc/file.h"
#include "mc/safetensors.h"

namespace mc::probe {

void write_whole(const std::string& path, const std::vector<std::pair<const void*, size_t>>& parts) {
  std::vector<std::span<const std::byte>> spans;
  for (auto [data, size] : parts) spans.push_back({static_cast<const std::byte*>(data), size});
  write_file(path, spans);
}

ShardWriter::ShardWriter(std::string folder, std::vector<int> layers, int64_t width, Dtype dtype,
                         bool offsets, size_t shard_bytes)
    : folder_(std::move(folder)),
      layers_(std::move(layers)),
      width_(width),
      dtype_(dtype),
      with_offsets_(offsets),
      shard_bytes_(shard_bytes),
      data_(layers_.size()) {}

void ShardWriter::add(const std::vector<const std::byte*>& layers, int64_t rows) {
  const size_t n = static_cast<size_t>(rows * width_) * itemsize(dtype_);
  for (size_t i = 0; i < layers.size(); ++i) data_[i].insert(data_[i].end(), layers[i], layers[i] + n);
  offsets_.push_back(offsets_.back() + rows);
  if (!data_.empty() && data_[0].size() * data_.size() >= shard_bytes_) flush();
}

void ShardWriter::flush() {
  const int64_t prompts = static_cast<int64_t>(offsets_.size()) - 1;
  if (prompts == 0) return;
  const int64_t rows = offsets_.back();
  SafetensorsWriter file;
  if (with_offsets_) file.add("offsets", Dtype::I64, {prompts + 1}, std::as_bytes(std::span(offsets_)));
  for (size_t i = 0; i < layers_.size(); ++i)
    file.add(cat("layer.", layers_[i]), dtype_, {rows, width_}, data_[i]);

  Shard s;
  const std::string number = cat(shards_.size());
  s.file =
      cat("capture-", std::string(number.size() < 5 ? 5 - number.size() : 0, '0'), number, ".safetensors");
  s.first_prompt = prompts_done_;
  s.prompts = prompts;
  s.rows = rows;
  const SafetensorsWriter::Written w = file.write(folder_ + "/" + s.file);
  s.bytes = w.bytes;
  s.sha256 = w.sha256;
  shards_.push_back(std::move(s));
  prompts_done_ += prompts;
  for (auto& d : data_) d.clear();
  offsets_.assign(1, 0);
}

}  // namespace mc::probe
