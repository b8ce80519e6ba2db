// Finds all tokens that a text begins with.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

namespace mc {

class PrefixIndex {
 public:
  struct Entry {
    std::string_view text;  // not empty
    int32_t value;
  };
  PrefixIndex() = default;
  explicit PrefixIndex(std::vector<Entry> entries) : sorted_(std::move(entries)) {
    std::sort(sorted_.begin(), sorted_.end(), [](const Entry& a, const Entry& b) { return a.text < b.text; });
    for (const Entry& e : sorted_) ++first_[static_cast<unsigned char>(e.text[0]) + 1];
    for (size_t b = 0; b < 256; ++b) first_[b + 1] += first_[b];
  }
  bool empty() const { return sorted_.empty(); }

  // Calls f(length, value) for each entry that text[pos...] begins with, the shortest first.
  template <class F>
  void each(std::string_view text, size_t pos, F&& f) const {
    auto byte = static_cast<unsigned char>(text[pos]);
    uint32_t low = first_[byte], high = first_[byte + 1];
    // Entries low..high share the first `depth` bytes with the text; the shortest comes first.
    for (size_t depth = 1; low < high; ++depth) {
      if (sorted_[low].text.size() == depth) f(depth, sorted_[low++].value);
      if (pos + depth >= text.size()) return;
      auto c = static_cast<unsigned char>(text[pos + depth]);
      auto at = [&](const Entry& e) { return static_cast<unsigned char>(e.text[depth]); };
      auto begin = sorted_.begin() + low, end = sorted_.begin() + high;
      begin = std::partition_point(begin, end, [&](const Entry& e) { return at(e) < c; });
      end = std::partition_point(begin, end, [&](const Entry& e) { return at(e) <= c; });
      low = static_cast<uint32_t>(begin - sorted_.begin());
      high = static_cast<uint32_t>(end - sorted_.begin());
    }
  }

 private:
  std::vector<Entry> sorted_;
  uint32_t first_[257] = {};  // sorted_ by the first byte
};

}  // namespace mc
