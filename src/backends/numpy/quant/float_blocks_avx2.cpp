#include "backends/numpy/quant/lift_impl.h"
#include "backends/numpy/quant/tables.h"
#include "backends/numpy/quant/vec_avx2.h"

namespace mc::numpy::quant {
MC_QUANT_FLOAT_BLOCKS(Avx2, VecAvx2)
}
