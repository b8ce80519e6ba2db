// SHA-256: FIPS 180-4's examples, and the processor's instructions against the portable rounds.
#include "mc/sha256.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

namespace mc {
namespace {

std::string hash(std::string_view text) { return sha256_hex(std::as_bytes(std::span(text))); }

TEST(Sha256, ExamplesOfTheStandard) {
  EXPECT_EQ(hash(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(hash(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, PiecesOfAnySizeGiveTheSame) {
  // Less than 64 bytes at a time never reach the instructions for whole blocks.
  std::mt19937 random(1);
  for (size_t size : {63u, 64u, 65u, 127u, 128u, 1000u, 4099u}) {
    std::vector<std::byte> data(size);
    for (std::byte& b : data) b = static_cast<std::byte>(random());
    const std::string whole = sha256_hex(data);
    for (size_t step : {1u, 7u, 63u, 64u, 200u}) {
      Sha256 h;
      for (size_t at = 0; at < size; at += step)
        h.update(std::span(data).subspan(at, std::min(step, size - at)));
      EXPECT_EQ(h.hex(), whole) << size << " bytes, " << step << " at a time";
    }
  }
}

}  // namespace
}  // namespace mc
