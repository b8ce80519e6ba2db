// Quantized weights: decoded in the program, or given to it expanded.
#include <cmath>

#include "backends/jax/lower.h"
#include "mc/detail/str.h"
#include "mc/quantize.h"

namespace mc::jax_engine {
namespace {

Val low_bits(Hlo& h, const Val& a, int mask) { return h.land(a, h.filled_int(a.aval, mask)); }
Val last_slice(Hlo& h, const Val& a, int64_t start, int64_t stop) {
  return h.slice_axis(a, a.ndim() - 1, start, stop);
}
Shape with_last(Shape s, std::initializer_list<int64_t> last) {
  s.erase(s.ndim() - 1);
  for (int64_t d : last) s.push_back(d);
  return s;
}
Val join(Hlo& h, const Val& a, const Val& b) {
  const Val parts[2] = {a, b};
  return h.concatenate(parts, a.ndim() - 1);
}
// Bytes [at, at + item) of each block as numbers of `dtype`, in float32.
Val float_at(Hlo& h, const Val& blocks, int64_t at, Dtype dtype) {
  const auto item = static_cast<int64_t>(itemsize(dtype));
  Shape s = blocks.shape();
  s.erase(s.ndim() - 1);
  return h.convert(h.bitcast(last_slice(h, blocks, at, at + item), {s, dtype}), Dtype::F32);
}
// Per-block numbers beside each element.
Val each(Hlo& h, const Val& per_block, const Shape& shape) {
  Shape dims;
  for (int d = 0; d < per_block.ndim(); ++d) dims.push_back(d);
  return h.broadcast_dims(per_block, shape, dims);
}
Val nibbles(Hlo& h, const Val& bytes) { return join(h, low_bits(h, bytes, 15), h.shr(bytes, 4)); }
// A value repeated along a new axis before the last and shifted right by i·step there, kept to `mask`.
Val shifted(Hlo& h, const Val& a, int count, int step, int mask, bool behind) {
  Shape s = a.shape(), dims;
  const int at = behind ? a.ndim() : a.ndim() - 1;
  s.insert(at, count);
  for (int d = 0; d < a.ndim(); ++d) dims.push_back(d < at ? d : d + 1);
  const Aval wide{s, a.dtype()};
  const Val by = h.mul(h.iota(wide, at), h.filled_int(wide, step));
  return low_bits(h, h.same("stablehlo.shift_right_logical", h.broadcast_dims(a, s, dims), by), mask);
}
Val bits_of(Hlo& h, const Val& bytes) {  // (…, n) -> (…, 8n), lowest first
  const Val b = shifted(h, bytes, 8, 1, 1, true);
  return h.reshape(b, with_last(bytes.shape(), {bytes.shape().back() * 8}));
}
Val number(Hlo& h, const Val& codes, int minus) {
  const Val f = h.convert(codes, Dtype::F32);
  return minus ? h.sub(f, h.filled(f.aval, minus)) : f;
}

struct ScaleMin {
  Val scale, min;
};
// The 6-bit scales and minima of Q4_K's and Q5_K's 8 sub-blocks.
ScaleMin scales_k(Hlo& h, const Val& b) {
  const Val s0 = last_slice(h, b, 4, 8), s1 = last_slice(h, b, 8, 12), s2 = last_slice(h, b, 12, 16);
  auto upper = [&](const Val& four, const Val& two) { return h.lor(four, h.shl(h.shr(two, 6), 4)); };
  return {join(h, low_bits(h, s0, 63), upper(low_bits(h, s2, 15), s0)),
          join(h, low_bits(h, s1, 63), upper(h.shr(s2, 4), s1))};
}

Val decode_k45(Hlo& h, const Val& b, bool five) {
  const Shape block = b.shape();  // (rows, blocks, bytes)
  const ScaleMin sm = scales_k(h, b);
  const Shape sub = sm.scale.shape();  // (…, 8)
  const Val ds = h.mul(each(h, float_at(h, b, 0, Dtype::F16), sub), number(h, sm.scale, 0));
  const Val dm = h.mul(each(h, float_at(h, b, 2, Dtype::F16), sub), number(h, sm.min, 0));
  const int64_t at = five ? 48 : 16;
  const Val qs = h.reshape(last_slice(h, b, at, at + 128), with_last(block, {4, 32}));
  Val q = h.reshape(shifted(h, qs, 2, 4, 15, false), with_last(block, {8, 32}));
  if (five) {
    const Val high = shifted(h, last_slice(h, b, 16, 48), 8, 1, 1, false);
    q = h.lor(q, h.shl(high, 4));
  }
  const Shape full = q.shape();
  return h.sub(h.mul(each(h, ds, full), number(h, q, 0)), each(h, dm, full));
}

Val decode_q6k(Hlo& h, const Val& b) {
  const Shape block = b.shape();
  const Val low = nibbles(h, h.reshape(last_slice(h, b, 0, 128), with_last(block, {2, 64})));  // (…, 2, 128)
  const Val high =
      h.reshape(shifted(h, h.reshape(last_slice(h, b, 128, 192), with_last(block, {2, 32})), 4, 2, 3, false),
                low.shape());
  const Val q = h.reshape(h.lor(low, h.shl(high, 4)), with_last(block, {16, 16}));
  const Val codes = last_slice(h, b, 192, 208);
  const Val scale = h.convert(h.bitcast(codes, {codes.shape(), Dtype::I8}), Dtype::F32);
  const Val ds = h.mul(each(h, float_at(h, b, 208, Dtype::F16), scale.shape()), scale);
  return h.mul(each(h, ds, q.shape()), number(h, q, 32));
}

void lower_block_dequantize(const Lower& l) {
  const auto& a = l.as<BlockAttrs>();
  l.give(decode_blocks(l.h, l.x(), a.format, a.rows, a.cols));
}
void lower_affine_dequantize(const Lower& l) {
  const auto& a = l.as<AffineAttrs>();
  l.give(cast(l.h, decode_affine(l.h, l.in[0], l.in[1], l.in[2], a.bits, a.group), l.out[0].dtype));
}

// The 32 codes of blocks (…, bits) of words, where a code may begin in one word and end in the next. Both
// words are read by a table of positions: a slice for each code would take seconds to compile.
Val straddling(Hlo& h, const Val& blocks, int bits) {
  const Aval table{{32}, Dtype::U32};
  const Val bit = h.mul(h.iota(table, 0), h.filled_int(table, bits));
  const Val word = h.shr(bit, 5), off = low_bits(h, bit, 31);
  const Val last = h.filled_int(table, bits - 1);
  const Shape out = with_last(blocks.shape(), {32});
  std::vector<int64_t> offset, sizes;
  for (int d = 0; d + 1 < blocks.ndim(); ++d) {
    offset.push_back(d);
    sizes.push_back(blocks.shape()[d]);
  }
  sizes.push_back(1);
  const int axis = blocks.ndim() - 1;
  const auto read = [&](const Val& at) {
    return h.op("stablehlo.gather", {blocks, h.reshape(at, {32, 1})}, {out, blocks.dtype()},
                cat("dimension_numbers = #stablehlo.gather<offset_dims = ", ints(offset),
                    ", collapsed_slice_dims = [", axis, "], start_index_map = [", axis,
                    "], index_vector_dim = 1>, slice_sizes = ", list_text(std::span<const int64_t>(sizes)),
                    ", indices_are_sorted = true"));
  };
  const auto along = [&](const Val& t) { return h.broadcast_dims(t, out, {axis}); };
  const Val low = h.same("stablehlo.shift_right_logical", read(word), along(off));
  // The next word's share begins 32 - off bits up; 0 is no distance that a shift must know.
  const Val up = low_bits(h, h.sub(h.filled_int(table, 32), off), 31);
  const Val next = h.same("stablehlo.minimum", h.add(word, h.filled_int(table, 1)), last);
  const Val high = h.same("stablehlo.shift_left", read(next), along(up));
  const Val both = h.compare(off, h.filled_int(table, 32 - bits), "GT");
  return low_bits(h, h.select(along(both), h.lor(low, high), low), (1 << bits) - 1);
}

// Codes (…, k) as a stream of bits in 32-bit words.
Val pack(Hlo& h, const Val& codes, int bits) {
  const int64_t k = codes.shape().back();
  const Val blocks = h.reshape(codes, with_last(codes.shape(), {k / 32, 32}));
  std::vector<Val> words;
  for (int w = 0; w < bits; ++w) {
    Val word;
    for (int i = 0; i < 32; ++i) {
      const int at = i * bits - 32 * w;
      if (at + bits <= 0 || at >= 32) continue;
      const Val one = last_slice(h, blocks, i, i + 1);
      const Val part = at >= 0 ? h.shl(one, at) : h.shr(one, -at);
      word = word.id < 0 ? part : h.lor(word, part);
    }
    words.push_back(word);
  }
  return h.reshape(h.concatenate(words, blocks.ndim() - 1), with_last(codes.shape(), {k / 32 * bits}));
}

// MLX's choice of scale and bias, step by step as prims/block_formats.cpp has it.
void lower_affine_quantize(const Lower& l) {
  Hlo& h = l.h;
  const auto& a = l.as<AffineAttrs>();
  const Val x = h.convert(l.x(), Dtype::F32);
  const int64_t k = x.shape().back();
  const Val g = h.reshape(x, with_last(x.shape(), {k / a.group, a.group}));
  const int axis = g.ndim() - 1;
  const double top = (1 << a.bits) - 1, inf = HUGE_VAL;
  const Val finite = h.reduce("stablehlo.and", h.op("stablehlo.is_finite", {g}, {g.shape(), Dtype::Bool}),
                              h.integer(Dtype::Bool, 1), {axis});
  const Val lo = h.reduce("stablehlo.minimum", g, h.number(Dtype::F32, inf), {axis});
  const Val hi = h.reduce("stablehlo.maximum", g, h.number(Dtype::F32, -inf), {axis});
  const Aval per = lo.aval;
  const Val low_side = h.compare(h.same("stablehlo.abs", lo), h.same("stablehlo.abs", hi), "GT");
  Val scale = h.same("stablehlo.maximum", h.div(h.sub(hi, lo), h.filled(per, top)), h.filled(per, 1e-7F));
  scale = h.select(low_side, scale, h.same("stablehlo.negate", scale));
  const Val edge = h.select(low_side, lo, hi);
  const Val at = h.same("stablehlo.round_nearest_even", h.div(edge, scale));
  const Val used = h.compare(at, h.whole(per, 0), "NE");
  scale = h.select(used, h.div(edge, at), scale);
  const Val bias = h.select(used, edge, h.whole(per, 0));
  const Val steps = h.div(h.sub(g, each(h, bias, g.shape())), each(h, scale, g.shape()));
  Val q = h.same("stablehlo.round_nearest_even", steps);
  q = h.same("stablehlo.minimum", h.same("stablehlo.maximum", q, h.whole(q.aval, 0)), h.filled(q.aval, top));
  q = h.select(each(h, finite, g.shape()), q, h.whole(q.aval, 0));
  const Val codes = h.reshape(h.convert(q, Dtype::U32), x.shape());
  l.give(pack(h, codes, a.bits));
  const Val none = h.nan(per);
  l.give(cast(h, h.select(finite, scale, none), l.out[1].dtype));
  l.give(cast(h, h.select(finite, bias, none), l.out[2].dtype));
}

bool is_block(const QuantAttrs& a) { return a.kind == static_cast<int>(QTensor::Kind::Block); }
bool has_codes(const QuantAttrs& a) {
  return !is_block(a) || block_elements(static_cast<BlockFormat>(a.format)) > 1;
}
// The weight (rows, cols): as it was given where the program got it expanded, else decoded.
Val weight(const Lower& l, const QuantAttrs& a) {
  if (is_floating(l.in[1].dtype())) return l.in[1];
  if (is_block(a)) return decode_blocks(l.h, l.in[1], a.format, a.rows, a.cols);
  return decode_affine(l.h, l.in[1], l.in[2], l.in[3], a.bits, a.group);
}

// x in steps of each 32's largest magnitude over 127, as `fast` sees it.
Val int8_blocks(Hlo& h, const Val& x) {
  const int64_t k = x.shape().back();
  const Val v = h.reshape(x, with_last(x.shape(), {k / 32, 32}));
  const Val amax =
      h.reduce("stablehlo.maximum", h.same("stablehlo.abs", v), h.number(Dtype::F32, 0), {v.ndim() - 1});
  const Aval per = amax.aval;
  const Val zero = h.whole(per, 0);
  const Val step = h.select(h.compare(amax, h.filled(per, std::ldexp(1.0, -119)), "LT"), zero,
                            h.div(amax, h.filled(per, 127)));
  const Val inverse = h.select(h.compare(step, zero, "EQ"), zero, h.div(h.whole(per, 1), step));
  const Val q = h.same("stablehlo.round_nearest_even", h.mul(v, each(h, inverse, v.shape())));
  return h.reshape(h.mul(q, each(h, step, v.shape())), x.shape());
}

Val product(const Lower& l) {
  Hlo& h = l.h;
  const auto& a = l.as<QuantAttrs>();
  const Val w = weight(l, a);
  Val x = l.x();
  // A weight of the activations' own 16-bit dtype is multiplied as it is; the sum is float32.
  const bool narrow = w.dtype() != Dtype::F32 && !h.on_host();
  if (!narrow) x = h.convert(x, Dtype::F32);
  if (a.fast && has_codes(a)) x = int8_blocks(h, x);
  const Val y =
      h.op("stablehlo.dot_general", {x, narrow ? w : h.convert(w, Dtype::F32)}, {l.out[0].shape, Dtype::F32},
           cat("dot_dimension_numbers = #stablehlo.dot<lhs_contracting_dimensions = [", x.ndim() - 1,
               "], rhs_contracting_dimensions = [1]>, precision_config = [#stablehlo<precision HIGHEST>, "
               "#stablehlo<precision HIGHEST>]"));
  return cast(h, y, l.out[0].dtype);
}

void lower_quantized_matmul(const Lower& l) { l.give(product(l)); }

// Where no row is named the product, and the weight's decoding, are passed over.
void lower_quantized_matmul_where(const Lower& l) {
  Hlo& h = l.h;
  const Aval& out = l.out[0];
  const Val rows = l.in.back();
  std::vector<int64_t> axes;
  for (int d = 0; d < rows.ndim(); ++d) axes.push_back(d);
  const Val any = h.reduce("stablehlo.or", rows, h.integer(Dtype::Bool, 0), Axes(axes));
  const std::string yes = h.region({}, [&](std::span<const Val>) { return std::vector<Val>{product(l)}; }),
                    no =
                        h.region({}, [&](std::span<const Val>) { return std::vector<Val>{h.whole(out, 0)}; });
  const Val y = h.ops("stablehlo.if", {&any, 1}, {&out, 1}, {}, cat(yes, ", ", no))[0];
  l.give(h.select(each(h, rows, out.shape), y, h.whole(out, 0)));
}

// Rows of a matrix (rows, n) by checked positions (…): (…, n).
Val rows_at(Hlo& h, const Val& table, const Val& at) {
  Shape wide = at.shape(), out = wide;
  wide.push_back(1);
  out.push_back(table.shape()[1]);
  return h.op(
      "stablehlo.gather", {table, h.reshape(at, wide)}, {out, table.dtype()},
      cat("dimension_numbers = #stablehlo.gather<offset_dims = [", at.ndim(),
          "], collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = ", at.ndim(),
          ">, slice_sizes = ", list_text(Shape{1, table.shape()[1]}), ", indices_are_sorted = false"));
}

// Only the rows that are read are decoded.
void lower_quantized_take(const Lower& l) {
  Hlo& h = l.h;
  const auto& a = l.as<QuantAttrs>();
  const Aval& out = l.out[0];
  if (out.shape.numel() == 0 || a.rows == 0) return l.give(h.nan(out));
  const Val i = as_index(h, l.x());
  const Val zero = h.whole(i.aval, 0);
  const Val up = h.select(h.compare(i, zero, "LT"), h.add(i, h.filled_int(i.aval, a.rows)), i);
  const Val inside = h.land(h.compare(up, zero, "GE"), h.compare(up, h.filled_int(i.aval, a.rows), "LT"));
  const Val at = h.select(inside, up, zero);
  Val y;
  if (is_floating(l.in[1].dtype())) {
    y = h.convert(rows_at(h, l.in[1], at), Dtype::F32);
  } else if (is_block(a)) {
    const int64_t n = at.shape().numel();
    y = decode_blocks(h, rows_at(h, l.in[1], h.reshape(at, {n})), a.format, n, a.cols);
  } else {
    y = decode_affine(h, rows_at(h, l.in[1], at), rows_at(h, l.in[2], at), rows_at(h, l.in[3], at), a.bits,
                      a.group);
  }
  y = cast(h, h.reshape(y, out.shape), out.dtype);
  l.give(h.select(each(h, inside, out.shape), y, h.nan(out)));
}

constexpr LowerRow kRows[] = {
    {Op::AffineQuantize, lower_affine_quantize},   {Op::AffineDequantize, lower_affine_dequantize},
    {Op::BlockDequantize, lower_block_dequantize}, {Op::QuantizedMatmul, lower_quantized_matmul},
    {Op::QuantizedTake, lower_quantized_take},     {Op::QuantizedMatmulWhere, lower_quantized_matmul_where},
};

}  // namespace

std::span<const LowerRow> quant_rows() { return kRows; }

// Products of a half's 11 bits with scales and codes are exact in float32, so that whether the compiler joins
// the addition behind them to one step makes no difference.
Val decode_blocks(Hlo& h, const Val& bytes, int format, int64_t rows, int64_t cols) {
  const auto f = static_cast<BlockFormat>(format);
  const int64_t count = cols / block_elements(f);
  const Val b = h.reshape(bytes, {rows, count, block_bytes(f)});
  auto at = [&](int64_t from, int64_t to) { return last_slice(h, b, from, to); };
  auto scaled = [&](const Val& q) { return h.mul(each(h, float_at(h, b, 0, Dtype::F16), q.shape()), q); };
  auto plus_min = [&](const Val& y) { return h.add(y, each(h, float_at(h, b, 2, Dtype::F16), y.shape())); };
  auto five = [&](int64_t qh, int64_t qs) {
    return h.lor(nibbles(h, at(qs, qs + 16)), h.shl(bits_of(h, at(qh, qh + 4)), 4));
  };
  Val y;
  switch (f) {
    case BlockFormat::Q4_0: y = scaled(number(h, nibbles(h, at(2, 18)), 8)); break;
    case BlockFormat::Q4_1: y = plus_min(scaled(number(h, nibbles(h, at(4, 20)), 0))); break;
    case BlockFormat::Q5_0: y = scaled(number(h, five(2, 6), 16)); break;
    case BlockFormat::Q5_1: y = plus_min(scaled(number(h, five(4, 8), 0))); break;
    case BlockFormat::Q8_0: {
      const Val q = at(2, 34);
      y = scaled(h.convert(h.bitcast(q, {q.shape(), Dtype::I8}), Dtype::F32));
      break;
    }
    case BlockFormat::Q4_K: y = decode_k45(h, b, false); break;
    case BlockFormat::Q5_K: y = decode_k45(h, b, true); break;
    case BlockFormat::Q6_K: y = decode_q6k(h, b); break;
    case BlockFormat::F32: y = float_at(h, b, 0, Dtype::F32); break;
    case BlockFormat::F16: y = float_at(h, b, 0, Dtype::F16); break;
    case BlockFormat::BF16: y = float_at(h, b, 0, Dtype::BF16); break;
  }
  return h.reshape(y, {rows, cols});
}

Val decode_affine(Hlo& h, const Val& packed, const Val& scales, const Val& biases, int bits, int group) {
  const int64_t words = packed.shape().back(), cols = words * 32 / bits;
  Val q;
  if (32 % bits == 0) {
    q = shifted(h, packed, 32 / bits, bits, (1 << bits) - 1, true);
  } else {
    q = straddling(h, h.reshape(packed, with_last(packed.shape(), {words / bits, bits})), bits);
  }
  q = h.reshape(q, with_last(packed.shape(), {cols / group, group}));
  const Val f = h.convert(q, Dtype::F32);
  const Val s = each(h, h.convert(scales, Dtype::F32), f.shape()),
            b = each(h, h.convert(biases, Dtype::F32), f.shape());
  return h.reshape(h.add(h.mul(s, f), b), with_last(packed.shape(), {cols}));
}

}  // namespace mc::jax_engine
