#include "backends/numpy/quant/lift_impl.h"
#include "backends/numpy/quant/tables.h"
#include "backends/numpy/quant/vec_avx512.h"

namespace mc::numpy::quant {
MC_QUANT_FLOAT_KBLOCKS(Avx512, VecAvx512)
}
