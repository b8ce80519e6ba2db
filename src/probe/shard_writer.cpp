#include "shard_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <span>

#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/sha256.h"

namespace mc::probe {
namespace {

[[noreturn]] void fail(const std::string& path, int fd, const std::string& temp) {
  const int error = errno;
  if (fd >= 0) close(fd);
  unlink(temp.c_str());
  throw Error(ErrorCode::FileWrite, std::strerror(error), path);
}

}  // namespace

void write_whole(const std::string& path, const std::vector<std::pair<const void*, size_t>>& parts) {
  const std::string temp = cat(path, ".tmp", getpid());
  const int fd = open(temp.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) fail(path, fd, temp);
  for (auto [data, size] : parts) {
    const char* p = static_cast<const char*>(data);
    while (size > 0) {
      const ssize_t n = write(fd, p, size);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail(path, fd, temp);
      p += n;
      size -= static_cast<size_t>(n);
    }
  }
  if (fsync(fd) != 0 && errno != EINVAL) fail(path, fd, temp);
  if (close(fd) != 0 || rename(temp.c_str(), path.c_str()) != 0) fail(path, -1, temp);
}

ShardWriter::ShardWriter(std::string folder, std::vector<int> layers, int64_t width, Element element,
                         bool offsets, size_t shard_bytes)
    : folder_(std::move(folder)),
      layers_(std::move(layers)),
      width_(width),
      element_(element),
      with_offsets_(offsets),
      shard_bytes_(shard_bytes),
      data_(layers_.size()) {}

void ShardWriter::add(const std::vector<const std::byte*>& layers, int64_t rows) {
  const size_t n = static_cast<size_t>(rows * width_) * element_.bytes;
  for (size_t i = 0; i < layers.size(); ++i) data_[i].insert(data_[i].end(), layers[i], layers[i] + n);
  offsets_.push_back(offsets_.back() + rows);
  if (!data_.empty() && data_[0].size() * data_.size() >= shard_bytes_) flush();
}

void ShardWriter::flush() {
  const int64_t prompts = static_cast<int64_t>(offsets_.size()) - 1;
  if (prompts == 0) return;
  const int64_t rows = offsets_.back();
  std::string header = "{";
  uint64_t at = 0;
  auto entry = [&](const std::string& name, const char* dtype, const std::string& shape, uint64_t bytes) {
    header += cat(header.size() > 1 ? "," : "", "\"", name, "\":{\"dtype\":\"", dtype, "\",\"shape\":[",
                  shape, "],\"data_offsets\":[", at, ",", at + bytes, "]}");
    at += bytes;
  };
  std::vector<std::pair<const void*, size_t>> parts(2);
  // int64 first: the format wants every tensor aligned to its item size.
  if (with_offsets_) {
    entry("offsets", "I64", cat(prompts + 1), offsets_.size() * 8);
    parts.emplace_back(offsets_.data(), offsets_.size() * 8);
  }
  for (size_t i = 0; i < layers_.size(); ++i) {
    entry(cat("layer.", layers_[i]), element_.name, cat(rows, ",", width_), data_[i].size());
    parts.emplace_back(data_[i].data(), data_[i].size());
  }
  header += "}";
  while (header.size() % 8) header += ' ';
  const uint64_t length = header.size();
  parts[0] = {&length, 8};
  parts[1] = {header.data(), header.size()};

  Shard s;
  const std::string number = cat(shards_.size());
  s.file =
      cat("capture-", std::string(number.size() < 5 ? 5 - number.size() : 0, '0'), number, ".safetensors");
  s.first_prompt = prompts_done_;
  s.prompts = prompts;
  s.rows = rows;
  Sha256 hash;
  for (auto [p, n] : parts) {
    s.bytes += n;
    hash.update({static_cast<const std::byte*>(p), n});
  }
  s.sha256 = hash.hex();
  write_whole(folder_ + "/" + s.file, parts);
  shards_.push_back(std::move(s));
  prompts_done_ += prompts;
  for (auto& d : data_) d.clear();
  offsets_.assign(1, 0);
}

}  // namespace mc::probe
