#include "backends/numpy/quant/lift_impl.h"
#include "backends/numpy/quant/tables.h"
#include "backends/numpy/quant/vec_scalar.h"

namespace mc::numpy::quant {
MC_QUANT_FLOAT_AFFINE(Scalar, VecScalar)
}
