// What engines share that compute on strided operands with kernels of their own: which nodes are views, which
// run in pointwise groups, and how operands are described.
#pragma once

#include <string_view>

#include "core/graph.h"
#include "prims/op.h"

namespace mc::strided {

// How a kernel wants its inputs; an engine's own flags begin at kFirstOwnFlag.
enum KernelFlags : uint32_t {
  kAnyStrides = 1u << 0,  // inputs may have any strides; without it they come row-major
  kRowStrides = 1u << 1,  // the last dimension is contiguous, the others may have any strides
  kInPlace = 1u << 2,     // output 0 is input 0 changed: may share its memory when that dies here (the kernel
                          // copies if the pointers differ)
};
inline constexpr uint32_t kFirstOwnFlag = 1u << 3;

// Views move no data: their strides say it all.
MC_ENGINE_API bool is_view(Op op);
// Elementwise and no view.
MC_ENGINE_API bool is_pointwise(Op op);

// Row-major strides in elements.
MC_ENGINE_API Shape row_major(const Shape& shape);
MC_ENGINE_API bool is_row_major(const Shape& shape, const Shape& strides);

// The kept and the reduced dimensions of an operand, each merged where strides allow.
struct MC_ENGINE_API Split {
  Shape kept, kept_strides, reduced, reduced_strides;
  Split(const Shape& shape, const Shape& strides, const Axes& axes);
};

// The matrices in the last two dimensions, for libraries that count in 32 bits.
struct MatrixDims {
  int m, n;
  int64_t batch;
};
// Throws InvalidArgument for a matrix that is too large for `library`.
MC_ENGINE_API MatrixDims matrix_dims(const Shape& shape, std::string_view where, std::string_view library);

}  // namespace mc::strided
