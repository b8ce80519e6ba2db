// Matrix products of the host engine on plain pointers.
//
// Every output is accumulated in the order that simd/ukernel.h lays down, so results are the same bits for
// every instruction set, number of threads, batch and shape of the other operand. float16 and bfloat16 are
// widened exactly, accumulated in float32 and rounded to nearest even when stored. Integers wrap. A complex
// product is the real product of [re, im] along k with rows [br, bi] and [-bi, br]: chains of 256 real steps,
// that is of 128 complex values of k.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/thread_pool.h"
#include "mc/dtype.h"

namespace mc::numpy {

// A matrix that is read. Strides are in elements and may be zero or negative.
struct MatIn {
  const void* data;
  Dtype dtype;
  int64_t row_stride, col_stride;
};
// A matrix that is written; columns are contiguous. It must not overlap the inputs.
struct MatOut {
  void* data;
  Dtype dtype;
  int64_t row_stride;
};

// C[M, N] = A[M, K] · B[K, N]; zeros when K is 0.
// Dtypes: A, B and C each of F16, BF16, F32; or all F64; or all of one integer or complex dtype.
// Throws mc::Error: DtypeMismatch for other combinations, OutOfMemory.
void gemm(int64_t M, int64_t N, int64_t K, const MatIn& a, const MatIn& b, const MatOut& c);

// Offsets, in elements, of one item's matrices from the data pointers.
struct BatchOffsets {
  int64_t a, b, c;
};
// gemm for each i < batch, with the matrices at offsets(i).
void gemm_batched(int64_t batch, int64_t M, int64_t N, int64_t K, const MatIn& a, const MatIn& b,
                  const MatOut& c, FunctionRef<BatchOffsets(int64_t)> offsets);
// The same with constant steps from item to item.
void gemm_batched(int64_t batch, int64_t M, int64_t N, int64_t K, const MatIn& a, const MatIn& b,
                  const MatOut& c, BatchOffsets strides);

// A weight W[N, K], stored for y = x · Wᵀ as panels [K][nr] of nr rows of W each, in its own dtype (F32, BF16
// or F16). nr is fixed when packed; weights packed under one instruction set work under every other.
struct PackedB {
  const void* data;  // packed_bytes() bytes, best 64-byte aligned
  int64_t n, k;
  Dtype dtype;
  int nr;
};

// Bytes that pack_b writes under the instruction set in use.
size_t packed_bytes(int64_t n, int64_t k, Dtype dtype);
// Packs W (n x k, any strides; F32, BF16 or F16) into dst. Uses all threads. Throws DtypeMismatch,
// OutOfMemory.
PackedB pack_b(int64_t n, int64_t k, const MatIn& w, void* dst);
// C[M, n] = A[M, k] · Wᵀ. A and C are of F16, BF16 or F32. Throws DtypeMismatch, OutOfMemory.
void gemm_packed(int64_t M, const MatIn& a, const PackedB& w, const MatOut& c);

}  // namespace mc::numpy
