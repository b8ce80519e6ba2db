// Random numbers by Philox4x32-10 (Salmon et al., SC 2011), the same integers on every engine.
#pragma once

#include <optional>
#include <utility>

#include "mc/array.h"

namespace mc::random {

// A key is uint32 (2,).
MC_API Array key(uint64_t seed);
// (n, 2) keys independent of each other and of `key`.
MC_API Array split(const Array& key, int64_t n = 2);
// The state of functions called without a key, which threads share: no two draws get the same key. Inside a
// compiled function every call draws anew.
MC_API void seed(uint64_t seed);
MC_API Array next_key();
// Independent uint32 words.
MC_API Array bits(const Shape& shape, const Array& key = {});
// [low, high) in steps of 2^-24 (2^-53 for float64) of the range.
MC_API Array uniform(double low, double high, const Shape& shape, Dtype dtype = Dtype::F32,
                     const Array& key = {});
// sqrt(2)·erfinv of a uniform in (-1, 1).
MC_API Array normal(const Shape& shape, Dtype dtype = Dtype::F32, double mean = 0, double std = 1,
                    const Array& key = {});
// [low, high): high word of a 32- or 64-bit draw × range.
MC_API Array randint(int64_t low, int64_t high, const Shape& shape, Dtype dtype = Dtype::I32,
                     const Array& key = {});
// Of p broadcast to `shape`.
MC_API Array bernoulli(const Array& p, const Shape& shape, const Array& key = {});
// Indices drawn with replacement by the Gumbel method: logits (n,) -> (num_samples,), (b, n) -> (b,
// num_samples). int32.
MC_API Array categorical(const Array& logits, int64_t num_samples = 1, const Array& key = {});
// Of 0 … n-1, int32.
MC_API Array permutation(int64_t n, const Array& key = {});

}  // namespace mc::random
