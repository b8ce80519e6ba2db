// Philox4x32-10 as integer operations: the words of every engine.
#include "backends/jax/lower.h"
#include "mc/detail/str.h"

namespace mc::jax_engine {
namespace {

struct Product {
  Val high, low;
};
Product multiply(Hlo& h, const Val& x, uint32_t by) {
  const Val wide = h.convert(x, Dtype::U64);
  const Val p = h.mul(wide, h.filled_int(wide.aval, by));
  return {h.convert(h.shr(p, 32), Dtype::U32), h.convert(p, Dtype::U32)};
}

void lower_bits(const Lower& l) {
  Hlo& h = l.h;
  const Shape& shape = l.as<RandomBitsAttrs>().shape;
  const int64_t words = shape.numel(), blocks = (words + 3) / 4;
  Shape batch = l.x().shape();
  batch.erase(batch.ndim() - 1);
  const int64_t keys = batch.numel();
  if (words == 0 || keys == 0) return l.give(h.whole(l.out[0], 0));
  const Aval a{{keys, blocks}, Dtype::U32}, number{{keys, blocks}, Dtype::U64};
  const Val key = h.reshape(l.x(), {keys, 2});
  auto word = [&](int64_t i) {
    return h.broadcast_dims(h.reshape(h.slice_axis(key, 1, i, i + 1), {keys}), a.shape, {0});
  };
  Val k0 = word(0), k1 = word(1);
  const Val block = h.iota(number, 1);
  Val c0 = h.convert(block, Dtype::U32), c1 = h.convert(h.shr(block, 32), Dtype::U32);
  Val c2 = h.whole(a, 0), c3 = c2;
  for (int round = 0; round < 10; ++round) {
    const Product p0 = multiply(h, c0, 0xD2511F53u), p1 = multiply(h, c2, 0xCD9E8D57u);
    const Val n0 = h.lxor(h.lxor(p1.high, c1), k0), n2 = h.lxor(h.lxor(p0.high, c3), k1);
    c0 = n0;
    c1 = p1.low;
    c2 = n2;
    c3 = p0.low;
    k0 = h.add(k0, h.filled_int(a, 0x9E3779B9u));
    k1 = h.add(k1, h.filled_int(a, 0xBB67AE85u));
  }
  std::vector<Val> four;
  for (const Val& c : {c0, c1, c2, c3}) four.push_back(h.reshape(c, {keys, blocks, 1}));
  const Val stream = h.reshape(h.concatenate(four, 2), {keys, 4 * blocks});
  l.give(h.reshape(h.slice_axis(stream, 1, 0, words), l.out[0].shape));
}

constexpr LowerRow kRows[] = {{Op::RandomBits, lower_bits}};

}  // namespace

std::span<const LowerRow> random_rows() { return kRows; }

}  // namespace mc::jax_engine
