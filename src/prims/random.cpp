// Random numbers from one primitive of integers.
#include "mc/random.h"

#include <cmath>
#include <mutex>

#include "mc/fast.h"
#include "mc/ops.h"
#include "prims/attrs.h"
#include "prims/philox.h"
#include "prims/random_state.h"
#include "prims/rows.h"
#include "prims/shape_check.h"

namespace mc {
namespace {

void infer_bits(InferCtx& c) {
  require_dtype(c, 0, 1u << static_cast<int>(Dtype::U32));
  Shape s = c.shape(0);
  if (s.ndim() < 1 || s.back() != 2)
    c.fail(ErrorCode::ShapeMismatch, cat("a key has shape (…, 2), got ", s.str()));
  s.erase(s.ndim() - 1);
  for (int64_t d : c.as<RandomBitsAttrs>().shape) s.push_back(d);
  check_countable(c, s);
  c.push(s, Dtype::U32);
}
Arrays vmap_bits(const VmapCtx& c) { return {apply1(c.op, c.in, c.attrs)}; }

std::vector<SampleCase> bits_cases() {
  const std::vector<std::optional<Dtype>> key{Dtype::U32};
  return {{{{2}}, RandomBitsAttrs{{9}}, "philox(in0, (9,))", key, 4294967296.0},
          {{{3, 2}}, RandomBitsAttrs{{2, 5}}, "philox(in0, (2, 5))", key, 4294967296.0},
          {{{2}}, RandomBitsAttrs{{0}}, "philox(in0, (0,))", key, 4294967296.0}};
}

const OpDef kRows[] = {
    {.op = Op::RandomBits,
     .doc = "words of Philox4x32-10: word i of a key's stream is word i mod 4 of the block with counter (i/4 "
            "as two words, low first, 0, 0)",
     .traits = kNoGrad | kRandom,
     .infer = infer_bits,
     .vmap = vmap_bits,
     .samples = {.c = 0, .cases = bits_cases, .smooth = false}},
};

std::mutex state_mutex;
uint32_t state[2] = {0, 0};  // key(0)
thread_local RandomTrace* tracing = nullptr;

constexpr uint32_t kSplit[2] = {0x243F6A88u, 0x85A308D3u};  // the fraction of pi: nothing up the sleeve

Array key_of(uint32_t word0, uint32_t word1) { return Array(std::vector<uint32_t>{word0, word1}, {2}); }

// The two keys of split(state, 2), computed here: the first is the next state, the second the key that is
// drawn.
Array advance() {
  const Philox4 pair = philox_block(0, state[0] ^ kSplit[0], state[1] ^ kSplit[1]);
  state[0] = pair.v[0];
  state[1] = pair.v[1];
  return key_of(pair.v[2], pair.v[3]);
}

Array words(const Array& key, const Shape& shape) {
  return apply1(Op::RandomBits, {key.defined() ? key : random::next_key()}, RandomBitsAttrs{shape});
}

Shape with_pair(const Shape& s) {
  Shape out = s;
  out.push_back(2);
  return out;
}

// 64-bit draws of two words, the high one first.
Array draw64(const Array& key, const Shape& shape) {
  const Array w = astype(words(key, with_pair(shape)), Dtype::U64);
  const Array high = squeeze(slice_axis(w, -1, 0, 1), {-1}), low = squeeze(slice_axis(w, -1, 1, 2), {-1});
  return bitwise_or(left_shift(high, 32), low);
}

// The number before `high` of a floating dtype, coming from `low`.
double last_below(double high, double low, Dtype dtype) {
  if (dtype == Dtype::F64) return std::nextafter(high, low);
  if (dtype == Dtype::F32)
    return static_cast<double>(std::nextafter(static_cast<float>(high), static_cast<float>(low)));
  // 16 bits: steps of eps·2^e in [2^e, 2^(e+1)), of the smallest normal number's below it.
  const FloatInfo f = finfo(dtype);
  auto step_at = [&](double x) {
    return f.eps * std::max(f.tiny, std::exp2(std::floor(std::log2(std::abs(x)))));
  };
  const double step = high == 0  ? f.eps * f.tiny
                      : high > 0 ? step_at(std::nextafter(high, low))
                                 : step_at(high);
  return (std::ceil(high / step) - 1) * step;
}

// [0, 1) in steps of 2^-24 or 2^-53, as float32 or float64.
Array unit(const Shape& shape, Dtype dtype, const Array& key) {
  if (dtype == Dtype::F64) {
    return astype(right_shift(draw64(key, shape), 11), Dtype::F64) * 0x1p-53;
  }
  return astype(right_shift(words(key, shape), 8), Dtype::F32) * 0x1p-24;
}

void check_float(Dtype d, std::string_view where) {
  if (!is_floating(d))
    throw Error(ErrorCode::DtypeMismatch, cat("random floats can't be ", dtype_name(d)), std::string(where),
                "use a floating dtype");
}

}  // namespace

Rows random_rows() { return kRows; }

RandomTrace::RandomTrace() : outer_(tracing) { tracing = this; }
RandomTrace::~RandomTrace() { tracing = outer_; }
RandomTrace* RandomTrace::active() { return tracing; }
Array RandomTrace::next_key() {
  if (count_++ == 0) state_ = input_ = make_placeholder({{2}, Dtype::U32});
  const Array pair = random::split(state_, 2);
  state_ = reshape(slice_axis(pair, 0, 0, 1), {2});
  return reshape(slice_axis(pair, 0, 1, 2), {2});
}

Array advance_random_state(int64_t count) {
  std::lock_guard lock(state_mutex);
  const Array before = key_of(state[0], state[1]);
  for (int64_t i = 0; i < count; ++i) advance();
  return before;
}

namespace random {

Array key(uint64_t seed) { return key_of(static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)); }

// New keys are words of the key's stream mixed with the key once more, so that they are no draws of it.
Array split(const Array& key, int64_t n) {
  const Array mixed = bitwise_xor(key, key_of(kSplit[0], kSplit[1]));
  return apply1(Op::RandomBits, {mixed}, RandomBitsAttrs{{n, 2}});
}

void seed(uint64_t value) {
  std::lock_guard lock(state_mutex);
  state[0] = static_cast<uint32_t>(value);
  state[1] = static_cast<uint32_t>(value >> 32);
}

Array next_key() {
  if (tracing) return tracing->next_key();
  std::lock_guard lock(state_mutex);
  return advance();
}

Array bits(const Shape& shape, const Array& key) { return words(key, shape); }

Array uniform(double low, double high, const Shape& shape, Dtype dtype, const Array& key) {
  check_float(dtype, "uniform");
  if (!std::isfinite(high - low))
    throw Error(ErrorCode::InvalidArgument, cat("the range from ", low, " to ", high, " is not finite"),
                "uniform");
  if (high < low)
    throw Error(ErrorCode::InvalidArgument, cat("low is ", low, ", high is ", high), "uniform",
                "give the lower bound first");
  const Dtype d = dtype == Dtype::F64 ? Dtype::F64 : Dtype::F32;
  const Array u = unit(shape, d, key);
  if (low == 0 && high == 1 && d == dtype) return u;
  const Array x = u * (high - low) + low;
  // Rounding may reach `high`, which is not in the range.
  return high > low ? minimum(astype(x, dtype), last_below(high, low, dtype)) : astype(x, dtype);
}

Array normal(const Shape& shape, Dtype dtype, double mean, double std, const Array& key) {
  check_float(dtype, "normal");
  const Dtype d = dtype == Dtype::F64 ? Dtype::F64 : Dtype::F32;
  // The middles of 2^23 (2^52) equal steps of (-1, 1), every one of them representable: symmetric, never -1
  // or 1.
  Array u;
  if (d == Dtype::F64) {
    const Array odd = astype(right_shift(draw64(key, shape), 12), Dtype::I64) * 2 + 1;
    u = astype(odd - full({}, int64_t{1} << 52, Dtype::I64), d) * 0x1p-52;
  } else {
    const Array odd = astype(right_shift(words(key, shape), 9), Dtype::I32) * 2 + 1;
    u = astype(odd - (1 << 23), d) * 0x1p-23;
  }
  const Array z = erfinv(u) * std::sqrt(2.0);
  return astype(mean == 0 && std == 1 ? z : z * std + mean, dtype);
}

Array randint(int64_t low, int64_t high, const Shape& shape, Dtype dtype, const Array& key) {
  if (!is_integer(dtype))
    throw Error(ErrorCode::DtypeMismatch, cat("random integers can't be ", dtype_name(dtype)), "randint");
  const IntInfo limits = iinfo(dtype);
  if (high <= low || low < limits.min || (high > 0 && static_cast<uint64_t>(high - 1) > limits.max))
    throw Error(ErrorCode::InvalidArgument,
                cat("the range [", low, ", ", high, ") is empty or does not fit ", dtype_name(dtype)),
                "randint");
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
    const Array b1 = full({}, static_cast<int64_t>(range >> 32), Dtype::U64),
                b0 = full({}, static_cast<int64_t>(range & 0xffffffffu), Dtype::U64);
    const Array mid = a1 * b0 + right_shift(a0 * b0, 32);
    const Array mid2 = a0 * b1 + bitwise_and(mid, full({}, int64_t{0xffffffff}, Dtype::U64));
    offset = a1 * b1 + right_shift(mid, 32) + right_shift(mid2, 32);
  }
  return astype(astype(offset, Dtype::I64) + full({}, low, Dtype::I64), dtype);
}

