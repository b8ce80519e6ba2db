#include <cmath>
#include <cstring>

#include "backends/mlx/core/emit.h"
#include "backends/mlx/core/recode.h"
#include "base/thread_pool.h"
#include "prims/block_formats.h"

namespace mc::mlx_engine {
namespace {

// x as `fast` sees it: blocks of 32 in steps of their largest magnitude over 127.
mx::array int8_blocks(const mx::array& x, const mx::Stream& s) {
  const mx::Shape& shape = x.shape();
  mx::Shape blocks = shape;
  blocks.back() /= 32;
  blocks.push_back(32);
  const mx::array v = mx::reshape(x, blocks, s), zero(0.0f), one(1.0f);
  const mx::array amax = mx::max(mx::abs(v, s), -1, true, s);
  const mx::array step = mx::where(mx::less(amax, mx::array(std::ldexp(1.0f, -119)), s), zero,
                                   mx::divide(amax, mx::array(127.0f), s), s);
  const mx::array none = mx::equal(step, zero, s);
  const mx::array inverse = mx::where(none, zero, mx::divide(one, mx::where(none, one, step, s), s), s);
  return mx::reshape(mx::multiply(mx::round(mx::multiply(v, inverse, s), s), step, s), shape, s);
}

// The packed form of a block-quantized weight that comes from outside: codes, scales, biases; or the weight
// in float32 where there is no such form. Made once and kept with the buffer.
const std::vector<mx::array>& prepared(const Value& v, BlockFormat format, int64_t rows, int64_t cols) {
  const std::shared_ptr<Holder> h = holder_of(v);
  const auto key = std::make_pair(v.offset, static_cast<int>(format));
  auto it = h->packed.find(key);
  if (it != h->packed.end()) return it->second;
  const std::byte* bytes = (h->base ? h->base : h->array->data<std::byte>()) + v.offset;
  const int64_t row_bytes = cols / block_elements(format) * block_bytes(format);
  std::vector<mx::array> parts;
  if (const int bits = affine_bits_of(format)) {
    const Shape words{rows, cols * bits / 32}, groups{rows, cols / 32};
    auto packed = allocate_host(static_cast<size_t>(words.numel()) * 4),
         scales = allocate_host(static_cast<size_t>(groups.numel()) * 4),
         biases = allocate_host(static_cast<size_t>(groups.numel()) * 4);
    parallel_for(rows, 16, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r)
        recode_row(format, bytes + r * row_bytes, cols,
                   reinterpret_cast<uint32_t*>(packed->base) + r * words[1],
                   reinterpret_cast<float*>(scales->base) + r * groups[1],
                   reinterpret_cast<float*>(biases->base) + r * groups[1]);
    });
    parts.push_back(wrap(packed->base, words, Dtype::U32, packed->owner));
    parts.push_back(wrap(scales->base, groups, Dtype::F32, scales->owner));
    parts.push_back(wrap(biases->base, groups, Dtype::F32, biases->owner));
  } else if (format == BlockFormat::F32) {
    // What is kept in the holder must not keep the holder.
    std::shared_ptr<const void> owner = h->owner;
    if (!h->base) owner = std::make_shared<mx::array>(*h->array);
    parts.push_back(wrap(bytes, {rows, cols}, Dtype::F32, std::move(owner)));
  } else {
    auto wide = allocate_host(static_cast<size_t>(rows * cols) * 4);
    parallel_for(rows, 16, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r)
        blocks::dequantize_row(format, bytes + r * row_bytes, reinterpret_cast<float*>(wide->base) + r * cols,
                               cols);
    });
    parts.push_back(wrap(wide->base, {rows, cols}, Dtype::F32, wide->owner));
  }
  return h->packed.emplace(key, std::move(parts)).first->second;
}

bool quantized_matmul(const Emit& e) {
  const auto& a = e.as<QuantAttrs>();
  const mx::Stream& s = e.s;
  const mx::Shape out = mlx_shape(e.out_avals[0].shape);
  mx::array x = mx::reshape(mx::astype(e.x(), mx::float32, s), {-1, static_cast<int32_t>(a.cols)}, s);
  auto finish = [&](const mx::array& y) {
    return e.give(mx::reshape(mx::astype(y, mlx_dtype(e.dtype()), s), out, s));
  };
  if (a.kind == static_cast<int>(QTensor::Kind::Affine)) {
    if (a.fast) x = int8_blocks(x, s);
    return finish(mx::quantized_matmul(x, e.in[1], mx::astype(e.in[2], mx::float32, s),
                                       mx::astype(e.in[3], mx::float32, s), true, a.group, a.bits, "affine",
                                       s));
  }
  const auto format = static_cast<BlockFormat>(a.format);
  if (e.sources.empty() || !e.sources[1].buffer) {
    // A weight computed in the graph: plain floats are read as such, blocks are the host's.
    if (block_elements(format) > 1) return false;
    const mx::Dtype stored = format == BlockFormat::F32   ? mx::float32
                             : format == BlockFormat::F16 ? mx::float16
                                                          : mx::bfloat16;
    const mx::array w = mx::astype(mx::view(mx::contiguous(e.in[1], false, s), stored, s), mx::float32, s);
    return finish(mx::matmul(x, mx::transpose(w, {1, 0}, s), s));
  }
  const std::vector<mx::array>& w = prepared(e.sources[1], format, a.rows, a.cols);
  if (a.fast && block_elements(format) > 1) x = int8_blocks(x, s);
  if (w.size() == 1) return finish(mx::matmul(x, mx::transpose(w[0], {1, 0}, s), s));
  return finish(mx::quantized_matmul(x, w[0], w[1], w[2], true, 32, affine_bits_of(format), "affine", s));
}

// Where the mask names no row, the product is passed over. That takes waiting for the mask: once a layer, as
// all experts' masks come of one router, against reading every expert's weights.
bool quantized_matmul_where(const Emit& e) {
  const mx::Stream& s = e.s;
  const mx::array mask = e.in.back();
  mx::array any = mx::any(mask, s);
  if (!any.item<bool>())
    return e.give(mx::zeros(mlx_shape(e.out_avals[0].shape), mlx_dtype(e.out_avals[0].dtype), s));
  const size_t n = e.in.size() - 1;
  std::vector<mx::array> in(e.in.begin(), e.in.end() - 1);
  const Emit product{Op::QuantizedMatmul,
                     e.attrs,
                     e.in_avals.first(n),
                     e.out_avals,
                     in,
                     e.out,
                     s,
                     e.gpu,
                     e.sources.empty() ? e.sources : e.sources.first(n)};
  if (!quantized_matmul(product)) return false;
  mx::array& y = e.out.back();
  y = mx::where(mx::expand_dims(mask, -1, s), y, mx::zeros({}, y.dtype(), s), s);
  return true;
}

}  // namespace

bool emit_product(const Emit& e) {
  switch (e.op) {
    case Op::Matmul: {
      const Dtype d = e.dtype();
      if (!is_inexact(d)) return false;  // libmlx multiplies matrices of floats only
      if (is_half(d) && !e.gpu) {
        const mx::array y =
            mx::matmul(mx::astype(e.x(), mx::float32, e.s), mx::astype(e.y(), mx::float32, e.s), e.s);
        return e.give(mx::astype(y, mlx_dtype(d), e.s));
      }
      return e.give(mx::matmul(e.x(), e.y(), e.s));
    }
    case Op::QuantizedMatmul: return quantized_matmul(e);
    case Op::QuantizedMatmulWhere: return quantized_matmul_where(e);
    default: return false;
  }
}

}  // namespace mc::mlx_engine
