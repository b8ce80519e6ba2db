#include "specials.h"

#include <algorithm>

namespace mc {

SpecialFinder::SpecialFinder(const Vocab& vocab, uint8_t with, uint8_t without) {
  for (int32_t id = 0; id < vocab.size(); ++id) {
    uint8_t f = vocab.flags(id);
    if (!(f & with) || (f & without) || vocab.text(id).empty()) continue;
    sorted_.push_back({vocab.text(id), id, 0, f});
    if (f & (Vocab::kEatLeft | Vocab::kEatRight)) eats_ = true;
  }
  std::vector<int32_t>& order = by_rank_;
  std::sort(sorted_.begin(), sorted_.end(), [](const Entry& a, const Entry& b) { return a.text < b.text; });
  order.resize(sorted_.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    const Entry &x = sorted_[static_cast<size_t>(a)], &y = sorted_[static_cast<size_t>(b)];
    return x.text.size() != y.text.size() ? x.text.size() > y.text.size() : x.id < y.id;
  });
  for (size_t r = 0; r < order.size(); ++r)
    sorted_[static_cast<size_t>(order[r])].rank = static_cast<int32_t>(r);
  for (const Entry& e : sorted_) ++first_[static_cast<unsigned char>(e.text[0]) + 1];
  for (size_t b = 0; b < 256; ++b) first_[b + 1] += first_[b];
}

// Ranks of all tokens that match at `pos`; returns where the longest one ends.
size_t SpecialFinder::collect(std::string_view text, size_t pos, std::vector<int32_t>& ranks) const {
  auto byte = static_cast<unsigned char>(text[pos]);
  uint32_t low = first_[byte], high = first_[byte + 1];
  size_t longest = pos;
  // Entries low..high share the first `depth` bytes with the text; the shortest comes first.
  for (size_t depth = 1; low < high; ++depth) {
    if (sorted_[low].text.size() == depth) {
      ranks.push_back(sorted_[low].rank);
      longest = pos + depth;
      ++low;
    }
    if (pos + depth >= text.size()) break;
    auto c = static_cast<unsigned char>(text[pos + depth]);
    auto begin = sorted_.begin() + low, end = sorted_.begin() + high;
    auto at = [&](const Entry& e) { return static_cast<unsigned char>(e.text[depth]); };
    begin = std::partition_point(begin, end, [&](const Entry& e) { return at(e) < c; });
    end = std::partition_point(begin, end, [&](const Entry& e) { return at(e) <= c; });
    low = static_cast<uint32_t>(begin - sorted_.begin());
    high = static_cast<uint32_t>(end - sorted_.begin());
  }
  return longest;
}

// Applies the tokens of `ranks` (ascending) to text[begin, end), as their order demands.
void SpecialFinder::cut(std::string_view text, size_t begin, size_t end, const std::vector<int32_t>& ranks,
                        std::vector<Fragment>& out) const {
  auto space = [&](size_t i) { return text[i] == ' ' || (text[i] >= 9 && text[i] <= 13); };
  std::vector<Fragment> now = {{begin, end, -1}}, next;
  for (int32_t rank : ranks) {
    const Entry& e = sorted_[static_cast<size_t>(by_rank_[static_cast<size_t>(rank)])];
    next.clear();
    for (const Fragment& f : now) {
      if (f.id >= 0) {
        next.push_back(f);
        continue;
      }
      size_t from = f.begin;
      for (;;) {
        size_t at =
            f.end - from < e.text.size() ? std::string_view::npos : text.substr(0, f.end).find(e.text, from);
        if (at == std::string_view::npos) break;
        size_t left = at;
        if (e.flags & Vocab::kEatLeft)
          while (left > from && space(left - 1)) --left;
        if (left > from) next.push_back({from, left, -1});
        from = at + e.text.size();
        next.push_back({at, from, e.id});
        if (e.flags & Vocab::kEatRight)
          while (from < f.end && space(from)) ++from;
      }
      if (from < f.end) next.push_back({from, f.end, -1});
    }
    now.swap(next);
  }
  out.insert(out.end(), now.begin(), now.end());
}

std::vector<Fragment> SpecialFinder::split(std::string_view text) const {
  std::vector<Fragment> out;
  if (text.empty()) return out;
  if (sorted_.empty()) return {{0, text.size(), -1}};
  std::vector<int32_t> ranks;
  auto unique = [&] {
    std::sort(ranks.begin(), ranks.end());
    ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());
  };
  if (eats_) {
    // A token that swallows white space reaches beyond its own match, so the text is one piece.
    for (size_t i = 0; i < text.size(); ++i) {
      collect(text, i, ranks);
      if (ranks.size() > 2 * sorted_.size() + 64) unique();
    }
    unique();
    cut(text, 0, text.size(), ranks, out);
    return out;
  }
  // Matches that overlap, directly or through others, are decided together; the rest of the text is not
  // touched.
  size_t done = 0;
  for (size_t i = 0; i < text.size();) {
    ranks.clear();
    size_t end = collect(text, i, ranks);
    if (end == i) {
      ++i;
      continue;
    }
    size_t begin = i;
    for (++i; i < end; ++i) {
      end = std::max(end, collect(text, i, ranks));
      if (ranks.size() > 2 * sorted_.size() + 64) unique();
    }
    if (begin > done) out.push_back({done, begin, -1});
    unique();
    size_t first = out.size();
    cut(text, begin, end, ranks, out);
    // Text left over at the edges belongs to its neighbours.
    if (first > 0 && out[first].id < 0 && out[first - 1].id < 0) {
      out[first].begin = out[first - 1].begin;
      out.erase(out.begin() + static_cast<std::ptrdiff_t>(first) - 1);
    }
    done = end;
    if (out.back().id < 0) {
      done = out.back().begin;
      out.pop_back();
    }
  }
  if (done < text.size()) out.push_back({done, text.size(), -1});
  return out;
}

}  // namespace mc
