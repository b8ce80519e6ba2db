#include "file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "mc/detail/str.h"
#include "mc/error.h"

namespace mc::tool {

constexpr size_t kMaxText = size_t{256} << 20;  // more than any model takes

std::string read_file(const std::string& path) {
  struct Close {
    void operator()(std::FILE* f) const {
      if (f != stdin) std::fclose(f);
    }
  };
  const std::unique_ptr<std::FILE, Close> file(path == "-" ? stdin : std::fopen(path.c_str(), "rb"));
  if (!file && errno == ENOENT) throw Error(ErrorCode::FileNotFound, "there is no such file", path);
  if (!file) throw Error(ErrorCode::FileRead, std::strerror(errno), path);
  std::string text;
  char buffer[1 << 14];
  while (const size_t n = std::fread(buffer, 1, sizeof buffer, file.get())) {
    if (text.size() + n > kMaxText)
      throw Error(ErrorCode::BadData, cat("it has more than ", kMaxText >> 20, " MiB of text"), path,
                  "give a part of it; many texts go into a .jsonl file");
    text.append(buffer, n);
  }
  if (std::ferror(file.get()))
    throw Error(ErrorCode::FileRead, std::strerror(errno), path,
                errno == EISDIR ? "give the path of a file, not of a folder" : "");
  return text;
}

}  // namespace mc::tool
