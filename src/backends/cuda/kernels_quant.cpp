// Quantized weights: computed on as they lie, decoded a tile at a time for many rows.
#include <algorithm>

#include "backends/cuda/cu/decode.h"
#include "backends/cuda/cu/quant.h"
#include "backends/cuda/decode.h"
#include "backends/cuda/kernel.h"
#include "backends/cuda/matmul.h"
#include "backends/cuda/quant_call.h"
#include "mc/error.h"
#include "mc/quantize.h"
#include "prims/attrs.h"
#include "prims/block_formats.h"

namespace mc::cuda {
namespace {

constexpr int64_t kTileBytes = int64_t{128} << 20;   // of decoded weights at a time
constexpr int64_t kWholeBytes = int64_t{512} << 20;  // of a weight decoded to 16 bits at once

void done(const char* what) { check(cudaGetLastError(), what); }
int dtype_of(const Tensor& t) { return static_cast<int>(t.dtype); }

QuantWeight affine_weight(int bits, int group, int64_t rows, int64_t cols, std::span<const Tensor> parts) {
  QuantWeight w{};
  w.format = kAffine + bits;
  w.codes = parts[0].data;
  w.rows = rows;
  w.cols = cols;
  w.row_bytes = blocks::affine_row_bytes(bits, cols);
  w.scales = parts[1].data;
  w.biases = parts[2].data;
  w.scale_dtype = dtype_of(parts[1]);
  w.group = group;
  return w;
}
QuantWeight block_weight(int format, int64_t rows, int64_t cols, const Tensor& bytes) {
  QuantWeight w{};
  w.format = format;
  w.codes = bytes.data;
  w.rows = rows;
  w.cols = cols;
  w.row_bytes =
      cols / block_elements(static_cast<BlockFormat>(format)) * block_bytes(static_cast<BlockFormat>(format));
  return w;
}
// Blocks are read two bytes at a time, dense ones by elements; a view of bytes may begin anywhere.
Tensor aligned(const Call& c, const Tensor& bytes, uintptr_t to = 4) {
  if (reinterpret_cast<uintptr_t>(bytes.data) % to == 0 || bytes.numel() == 0) return bytes;
  Tensor t = bytes;
  const size_t size = static_cast<size_t>(bytes.numel()) * itemsize(bytes.dtype);
  t.data = c.scratch.take(size);
  check(cudaMemcpyAsync(t.data, bytes.data, size, cudaMemcpyDeviceToDevice, c.stream),
        "copying on the device");
  return t;
}
QuantWeight weight_of(const Call& c, const QuantAttrs& a, std::span<const Tensor> parts) {
  if (a.kind == static_cast<int>(QTensor::Kind::Block))
    return block_weight(a.format, a.rows, a.cols, aligned(c, parts[0]));
  return affine_weight(a.bits, a.group, a.rows, a.cols, parts);
}

void fast_matmul(const Call& c, const QuantWeight& w, const Tensor& x, int64_t m, const Tensor& out,
                 const bool* rows) {
  FastX q;
  q.codes = reinterpret_cast<int8_t*>(c.scratch.take(static_cast<size_t>(m * w.cols)));
  q.scales = reinterpret_cast<float*>(c.scratch.take(static_cast<size_t>(m * w.cols / 8)));
  q.sums = reinterpret_cast<int32_t*>(c.scratch.take(static_cast<size_t>(m * w.cols / 8)));
  launch_fast_quantize(x.data, dtype_of(x), m, w.cols, q, c.stream);
  if (m <= kFewRows) {
    launch_fast_rows(w, q, m, rows, out.data, dtype_of(out), c.stream);
    return done("quantized_matmul");
  }
  int32_t* list = nullptr;
  if (rows) {
    list = reinterpret_cast<int32_t*>(c.scratch.take(static_cast<size_t>(m + 1) * sizeof(int32_t)));
    launch_list_rows(rows, m, list, c.stream);
    check(cudaMemsetAsync(out.data, 0, static_cast<size_t>(out.numel()) * itemsize(out.dtype), c.stream),
          "clearing memory");
  }
  launch_fast_tiles(w, q, m, list, out.data, dtype_of(out), c.stream);
  done("quantized_matmul");
}

size_t parts_of(const QuantAttrs& a) { return a.kind == static_cast<int>(QTensor::Kind::Block) ? 1 : 3; }
int format_of(const QuantAttrs& a) {
  return a.kind == static_cast<int>(QTensor::Kind::Block) ? a.format : kAffine + a.bits;
}

// A weight whose rows are read 16 bytes at a time.
QuantWeight vector_weight(const Call& c, const QuantAttrs& a, std::span<const Tensor> parts) {
  Tensor all[3];
  std::copy(parts.begin(), parts.end(), all);
  all[0] = aligned(c, all[0], 16);
  return weight_of(c, a, std::span<const Tensor>(all, parts.size()));
}

// How many of m vectors the streaming kernel takes at once; 0: none.
int streamed_vectors(Dtype dtype, const QuantAttrs& a, int64_t m) {
  if (a.rows == 0) return 0;
  while (m && !takes_stream_products(static_cast<int>(dtype), format_of(a), a.cols, a.group, m)) m /= 2;
  return static_cast<int>(m);
}
// False: several vectors that no kernel takes at once.
bool launch_products(const Call& c, const VectorProducts& v) {
  if (launch_stream_products(v, c.device.multiprocessors, c.stream)) return true;
  if (v.m == 1) launch_vector_products(v, c.device.multiprocessors, c.stream);
  return v.m == 1;
}

// `rows`: a mask, one element a row of x; the others' products are zeros. Rows that are not few only at
// `fast`.
void product(const Call& c, const QuantAttrs& a, const Tensor& x, std::span<const Tensor> parts,
             const Tensor& out, const bool* rows = nullptr) {
  const int64_t m = a.cols ? x.numel() / a.cols : 0,
                bytes = out.numel() * static_cast<int64_t>(itemsize(out.dtype));
  if (bytes == 0) return;
  if (a.cols == 0) {
    check(cudaMemsetAsync(out.data, 0, static_cast<size_t>(bytes), c.stream), "clearing memory");
    return;
  }
  const bool fast = a.fast && fast_format(format_of(a));
  const bool vectors = (m == 1 || rows) && !fast && takes_vector_products(format_of(a), a.cols, a.group);
  const int streamed = fast || m > kFewRows ? 0 : streamed_vectors(x.dtype, a, m);
  if (vectors || streamed) {
    VectorProducts v{};
    v.dtype = dtype_of(x);
    v.count = 1;
    v.weight[0] = vector_weight(c, a, parts);
    int64_t step = streamed ? streamed : 1;
    const int64_t item = static_cast<int64_t>(itemsize(x.dtype));
    int64_t at = 0;
    while (at < m) {
      v.x = x.data + at * a.cols * item;
      v.out[0] = out.data + at * a.rows * item;
      v.m = static_cast<int>(std::min(step, m - at));
      v.rows = rows ? rows + at : nullptr;
      if (launch_products(c, v))
        at += v.m;
      else if (rows)
        step = 1;
      else
        break;
    }
    if (at >= m) return done("quantized_matmul");
  }
  const QuantWeight w = weight_of(c, a, parts);
  if (fast) return fast_matmul(c, w, x, m, out, rows);
  if (m <= kFewRows) {
    launch_quant_gemv(w, x.data, m, out.data, dtype_of(x), c.stream);
    return done("quantized_matmul");
  }
  // Weights of the dtype of x lie ready for the tensor cores.
  const bool dense = w.format == static_cast<int>(BlockFormat::F32) ||
                     w.format == static_cast<int>(BlockFormat::F16) ||
                     w.format == static_cast<int>(BlockFormat::BF16);
  const bool ready = (x.dtype == Dtype::F32 && w.format == static_cast<int>(BlockFormat::F32)) ||
                     (x.dtype == Dtype::F16 && w.format == static_cast<int>(BlockFormat::F16)) ||
                     (x.dtype == Dtype::BF16 && w.format == static_cast<int>(BlockFormat::BF16));
  if (dense && ready && readable(w.cols, w.rows, 1, w.cols)) {
    gemm(c, x.dtype, m, w.rows, w.cols, 1, {x.data, w.cols, 1},
         {static_cast<const std::byte*>(w.codes), 1, w.cols}, out.data);
    return done("quantized_matmul");
  }
  // Rounding a weight to bfloat16 is no more than what rounding x to it was.
  if (x.dtype == Dtype::BF16 && w.rows * w.cols * 2 <= kWholeBytes) {
    std::byte* decoded = c.scratch.take(static_cast<size_t>(w.rows * w.cols) * 2);
    launch_dequantize(w, 0, w.rows, decoded, static_cast<int>(Dtype::BF16), c.stream);
    gemm(c, Dtype::BF16, m, w.rows, w.cols, 1, {x.data, w.cols, 1}, {decoded, 1, w.cols}, out.data);
    return done("quantized_matmul");
  }
  // Decoded weights are float32 and so is the product.
  const std::byte* wide = x.data;
  if (x.dtype != Dtype::F32) {
    std::byte* p = c.scratch.take(static_cast<size_t>(x.numel()) * 4);
    launch_convert(x.data, dtype_of(x), p, static_cast<int>(Dtype::F32), x.numel(), c.stream);
    wide = p;
  }
  const int64_t tile = std::clamp<int64_t>(kTileBytes / (w.cols * 4), 1, w.rows);
  std::byte* decoded = c.scratch.take(static_cast<size_t>(tile * w.cols) * 4);
  const bool direct = tile == w.rows && out.dtype == Dtype::F32;
  std::byte* product = direct ? out.data : c.scratch.take(static_cast<size_t>(m * tile) * 4);
  const int64_t item = static_cast<int64_t>(itemsize(out.dtype));
  for (int64_t r = 0; r < w.rows; r += tile) {
    const int64_t n = std::min(tile, w.rows - r);
    launch_dequantize(w, r, n, decoded, static_cast<int>(Dtype::F32), c.stream);
    gemm(c, Dtype::F32, m, n, w.cols, 1, {wide, w.cols, 1}, {decoded, 1, w.cols}, product);
    if (direct) continue;
    if (out.dtype == Dtype::F32) {
      check(cudaMemcpy2DAsync(out.data + r * 4, static_cast<size_t>(w.rows) * 4, product,
                              static_cast<size_t>(n) * 4, static_cast<size_t>(n) * 4, static_cast<size_t>(m),
                              cudaMemcpyDeviceToDevice, c.stream),
            "placing a tile");
    } else if (n == w.rows) {
      launch_convert(product, static_cast<int>(Dtype::F32), out.data, dtype_of(out), m * n, c.stream);
    } else {
      std::byte* narrow = c.scratch.take(static_cast<size_t>(m * n * item));
      launch_convert(product, static_cast<int>(Dtype::F32), narrow, dtype_of(out), m * n, c.stream);
      check(cudaMemcpy2DAsync(out.data + r * item, static_cast<size_t>(w.rows * item), narrow,
                              static_cast<size_t>(n * item), static_cast<size_t>(n * item),
                              static_cast<size_t>(m), cudaMemcpyDeviceToDevice, c.stream),
            "placing a tile");
    }
  }
  done("quantized_matmul");
}

void quantized_matmul(const Call& c) { product(c, c.attr<QuantAttrs>(), c.in[0], c.in.subspan(1), c.out[0]); }

// Experts: few rows, as decoding has them, or any number of them at `fast`. An expert that no row asks for is
// not read. Many rows elsewhere are decomposed: whole products on the tensor cores.
void quantized_matmul_where(const Call& c) {
  product(c, c.attr<QuantAttrs>(), c.in[0], c.in.subspan(1, c.in.size() - 2), c.out[0],
          c.in.back().as<const bool>());
}
bool takes_where(std::span<const Aval> in, const Attrs& attrs) {
  const auto& a = attrs.as<QuantAttrs>();
  if (a.cols == 0) return false;
  const int64_t m = in[0].shape.numel() / a.cols;
  return (a.fast && fast_format(format_of(a))) ||
         (m <= kFewRows && takes_vector_products(format_of(a), a.cols, a.group));
}

void quantized_take(const Call& c) {
  const QuantWeight w = weight_of(c, c.attr<QuantAttrs>(), c.in.subspan(1));
  launch_quant_take(w, c.in[0].data, dtype_of(c.in[0]), c.in[0].numel(), c.out[0].data, dtype_of(c.out[0]),
                    c.stream);
  done("quantized_take");
}

void block_dequantize(const Call& c) {
  const auto& a = c.attr<BlockAttrs>();
  launch_dequantize(block_weight(a.format, a.rows, a.cols, aligned(c, c.in[0])), 0, a.rows, c.out[0].data,
                    dtype_of(c.out[0]), c.stream);
  done("block_dequantize");
}

void affine_dequantize(const Call& c) {
  const auto& a = c.attr<AffineAttrs>();
  const Tensor& out = c.out[0];
  const int64_t k = out.shape.back(), rows = k ? out.numel() / k : 0;
  launch_dequantize(affine_weight(a.bits, a.group, rows, k, c.in), 0, rows, out.data, dtype_of(out),
                    c.stream);
  done("affine_dequantize");
}

void affine_quantize(const Call& c) {
  const auto& a = c.attr<AffineAttrs>();
  AffineQuantizeLaunch l{};
  l.x = c.in[0].data;
  l.dtype = dtype_of(c.in[0]);
  l.bits = a.bits;
  l.group = a.group;
  l.groups = c.in[0].numel() / a.group;
  l.packed = c.out[0].as<uint8_t>();
  l.scales = c.out[1].data;
  l.biases = c.out[2].data;
  launch_affine_quantize(l, c.stream);
  done("affine_quantize");
}

constexpr KernelRow kRows[] = {
    {Op::QuantizedMatmul, quantized_matmul},
    {Op::QuantizedTake, quantized_take},
    {Op::BlockDequantize, block_dequantize},
    {Op::AffineDequantize, affine_dequantize},
    {Op::AffineQuantize, affine_quantize},
    {Op::QuantizedMatmulWhere, quantized_matmul_where, 0, takes_where},
};

}  // namespace

bool joins_products(const std::vector<Attrs>& weights, Dtype dtype, int64_t m) {
  const auto& a = weights[0].as<QuantAttrs>();
  if (m > 1 && !takes_stream_products(static_cast<int>(dtype), format_of(a), a.cols, a.group, m))
    return false;
  if (weights.size() > kMaxProducts || a.fast || !takes_vector_products(format_of(a), a.cols, a.group))
    return false;
  for (const Attrs& w : weights) {
    const auto& b = w.as<QuantAttrs>();
    if (format_of(a) != format_of(b) || a.group != b.group || b.rows == 0) return false;
  }
  return true;
}

void run_products(const Call& c, const JoinedProducts& p) {
  const Tensor& x = c.in[0];
  const int64_t cols = p.weights[0].as<QuantAttrs>().cols, m = cols ? x.numel() / cols : 0;
  if (m < 1 || m > kFewRows || !joins_products(p.weights, x.dtype, m)) {
    size_t next = 1;
    for (size_t i = 0; i < p.weights.size(); ++i) {
      const auto& a = p.weights[i].as<QuantAttrs>();
      product(c, a, x, c.in.subspan(next, parts_of(a)), c.out[i]);
      next += parts_of(a);
    }
    return;
  }
  VectorProducts v{};
  v.x = x.data;
  v.dtype = dtype_of(x);
  v.count = static_cast<int>(p.weights.size());
  size_t next = 1;
  bool where_they_were = true;
  for (int i = 0; i < v.count; ++i) {
    const auto& a = p.weights[static_cast<size_t>(i)].as<QuantAttrs>();
    const size_t n = parts_of(a);
    v.weight[i] = vector_weight(c, a, c.in.subspan(next, n));
    where_they_were = where_they_were && v.weight[i].codes == c.in[next].data;
    next += n;
  }
  v.norm = p.norm;
  v.eps = p.eps;
  if (p.norm_weight) v.norm_weight = c.in[next++].as<float>();
  v.swiglu = p.swiglu;
  if (p.residual) v.residual = c.in[next].data;
  for (size_t i = 0; i < c.out.size(); ++i) v.out[i] = c.out[i].data;
  v.m = static_cast<int>(m);
  v.early = p.early && where_they_were;
  if (launch_products(c, v)) return done("quantized_matmul");
  // One by one.
  v.m = 1;
  const auto item = static_cast<int64_t>(itemsize(x.dtype));
  auto part = [&](const void* data, int64_t at) -> std::byte* {
    return data ? static_cast<std::byte*>(const_cast<void*>(data)) + at * item : nullptr;
  };
  const VectorProducts all = v;
  for (int64_t r = 0; r < m; ++r) {
    v.x = part(all.x, r * cols);
    v.residual = part(all.residual, r * all.weight[0].rows);
    for (size_t i = 0; i < c.out.size(); ++i) v.out[i] = part(all.out[i], r * all.weight[i].rows);
    launch_products(c, v);
  }
  done("quantized_matmul");
}

std::span<const KernelRow> quant_kernels() { return kRows; }

}  // namespace mc::cuda
