// Quantized weights: packed once for a buffer, then used by every program that reads it.

#include <algorithm>
#include <cstring>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "backends/numpy/dtype_dispatch.h"
#include "backends/numpy/kernel.h"
#include "backends/numpy/memory.h"
#include "backends/numpy/quant/qmatmul.h"
#include "backends/numpy/simd/convert.h"
#include "base/thread_pool.h"
#include "prims/attrs.h"
#include "prims/block_formats.h"

namespace mc::numpy {
namespace {

// float32 of any narrow tensor that is row-major; `hold` keeps a widened copy.
const float* as_f32(const Tensor& t, std::vector<float>& hold) {
  if (t.dtype == Dtype::F32) return t.as<float>();
  hold.resize(static_cast<size_t>(t.numel()));
  if (t.dtype == Dtype::BF16)
    simd::widen(t.as<bfloat16>(), hold.data(), t.numel());
  else
    simd::widen(t.as<float16>(), hold.data(), t.numel());
  return hold.data();
}
void store_f32(const float* src, const Tensor& dst) {
  if (dst.dtype == Dtype::BF16)
    simd::narrow(src, dst.as<bfloat16>(), dst.numel());
  else
    simd::narrow(src, dst.as<float16>(), dst.numel());
}

quant::Format format_of(const QuantAttrs& a, std::span<const Tensor> parts) {
  if (a.kind == static_cast<int>(QTensor::Kind::Block))
    return quant::Format::of(static_cast<BlockFormat>(a.format));
  return quant::Format::affine(a.bits, a.group, parts[1].dtype);
}
size_t part_count(const QuantAttrs& a) { return a.kind == static_cast<int>(QTensor::Kind::Block) ? 1 : 3; }
quant::Source source_of(std::span<const Tensor> parts) {
  if (parts.size() == 1) return {parts[0].data, nullptr, nullptr};
  return {parts[0].data, parts[1].data, parts[2].data};
}

// Packed weights live as long as their model, side by side in big pieces: pages of 4 KiB cost a product of
// one token a fifth of its speed, and a layer's weights are too small for huge pages of their own.
struct Piece {
  BufferPtr memory;
  size_t used = 0;
};

struct Packed {
  std::shared_ptr<Piece> piece;
  BufferPtr scales_of, biases_of;  // kept alive, so that their addresses mean them
  const void *codes = nullptr, *scales = nullptr, *biases = nullptr;  // what it was made of
  quant::Weight weight;
};

constexpr size_t kHugePage = 2u << 20, kPiece = 16u << 20, kOwnFrom = 4u << 20, kShareFrom = 64u << 10;
constexpr size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }
// `shares` only under packed_weight's mutex.
std::byte* room_for(size_t bytes, bool shares, std::shared_ptr<Piece>& piece) {
  static std::weak_ptr<Piece> open;
  shares = shares && bytes >= kShareFrom && bytes < kOwnFrom;
  if (shares) piece = open.lock();
  if (!piece || piece->used + bytes > kPiece) {
    piece = std::make_shared<Piece>();
    piece->memory = allocate({}, shares ? kPiece : bytes);
    if (shares) open = piece;
  }
  auto* data = static_cast<std::byte*>(piece->memory->data) + piece->used;
  piece->used += aligned(bytes);
  return data;
}

std::shared_ptr<Packed> pack(const QuantAttrs& a, std::span<const Tensor> parts, bool shares) {
  auto p = std::make_shared<Packed>();
  quant::Source s = source_of(parts);
  s.mapped = parts[0].source && parts[0].source->mapped;
  p->codes = s.codes;
  p->scales = s.scales;
  p->biases = s.biases;
  p->weight = {format_of(a, parts), a.rows, a.cols};
  const auto bytes = static_cast<size_t>(quant::packed_bytes(p->weight.format, a.rows, a.cols));
  std::byte* room = room_for(bytes, shares, p->piece);
  p->weight.lifts = quant::pack(p->weight.format, s, a.rows, a.cols, room);
  p->weight.packed = room;
  return p;
}

// The packed form, kept on the codes' buffer where that is an input.
std::shared_ptr<Packed> packed_weight(const QuantAttrs& a, std::span<const Tensor> parts) {
  // Where a part is made by the program itself its address says nothing of its contents.
  Buffer* keep = parts[0].source;
  for (const Tensor& t : parts)
    if (!t.source) return pack(a, parts, false);
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  auto p = std::static_pointer_cast<Packed>(keep->packed);
  const quant::Source s = source_of(parts);
  if (p && p->codes == s.codes && p->scales == s.scales && p->biases == s.biases && p->weight.n == a.rows &&
      p->weight.k == a.cols && p->weight.format.kind == format_of(a, parts).kind &&
      p->weight.format.block == format_of(a, parts).block &&
      p->weight.format.bits == format_of(a, parts).bits)
    return p;
  p = pack(a, parts, true);
  if (parts.size() == 3) {
    p->scales_of = BufferPtr(parts[1].source);
    p->biases_of = BufferPtr(parts[2].source);
    // Parts of one buffer: it would keep itself alive.
    if (parts[1].source == keep || parts[2].source == keep) return p;
  }
  keep->packed = p;
  return p;
}

void products(const Tensor& x, std::span<const Tensor> parts, std::span<const Tensor> outs,
              std::span<const Attrs> attrs) {
  std::vector<std::shared_ptr<Packed>> hold;
  std::vector<quant::Product> list;
  std::vector<std::vector<float>> wide(outs.size());
  for (size_t i = 0; i < outs.size(); ++i) {
    const auto& a = attrs[i].as<QuantAttrs>();
    hold.push_back(packed_weight(a, parts.first(part_count(a))));
    parts = parts.subspan(part_count(a));
    float* y = outs[i].as<float>();
    if (outs[i].dtype != Dtype::F32) {
      wide[i].resize(static_cast<size_t>(outs[i].numel()));
      y = wide[i].data();
    }
    list.push_back({hold.back()->weight, y, a.rows});
  }
  const auto& a = attrs[0].as<QuantAttrs>();
  std::vector<float> hold_x;
  const float* px = as_f32(x, hold_x);
  const int64_t m = a.cols ? x.numel() / a.cols : 0;
  quant::qmatmul(m, px, a.cols, list, a.fast ? quant::Precision::Fast : quant::Precision::Highest);
  for (size_t i = 0; i < outs.size(); ++i)
    if (outs[i].dtype != Dtype::F32) store_f32(wide[i].data(), outs[i]);
}

void quantized_matmul(const Call& c) { products(c.in[0], c.in.subspan(1), c.out, {&c.attrs, 1}); }
// Rows that the mask does not name are not computed: experts that a token did not choose, of which most
// weights are not even packed. A row's bits do not depend on its neighbours, so that which rows stand side by
// side is free.
void quantized_matmul_where(const Call& c) {
  const auto& a = c.attr<QuantAttrs>();
  const Tensor &x = c.in[0], &mask = c.in.back(), &out = c.out[0];
  const auto parts = c.in.subspan(1, c.in.size() - 2);
  const bool* named = mask.as<const bool>();
  std::vector<int64_t> rows;
  const int64_t m = mask.numel();
  for (int64_t r = 0; r < m; ++r)
    if (named[r]) rows.push_back(r);
  if (static_cast<int64_t>(rows.size()) == m) return products(x, parts, c.out, {&c.attrs, 1});
  const auto size = static_cast<size_t>(out.numel()) * itemsize(out.dtype);
  if (size) std::memset(out.data, 0, size);
  if (rows.empty()) return;
  // The rows, then their products.
  const size_t in_row = static_cast<size_t>(a.cols) * itemsize(x.dtype),
               out_row = static_cast<size_t>(a.rows) * itemsize(out.dtype);
  std::vector<std::byte> some(rows.size() * (in_row + out_row));
  const auto n = static_cast<int64_t>(rows.size());
  const Tensor some_x{some.data(), {n, a.cols}, {a.cols, 1}, x.dtype},
      some_y{some.data() + rows.size() * in_row, {n, a.rows}, {a.rows, 1}, out.dtype};
  for (size_t i = 0; i < rows.size(); ++i)
    std::memcpy(some_x.data + i * in_row, x.data + static_cast<size_t>(rows[i]) * in_row, in_row);
  products(some_x, parts, {&some_y, 1}, {&c.attrs, 1});
  for (size_t i = 0; i < rows.size(); ++i)
    std::memcpy(out.data + static_cast<size_t>(rows[i]) * out_row, some_y.data + i * out_row, out_row);
}

void quantized_matmul_group(const Call& c) { products(c.in[0], c.in.subspan(1), c.out, c.group); }

void quantized_take(const Call& c) {
  const auto& a = c.attr<QuantAttrs>();
  const int64_t n = c.in[0].numel();
  std::vector<int64_t> ids(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    const int64_t id = index_at(c.in[0], i);
    ids[static_cast<size_t>(i)] = id < 0 ? id + a.rows : id;
  }
  const auto parts = c.in.subspan(1);
  std::vector<float> wide;
  float* dst = c.out[0].as<float>();
  if (c.out[0].dtype != Dtype::F32) {
    wide.resize(static_cast<size_t>(c.out[0].numel()));
    dst = wide.data();
  }
  quant::dequantize_rows(format_of(a, parts), source_of(parts), a.rows, a.cols, ids.data(), n, dst);
  if (!wide.empty()) store_f32(dst, c.out[0]);
}

void block_dequantize(const Call& c) {
  const auto& a = c.attr<BlockAttrs>();
  quant::dequantize(quant::Format::of(static_cast<BlockFormat>(a.format)), {c.in[0].data, nullptr, nullptr},
                    a.rows, a.cols, c.out[0].as<float>());
}

void affine_dequantize(const Call& c) {
  const auto& a = c.attr<AffineAttrs>();
  const Tensor& out = c.out[0];
  const int64_t k = out.shape.back(), rows = k ? out.numel() / k : 0;
  std::vector<float> wide;
  float* dst = out.as<float>();
  if (out.dtype != Dtype::F32) {
    wide.resize(static_cast<size_t>(out.numel()));
    dst = wide.data();
  }
  quant::dequantize(quant::Format::affine(a.bits, a.group, c.in[1].dtype), source_of(c.in), rows, k, dst);
  if (!wide.empty()) store_f32(dst, out);
}

void affine_quantize(const Call& c) {
  const auto& a = c.attr<AffineAttrs>();
  const int64_t k = c.in[0].shape.back(), rows = k ? c.in[0].numel() / k : 0, groups = k / a.group;
  std::vector<float> hold, scales(static_cast<size_t>(rows * groups)), biases(scales.size());
  const float* w = as_f32(c.in[0], hold);
  parallel_for(rows, std::max<int64_t>(1, 65536 / std::max<int64_t>(1, k)), [&](int64_t begin, int64_t end) {
    blocks::affine_quantize(a.bits, a.group, w + begin * k, end - begin, k,
                            c.out[0].data + begin * blocks::affine_row_bytes(a.bits, k),
                            scales.data() + begin * groups, biases.data() + begin * groups);
  });
  for (int i = 0; i < 2; ++i) {
    const Tensor& out = c.out[static_cast<size_t>(i) + 1];
    const std::vector<float>& v = i == 0 ? scales : biases;
    if (out.dtype != Dtype::F32)
      store_f32(v.data(), out);
    else if (!v.empty())
      std::memcpy(out.data, v.data(), v.size() * 4);
  }
}

constexpr KernelRow kRows[] = {
    {Op::QuantizedMatmul, quantized_matmul}, {Op::QuantizedTake, quantized_take},
    {Op::BlockDequantize, block_dequantize}, {Op::AffineDequantize, affine_dequantize},
    {Op::AffineQuantize, affine_quantize},   {Op::QuantizedMatmulWhere, quantized_matmul_where},
};

}  // namespace

