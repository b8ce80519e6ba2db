#include "jsonl.h"

#include "mc/error.h"
#include "mc/jsonl.h"

namespace mc::tool {

bool is_json_lines(const std::string& path) {
  return path.size() > 6 && path.compare(path.size() - 6, 6, ".jsonl") == 0;
}

std::vector<std::string> read_texts(const std::string& path) {
  std::vector<std::string> out;
  TextLines lines(path);
  for (std::string text; lines.next(text);) out.push_back(text);
  if (out.empty())
    throw Error(ErrorCode::BadData, "the file has no lines", path,
                "each line must look like {\"text\": \"…\"}");
  return out;
}

}  // namespace mc::tool