Array bernoulli(const Array& p, const Shape& shape, const Array& key) {
  const Array u = unit(shape, Dtype::F32, key);
  return less(u, broadcast_to(p, u.shape()));
}

Array categorical(const Array& logits, int64_t num_samples, const Array& key) {
  if (logits.ndim() < 1 || logits.ndim() > 2)
    throw Error(ErrorCode::ShapeMismatch,
                cat("logits have one or two dimensions, got ", logits.shape().str()), "categorical");
  if (num_samples < 0)
    throw Error(ErrorCode::InvalidArgument, cat("num_samples must be 0 or more, got ", num_samples),
                "categorical");
  Shape s = logits.shape();
  s.insert(s.ndim() - 1, num_samples);
  // The largest Gumbel numbers decide, and they come from the smallest exponential ones: uniform numbers in
  // steps of 2^-32 from 2^-33 up, kept below 1, so that no number is infinite and no logit of -inf is ever
  // chosen beside a finite one.
  const Array u = minimum((astype(words(key, s), Dtype::F32) + 0.5) * 0x1p-32, 1 - 0x1p-24);
  const Array gumbel = negative(log(negative(log1p(negative(u)))));
  return argmax(expand_dims(astype(logits, Dtype::F32), {-2}) + gumbel, -1);
}

// Sorted by random 64-bit numbers; equal ones keep their order.
Array permutation(int64_t n, const Array& key) {
  if (n < 0) throw Error(ErrorCode::InvalidArgument, cat("n must be 0 or more, got ", n), "permutation");
  return argsort(draw64(key, {n}), 0);
}

}  // namespace random
}  // namespace mc
