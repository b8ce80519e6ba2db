// One row of function pointers per instruction set, filled by fused_impl.h. Ranges are of rows.
#pragma once

#include "backends/numpy/kernels/fused.h"

namespace mc::kernels {

struct FusedTable {
  void (*softmax)(const RowsArgs&, bool log, int64_t begin, int64_t end);
  void (*rms_norm)(const RowsArgs&, const float* weight, float eps, int64_t begin, int64_t end);
  void (*layer_norm)(const RowsArgs&, const float* weight, const float* bias, float eps, int64_t begin,
                     int64_t end);
  void (*cross_entropy)(const RowsArgs&, const void* labels, Dtype label_dtype, float* out, int64_t begin,
                        int64_t end);
  void (*logsumexp)(const RowsArgs&, float* out, int64_t begin, int64_t end);
  void (*gated)(const RowsArgs&, const void* up, int64_t up_stride, Gate act, int64_t row, int64_t begin,
                int64_t end);
  void (*rope)(const RopeArgs&, int64_t begin, int64_t end);  // of B·T
};
extern const FusedTable kFusedScalar, kFusedAvx2, kFusedAvx512;

}  // namespace mc::kernels
