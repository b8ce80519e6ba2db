// A folder of files by key, least recently used first to go. Look-ups are counted in a file beside them.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "mc/export.h"

namespace mc {

class MC_ENGINE_API DiskCache {
 public:
  // `kind` names the folder below cache_folder().
  explicit DiskCache(std::string kind, size_t limit = size_t{2} << 30)
      : kind_(std::move(kind)), limit_(limit) {}
  // The key's data; empty if it is not there or not whole: a spoilt file is removed.
  std::optional<std::string> read(const std::string& key);
  // A temporary file and a rename: readers see all of it or nothing. A cache that can't be written is no
  // error.
  void write(const std::string& key, const std::string& data);
  // What read() gave was of no use after all.
  void drop(const std::string& key);

 private:
  void count(char what) const;
  std::string file(const std::string& key) const;
  void trim() const;
  std::string kind_;
  size_t limit_;
};

}  // namespace mc
