// Random numbers from one primitive of integers.
#include "mc/random.h"

#include <cmath>
#include <mutex>

#include "mc/fast.h"
#include "mc/ops.h"
#include "prims/attrs.h"
#include "prims/rows.h"

namespace mc {
namespace {

void infer_bits(InferCtx& c) {
  require_dtype(c, 0, 1u << static_cast<int>(Dtype::U32));
  Shape s = c.shape(0);
  if (s.ndim() < 1 || s.back() != 2) c.fail(ErrorCode::ShapeMismatch, cat("a key has shape (…, 2), got ", s.str()));
  s.erase(s.ndim() - 1);
  for (int64_t d : c.as<RandomBitsAttrs>().shape) s.push_back(d);
  c.push(s, Dtype::U32);
}
Arrays vmap_bits(const VmapCtx& c) { return {apply1(c.op, c.in, c.attrs)}; }

const OpDef kRows[] = {
    {.op = Op::RandomBits, .doc = "words of Philox4x32-10: word i of a key's stream is word i mod 4 of the block with counter (i/4, domain 0)", .traits = kNoGrad | kRandom,
     .infer = infer_bits, .vmap = vmap_bits, .samples = {.smooth = false}},
};

std::mutex state_mutex;
Array state;  // the key of the next draw

Array words(const Array& key, const Shape& shape) { return apply1(Op::RandomBits, {key.defined() ? key : random::next_key()}, RandomBitsAttrs{shape}); }

Shape with_pair(const Shape& s) {
  Shape out = s;
  out.push_back(2);
  return out;
}

// [0, 1) in steps of 2^-24 or 2^-53, as float32 or float64.
Array unit(const Shape& shape, Dtype dtype, const Array& key) {
  if (dtype == Dtype::F64) {
    const Array w = astype(words(key, with_pair(shape)), Dtype::U64);
    const Array high = squeeze(slice_axis(w, -1, 0, 1), {-1}), low = squeeze(slice_axis(w, -1, 1, 2), {-1});
    const Array all = bitwise_or(left_shift(high, 21), right_shift(low, 11));  // 53 bits
    return astype(all, Dtype::F64) * 0x1p-53;
  }
  return astype(right_shift(words(key, shape), 8), Dtype::F32) * 0x1p-24;
}

void check_float(Dtype d, std::string_view where) {
  if (!is_floating(d)) throw Error(ErrorCode::DtypeMismatch, cat("random floats can't be ", dtype_name(d)), std::string(where), "use a floating dtype");
}

}  // namespace

Rows random_rows() { return kRows; }

namespace random {

Array key(uint64_t seed) { return Array(std::vector<uint32_t>{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)}, {2}); }

// New keys are words of the key's stream mixed with the key once more, so that they are no draws of it.
Array split(const Array& key, int64_t n) {
  const Array mixed = bitwise_xor(key, Array(std::vector<uint32_t>{0x243F6A88u, 0x85A308D3u}, {2}));
  return apply1(Op::RandomBits, {mixed}, RandomBitsAttrs{{n, 2}});
}

void seed(uint64_t value) {
  std::lock_guard lock(state_mutex);
  state = key(value);
}

Array next_key() {
  std::lock_guard lock(state_mutex);
  if (!state.defined()) state = key(0);
  const Array pair = random::split(state, 2);
  state = reshape(slice_axis(pair, 0, 0, 1), {2});
  if (!state.node()->tracer) state.eval();
  return reshape(slice_axis(pair, 0, 1, 2), {2});
}

Array bits(const Shape& shape, const Array& key) { return words(key, shape); }

Array uniform(double low, double high, const Shape& shape, Dtype dtype, const Array& key) {
  check_float(dtype, "uniform");
  const Dtype d = dtype == Dtype::F64 ? Dtype::F64 : Dtype::F32;
  const Array u = unit(shape, d, key);
  if (low == 0 && high == 1) return astype(u, dtype);
  // Rounding may reach `high`, which is not in the range.
  const Array x = u * (high - low) + low;
  const double below = d == Dtype::F64 ? std::nextafter(high, low) : static_cast<double>(std::nextafter(static_cast<float>(high), static_cast<float>(low)));
  return astype(high > low ? minimum(x, below) : x, dtype);
}

Array normal(const Shape& shape, Dtype dtype, double mean, double std, const Array& key) {
  check_float(dtype, "normal");
  const Dtype d = dtype == Dtype::F64 ? Dtype::F64 : Dtype::F32;
  // The middle of each step: symmetric, never -1 or 1.
  const Array u = unit(shape, d, key) + (d == Dtype::F64 ? 0x1p-54 : 0x1p-25);
  const Array z = erfinv(clip(u * 2 - 1, -1 + (d == Dtype::F64 ? 0x1p-53 : 0x1p-24), 1 - (d == Dtype::F64 ? 0x1p-53 : 0x1p-24))) * std::sqrt(2.0);
  return astype(mean == 0 && std == 1 ? z : z * std + mean, dtype);
}

Array randint(int64_t low, int64_t high, const Shape& shape, Dtype dtype, const Array& key) {
  if (!is_integer(dtype)) throw Error(ErrorCode::DtypeMismatch, cat("random integers can't be ", dtype_name(dtype)), "randint");
  const IntInfo limits = iinfo(dtype);
  if (high <= low || low < limits.min || (high > 0 && static_cast<uint64_t>(high - 1) > limits.max))
    throw Error(ErrorCode::InvalidArgument, cat("the range [", low, ", ", high, ") is empty or does not fit ", dtype_name(dtype)), "randint");
  const uint64_t range = static_cast<uint64_t>(high) - static_cast<uint64_t>(low);
  Array offset;
  if (range <= (uint64_t{1} << 32)) {
    // High word of a 32-bit draw times the range.
    const Array w = astype(words(key, shape), Dtype::U64);
    offset = right_shift(w * full({}, static_cast<int64_t>(range), Dtype::U64), 32);
  } else {
    // High 64 bits of a 64-bit draw times the range, from 32-bit halves.
    const Array w = astype(words(key, with_pair(shape)), Dtype::U64);
    const Array a1 = squeeze(slice_axis(w, -1, 0, 1), {-1}), a0 = squeeze(slice_axis(w, -1, 1, 2), {-1});
    const Array b1 = full({}, static_cast<int64_t>(range >> 32), Dtype::U64), b0 = full({}, static_cast<int64_t>(range & 0xffffffffu), Dtype::U64);
    const Array mid = a1 * b0 + right_shift(a0 * b0, 32);
    const Array mid2 = a0 * b1 + bitwise_and(mid, full({}, int64_t{0xffffffff}, Dtype::U64));
    offset = a1 * b1 + right_shift(mid, 32) + right_shift(mid2, 32);
  }
  return astype(astype(offset, Dtype::I64) + full({}, low, Dtype::I64), dtype);
}

Array bernoulli(const Array& p, const Shape& shape, const Array& key) { return less(unit(shape, Dtype::F32, key), p); }

Array categorical(const Array& logits, int64_t num_samples, const Array& key) {
  if (logits.ndim() < 1 || logits.ndim() > 2) throw Error(ErrorCode::ShapeMismatch, cat("logits have one or two dimensions, got ", logits.shape().str()), "categorical");
  if (num_samples < 0) throw Error(ErrorCode::InvalidArgument, cat("num_samples must be 0 or more, got ", num_samples), "categorical");
  Shape s = logits.shape();
  s.insert(s.ndim() - 1, num_samples);
  const Array u = unit(s, Dtype::F32, key) + 0x1p-25;
  const Array gumbel = negative(log(negative(log(u))));
  return argmax(expand_dims(astype(logits, Dtype::F32), {-2}) + gumbel, -1);
}

// Sorted by random 64-bit numbers; equal ones keep their order.
Array permutation(int64_t n, const Array& key) {
  const Array w = astype(words(key, {n, 2}), Dtype::U64);
  return argsort(bitwise_or(left_shift(squeeze(slice_axis(w, 1, 0, 1), {1}), 32), squeeze(slice_axis(w, 1, 1, 2), {1})), 0);
}

}  // namespace random
}  // namespace mc