size_t packed_constants(const Graph& graph) {
  size_t total = 0, used = 0;  // of the open piece
  // What is left of a piece is not touched, but for a huge page's rest.
  const auto close = [&] { total += (std::exchange(used, 0) + kHugePage - 1) / kHugePage * kHugePage; };
  std::set<ValueId> seen;
  for (const GraphNode& n : graph.nodes) {
    if (n.op != Op::QuantizedMatmul && n.op != Op::QuantizedMatmulWhere) continue;
    const auto& a = n.attrs.as<QuantAttrs>();
    std::span<const ValueId> in = graph.operands_of(n);
    if (n.op == Op::QuantizedMatmulWhere) in = in.first(in.size() - 1);
    const auto constant = [&](ValueId v) {
      return static_cast<size_t>(v) < graph.inputs.size() &&
             graph.inputs[static_cast<size_t>(v)] == InputKind::Constant;
    };
    if (!std::all_of(in.begin() + 1, in.end(), constant) || !seen.insert(in[1]).second) continue;
    const quant::Format f =
        a.kind == static_cast<int>(QTensor::Kind::Block)
            ? quant::Format::of(static_cast<BlockFormat>(a.format))
            : quant::Format::affine(a.bits, a.group, graph.values[static_cast<size_t>(in[2])].dtype);
    const auto bytes = static_cast<size_t>(quant::packed_bytes(f, a.rows, a.cols));
    if (bytes < kShareFrom || bytes >= kOwnFrom) {
      total += bytes;
      continue;
    }
    if (used + bytes > kPiece) close();
    used += aligned(bytes);
  }
  close();
  return total;
}

const KernelRow kQuantizedMatmulGroup = {Op::QuantizedMatmul, quantized_matmul_group, 0, nullptr};

std::span<const KernelRow> quant_kernels() { return kRows; }

}  // namespace mc::numpy
