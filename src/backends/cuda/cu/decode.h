// What one token's step runs: products of a vector with what is before and after them, rotary positions with
// the caches' writes, attention of a query. Each starts while its predecessor ends (programmatic dependent
// launch).
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "backends/cuda/cu/attention.h"
#include "backends/cuda/cu/fused.h"
#include "backends/cuda/cu/quant.h"

namespace mc::cuda {

inline constexpr int kMaxProducts = 3;
inline constexpr int64_t kMaxVector = 32768;  // elements of x: it lies in shared memory

// out[i] = W_i · x, x normalized first if asked, for weights of one format and one number of columns. With
// `swiglu` the first is the gate and the second what it gates: one output. With `residual` that is added to
// the output.
struct VectorProducts {
  const void* x;
  int dtype;   // of x, outputs, residual
  int m;       // vectors; more than one only for launch_stream_products
  bool early;  // weights (and the norm's) may be read before the predecessor has ended
  bool norm;
  const float* norm_weight;
  float eps;
  int count;
  QuantWeight weight[kMaxProducts];
  void* out[kMaxProducts];
  bool swiglu;
  const void* residual;
  const bool*
      rows;  // a mask of the vectors, null for all: others' outputs are zeros, no weight is read for them
  // The launch's own: warps that share a row, what can be read 16 bytes at a time, log2 of blocks of 32 a
  // group.
  int split;
  bool vectors, weight_vectors;
  int group_shift;
};
// Whether launch_vector_products takes weights of this format, these columns and groups.
bool takes_vector_products(int format, int64_t cols, int group);
// Codes of weights begin at multiples of 16 bytes where the rows do too, else of 4.
void launch_vector_products(VectorProducts a, int multiprocessors, cudaStream_t stream);
// The same for up to eight bfloat16 vectors, (m, cols), outputs (m, rows), on the tensor cores. False: not
// taken.
bool takes_stream_products(int dtype, int format, int64_t cols, int group, int64_t m);
bool launch_stream_products(VectorProducts a, int multiprocessors, cudaStream_t stream);
// Its form for one vector and 4-bit weights in groups of 64 whose rows are copied in bulk (compute
// capability 9.0): whole tiles of rows, enough of them for all multiprocessors.
bool launch_four_bit_products(VectorProducts a, int multiprocessors, cudaStream_t stream);

// Rotary positions of one token's queries into `q.out` and of its keys into the cache, and its values there.
// The place in the caches is read on the device; a place outside them is not written.
struct RopeAndCache {
  RopeLaunch q, k;  // k.out: the cache; k.out_stride: of its rows
  const void* v;
  void* v_out;
  int64_t v_stride[2], v_out_stride[3];  // batch and head; batch, head and row
  int64_t v_dim;
  const void* start;  // (batch,)
  int start_dtype;
  int64_t start_stride, rows;  // rows of the caches
};
void launch_rope_and_cache(const RopeAndCache& a, cudaStream_t stream);

// Both in one: each head's block turns its query and key itself. False if the kernel does not take the
// operands.
bool launch_turned_attention(const RopeAndCache& r, const AttentionLaunch& a, cudaStream_t stream);

// Attention of one query a head. False if the kernel does not take the operands.
bool launch_decode_attention(const AttentionLaunch& a, cudaStream_t stream);

}  // namespace mc::cuda
