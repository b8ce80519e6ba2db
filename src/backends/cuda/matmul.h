// Matrix products by cuBLASLt.
#pragma once

#include "backends/cuda/kernel.h"

namespace mc::cuda {

// A matrix in memory: element (i, j) at data + i·row + j·col, one of the strides 1 (see readable).
struct Matrix {
  const std::byte* data;
  int64_t row, col;
  int64_t batch = 0;  // stride between matrices
};
// out (row-major, M × N, `batches` of them packed) = a (M × K) · b (K × N), for f16, bf16, f32, f64 and
// complex; 16-bit floats accumulate in float32 and are rounded once, float32 is not shortened.
void gemm(const Call& c, Dtype dtype, int64_t M, int64_t N, int64_t K, int64_t batches, const Matrix& a,
          const Matrix& b, std::byte* out);
// Whether a matrix of r × c elements can be read where it lies.
bool readable(int64_t r, int64_t c, int64_t row, int64_t col);

}  // namespace mc::cuda
