// The table of kernels and the classes of nodes that need none.
#include <algorithm>
#include <array>
#include <cstring>

#include "backends/numpy/kernel.h"
#include "base/thread_pool.h"

namespace mc::numpy {
namespace {

using Table = std::array<const KernelRow*, kOpCount>;

const Table& table() {
  static const Table t = [] {
    Table t{};
    for (std::span<const KernelRow> rows :
         {shape_kernels(), reduce_kernels(), matmul_kernels(), index_kernels(), sort_kernels(),
          random_kernels(), fused_kernels(), quant_kernels(), linalg_kernels(), fft_kernels()})
      for (const KernelRow& r : rows) t[static_cast<size_t>(r.op)] = &r;
    return t;
  }();
  return t;
}

}  // namespace

const KernelRow* find_kernel(Op op) { return table()[static_cast<size_t>(op)]; }

namespace {

template <class T>
void copy_row(const std::byte* src, std::byte* dst, int64_t n, int64_t stride) {
  const T* s = reinterpret_cast<const T*>(src);
  T* d = reinterpret_cast<T*>(dst);
  if (stride == 0) {
    for (int64_t i = 0; i < n; ++i) d[i] = s[0];
  } else {
    for (int64_t i = 0; i < n; ++i) d[i] = s[i * stride];
  }
}

struct alignas(16) Item16 {
  uint64_t a, b;
};

void copy_items(const std::byte* src, std::byte* dst, int64_t n, int64_t stride, size_t item) {
  if (stride == 1) {
    std::memcpy(dst, src, static_cast<size_t>(n) * item);
    return;
  }
  switch (item) {
    case 1: return copy_row<uint8_t>(src, dst, n, stride);
    case 2: return copy_row<uint16_t>(src, dst, n, stride);
    case 4: return copy_row<uint32_t>(src, dst, n, stride);
    case 8: return copy_row<uint64_t>(src, dst, n, stride);
    default:
      for (int64_t i = 0; i < n; ++i) std::memcpy(dst + i * 16, src + i * stride * 16, 16);
  }
}

// dst[c * dst_stride + r] = src[r * src_stride + c] for r < rows, c < cols: blocks whose lines on both sides
// stay in the first cache.
template <class T>
void transpose_block(const std::byte* src, int64_t src_stride, std::byte* dst, int64_t dst_stride,
                     int64_t rows, int64_t cols) {
  const T* const s = reinterpret_cast<const T*>(src);
  T* const d = reinterpret_cast<T*>(dst);
  constexpr int64_t kSide = 64 / static_cast<int64_t>(sizeof(T));  // items of a cache line
  for (int64_t c = 0; c < cols; c += kSide) {
    const int64_t width = std::min(kSide, cols - c);
    for (int64_t r = 0; r < rows; r += kSide) {
      const int64_t height = std::min(kSide, rows - r);
      if (width < kSide || height < kSide) {
        for (int64_t j = 0; j < width; ++j)
          for (int64_t i = 0; i < height; ++i)
            d[(c + j) * dst_stride + r + i] = s[(r + i) * src_stride + c + j];
        continue;
      }
      T block[kSide][kSide];
      for (int64_t i = 0; i < kSide; ++i) std::memcpy(block[i], s + (r + i) * src_stride + c, 64);
      for (int64_t j = 0; j < kSide; ++j) {
        T line[kSide];
        for (int64_t i = 0; i < kSide; ++i) line[i] = block[i][j];
        std::memcpy(d + (c + j) * dst_stride + r, line, 64);
      }
    }
  }
}

// The last dimension of src is strided and another one, `fast`, is contiguous: planes of the two are
// transposed by blocks. shape and strides as copy_strided merged them.
template <class T>
void transpose_planes(const std::byte* src, std::byte* dst, const Shape& shape, const Shape& strides,
                      int fast) {
  constexpr int64_t kRows = 256, kCols = 64;
  const int last = shape.ndim() - 1;
  const Shape to = row_major(shape);
  const int64_t rows = shape[last], cols = shape[fast], item = static_cast<int64_t>(sizeof(T));
  const int64_t row_tiles = (rows + kRows - 1) / kRows, col_tiles = (cols + kCols - 1) / kCols;
  const int64_t planes = shape.numel() / rows / cols;
  parallel_for(planes * row_tiles * col_tiles, std::max<int64_t>(1, 65536 / (kRows * kCols)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t unit = begin; unit < end; ++unit) {
                   int64_t rest = unit;
                   const int64_t r = rest % row_tiles * kRows;
                   rest /= row_tiles;
                   const int64_t c = rest % col_tiles * kCols;
                   rest /= col_tiles;
                   int64_t from = r * strides[last] + c, at = c * to[fast] + r;
                   for (int d = last - 1; d >= 0; --d) {
                     if (d == fast) continue;
                     from += rest % shape[d] * strides[d], at += rest % shape[d] * to[d];
                     rest /= shape[d];
                   }
                   transpose_block<T>(src + from * item, strides[last], dst + at * item, to[fast],
                                      std::min(kRows, rows - r), std::min(kCols, cols - c));
                 }
               });
}

}  // namespace

