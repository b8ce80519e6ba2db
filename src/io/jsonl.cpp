#include "mc/jsonl.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "mc/detail/str.h"
#include "mc/error.h"

namespace mc {

TextLines::TextLines(const std::string& path) : path_(path), in_(path, std::ios::binary) {
  if (!in_)
    throw Error(errno == ENOENT ? ErrorCode::FileNotFound : ErrorCode::FileRead, std::strerror(errno), path);
  in_.peek();  // a folder opens, and only reading tells
  if (in_.bad())
    throw Error(ErrorCode::FileRead, "this can't be read; is it a folder?", path, "give the path of a file");
}

bool TextLines::line(std::string& out) {
  while (std::getline(in_, out)) {
    ++number_;
    if (out.find_first_not_of(" \t\r") != std::string::npos) return true;
  }
  if (in_.bad()) throw Error(ErrorCode::FileRead, "reading stopped", path_);
  return false;
}

bool TextLines::next(std::string& text) {
  std::string raw;
  if (!line(raw)) return false;
  const nlohmann::json j = nlohmann::json::parse(raw, nullptr, false);
  if (j.is_discarded()) fail("is not JSON");
  const auto found = j.is_object() ? j.find("text") : j.end();
  if (!j.is_object() || found == j.end() || !found->is_string()) fail("has no string \"text\"");
  text = found->get<std::string>();
  return true;
}

void TextLines::skip(int64_t count) {
  std::string raw;
  for (int64_t i = 0; i < count; ++i)
    if (!line(raw))
      throw Error(ErrorCode::BadData, cat("the file has ", i, " texts, ", count, " were to be passed over"),
                  path_);
}

void TextLines::fail(std::string_view what, std::string_view next) const {
  throw Error(ErrorCode::BadData, cat("line ", number_, " ", what), path_, std::string(next));
}

int64_t count_texts(const std::string& path) {
  std::error_code ec;
  const auto kind = std::filesystem::status(path, ec).type();
  if (kind == std::filesystem::file_type::fifo || kind == std::filesystem::file_type::character)
    throw Error(ErrorCode::FileRead, "this is a pipe or a device, and the texts are read more than once",
                path, "write them to a file first");
  std::ifstream in(path, std::ios::binary);
  TextLines checked(path);  // tells what is wrong with the file
  int64_t n = 0;
  for (std::string raw; std::getline(in, raw);) n += raw.find_first_not_of(" \t\r") != std::string::npos;
  return n;
}

}  // namespace mc
