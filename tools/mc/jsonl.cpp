#include "jsonl.h"

#include <nlohmann/json.hpp>

#include "file.h"
#include "mc/detail/str.h"
#include "mc/error.h"

namespace mc::tool {

bool is_json_lines(const std::string& path) {
  return path.size() > 6 && path.compare(path.size() - 6, 6, ".jsonl") == 0;
}

std::vector<std::string> read_texts(const std::string& path) {
  std::vector<std::string> out;
  const std::string all = read_file(path);
  int64_t number = 0;
  for (size_t begin = 0; begin < all.size();) {
    const size_t end = std::min(all.find('\n', begin), all.size());
    const std::string_view line(all.data() + begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const nlohmann::json j = nlohmann::json::parse(line, nullptr, false);
    const auto text = j.is_object() ? j.find("text") : j.end();
    if (!j.is_object() || text == j.end() || !text->is_string())
      throw Error(ErrorCode::BadData,
                  cat("line ", number, j.is_discarded() ? " is not JSON" : " has no string \"text\""), path,
                  "each line must look like {\"text\": \"…\"}");
    out.push_back(text->get<std::string>());
  }
  if (out.empty())
    throw Error(ErrorCode::BadData, "the file has no lines", path,
                "each line must look like {\"text\": \"…\"}");
  return out;
}

}  // namespace mc::tool
