#include "inflate.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#include "mc/detail/str.h"
#include "mc/error.h"

namespace mc {
namespace {

constexpr int kLongest = 15;  // bits of a code
constexpr int kFirst = 10;    // bits that the first table looks at

// A canonical Huffman code. Codes of up to kFirst bits are found by one look at the table; longer ones are
// counted up bit by bit.
class Code {
 public:
  // Bits of each symbol's code, 0 for none. False for lengths that are no code.
  bool set(std::span<const uint8_t> lengths) {
    count_.fill(0);
    for (uint8_t n : lengths) ++count_[n];
    count_[0] = 0;
    int left = 1;
    size_t used = 0;
    for (int n = 1; n <= kLongest; ++n) {
      left = 2 * left - count_[static_cast<size_t>(n)];
      used += count_[static_cast<size_t>(n)];
      if (left < 0) return false;
    }
    // An incomplete code is one of a single symbol, or of none where nothing is repeated.
    if (left > 0 && used > 1) return false;
    std::array<uint16_t, kLongest + 2> at{};
    for (size_t n = 1; n <= kLongest; ++n) at[n + 1] = static_cast<uint16_t>(at[n] + count_[n]);
    std::array<uint32_t, kLongest + 1> next{};
    for (size_t n = 1; n < kLongest; ++n) next[n + 1] = (next[n] + count_[n]) << 1;
    table_.fill(0);
    for (size_t s = 0; s < lengths.size(); ++s) {
      const size_t n = lengths[s];
      if (!n) continue;
      symbol_[at[n]++] = static_cast<uint16_t>(s);
      const uint32_t code = next[n]++;
      if (n > kFirst) continue;
      uint32_t reversed = 0;
      for (size_t b = 0; b < n; ++b) reversed |= (code >> b & 1) << (n - 1 - b);
      for (uint32_t i = reversed; i < table_.size(); i += 1u << n)
        table_[i] = static_cast<uint16_t>(s << 4 | n);
    }
    return true;
  }
  std::array<uint16_t, size_t{1} << kFirst> table_{};  // symbol << 4 | bits; 0: a longer code, or none
  std::array<uint16_t, kLongest + 1> count_{};
  std::array<uint16_t, 288> symbol_{};
};

class Reader {
 public:
  Reader(std::span<const std::byte> in, const std::string& where) : in_(in), where_(where) {}

  [[noreturn]] void bad() const {
    throw Error(ErrorCode::BadFormat, "its compressed bytes are damaged", where_,
                "write it with np.savez_compressed");
  }
  uint32_t bits(int n) {
    need(n);
    const uint32_t v = static_cast<uint32_t>(held_ & ((uint64_t{1} << n) - 1));
    drop(n);
    return v;
  }
  uint32_t symbol(const Code& c) {
    fill();
    if (const uint16_t e = c.table_[held_ & ((1u << kFirst) - 1)]; e) {
      if ((e & 15) > count_) bad();
      drop(e & 15);
      return e >> 4;
    }
    int32_t code = 0, first = 0, index = 0;
    for (int n = 1; n <= kLongest && n <= count_; ++n) {
      code |= static_cast<int32_t>(held_ >> (n - 1) & 1);
      const int32_t here = c.count_[static_cast<size_t>(n)];
      if (code - first < here) {
        drop(n);
        return c.symbol_[static_cast<size_t>(index + code - first)];
      }
      index += here;
      first = (first + here) << 1;
      code <<= 1;
    }
    bad();
  }
  // Bytes as they are, from the next whole one on.
  std::span<const std::byte> stored() {
    drop(count_ % 8);
    const uint32_t n = bits(16), complement = bits(16);
    if (n != (~complement & 0xFFFF)) bad();
    at_ -= static_cast<size_t>(count_ / 8);
    held_ = 0;
    count_ = 0;
    if (n > in_.size() - at_) bad();
    at_ += n;
    return in_.subspan(at_ - n, n);
  }

