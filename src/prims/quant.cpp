// Quantized weights: affine groups and GGUF blocks.
#include "mc/quantize.h"

#include <cmath>
#include <tuple>

#include "mc/fast.h"
#include "mc/ops.h"
#include "prims/attrs.h"
#include "prims/rows.h"

namespace mc {
namespace {

struct FormatRow {
  std::string_view name;
  int elements, bytes;
};
constexpr FormatRow kFormats[] = {{"Q4_0", 32, 18},   {"Q4_1", 32, 20},   {"Q5_0", 32, 22},
                                  {"Q5_1", 32, 24},   {"Q8_0", 32, 34},   {"Q4_K", 256, 144},
                                  {"Q5_K", 256, 176}, {"Q6_K", 256, 210}, {"F32", 1, 4},
                                  {"F16", 1, 2},      {"BF16", 1, 2}};
const FormatRow& format_row(int format) { return kFormats[static_cast<size_t>(format)]; }

bool valid_bits(int bits) {
  return bits == 2 || bits == 3 || bits == 4 || bits == 5 || bits == 6 || bits == 8;
}
bool valid_group(int group) { return group == 32 || group == 64 || group == 128; }

void check_affine(const InferCtx& c, int bits, int group) {
  if (!valid_bits(bits))
    c.fail(ErrorCode::InvalidArgument, cat("bits must be 2, 3, 4, 5, 6 or 8, got ", bits));
  if (!valid_group(group))
    c.fail(ErrorCode::InvalidArgument, cat("the group size must be 32, 64 or 128, got ", group));
}

void infer_affine_quantize(InferCtx& c) {
  const auto& a = c.as<AffineAttrs>();
  check_affine(c, a.bits, a.group);
  require_dtype(c, 0, kDHalf | kDF32);
  Shape s = c.shape(0);
  if (s.ndim() < 1 || s.back() % a.group != 0)
    c.fail(ErrorCode::ShapeMismatch,
           cat("the last dimension of ", s.str(), " is not a multiple of the group size ", a.group),
           "choose a group size that divides it");
  const int64_t cols = s.back();
  s[s.ndim() - 1] = cols * a.bits / 32;
  c.push(s, Dtype::U32);
  s[s.ndim() - 1] = cols / a.group;
  c.push(s, c.dtype(0));
  c.push(s, c.dtype(0));
}

// Checks packed, scales, biases from input `first` on; returns (…, cols).
Shape affine_shape(const InferCtx& c, size_t first, int bits, int group) {
  check_affine(c, bits, group);
  require_dtype(c, first, 1u << static_cast<int>(Dtype::U32));
  require_dtype(c, first + 1, kDHalf | kDF32);
  Shape s = c.shape(first), expect = s;
  if (s.ndim() < 1 || s.back() * 32 % bits != 0)
    c.fail(ErrorCode::ShapeMismatch,
           cat("packed words of shape ", s.str(), " do not hold ", bits, "-bit values"));
  const int64_t cols = s.back() * 32 / bits;
  expect[s.ndim() - 1] = cols / group;
  if (cols % group != 0 || !(c.shape(first + 1) == expect) || !(c.shape(first + 2) == expect) ||
      c.dtype(first + 1) != c.dtype(first + 2))
    c.fail(ErrorCode::ShapeMismatch,
           cat("packed words of shape ", s.str(), " need scales and biases of shape ", expect.str(), ", got ",
               c.shape(first + 1).str(), " and ", c.shape(first + 2).str()));
  s[s.ndim() - 1] = cols;
  return s;
}

void infer_affine_dequantize(InferCtx& c) {
  const auto& a = c.as<AffineAttrs>();
  c.push(affine_shape(c, 0, a.bits, a.group), c.dtype(1));
}

void check_blocks(const InferCtx& c, size_t input, int format, int64_t rows, int64_t cols) {
  const FormatRow& f = format_row(format);
  require_dtype(c, input, 1u << static_cast<int>(Dtype::U8));
  if (cols % f.elements != 0)
    c.fail(ErrorCode::ShapeMismatch,
           cat("rows of ", cols, " elements are not whole blocks of ", f.elements, " (", f.name, ")"));
  const Shape expect{rows, cols / f.elements * f.bytes};
  if (!(c.shape(input) == expect))
    c.fail(ErrorCode::ShapeMismatch, cat(f.name, " of shape (", rows, ", ", cols, ") needs bytes of shape ",
                                         expect.str(), ", got ", c.shape(input).str()));
}

void infer_block_dequantize(InferCtx& c) {
  const auto& a = c.as<BlockAttrs>();
  check_blocks(c, 0, a.format, a.rows, a.cols);
  c.push({a.rows, a.cols}, Dtype::F32);
}

void check_qtensor(const InferCtx& c) {
  const auto& a = c.as<QuantAttrs>();
  if (a.kind == static_cast<int>(QTensor::Kind::Block)) return check_blocks(c, 1, a.format, a.rows, a.cols);
  const Shape s = affine_shape(c, 1, a.bits, a.group);
  if (!(s == Shape{a.rows, a.cols}))
    c.fail(ErrorCode::ShapeMismatch,
           cat("the packed weight has shape ", s.str(), ", not (", a.rows, ", ", a.cols, ")"));
}

void infer_quantized_matmul(InferCtx& c) {
  const auto& a = c.as<QuantAttrs>();
  check_qtensor(c);
  require_dtype(c, 0, kDHalf | kDF32);
  Shape s = c.shape(0);
  if (s.ndim() < 1 || s.back() != a.cols)
    c.fail(ErrorCode::ShapeMismatch, cat("x of shape ", s.str(), " does not fit a weight of shape (", a.rows,
                                         ", ", a.cols, "): its last dimension must be ", a.cols));
  s[s.ndim() - 1] = a.rows;
  c.push(s, c.dtype(0));
}

void infer_quantized_matmul_where(InferCtx& c) {
  infer_quantized_matmul(c);
  const size_t last = c.in.size() - 1;
  require_dtype(c, last, kDBool);
  Shape rows;
  for (int i = 0; i + 1 < c.shape(0).ndim(); ++i) rows.push_back(c.shape(0)[i]);
  if (!(c.shape(last) == rows))
    c.fail(ErrorCode::ShapeMismatch, cat("x of shape ", c.shape(0).str(), " has rows of shape ", rows.str(),
                                         ", the mask has shape ", c.shape(last).str()));
}

void infer_quantized_take(InferCtx& c) {
  const auto& a = c.as<QuantAttrs>();
  check_qtensor(c);
  require_dtype(c, 0, kDInts);
  Shape s = c.shape(0);
  s.push_back(a.cols);
  c.push(s, a.kind == static_cast<int>(QTensor::Kind::Block) ? Dtype::F32 : c.dtype(2));
}

Array dequantize_parts(std::span<const Array> parts, const QuantAttrs& a) {
  if (a.kind == static_cast<int>(QTensor::Kind::Block))
    return apply1(Op::BlockDequantize, parts, BlockAttrs{a.format, a.rows, a.cols});
  return apply1(Op::AffineDequantize, parts, AffineAttrs{a.bits, a.group});
}

// The weight in float32 as products see it: scales and biases are widened first, so that the weight itself is
// not rounded to their dtype.
Array wide_weight(std::span<const Array> parts, const QuantAttrs& a) {
  if (parts.size() != 3) return dequantize_parts(parts, a);
  const Arrays wide{parts[0], astype(parts[1], Dtype::F32), astype(parts[2], Dtype::F32)};
  return dequantize_parts(wide, a);
}

// x as `fast` sees it: blocks of 32 along the last axis in steps of their largest magnitude over 127.
Array int8_blocks(const Array& x) {
  Shape blocks = x.shape();
  blocks[blocks.ndim() - 1] = x.shape(-1) / 32;
  blocks.push_back(32);
  const Array v = reshape(x, blocks);
  const Array amax = max(abs(v), {-1}, true);
  const Array step = where(less(amax, std::ldexp(1.0, -119)), zeros_like(amax), amax / 127);
  const Array inverse = where(equal(step, 0), zeros_like(step), 1 / step);
  return reshape(round(v * inverse) * step, x.shape());
}

Arrays decompose_matmul(std::span<const Array> in, const Attrs& attrs) {
  const auto& a = attrs.as<QuantAttrs>();
  const Array w = wide_weight(in.subspan(1), a);
  const bool codes = a.kind == static_cast<int>(QTensor::Kind::Affine) || format_row(a.format).elements > 1;
  Array x = astype(in[0], Dtype::F32);
  if (a.fast && codes) x = int8_blocks(x);
  return {astype(matmul(x, transpose(w)), in[0].dtype())};
}

Arrays decompose_matmul_where(std::span<const Array> in, const Attrs& attrs) {
  const Array y = apply1(Op::QuantizedMatmul, in.first(in.size() - 1), attrs);
  return {where(expand_dims(in.back(), {-1}), y, zeros_like(y))};
}

Arrays decompose_take(std::span<const Array> in, const Attrs& attrs) {
  return {take(dequantize_parts(in.subspan(1), attrs.as<QuantAttrs>()), in[0], 0)};
}

// Affine dequantization is linear in scales and biases: their gradients from that of the weight, in float32.
std::pair<Array, Array> affine_gradients(const Array& packed, const Array& scales, const Array& biases,
                                         const AffineAttrs& a, const Array& weight, bool for_scales,
                                         bool for_biases) {
  Shape grouped = weight.shape();
  grouped[grouped.ndim() - 1] /= a.group;
  grouped.push_back(a.group);
  const Array g = reshape(astype(weight, Dtype::F32), grouped);
  std::pair<Array, Array> out;
  if (for_scales) {
    const Array ones = ones_like(scales, Dtype::F32);
    const Array q = apply1(Op::AffineDequantize, {packed, ones, zeros_like(ones)}, a);
    out.first = astype(sum(g * reshape(q, grouped), {-1}), scales.dtype());
  }
  if (for_biases) out.second = astype(sum(g, {-1}), biases.dtype());
  return out;
}
Arrays vjp_affine_dequantize(const VjpCtx& c) {
  Arrays out(3);
  std::tie(out[1], out[2]) =
      affine_gradients(c.in[0], c.in[1], c.in[2], c.as<AffineAttrs>(), c.cot[0], c.needs[1], c.needs[2]);
  return out;
}
// Inputs 2 and 3 of an affine QuantizedMatmul or QuantizedTake, given the gradient of the weight.
void part_gradients(const VjpCtx& c, const Array& weight, Arrays& out) {
  const auto& a = c.as<QuantAttrs>();
  std::tie(out[2], out[3]) =
      affine_gradients(c.in[1], c.in[2], c.in[3], {a.bits, a.group}, weight, c.needs[2], c.needs[3]);
}
bool parts_need(const VjpCtx& c) { return c.in.size() == 4 && (c.needs[2] || c.needs[3]); }

// x: g · dequantize(W). Codes have no gradient; scales and biases have that of the weight, gᵀ · x.
Arrays vjp_matmul(const VjpCtx& c) {
  const auto& a = c.as<QuantAttrs>();
  Arrays out(c.in.size());
  const Array g = astype(c.cot[0], Dtype::F32);
  if (c.needs[0]) {
    out[0] = astype(matmul(g, wide_weight(c.in.subspan(1), a)), c.in[0].dtype());
  }
  if (parts_need(c)) {
    const Array x = reshape(astype(c.in[0], Dtype::F32), {-1, a.cols});
    part_gradients(c, matmul(transpose(reshape(g, {-1, a.rows})), x), out);
  }
  return out;
}
Arrays vjp_take(const VjpCtx& c) {
  const auto& a = c.as<QuantAttrs>();
  Arrays out(c.in.size());
  if (!parts_need(c)) return out;
  Shape windows = c.in[0].shape();
  windows.push_back(1);
  windows.push_back(a.cols);
  part_gradients(c,
                 scatter(zeros({a.rows, a.cols}), {c.in[0]}, reshape(astype(c.cot[0], Dtype::F32), windows),
                         {0}, ScatterMode::Add),
                 out);
  return out;
}

// The batch joins x's leading dimensions; a batched weight is computed one by one.
Arrays each(const VmapCtx& c) {
  std::vector<Arrays> columns;
  for (int64_t b = 0; b < c.size; ++b) {
    Arrays in;
    for (size_t i = 0; i < c.in.size(); ++i)
      in.push_back(c.batched[i] ? squeeze(slice_axis(c.in[i], 0, b, b + 1), {0}) : c.in[i]);
    Arrays out = apply(c.op, in, c.attrs);
    columns.resize(out.size());
    for (size_t o = 0; o < out.size(); ++o) columns[o].push_back(out[o]);
  }
  Arrays out;
  for (const Arrays& column : columns) out.push_back(stack(column, 0));
  return out;
}

Arrays vmap_quantized(const VmapCtx& c) {
  for (size_t i = 1; i < c.in.size(); ++i)
    if (c.batched[i]) return each(c);
  return {apply1(c.op, c.in, c.attrs)};
}

Arrays vmap_matmul_where(const VmapCtx& c) {
  const size_t last = c.in.size() - 1;
  for (size_t i = 1; i < last; ++i)
    if (c.batched[i]) return each(c);
  Arrays in(c.in.begin(), c.in.end());
  in[0] = c.batch(0);
  in[last] = c.batch(last);
  return {apply1(c.op, in, c.attrs)};
}

Arrays vmap_rows(const VmapCtx& c) {
  Arrays in;
  for (size_t i = 0; i < c.in.size(); ++i) in.push_back(c.batch(i));
  return apply(c.op, in, c.attrs);
}

using Cases = std::vector<SampleCase>;
constexpr int kBits[] = {2, 3, 4, 5, 6, 8};
constexpr int kGroups[] = {32, 64, 128};
constexpr int kPacked = kBlockFormatCount - 3;  // the formats with blocks; the last three are plain floats

Cases affine_quantize_cases() {
  Cases out;
  for (int bits : kBits)
    for (int group : kGroups)
      out.push_back(
          {{{3, 256}}, AffineAttrs{bits, group}, cat("affine_quantize(in0, ", bits, ", ", group, ")")});
  return out;
}
constexpr double kWord = 4294967296.0;
Cases affine_dequantize_cases() {
  Cases out;
  for (int bits : kBits)
    for (int group : kGroups)
      out.push_back({{{3, 8 * bits}, {3, 256 / group}, {3, 256 / group}},
                     AffineAttrs{bits, group},
                     cat("affine_dequantize(in0, in1, in2, ", bits, ", ", group, ")"),
                     {Dtype::U32, kSwept, kSwept},
                     kWord});
  return out;
}
Shape block_shape(int format, int64_t rows, int64_t cols) {
  return {rows, cols / format_row(format).elements * format_row(format).bytes};
}
Cases block_dequantize_cases() {
  Cases out;
  for (int f = 0; f < kBlockFormatCount; ++f)
    out.push_back({{block_shape(f, 3, 512)},
                   BlockAttrs{f, 3, 512},
                   cat("blocks(in0, '", format_row(f).name, "')"),
                   {Dtype::U8},
                   256,
                   0,
                   Draw::Blocks});
  return out;
}
QuantAttrs affine_attrs(int bits, int group, int64_t rows, int64_t cols, bool fast) {
  return {static_cast<int>(QTensor::Kind::Affine), 0, bits, group, rows, cols, fast};
}
QuantAttrs block_attrs(int format, int64_t rows, int64_t cols, bool fast) {
  return {static_cast<int>(QTensor::Kind::Block), format, 0, 0, rows, cols, fast};
}
// x with one row (a product with a vector) and with several; both precisions.
Cases quantized_matmul_cases() {
  Cases out;
  for (bool fast : {false, true})
    for (int64_t m : {1, 5}) {
      const std::string x = fast ? "int8_blocks(in0)" : "in0";
      for (int f = 0; f < kBlockFormatCount; ++f)
        out.push_back({{{m, 512}, block_shape(f, 19, 512)},
                       block_attrs(f, 19, 512, fast),
                       cat(f < kPacked ? x : "in0", " @ blocks(in1, '", format_row(f).name, "').T"),
                       {kSwept, Dtype::U8},
                       256,
                       0,
                       Draw::SmallBlocks});
      for (int bits : kBits)
        out.push_back({{{m, 256}, {19, 8 * bits}, {19, 4}, {19, 4}},
                       affine_attrs(bits, 64, 19, 256, fast),
                       cat(x, " @ affine_dequantize(in1, in2, in3, ", bits, ", 64).T"),
                       {kSwept, Dtype::U32, kSwept, kSwept},
                       kWord});
    }
  return out;
}
Cases quantized_matmul_where_cases() {
  Cases out;
  for (int64_t m : {1, 5}) {
    for (int f : {static_cast<int>(BlockFormat::Q4_1), static_cast<int>(BlockFormat::F32)})
      out.push_back({{{m, 64}, block_shape(f, 19, 64), {m}},
                     block_attrs(f, 19, 64, false),
                     cat("np.where(in2[:, None], in0 @ blocks(in1, '", format_row(f).name, "').T, 0)"),
                     {kSwept, Dtype::U8, Dtype::Bool},
                     256,
                     0,
                     Draw::SmallBlocks});
    for (bool fast : {false, true})
      out.push_back({{{2, m, 64}, {19, 8}, {19, 1}, {19, 1}, {2, m}},
                     affine_attrs(4, 64, 19, 64, fast),
                     cat("np.where(in4[..., None], ", fast ? "int8_blocks(in0)" : "in0",
                         " @ affine_dequantize(in1, in2, in3, 4, 64).T, 0)"),
                     {kSwept, Dtype::U32, kSwept, kSwept, Dtype::Bool},
                     kWord});
  }
  return out;
}
Cases quantized_take_cases() {
  Cases out;
  for (int f = 0; f < kBlockFormatCount; ++f)
    out.push_back({{{4}, block_shape(f, 9, 256)},
                   block_attrs(f, 9, 256, false),
                   cat("gather0(blocks(in1, '", format_row(f).name, "'), in0)[:, 0]"),
                   {Dtype::I32, Dtype::U8},
                   11,
                   -11,
                   Draw::SmallBlocks});
  for (int bits : kBits)
    out.push_back({{{2, 2}, {9, 8 * bits}, {9, 4}, {9, 4}},
                   affine_attrs(bits, 64, 9, 256, false),
                   cat("affine_dequantize(in1, in2, in3, ", bits, ", 64)[in0]"),
                   {Dtype::I32, Dtype::U32, kSwept, kSwept},
                   9,
                   -9});
  return out;
}

const OpDef kRows[] = {
    {.op = Op::AffineQuantize,
     .doc = "Affine quantization of groups along the last axis: w (…, k) -> packed uint32 (…, k·bits/32), "
            "scales, biases (…, k/group)",
     .traits = kNoGrad,
     .infer = infer_affine_quantize,
     .vmap = vmap_rows,
     .samples = {.dtypes = kDHalf | kDF32, .c = 0, .cases = affine_quantize_cases, .smooth = false}},
    {.op = Op::AffineDequantize,
     .doc = "scale·q + bias for packed groups",
     .infer = infer_affine_dequantize,
     .vjp = vjp_affine_dequantize,
     .vmap = vmap_rows,
     .samples = {.dtypes = kDHalf | kDF32, .c = 2, .cases = affine_dequantize_cases, .smooth = true}},
    {.op = Op::BlockDequantize,
     .doc = "GGUF blocks (rows, bytes) -> float32 (rows, cols)",
     .traits = kNoGrad,
     .infer = infer_block_dequantize,
     .vmap = each,
     .samples = {.dtypes = kDF32, .c = 0, .cases = block_dequantize_cases, .smooth = false}},
    {.op = Op::QuantizedMatmul,
     .doc = "x · dequantize(W)ᵀ from packed weights",
     .infer = infer_quantized_matmul,
     .vjp = vjp_matmul,
     .vmap = vmap_quantized,
     .decompose = decompose_matmul,
     .samples = {.dtypes = kDHalf | kDF32, .c = 4, .cases = quantized_matmul_cases, .smooth = true}},
    {.op = Op::QuantizedMatmulWhere,
     .doc = "x · dequantize(W)ᵀ in the rows that a mask names, zeros in the others",
     .infer = infer_quantized_matmul_where,
     .vmap = vmap_matmul_where,
     .decompose = decompose_matmul_where,
     .samples = {.dtypes = kDHalf | kDF32, .c = 4, .cases = quantized_matmul_where_cases, .smooth = true}},
    {.op = Op::QuantizedTake,
     .doc = "dequantize(W)[ids]",
     .infer = infer_quantized_take,
     .vjp = vjp_take,
     .vmap = vmap_quantized,
     .decompose = decompose_take,
     .samples = {.dtypes = kDHalf | kDF32, .c = 2, .cases = quantized_take_cases, .smooth = true}},
};

QuantAttrs attrs_of(const QTensor& w, bool fast) {
  if (w.parts.size() != (w.kind == QTensor::Kind::Affine ? 3u : 1u) || w.shape.ndim() != 2)
    throw Error(ErrorCode::InvalidArgument,
                cat("a quantized weight of shape ", w.shape.str(), " has ", w.parts.size(), " parts"),
                "quantize", "make it with quantize_affine or block_tensor");
  return {
      static_cast<int>(w.kind), static_cast<int>(w.format), w.bits, w.group, w.shape[0], w.shape[1], fast};
}

Arrays operands(const Array& first, const QTensor& w) {
  Arrays in{first};
  in.insert(in.end(), w.parts.begin(), w.parts.end());
  return in;
}

}  // namespace

Rows quant_rows() { return kRows; }

std::string_view block_format_name(BlockFormat f) { return format_row(static_cast<int>(f)).name; }
int block_elements(BlockFormat f) { return format_row(static_cast<int>(f)).elements; }
int block_bytes(BlockFormat f) { return format_row(static_cast<int>(f)).bytes; }

QTensor quantize_affine(const Array& w, int group, int bits) {
  if (w.ndim() != 2)
    throw Error(ErrorCode::ShapeMismatch, cat("a weight has two dimensions, got shape ", w.shape().str()),
                "quantize_affine");
  QTensor q;
  q.kind = QTensor::Kind::Affine;
  q.shape = w.shape();
  q.bits = bits;
  q.group = group;
  q.parts = apply(Op::AffineQuantize, {w}, AffineAttrs{bits, group});
  return q;
}

QTensor block_tensor(const Array& bytes, BlockFormat format, const Shape& shape) {
  if (shape.ndim() != 2)
    throw Error(ErrorCode::ShapeMismatch, cat("a weight has two dimensions, got shape ", shape.str()),
                "block_tensor");
  QTensor q;
  q.kind = QTensor::Kind::Block;
  q.shape = shape;
  q.format = format;
  q.parts = {bytes};
  return q;
}

Array dequantize(const QTensor& w) { return dequantize_parts(w.parts, attrs_of(w, false)); }

Array quantized_matmul(const Array& x, const QTensor& w, bool fast) {
  return apply1(Op::QuantizedMatmul, operands(x, w), attrs_of(w, fast));
}

Array quantized_matmul_where(const Array& rows, const Array& x, const QTensor& w, bool fast) {
  Arrays in = operands(x, w);
  in.push_back(rows);
  return apply1(Op::QuantizedMatmulWhere, in, attrs_of(w, fast));
}

Array quantized_take(const QTensor& w, const Array& ids) {
  return apply1(Op::QuantizedTake, operands(ids, w), attrs_of(w, false));
}

}  // namespace mc
