#include "shard_writer.h"

#include <algorithm>
#include <numeric>
#include <span>

#include "mc/detail/str.h"
#include "mc/safetensors.h"

namespace mc::probe {

ShardWriter::ShardWriter(std::string folder, std::vector<Column> columns, bool offsets, size_t shard_bytes,
                         std::vector<Shard> written, int64_t first_prompt)
    : folder_(std::move(folder)),
      columns_(std::move(columns)),
      with_offsets_(offsets),
      shard_bytes_(shard_bytes),
      data_(columns_.size()),
      prompts_done_(first_prompt),
      shards_(std::move(written)) {
  for (const Shard& s : shards_) prompts_done_ += s.prompts;
  size_t row = 0;
  for (const Column& c : columns_) row += c.row_bytes();
  row_bytes_ = row;
}

bool ShardWriter::add(const std::vector<const std::byte*>& columns, int64_t rows, int64_t tokens) {
  size_t held = 0;
  // A shard's room at once, with the prompt that fills it: doubling would leave its halves behind. Touched at
  // once too, so that few prompts take as much memory as many.
  const size_t before = static_cast<size_t>(offsets_.back());
  const size_t after = before + static_cast<size_t>(rows);
  const size_t room =
      std::max(shard_bytes_ / std::max<size_t>(row_bytes_, 1), before) + static_cast<size_t>(rows) + 1;
  for (size_t i = 0; i < columns.size(); ++i) {
    if (data_[i].capacity() < after * columns_[i].row_bytes()) {
      const size_t filled = data_[i].size();
      data_[i].reserve(room * columns_[i].row_bytes());
      data_[i].resize(room * columns_[i].row_bytes());
      data_[i].resize(filled);
    }
    data_[i].insert(data_[i].end(), columns[i],
                    columns[i] + static_cast<size_t>(rows) * columns_[i].row_bytes());
    held += data_[i].size();
  }
  offsets_.push_back(offsets_.back() + rows);
  tokens_.push_back(tokens);
  if (held < shard_bytes_) return false;
  flush();
  return true;
}

void ShardWriter::flush() {
  const int64_t prompts = static_cast<int64_t>(offsets_.size()) - 1;
  if (prompts == 0) return;
  const int64_t rows = offsets_.back();
  SafetensorsWriter file;
  if (with_offsets_) file.add("offsets", Dtype::I64, {prompts + 1}, std::as_bytes(std::span(offsets_)));
  file.add("tokens", Dtype::I64, {prompts}, std::as_bytes(std::span(tokens_)));
  for (size_t i = 0; i < columns_.size(); ++i) {
    Shape shape{rows};
    for (int64_t n : columns_[i].row) shape.push_back(n);
    file.add(columns_[i].name, columns_[i].dtype, shape, data_[i]);
  }
  Shard s;
  const std::string number = cat(shards_.size());
  s.file =
      cat("capture-", std::string(number.size() < 5 ? 5 - number.size() : 0, '0'), number, ".safetensors");
  s.first_prompt = prompts_done_;
  s.prompts = prompts;
  s.tokens = std::accumulate(tokens_.begin(), tokens_.end(), int64_t{0});
  s.rows = rows;
  const SafetensorsWriter::Written w = file.write(folder_ + "/" + s.file);
  s.bytes = w.bytes;
  s.sha256 = w.sha256;
  shards_.push_back(std::move(s));
  prompts_done_ += prompts;
  tokens_.clear();
  for (auto& d : data_) d.clear();
  offsets_.assign(1, 0);
}

}  // namespace mc::probe
