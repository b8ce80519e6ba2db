#include "mc/sha256.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/sha256_blocks.h"

namespace mc {
Sha256::Sha256()
    : state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19} {
}

void Sha256::block(const uint8_t* p) {
  uint32_t w[64];
  for (int i = 0; i < 16; ++i)
    w[i] = static_cast<uint32_t>(p[4 * i]) << 24 | static_cast<uint32_t>(p[4 * i + 1]) << 16 |
           static_cast<uint32_t>(p[4 * i + 2]) << 8 | p[4 * i + 3];
  for (int i = 16; i < 64; ++i) {
    const uint32_t a = w[i - 15], b = w[i - 2];
    w[i] = w[i - 16] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ (a >> 3)) + w[i - 7] +
           (std::rotr(b, 17) ^ std::rotr(b, 19) ^ (b >> 10));
  }
  uint32_t s[8];
  std::copy(state_, state_ + 8, s);
  for (int i = 0; i < 64; ++i) {
    const uint32_t t1 = s[7] + (std::rotr(s[4], 6) ^ std::rotr(s[4], 11) ^ std::rotr(s[4], 25)) +
                        ((s[4] & s[5]) ^ (~s[4] & s[6])) + detail::kSha256Round[i] + w[i];
    const uint32_t t2 = (std::rotr(s[0], 2) ^ std::rotr(s[0], 13) ^ std::rotr(s[0], 22)) +
                        ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
    std::copy_backward(s, s + 7, s + 8);
    s[4] += t1;
    s[0] = t1 + t2;
  }
  for (int i = 0; i < 8; ++i) state_[i] += s[i];
}

void Sha256::update(std::span<const std::byte> data) {
  if (data.empty()) return;
  const auto* p = reinterpret_cast<const uint8_t*>(data.data());
  size_t n = data.size();
  const size_t held = bytes_ % 64;
  bytes_ += n;
  if (held) {
    const size_t take = std::min(n, 64 - held);
    std::memcpy(rest_ + held, p, take);
    if (held + take < 64) return;
    block(rest_);
    p += take;
    n -= take;
  }
  static const bool fast = detail::has_sha256_instructions();
  if (fast && n >= 64) {
    detail::sha256_blocks(state_, p, n / 64);
    p += n / 64 * 64;
    n %= 64;
  }
  for (; n >= 64; p += 64, n -= 64) block(p);
  if (n) std::memcpy(rest_, p, n);
}

std::string Sha256::hex() {
  const uint64_t bits = bytes_ * 8;
  size_t held = bytes_ % 64;
  rest_[held++] = 0x80;
  if (held > 56) {
    std::memset(rest_ + held, 0, 64 - held);
    block(rest_);
    held = 0;
  }
  std::memset(rest_ + held, 0, 56 - held);
  for (int i = 0; i < 8; ++i) rest_[56 + i] = static_cast<uint8_t>(bits >> (56 - 8 * i));
  block(rest_);
  std::string out;
  for (uint32_t v : state_)
    for (int shift = 28; shift >= 0; shift -= 4) out.push_back("0123456789abcdef"[(v >> shift) & 15]);
  return out;
}

std::string sha256_hex(std::span<const std::byte> data) {
  Sha256 h;
  h.update(data);
  return h.hex();
}

}  // namespace mc
