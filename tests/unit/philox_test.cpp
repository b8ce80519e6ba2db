// Philox4x32-10 against the published known answers (Random123, kat_vectors) and the words that a key's
// stream is made of.
#include "prims/philox.h"

#include <gtest/gtest.h>

#include <vector>

#include "mc/ops.h"
#include "mc/random.h"

namespace mc {
namespace {

std::vector<uint32_t> words(const Philox4& p) { return {p.v[0], p.v[1], p.v[2], p.v[3]}; }
using W = std::vector<uint32_t>;

TEST(Philox, KnownAnswers) {
  EXPECT_EQ(words(philox4x32({{0, 0, 0, 0}}, 0, 0)), (W{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const uint32_t f = 0xffffffff;
  EXPECT_EQ(words(philox4x32({{f, f, f, f}}, f, f)), (W{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(words(philox4x32({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0)),
            (W{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, TheBlockNumberIsTheCountersLowHalf) {
  EXPECT_EQ(words(philox_block(0x0000000500000007ull, 3, 4)), words(philox4x32({{7, 5, 0, 0}}, 3, 4)));
}

TEST(Philox, StreamOfAKey) {
  // 4099 words: a last block that is not whole, and more than one piece of parallel work.
  for (int64_t n : {0, 1, 3, 4, 4099, 70001}) {
    const W got = random::bits({n}, random::key(0x1122334455667788ull)).to_vector<uint32_t>();
    ASSERT_EQ(got.size(), static_cast<size_t>(n));
    for (size_t i = 0; i < got.size(); ++i)
      ASSERT_EQ(got[i], philox_block(i / 4, 0x55667788u, 0x11223344u).v[i % 4]) << i;
  }
  // Keys in rows have their own streams.
  const Array two(W{1, 2, 3, 4}, {2, 2});
  EXPECT_EQ(random::bits({5}, two).shape(), (Shape{2, 5}));
  EXPECT_EQ(slice_axis(random::bits({5}, two), 0, 1, 2).to_vector<uint32_t>(),
            random::bits({5}, Array(W{3, 4}, {2})).to_vector<uint32_t>());
}

}  // namespace
}  // namespace mc
