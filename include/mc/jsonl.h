// Texts from a file of JSON lines, one at a time.
#pragma once

#include <cstdint>
#include <fstream>
#include <string>
#include <string_view>

#include "mc/export.h"

namespace mc {

// Each line looks like {"text": "…"}; other keys are ignored, empty lines skipped.
class MC_API TextLines {
 public:
  // Throws FileNotFound, FileRead.
  explicit TextLines(const std::string& path);
  // The next line's text; false at the end. Throws BadData with the line's number, FileRead.
  bool next(std::string& text);
  // Passes over the next `count` texts without looking into them; throws BadData if there are fewer.
  void skip(int64_t count);
  // Of the last line that was read, from 1.
  int64_t number() const { return number_; }
  // Throws BadData: the last line `what`; `next` where its form is not to blame.
  [[noreturn]] void fail(std::string_view what,
                         std::string_view next = "each line must look like {\"text\": \"…\"}") const;

 private:
  bool line(std::string& out);
  std::string path_;
  std::ifstream in_;
  int64_t number_ = 0;
};

// Texts in such a file, without looking into them. Throws FileNotFound, FileRead (for a pipe, too: it can be
// read only once).
MC_API int64_t count_texts(const std::string& path);

}  // namespace mc