 private:
  void fill() {
    while (count_ <= 56 && at_ < in_.size()) {
      held_ |= std::to_integer<uint64_t>(in_[at_++]) << count_;
      count_ += 8;
    }
  }
  void need(int n) {
    fill();
    if (count_ < n) bad();
  }
  void drop(int n) {
    held_ >>= n;
    count_ -= n;
  }
  std::span<const std::byte> in_;
  const std::string& where_;
  size_t at_ = 0;
  uint64_t held_ = 0;  // bits that are read but not used, the next one lowest
  int count_ = 0;
};

constexpr uint16_t kLengthBase[] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                    31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
constexpr uint8_t kLengthBits[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                   2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
constexpr uint16_t kDistanceBase[] = {1,    2,    3,    4,    5,    7,    9,    13,    17,    25,
                                      33,   49,   65,   97,   129,  193,  257,  385,   513,   769,
                                      1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
constexpr uint8_t kDistanceBits[] = {0, 0, 0, 0, 1, 1, 2, 2,  3,  3,  4,  4,  5,  5,  6,
                                     6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13};
constexpr uint8_t kOrder[] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};

void fixed_codes(Code& symbols, Code& distances) {
  std::array<uint8_t, 288> n{};
  for (size_t i = 0; i < n.size(); ++i) n[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
  std::array<uint8_t, 32> d{};
  d.fill(5);
  symbols.set(n);
  distances.set(d);
}

void read_codes(Reader& in, Code& symbols, Code& distances) {
  const size_t literals = in.bits(5) + 257, others = in.bits(5) + 1, lengths = in.bits(4) + 4;
  std::array<uint8_t, 19> small{};
  for (size_t i = 0; i < lengths; ++i) small[kOrder[i]] = static_cast<uint8_t>(in.bits(3));
  if (literals > 286 || others > 30 || !symbols.set(small)) in.bad();
  std::array<uint8_t, 286 + 30> all{};
  for (size_t i = 0; i < literals + others;) {
    const uint32_t s = in.symbol(symbols);
    if (s < 16) {
      all[i++] = static_cast<uint8_t>(s);
      continue;
    }
    if (s == 16 && i == 0) in.bad();
    const uint8_t value = s == 16 ? all[i - 1] : uint8_t{0};
    const size_t times = s == 16 ? 3 + in.bits(2) : s == 17 ? 3 + in.bits(3) : 11 + in.bits(7);
    if (times > literals + others - i) in.bad();
    std::fill_n(all.begin() + static_cast<std::ptrdiff_t>(i), times, value);
    i += times;
  }
  const std::span<const uint8_t> list(all);
  if (!all[256] || !symbols.set(list.first(literals)) || !distances.set(list.subspan(literals, others)))
    in.bad();
}

}  // namespace

std::vector<std::byte> inflate(std::span<const std::byte> packed, size_t size, const std::string& where) {
  // No stream is packed by more than 1,032 to 1: a size beyond that is a lie, told before memory is taken.
  Reader in(packed, where);
  if (size / 1032 > packed.size()) in.bad();
  std::vector<std::byte> out(size);
  size_t at = 0;
  Code symbols, distances;
  for (bool last = false; !last;) {
    last = in.bits(1);
    const uint32_t kind = in.bits(2);
    if (kind == 3) in.bad();
    if (kind == 0) {
      const std::span<const std::byte> bytes = in.stored();
      if (bytes.size() > size - at) in.bad();
      std::copy(bytes.begin(), bytes.end(), out.begin() + static_cast<std::ptrdiff_t>(at));
      at += bytes.size();
      continue;
    }
    if (kind == 1)
      fixed_codes(symbols, distances);
    else
      read_codes(in, symbols, distances);
    for (;;) {
      const uint32_t s = in.symbol(symbols);
      if (s == 256) break;
      if (s < 256) {
        if (at == size) in.bad();
        out[at++] = static_cast<std::byte>(s);
        continue;
      }
      if (s > 285) in.bad();
      const size_t length = kLengthBase[s - 257] + in.bits(kLengthBits[s - 257]);
      const uint32_t d = in.symbol(distances);
      if (d > 29) in.bad();
      const size_t distance = kDistanceBase[d] + in.bits(kDistanceBits[d]);
      if (distance > at || length > size - at) in.bad();
      // May overlap: what was just written is repeated.
      for (size_t i = 0; i < length; ++i, ++at) out[at] = out[at - distance];
    }
  }
  if (at != size) in.bad();
  return out;
}

}  // namespace mc