void copy_strided(const Tensor& src, std::byte* dst) {
  const int64_t total = src.numel();
  if (total == 0) return;
  const size_t item = itemsize(src.dtype);
  // Drop dimensions of one and merge neighbours that are contiguous with each other.
  Shape shape, strides;
  for (int i = 0; i < src.shape.ndim(); ++i) {
    if (src.shape[i] == 1) continue;
    if (!shape.empty() && strides.back() == src.strides[i] * src.shape[i]) {
      shape[shape.ndim() - 1] *= src.shape[i];
      strides[strides.ndim() - 1] = src.strides[i];
    } else {
      shape.push_back(src.shape[i]);
      strides.push_back(src.strides[i]);
    }
  }
  if (shape.empty()) {
    std::memcpy(dst, src.data, item);
    return;
  }
  const int nd = shape.ndim();
  if (strides.back() > 1 && shape.back() >= 8 && item <= 8) {
    for (int d = 0; d < nd - 1; ++d) {
      if (strides[d] != 1 || shape[d] < 8) continue;
      switch (item) {
        case 1: return transpose_planes<uint8_t>(src.data, dst, shape, strides, d);
        case 2: return transpose_planes<uint16_t>(src.data, dst, shape, strides, d);
        case 4: return transpose_planes<uint32_t>(src.data, dst, shape, strides, d);
        default: return transpose_planes<uint64_t>(src.data, dst, shape, strides, d);
      }
    }
  }
  const int64_t inner = shape.back(), rows = total / inner;
  if (rows == 1 && strides.back() == 1) {  // one run: cut it, that every thread copies
    parallel_for(total, 65536, [&](int64_t begin, int64_t end) {
      std::memcpy(dst + static_cast<size_t>(begin) * item, src.data + static_cast<size_t>(begin) * item,
                  static_cast<size_t>(end - begin) * item);
    });
    return;
  }
  parallel_for(rows, std::max<int64_t>(1, 65536 / inner), [&](int64_t begin, int64_t end) {
    Shape at = Shape::filled(nd, 0);
    int64_t rest = begin, offset = 0;
    for (int d = nd - 2; d >= 0; --d) {
      at[d] = rest % shape[d];
      rest /= shape[d];
      offset += at[d] * strides[d];
    }
    for (int64_t r = begin; r < end; ++r) {
      copy_items(src.data + offset * static_cast<int64_t>(item), dst + static_cast<size_t>(r * inner) * item,
                 inner, strides.back(), item);
      for (int d = nd - 2; d >= 0; --d) {
        offset += strides[d];
        if (++at[d] < shape[d]) break;
        offset -= shape[d] * strides[d];
        at[d] = 0;
      }
    }
  });
}

}  // namespace mc::numpy
