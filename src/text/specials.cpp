#include "specials.h"

#include <algorithm>

namespace mc {

SpecialFinder::SpecialFinder(const Vocab& vocab, uint8_t with, uint8_t without) {
  for (int32_t id = 0; id < vocab.size(); ++id) {
    uint8_t f = vocab.flags(id);
    if (!(f & with) || (f & without) || vocab.text(id).empty()) continue;
    tokens_.push_back({vocab.text(id), id, f});
    if (f & (Vocab::kEatLeft | Vocab::kEatRight)) eats_ = true;
  }
  std::sort(tokens_.begin(), tokens_.end(), [&](const Token& a, const Token& b) {
    return a.text.size() != b.text.size() ? a.text.size() > b.text.size() : a.id < b.id;
  });
  std::vector<PrefixIndex::Entry> entries;
  for (size_t r = 0; r < tokens_.size(); ++r) entries.push_back({tokens_[r].text, static_cast<int32_t>(r)});
  index_ = PrefixIndex(std::move(entries));
}

// Ranks of all tokens that match at `pos`; returns where the longest one ends.
size_t SpecialFinder::collect(std::string_view text, size_t pos, std::vector<int32_t>& ranks) const {
  size_t longest = pos;
  index_.each(text, pos, [&](size_t length, int32_t rank) {
    ranks.push_back(rank);
    longest = pos + length;
  });
  return longest;
}

// Applies the tokens of `ranks` (ascending) to text[begin, end), as their order demands.
void SpecialFinder::cut(std::string_view text, size_t begin, size_t end, const std::vector<int32_t>& ranks,
                        std::vector<Fragment>& out) const {
  auto space = [&](size_t i) { return text[i] == ' ' || (text[i] >= 9 && text[i] <= 13); };
  std::vector<Fragment> now = {{begin, end, -1}}, next;
  for (int32_t rank : ranks) {
    const Token& e = tokens_[static_cast<size_t>(rank)];
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
  if (tokens_.empty()) return {{0, text.size(), -1}};
  std::vector<int32_t> ranks;
  auto unique = [&] {
    std::sort(ranks.begin(), ranks.end());
    ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());
  };
  if (eats_) {
    // A token that swallows white space reaches beyond its own match, so the text is one piece.
    for (size_t i = 0; i < text.size(); ++i) {
      collect(text, i, ranks);
      if (ranks.size() > 2 * tokens_.size() + 64) unique();
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
      if (ranks.size() > 2 * tokens_.size() + 64) unique();
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
